"""Settings, metrics, commands, plant-file keys and collectors are documented, all of them."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from app import metrics
from app.characteristic import CharacteristicConfig
from app.cli import app
from app.settings import SECRETS, Settings
from collectors.kinds import KINDS
from collectors.reading import Counters
from collectors.supervisor import SourceStatus

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text()


def exposed() -> Iterator[str]:
    """Yield the names of all metrics, as Prometheus sees them."""
    status = SourceStatus("line-1", Counters())
    page = metrics.exposition(metrics.Gauges(), [metrics.SourceState("mqtt", status)])
    for name in re.findall(r"^# TYPE (andon_\w+) (?!gauge_created)", page.decode(), re.MULTILINE):
        if not name.endswith("_created"):
            yield name


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    assert f"`ANDON_{name.upper()}`" in text("configuration.md")


@pytest.mark.parametrize("name", SECRETS)
def test_every_secrets_file_is_documented(name: str) -> None:
    assert f"ANDON_{name.upper()}_FILE" in text("configuration.md")


@pytest.mark.parametrize("name", sorted(exposed()))
def test_every_metric_is_documented(name: str) -> None:
    assert f"`{name}`" in text("operations.md")


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands))
def test_every_command_is_documented(name: str) -> None:
    assert f"andon {name}" in text("operations.md")


@pytest.mark.parametrize("name", CharacteristicConfig.model_fields)
def test_every_key_of_a_characteristic_is_documented(name: str) -> None:
    field = CharacteristicConfig.model_fields[name]
    assert f"`{field.alias or name}`" in text("configuration.md")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_has_its_folder_and_its_place_in_the_docs(kind: str) -> None:
    folder = ROOT / "collectors" / kind
    assert (folder / "README.md").read_text().startswith(f"# {kind}")
    tomllib.loads((folder / "sample.toml").read_text())
    assert f"collectors/{kind}/README.md" in text("configuration.md")


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_source_is_in_its_sample(kind: str) -> None:
    sample = (ROOT / "collectors" / kind / "sample.toml").read_text()
    for name, field in KINDS[kind].config.model_fields.items():
        assert re.search(rf"\b{field.alias or name}\b", sample), name


def test_links_between_the_documents_lead_somewhere() -> None:
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("collectors/*/README.md")]
    dead = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in [*pages, ROOT / "deploy" / "README.md"]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not dead


BOUNDS = re.findall(
    r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$",
    text("architecture.md").partition("## Bounds")[2].partition("##")[0],
    re.MULTILINE,
)[1:]
UNITS = {"KiB": (1024,), "MiB": (1 << 20,), "GiB": (1 << 30,), "s": (1, 1e3, 1e6), "": (1,)}


def numbers_in(path: Path) -> set[float]:
    """All numbers that a module's source says, also as products and shifts."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        numbers = [n for n in ast.walk(node) if isinstance(n, ast.Constant | ast.Name)]
        if isinstance(node, ast.BinOp | ast.Constant) and all(
            isinstance(n, ast.Constant) and isinstance(n.value, int | float) for n in numbers
        ):
            found.add(eval(compile(ast.Expression(node), str(path), "eval")))  # noqa: S307
    return found


@pytest.mark.parametrize(("what", "bound", "where"), BOUNDS, ids=[row[0] for row in BOUNDS])
def test_every_bound_is_what_the_code_says(what: str, bound: str, where: str) -> None:
    said: set[float] = set().union(
        *(numbers_in(ROOT / path) for path in re.findall(r"`([\w/.]+)`", where))
    )
    said |= {
        Settings.model_fields[name].default
        for name in re.findall(r"`(\w+)`", bound)
        if name in Settings.model_fields
    }
    for number, unit in re.findall(r"(?<![\w`])(\d[\d,]*)(?: (KiB|MiB|GiB|s)\b)?", bound):
        value = int(number.replace(",", ""))
        assert {value * factor for factor in UNITS[unit]} & said, (what, number)


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (DOCS / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
