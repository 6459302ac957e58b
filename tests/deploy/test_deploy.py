"""What deploy/ ships fits the program."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.plantfile import load_plant
from app.settings import SECRETS, Settings
from deploy import cleanroom, testbed, ui

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("Dockerfile", "deploy/compose.yaml", "deploy/andon.service", "deploy/README.md")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_setting_that_is_set_exists(name: str) -> None:
    known = {f"ANDON_{field.upper()}" for field in Settings.model_fields}
    known |= {f"ANDON_{secret.upper()}_FILE" for secret in SECRETS}
    used = set(re.findall(r"\bANDON_[A-Z_]+\b", (ROOT / name).read_text()))
    assert not {word for word in used if not word.startswith("ANDON_TEST_")} - known


def test_the_first_plant_is_one() -> None:
    plant = load_plant(ROOT / "deploy" / "plant.toml")
    assert [one.id for one in plant.characteristics] == ["bore-diameter"]


def test_the_last_stage_holds_no_build_tools_and_no_root() -> None:
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert not re.search(r"\b(apt|pip|npm|gcc|hatchling)\b", last)
    assert re.search(r"^USER andon$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last


def test_the_dockerfile_reads_as_it_is_written() -> None:
    lines = cleanroom.instructions("# no\nRUN a \\\n && b\nENV X=1 \\\n    Y=2\n")
    assert [(word, rest.split()) for word, rest in lines] == [
        ("RUN", ["a", "&&", "b"]),
        ("ENV", ["X=1", "Y=2"]),
    ]


def test_the_context_of_the_build_is_the_product_alone() -> None:
    taken = {
        name
        for name in ("app/cli.py", "web/package.json", "web/.npmrc", "web/node_modules/x/y.js")
        if not cleanroom.ignored(ROOT / name)
    }
    assert taken == {"app/cli.py", "web/package.json", "web/.npmrc"}
    for name in ("app/static/index.html", ".git/config", "tests/conftest.py", "app/__pycache__/x"):
        assert cleanroom.ignored(ROOT / name)


def test_lock_files_hold_no_address() -> None:
    locks = [*ROOT.glob("requirements*.lock"), ui.LOCK]
    assert len(locks) > 4
    for lock in locks:
        assert "://" not in lock.read_text(), lock.name


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("v20.18.9", False),
        ("v20.19.0", True),
        ("v21.7.3", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.1.0\n", True),
        ("", False),
    ],
)
def test_node_fits_where_vite_runs(version: str, fits: bool) -> None:
    assert ui.fits(version) is fits


def test_a_wheel_without_the_screen_is_refused(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE", "deploy/wheel.py", "rules/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "app/static/index.html is missing" in done.stderr


def test_the_testbed_sees_what_is_missing() -> None:
    need = testbed.Need("A broker", ("usr/lib/*/nothing-of-that-name",), ("broker",))
    assert not need.met
    assert testbed.Need("a shell", ("bin/sh",), ()).met
