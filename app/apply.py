"""From what a plant file says and what is configured to the steps between them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from app.catalog import Catalog, Characteristic
from app.characteristic import CharacteristicConfig, LimitSeed, same_definition
from app.limits import (
    FILE,
    IN_FORCE,
    OUTSIDE_HISTORY,
    current,
    next_number,
    order,
    seeded,
    superseded,
)
from app.plantfile import Plant, PlantSection, stored
from app.store.batch import Audit, Batch, Version
from app.store.batch import Characteristic as CharacteristicRow
from rules.limits import Limits

Kind = Literal["create", "restore", "version", "change", "drift", "retire"]
Number = Callable[[Literal["characteristic", "version", "audit"]], int]
"""The id of the next new row of a table."""


class Author(NamedTuple):
    """Who changes something, when and why."""

    who: str
    at: int
    reason: str


class Step(msgspec.Struct, frozen=True):
    """One difference, and what becomes of it."""

    kind: Kind
    name: str
    sentence: str
    config: CharacteristicConfig | None = None
    of: Literal["characteristic", "source", "announce", "plant"] = "characteristic"

    @property
    def acts(self) -> bool:
        """Whether applying it changes anything; drift is only told."""
        return self.kind != "drift"


class Plan(msgspec.Struct, frozen=True):
    """All differences; applying them again finds none."""

    steps: list[Step]
    unchanged: int

    @property
    def acts(self) -> bool:
        """Whether applying it changes anything."""
        return any(step.acts for step in self.steps)

    def document(self) -> dict[str, Any]:
        """The plan as the API tells it."""
        return {
            "steps": [
                {"kind": step.kind, step.of: step.name, "sentence": step.sentence}
                for step in self.steps
            ],
            "unchanged": self.unchanged,
        }


def plan(plant: Plant, catalog: Catalog) -> Plan:
    """What it takes to make the catalog say what the file says.

    Only characteristics that a file brought are retired when the file no longer has them.
    """
    steps: list[Step] = []
    named = {config.id for config in plant.characteristics}
    known = {entry.name: entry for entry in catalog.characteristics.values()}
    unchanged = 0
    for config in plant.characteristics:
        found = list(difference(config, known.get(config.id), catalog))
        steps += found
        unchanged += not any(step.acts for step in found)
    steps += [
        Step("retire", entry.name, "is no longer in the file; its history stays")
        for entry in catalog.characteristics.values()
        if entry.name not in named and not entry.retired and entry.config.kept_by == "file"
    ]
    return Plan([*steps, *_of_the_plant(plant, catalog)], unchanged)


def _of_the_plant(plant: Plant, catalog: Catalog) -> Iterator[Step]:
    """The steps from the sources, announcements and plant there are to those of the file."""
    wanted, known = stored(plant), catalog.plant
    if wanted["section"] != known.get("section", PlantSection().model_dump(mode="json")):
        yield Step("change", plant.plant.name, "name, zone or lists of the plant", of="plant")
    sections: tuple[tuple[Literal["source", "announce"], str], ...] = (
        ("source", "sources"),
        ("announce", "announce"),
    )
    for of, key in sections:
        before = {one["id"]: one for one in known.get(key, ())}
        after = {one["id"]: one for one in wanted[key]}
        for name, one in after.items():
            if name not in before:
                yield Step("create", name, f"new {of} of kind {one['kind']}", of=of)
            elif before[name] != one:
                yield Step("change", name, f"another configuration of this {of}", of=of)
        for name in before.keys() - after.keys():
            yield Step("retire", name, f"this {of} is no longer in the file", of=of)


def difference(
    config: CharacteristicConfig, entry: Characteristic | None, catalog: Catalog
) -> Iterator[Step]:
    """The steps from one characteristic as it is to what it should be."""
    if entry is None:
        how = "with limits from the file" if config.limits else "its limits will be collected"
        yield Step("create", config.id, f"new {config.chart} chart, {how}", config)
        return
    config = config.model_copy(update={"limits": config.limits or entry.config.limits})
    if entry.retired:
        yield Step("restore", config.id, "was retired; it goes on with its history", config)
    elif not same_definition(current(catalog, entry.id, None).definition, config):
        yield Step("version", config.id, _told_version(config, entry, catalog), config)
    elif _metadata(config) != _metadata(entry.config):
        yield Step("change", config.id, f"changes {', '.join(_changed(config, entry))}", config)
    if config.limits is not None:
        drift = _drift(config.limits, config, entry, catalog)
        if drift is not None:
            yield Step("drift", config.id, drift)


def rows(
    steps: Sequence[Step],
    catalog: Catalog,
    batch: Batch,
    *,
    number: Number,
    newest: Mapping[str, int | None],
    by: Author,
) -> None:
    """Put the rows of these steps into a batch.

    ``newest`` gives, for characteristics that get a new version, the time of the newest reading:
    the version holds from after it.
    """
    known = {entry.name: entry for entry in catalog.characteristics.values()}
    for step in steps:
        if not step.acts or step.of != "characteristic":
            continue
        entry = known.get(step.name)
        config = step.config or (entry.config if entry else None)
        if config is None:
            continue
        row = CharacteristicRow(
            id=entry.id if entry else number("characteristic"),
            name=config.id,
            config=config.stored(),
            created_at=by.at,  # of a new one; the store keeps that of an old one
            retired_at=by.at if step.kind == "retire" else None,
        )
        batch.characteristics.append(row)
        if entry is None:
            batch.versions.append(_first_version(config, row.id, number("version"), by))
        elif step.kind in ("version", "restore"):
            since = newest.get(step.name)
            batch.versions += _new_versions(config, entry, catalog, number, newest=since, by=by)
        batch.audits.append(
            Audit(
                id=number("audit"),
                at=by.at,
                who=by.who,
                action=step.kind,
                object=f"characteristic {step.name}",
                was=entry.config.stored() if entry else None,
                became=None if step.kind == "retire" else row.config,
                reason=by.reason,
            )
        )


def _first_version(
    config: CharacteristicConfig, characteristic: int, number: int, by: Author
) -> Version:
    seed = config.limits
    limits = seeded(config.chart, config.subgroup.size, seed) if seed else None
    return Version(
        id=number,
        characteristic=characteristic,
        stream=None,
        number=1,
        state="active" if limits else "collecting",
        valid_from=None,
        definition=config.definition(),
        limits=limits.to_dict() if limits else None,
        author=by.who,
        reason=by.reason,
        created_at=by.at,
        approved_by=by.who if limits else None,
        approved_at=by.at if limits else None,
    )


def _new_versions(
    config: CharacteristicConfig,
    entry: Characteristic,
    catalog: Catalog,
    number: Number,
    *,
    newest: int | None,
    by: Author,
) -> list[Version]:
    """One new version for all streams, one for each with limits of its own, and those replaced."""
    wide = current(catalog, entry.id, None)
    if same_definition(wide.definition, config):
        return []
    versions = [v for v in catalog.versions_of(entry.id) if v.state not in OUTSIDE_HISTORY]
    own = {v.stream for v in versions if v.stream is not None and v.state in IN_FORCE}
    if tuple(wide.definition["stream"]) != config.stream:
        own = set()  # these streams get no more readings
    latest = max(versions, key=order).valid_from
    since = None if newest is None else newest + 1
    if latest is not None:
        since = latest + 1 if since is None else max(since, latest + 1)
    first = next_number(catalog, entry.id)
    made = [
        _next_version(current(catalog, entry.id, stream), stream, config, since, by)
        for stream in (None, *sorted(own))
    ]
    for place, version in enumerate(made):
        version.id, version.number = number("version"), first + place
    return [*made, *superseded(catalog, made[0])]


def _next_version(
    before: Version, stream: int | None, config: CharacteristicConfig, since: int | None, by: Author
) -> Version:
    carried = _carried(before, config)
    return Version(
        id=0,
        characteristic=before.characteristic,
        stream=stream,
        number=0,
        state=before.state if carried else "collecting",
        valid_from=since,
        definition=config.definition(),
        limits=before.limits if carried else None,
        author=by.who,
        reason=by.reason,
        created_at=by.at,
        approved_by=before.approved_by if carried else None,
        approved_at=before.approved_at if carried else None,
    )


def _carried(before: Version, config: CharacteristicConfig) -> bool:
    """Limits hold on for the same chart; sigma is that of one value, but printed lines are for an n."""
    if before.limits is None or before.definition["chart"] != config.chart:
        return False
    return bool(before.definition["subgroup"]["size"] == config.subgroup.size)


def _told_version(config: CharacteristicConfig, entry: Characteristic, catalog: Catalog) -> str:
    before = current(catalog, entry.id, None)
    what = [
        name
        for name, value in config.definition().items()
        if not _same_part(before.definition, config, name, value)
    ]
    told = f"version {next_number(catalog, entry.id)} from now on: {', '.join(what)}"
    if before.limits is None:
        return told
    if _carried(before, config):
        return f"{told}; the limits stay"
    return f"{told}; the limits do not fit any more and are collected anew"


def _same_part(
    frozen: Mapping[str, Any], config: CharacteristicConfig, name: str, value: Any
) -> bool:
    mixed = {**config.definition(), name: frozen.get(name, value)}
    return same_definition(mixed, config)


def _metadata(config: CharacteristicConfig) -> CharacteristicConfig:
    return config.model_copy(update={"limits": None})


def _changed(config: CharacteristicConfig, entry: Characteristic) -> list[str]:
    return [
        field.alias or name
        for name, field in CharacteristicConfig.model_fields.items()
        if name != "limits" and getattr(config, name) != getattr(entry.config, name)
    ]


def _drift(
    seed: LimitSeed, config: CharacteristicConfig, entry: Characteristic, catalog: Catalog
) -> str | None:
    """How the file's limits differ from those in force; they never replace them."""
    version = current(catalog, entry.id, None)
    wanted = seeded(config.chart, config.subgroup.size, seed)
    if version.limits is None:
        return (
            "the file has limits, but they seed version 1 only; "
            "propose and approve them to put them in force"
        )
    holds = Limits.from_dict(version.limits)
    if _lines(wanted) == _lines(holds):
        return None
    by = version.approved_by or version.author
    return (
        f"the file says {_words(wanted)}, version {version.number} ({by}) says {_words(holds)}; "
        "left as it is"
    )


def _lines(limits: Limits) -> tuple[object, ...]:
    return limits.center, limits.sigma, limits.lcl, limits.ucl


def _words(limits: Limits) -> str:
    named = {
        "center": limits.center,
        "sigma": limits.sigma,
        "lcl": limits.lcl,
        "ucl": limits.ucl,
    }
    return ", ".join(f"{name} {value:.10g}" for name, value in named.items() if value is not None)


APPLIED = f"applied from {FILE}"
