"""What must stay true of the source tree."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT: dict[str, set[str]] = {
    "rules": set(),
    "collectors": set(),
    "migrations": set(),
    "app": {"rules", "collectors"},
}
# What each pure package may stand on besides the standard library.
RULES_STAND_ON = {"numpy", "numba", "rules"}
NOT_PURE = {"asyncio", "datetime", "logging", "socket", "sqlite3", "subprocess", "threading"}
FORBIDDEN_NAMES = {
    "common", "core", "data", "handle", "handler", "helper", "helpers", "info", "manager", "misc",
    "models", "process", "util", "utils",
}  # fmt: skip
PYTHON_LOCKS = sorted(ROOT.glob("requirements*.lock"))


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the top-level names of everything the module imports, however deep inside it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_downwards(package: str) -> None:
    others = set(MAY_IMPORT) - {package} - MAY_IMPORT[package]
    wrong = {str(p): hit for p in sources(package) if (hit := imported(p) & others)}
    assert not wrong


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_the_product_does_not_import_its_tests_or_tools(package: str) -> None:
    others = {"tests", "benchmarks", "deploy"}
    wrong = {str(p): hit for p in sources(package) if (hit := imported(p) & others)}
    assert not wrong


def test_rules_are_pure() -> None:
    allowed = (set(sys.stdlib_module_names) - NOT_PURE) | RULES_STAND_ON
    wrong = {str(p): bad for p in sources("rules") if (bad := imported(p) - allowed)}
    assert not wrong


def test_collectors_do_not_import_each_other() -> None:
    kinds = {p.name for p in (ROOT / "collectors").iterdir() if (p / "__init__.py").exists()}
    wrong = [
        f"{path} imports {other}"
        for kind in kinds
        for path in sources(f"collectors/{kind}")
        for other in kinds - {kind}
        if re.search(rf"^\s*(from|import) collectors\.{other}\b", path.read_text(), re.MULTILINE)
    ]
    assert not wrong


def test_modules_are_named_after_what_they_are() -> None:
    wrong = [
        str(path)
        for package in (*MAY_IMPORT, "deploy", "benchmarks")
        for path in sources(package)
        if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES
    ]
    assert not wrong


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_every_module_says_what_it_is_for(package: str) -> None:
    texts = {path: path.read_text() for path in sources(package)}
    silent = [
        str(p) for p, text in texts.items() if text and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent


@pytest.mark.parametrize("lock", PYTHON_LOCKS, ids=lambda lock: lock.name)
def test_python_locks_hold_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    for package in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in package


def test_the_screens_lock_holds_hashes_and_no_addresses() -> None:
    text = (ROOT / "web" / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert '"integrity"' in text


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = set(
        re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    )
    asked = {re.split(r"[\[<>=;! ]", line)[0].lower() for line in project["dependencies"]}
    assert asked <= locked


def test_the_screen_loads_nothing_from_elsewhere() -> None:
    page = ROOT / "web" / "index.html"
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.read_text())
