"""Run the benchmarks: ``python -m benchmarks [NAME ...]`` prints a table and writes build/bench.json.

A benchmark is a module of this package with ``def run() -> Iterable[Row]``.
"""

import json
import os
import pkgutil
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.row import Row

WIDTH = 140  # of the table where no terminal has one
RESULT = Path(__file__).resolve().parent.parent / "build" / "bench.json"


def found() -> dict[str, Callable[[], Iterable[Row]]]:
    """Return every benchmark by the name of its module."""
    names = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    modules = {name: import_module(f"benchmarks.{name}") for name in names if name != "__main__"}
    return {name: module.run for name, module in modules.items() if hasattr(module, "run")}


def number(value: float | None) -> str:
    """Return a number with three significant digits and a thousands separator."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: list[Row]) -> Table:
    """Return what people read."""
    sheet = Table(
        title=f"{platform.machine()}, {os.cpu_count()} cores, {platform.python_version()}"
    )
    for title in ("benchmark", "value", "unit", "peer", "peer's", "ratio", "aim", ""):
        sheet.add_column(
            title, justify="right" if title in {"value", "peer's", "ratio"} else "left"
        )
    marks = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}
    for row in rows:
        aim = "" if row.limit is None else f"{row.limit_is} {number(row.limit)}"
        columns = (number(row.value), row.unit, row.peer, number(row.peer_value), number(row.ratio))
        sheet.add_row(row.name, *columns, aim, marks[row.met])
    return sheet


def main() -> int:
    """Run those that are named, or all of them."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    every = found()
    if unknown := set(sys.argv[1:]) - set(every):
        console.print(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(every)}")
        return 2
    rows: list[Row] = []
    for name in sys.argv[1:] or every:
        with console.status(f"{name} ..."):
            rows += every[name]()
    console.print(table(rows))
    RESULT.parent.mkdir(exist_ok=True)
    listed = [{**asdict(row), "met": row.met} for row in rows]
    RESULT.write_text(json.dumps(listed, indent=2) + "\n")
    console.print(f"also in {RESULT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
