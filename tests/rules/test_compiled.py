"""The compiled code: fresh after any change, and without leaks."""

import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from rules.charts import CHARTS
from rules.kernel import judge_series, new_state, warm
from rules.runs import Programs, compile_rules

RULES = Path(__file__).parents[2] / "rules"
ASK = """
from rules import kernel
kernel.warm()
print(sum(kernel.judge_series.stats.cache_hits.values()))
"""


def hits(folder):
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(RULES, tmp_path / "rules", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.slow
def test_machine_code_is_kept_until_any_source_changes(copy):
    assert hits(copy) == 0
    assert hits(copy) == 1
    # runs.py holds what kernel.py compiles in as constants
    with (copy / "rules" / "runs.py").open("a") as source:
        source.write("# changed\n")
    assert hits(copy) == 0
    assert hits(copy) == 1


def test_arrays_are_borrowed_not_kept():
    warm()
    programs = Programs()
    number = programs.add(compile_rules("nelson", None, CHARTS["i_mr"]))
    registers, memory = new_state(1)
    size = 50_000
    x = np.random.default_rng(5).standard_normal(size)
    columns = [np.zeros(size), np.ones(size), np.ones(size), np.zeros(size, np.bool_)]
    nothing = np.full(size, np.nan)
    found = np.zeros(size, np.int64)

    def judge():
        judge_series(
            programs.table, np.array([number]), registers, memory, np.zeros(size, np.int64), x,
            *columns, nothing, nothing, nothing, found,
        )  # fmt: skip

    judge()
    arrays = [programs.table.rules, registers, memory, x, *columns, nothing, found]
    before = [sys.getrefcount(array) for array in arrays]
    tracemalloc.start()
    try:
        judge()
        at_first, _ = tracemalloc.get_traced_memory()
        for _ in range(50):
            judge()
        at_last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [sys.getrefcount(array) for array in arrays] == before
    assert at_last - at_first < 100_000
