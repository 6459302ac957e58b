"""plant.toml: the plant, its characteristics and its sources, checked without the network."""

import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, ValidationError, field_validator

from app.characteristic import (
    CharacteristicConfig,
    Definition,
    Frozen,
    LimitSeed,
    Names,
    Plausible,
    Specification,
    Subgroup,
)
from app.duration import UNITS, Duration
from app.mistakes import explain
from app.spelling import nearest

__all__ = [
    "CharacteristicConfig",
    "Definition",
    "LimitSeed",
    "Plant",
    "PlantInvalid",
    "PlantSection",
    "Plausible",
    "Specification",
    "Subgroup",
    "load_plant",
    "parse_plant",
]


POSTED = "http"
"""The source of all readings that arrive over HTTP; a plant file can have none of this name."""

M = TypeVar("M", bound=BaseModel)


class PlantInvalid(Exception):
    """The plant file cannot be used."""

    def __init__(self, file: str, sentences: Sequence[str]) -> None:
        super().__init__("\n".join(f"{file}: {sentence}" for sentence in sentences))
        self.sentences = list(sentences)


class PlantSection(Frozen):
    """What holds for the whole plant."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = "Plant"
    timezone: str = "UTC"
    """The zone that screens and sentences show."""
    locale: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")] = "en-US"
    causes: Names = (
        "Tool wear",
        "Material",
        "Setup",
        "Measurement",
        "Temperature",
        "No cause found",
    )
    """What people choose from; a characteristic may have its own list."""
    actions: Names = (
        "Tool changed",
        "Offset corrected",
        "Measured again",
        "Line stopped",
        "Maintenance called",
    )
    page_age: Duration = 15 * UNITS["m"]
    """A point older than this when it arrives pages nobody."""
    second_person: Literal["critical", "always", "never"] = "critical"
    """Where limits need the approval of somebody other than their author."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(f'"{name}" is no time zone; write one like "Europe/Berlin"') from error
        return name


class Plant(BaseModel, frozen=True, arbitrary_types_allowed=True):
    """A checked plant file."""

    plant: PlantSection = PlantSection()
    characteristics: tuple[CharacteristicConfig, ...] = ()
    sources: tuple[Any, ...] = ()
    """The config models of their kinds."""
    announce: tuple[Any, ...] = ()


def stored(plant: Plant) -> dict[str, Any]:
    """What holds for the whole plant, as JSON for the database; secrets that stand in it too."""
    context = {"secrets": True}
    return {
        "section": plant.plant.model_dump(mode="json"),
        "sources": [one.model_dump(mode="json", context=context) for one in plant.sources],
        "announce": [one.model_dump(mode="json", context=context) for one in plant.announce],
    }


def load_plant(path: Path) -> Plant:
    """Read and check a plant file.

    Raises:
        PlantInvalid: with one sentence per mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlantInvalid(str(path), [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise PlantInvalid(str(path), ["is not UTF-8 text; save it as UTF-8"]) from error
    return parse_plant(text, file=str(path), base_dir=path.resolve().parent)


def parse_plant(text: str, *, file: str = "plant.toml", base_dir: Path) -> Plant:
    """Check the text of a plant file; secrets it names lie relative to ``base_dir``.

    Raises:
        PlantInvalid: with one sentence per mistake.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlantInvalid(file, [f"is not TOML: {error}"]) from error
    mistakes: list[str] = []
    known = ("plant", "characteristic", "source", "announce")
    mistakes += [
        f'unknown key "{key}"{nearest(key, known)}' for key in document if key not in known
    ]
    plant = Plant(
        plant=_part(PlantSection, document.get("plant", {}), "[plant]", mistakes) or PlantSection(),
        characteristics=tuple(_characteristics(document, mistakes)),
        sources=tuple(_sources(document, base_dir, mistakes)),
        announce=tuple(_announcements(document, base_dir, mistakes)),
    )
    mistakes += _name_clashes(plant)
    if not mistakes:
        mistakes += _unknown_references(plant)
    if mistakes:
        raise PlantInvalid(file, mistakes)
    return plant


def _tables(document: dict[str, Any], name: str, mistakes: list[str]) -> list[dict[str, Any]]:
    tables = document.get(name, [])
    if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
        return tables
    mistakes.append(f"write each {name} as a table of its own under [[{name}]]")
    return []


def _part(
    model: type[M], raw: object, where: str, mistakes: list[str], base_dir: Path | None = None
) -> M | None:
    try:
        return model.model_validate(raw, context={"base_dir": base_dir})
    except ValidationError as error:
        mistakes += explain(error, model, where)
        return None


def _characteristics(
    document: dict[str, Any], mistakes: list[str]
) -> Iterator[CharacteristicConfig]:
    for position, raw in enumerate(_tables(document, "characteristic", mistakes), 1):
        name = f'"{raw["id"]}"' if isinstance(raw.get("id"), str) else f"number {position}"
        config = _part(CharacteristicConfig, raw, f"characteristic {name}", mistakes)
        if config is not None:
            yield config


def _sources(document: dict[str, Any], base_dir: Path, mistakes: list[str]) -> Iterator[BaseModel]:
    tables = _tables(document, "source", mistakes)
    if not tables:
        return
    # A file without sources needs none of the collectors' libraries.
    from collectors.kinds import KINDS  # noqa: PLC0415

    for position, raw in enumerate(tables, 1):
        where = f'source "{raw["id"]}"' if isinstance(raw.get("id"), str) else f"source {position}"
        kind = raw.get("kind")
        if kind is None:
            mistakes.append(f"{where}: kind: is missing; add it: {' or '.join(KINDS)}")
            continue
        if not isinstance(kind, str) or kind not in KINDS:
            mistakes.append(f'{where}: kind: "{kind}" is not known{nearest(str(kind), KINDS)}')
            continue
        config = _part(KINDS[kind].config, raw, where, mistakes, base_dir)
        if config is not None:
            yield config


def _announcements(
    document: dict[str, Any], base_dir: Path, mistakes: list[str]
) -> Iterator[BaseModel]:
    tables = _tables(document, "announce", mistakes)
    if not tables:
        return
    from app.announce import Announce  # noqa: PLC0415 - as above

    for position, raw in enumerate(tables, 1):
        where = (
            f'announce "{raw["id"]}"' if isinstance(raw.get("id"), str) else f"announce {position}"
        )
        config = _part(Announce, raw, where, mistakes, base_dir)
        if config is not None:
            yield config


def _name_clashes(plant: Plant) -> Iterator[str]:
    owners: dict[str, str] = {}
    for config in plant.characteristics:
        if config.id in owners:
            yield f'characteristic "{config.id}": this name is taken by "{owners[config.id]}"'
        owners.setdefault(config.id, config.id)
    for config in plant.characteristics:
        for alias in config.aliases:
            owner = owners.setdefault(alias, config.id)
            if owner != config.id:
                yield (
                    f'characteristic "{config.id}": alias "{alias}" already means "{owner}"; '
                    "a name may stand for one characteristic only"
                )
    if any(config.id == POSTED for config in plant.sources):
        yield f'source "{POSTED}": readings that are posted go by this name; choose another id'
    for kind, configs in (("source", plant.sources), ("announce", plant.announce)):
        ids = Counter(config.id for config in configs)
        for name, times in ids.items():
            if times > 1:
                yield f'{kind} "{name}": {times} have this id; give each its own'


def _unknown_references(plant: Plant) -> Iterator[str]:
    names = {name for c in plant.characteristics for name in (c.id, *c.aliases)}
    for source in plant.sources:
        for name in _named(source.model_dump(mode="python")):
            if name not in names:
                yield (
                    f'source "{source.id}": characteristic "{name}" is not in this file'
                    f"{nearest(name, names)}"
                )


def _named(part: object) -> Iterator[str]:
    """Every characteristic that a source's configuration names outright."""
    if isinstance(part, dict):
        name = part.get("characteristic")
        if isinstance(name, str) and not name.startswith(("/", "^")):
            yield name
        for key, value in part.items():
            if key != "tags":  # what is called "characteristic" there is a tag
                yield from _named(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _named(value)
