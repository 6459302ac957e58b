"""Characteristics with their streams, versions, points and readings."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app import apply
from app.catalog import Characteristic
from app.characteristic import CharacteristicConfig
from app.http import shapes
from app.http.commands import IdempotencyKey, ReasonQuery, WhoQuery, asked, once
from app.http.current import Current
from app.http.ports import Row, Service, Unit
from app.http.problem import Problem

Name = Annotated[str, Path(description="Id of the characteristic, or one of its aliases.")]
CharacteristicId = Annotated[str | None, Query(description="Only of this characteristic.")]
StreamId = Annotated[
    str | None, Query(description="`id` of a stream; needed where there are several")
]


def found(service: Service, name: str) -> Characteristic:
    """The characteristic with this id, retired or not.

    Raises:
        Problem: there is none.
    """
    entry = service.catalog.find(name)
    if entry is None:
        entry = next((c for c in service.catalog.characteristics.values() if c.name == name), None)
    if entry is None:
        raise Problem(404, f'there is no characteristic "{name}"')
    return entry


def stream_of(service: Service, entry: Characteristic, name: str | None) -> int | None:
    """The stream that a query means; None where the characteristic has none yet.

    Raises:
        Problem: it does not exist, or has to be chosen.
    """
    known = {service.catalog.streams[n].name: n for n in service.catalog.streams_of(entry.id)}
    if name is None:
        if len(known) > 1:
            raise Problem(
                422,
                f"stream: {entry.name} has several; choose one of /streams",
                streams=sorted(known)[:100],
            )
        return next(iter(known.values()), None)
    if name not in known:
        raise Problem(404, f'{entry.name} has no stream "{name}"')
    return known[name]


routes = APIRouter(tags=["characteristics"])


@routes.get("/characteristics", summary="List characteristics")
async def list_characteristics(
    service: Current,
    *,
    station: Annotated[str | None, Query(description="Only below this path.")] = None,
    retired: Annotated[bool, Query(description="Those that were given up too.")] = False,
) -> Row:
    """All of them in one page, in the order of their making."""
    entries = sorted(service.catalog.characteristics.values(), key=lambda entry: entry.id)
    items = [
        shapes.characteristic(entry, service.catalog)
        for entry in entries
        if entry.retired <= retired and _below(entry.config.station, station)
    ]
    return {"items": items, "next": None}


@routes.post("/characteristics", status_code=201, summary="Create a characteristic")
async def create(
    service: Current,
    body: CharacteristicConfig,
    *,
    who: WhoQuery,
    reason: ReasonQuery = "",
    idempotency_key: IdempotencyKey = None,
) -> Row:
    """With version 1; a plant file does not retire what was made here."""
    config = body.model_copy(update={"kept_by": "api"})

    async def act(unit: Unit) -> Row:
        if any(entry.name == config.id for entry in service.catalog.characteristics.values()):
            raise Problem(409, f'"{config.id}" exists already; change it with PUT')
        return await _changed(service, unit, config, who, reason)

    return await once(service, idempotency_key, asked("create", body, who=who), act)


@routes.get("/characteristics/{name}", summary="One characteristic")
async def get_characteristic(service: Current, name: Name) -> Row:
    """Its configuration, its streams and the version in force."""
    return shapes.characteristic(found(service, name), service.catalog)


@routes.put("/characteristics/{name}", summary="Change a characteristic")
async def change(
    service: Current,
    name: Name,
    body: CharacteristicConfig,
    *,
    who: WhoQuery,
    reason: ReasonQuery = "",
    idempotency_key: IdempotencyKey = None,
) -> Row:
    """Names, units and the like change at once.

    Chart, subgroup, rules or specification make a new version: it holds from after the newest
    reading, and what was judged before stays as it is.
    """
    entry = found(service, name)
    if body.id != entry.name:
        raise Problem(422, f'id: is "{entry.name}" for good; its name can change')
    config = body.model_copy(update={"kept_by": entry.config.kept_by})
    return await once(
        service,
        idempotency_key,
        asked(f"change {name}", body, who=who),
        lambda unit: _changed(service, unit, config, who, reason),
    )


@routes.delete("/characteristics/{name}", summary="Retire a characteristic; its history stays")
async def retire(
    service: Current,
    name: Name,
    *,
    who: WhoQuery,
    reason: ReasonQuery = "",
    idempotency_key: IdempotencyKey = None,
) -> Row:
    """Readings for it go to the quarantine from now on."""
    entry = found(service, name)

    async def act(unit: Unit) -> Row:
        if not entry.retired:
            step = apply.Step("retire", entry.name, "retired")
            await put_steps(service, unit, [step], apply.Author(who, service.clock(), reason))
        return {"characteristic": entry.name, "steps": ["retire"]}

    return await once(service, idempotency_key, asked(f"retire {name}", who=who), act)


async def _changed(
    service: Service, unit: Unit, config: CharacteristicConfig, who: str, reason: str
) -> Row:
    entries = {entry.name: entry for entry in service.catalog.characteristics.values()}
    refuse_taken_names(service, config)
    steps = list(apply.difference(config, entries.get(config.id), service.catalog))
    await put_steps(service, unit, steps, apply.Author(who, service.clock(), reason))
    return {
        "characteristic": config.id,
        "steps": [f"{step.kind}: {step.sentence}" for step in steps],
    }


@routes.get("/characteristics/{name}/streams", summary="Its streams")
async def streams(service: Current, name: Name) -> Row:
    """`id` is what `stream=` takes elsewhere."""
    entry = found(service, name)
    numbers = service.catalog.streams_of(entry.id)
    return {
        "items": [shapes.stream(service.catalog.streams[number]) for number in numbers],
        "next": None,
    }


@routes.get("/characteristics/{name}/versions", summary="Its versions, newest first")
async def versions(service: Current, name: Name) -> Row:
    """Every point names the version that judged it."""
    rows = service.catalog.versions_of(found(service, name).id)
    return {
        "items": [shapes.version(row, service.catalog) for row in reversed(rows)],
        "next": None,
    }


async def put_steps(
    service: Service, unit: Unit, steps: list[apply.Step], by: apply.Author
) -> None:
    """Put the rows of some steps into a unit."""
    entries = {entry.name: entry for entry in service.catalog.characteristics.values()}
    newest: dict[str, int | None] = {}
    for step in steps:
        entry = entries.get(step.name)
        if entry is not None and step.kind in ("version", "restore"):
            streams = service.catalog.streams_of(entry.id)
            newest[step.name] = await service.records.newest_reading(streams)
    apply.rows(steps, service.catalog, unit.batch, number=unit.number, newest=newest, by=by)


def refuse_taken_names(service: Service, config: CharacteristicConfig) -> None:
    """A name stands for one characteristic only.

    Raises:
        Problem: another one has this id or one of these aliases.
    """
    for name in (config.id, *config.aliases):
        owner = service.catalog.find(name)
        if owner is not None and owner.name != config.id:
            raise Problem(409, f'the name "{name}" is taken by "{owner.name}"')


def _below(station: str | None, path: str | None) -> bool:
    return path is None or f"{station}/".startswith(f"{path.rstrip('/')}/")
