"""Control limits: proposed, approved or rejected, by people."""

from typing import Annotated, Any, Self

import numpy as np
from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app import limits
from app.catalog import Characteristic
from app.characteristic import Magnitude
from app.http import shapes
from app.http.characteristics import Name, found, stream_of
from app.http.commands import Command, IdempotencyKey, Said, Text, asked, once
from app.http.current import Current
from app.http.ports import Row, Service, Unit
from app.http.problem import Problem
from app.http.times import iso, parsed
from app.limits import LimitsRefused
from app.store.batch import Audit, Version
from rules.limits import Limits

MOST = 10_000
"""The most points of a baseline."""

Positive = Annotated[Magnitude, Field(gt=0)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of the version.")]


class Part(BaseModel):
    """A part of a body."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class PointId(Part):
    """A point, by its identity."""

    time: str
    key: int


class Baseline(Part):
    """The points that limits are estimated from."""

    start: str | None = None
    """Measured time of the first; `end` of the last, now unless given."""
    end: str | None = None
    last: Annotated[int, Field(ge=2, le=MOST)] | None = None
    """The newest so many points."""
    excluded: Annotated[list[PointId], Field(max_length=MOST)] = []
    """Points that count for nothing here, such as those with a known cause."""
    method: str | None = None
    """How sigma is estimated; the chart's default unless said."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if (self.last is None) == (self.start is None):
            raise ValueError("give start (and end), or last")
        return self


class Given(Part):
    """Limits as a customer's control plan prints them."""

    center: Magnitude
    lcl: Magnitude | None = None
    ucl: Magnitude | None = None
    n: Positive | None = None
    """What they hold for; the subgroup's size unless given."""
    source: Text | None = None


class Proposal(Command):
    """New limits, in one of three ways: ``baseline``, ``center`` and ``sigma``, or ``given``."""

    reason: Said
    stream: str | None = None
    """`id` of a stream; without it for all streams (a baseline needs one where there are several)."""
    baseline: Baseline | None = None
    center: Magnitude | None = None
    sigma: Positive | None = None
    """Of one value, not of a subgroup's mean."""
    n: Positive | None = None
    given: Given | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [self.baseline is not None, self.center is not None, self.given is not None]
        if sum(ways) != 1:
            raise ValueError("give baseline, or center (and sigma), or given: one of them")
        if self.center is None and (self.sigma is not None or self.n is not None):
            raise ValueError("sigma and n go with center")
        return self


class Approval(Command):
    """Puts proposed limits in force."""

    valid_from: str | None = None
    """Measured time from which they hold, after the newest reading; by default right after it."""
    reason: Text = ""


class Rejection(Command):
    """Turns proposed limits down."""

    reason: Said


REFUSED: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such characteristic or version."},
    409: {"description": "The version's state, or the author, does not allow this."},
    422: {"description": "No limits follow from this; `detail` says what would do."},
}
routes = APIRouter(
    prefix="/characteristics/{name}/limits", tags=["control limits"], responses=REFUSED
)


@routes.post("", status_code=201, summary="Propose limits")
async def propose(
    service: Current, name: Name, body: Proposal, idempotency_key: IdempotencyKey = None
) -> Row:
    """A new version in state `proposed`: it judges nothing until somebody approves it."""
    entry = found(service, name)
    stream = _scope(service, entry, body)

    async def act(unit: Unit) -> Row:
        before = limits.current(service.catalog, entry.id, stream)
        try:
            proposed, basis = await _limits(service, entry, stream, body, before.definition)
        except LimitsRefused as refused:
            raise Problem(422, str(refused)) from refused
        version = Version(
            id=unit.number("version"),
            characteristic=entry.id,
            stream=stream if len(service.catalog.streams_of(entry.id)) > 1 else None,
            number=limits.next_number(service.catalog, entry.id),
            state="proposed",
            valid_from=None,
            definition=before.definition,
            limits=proposed.to_dict(),
            author=body.who,
            reason=body.reason,
            created_at=service.clock(),
        )
        unit.batch.versions.append(version)
        _audit(service, unit, version, body, basis)
        return {**shapes.version(version, service.catalog), "basis": basis}

    return await once(service, idempotency_key, asked(f"limits {name}", body), act)


@routes.post("/{number}/approve", summary="Approve proposed limits")
async def approve(
    service: Current,
    name: Name,
    number: Number,
    body: Approval,
    idempotency_key: IdempotencyKey = None,
) -> Row:
    """They judge what is measured from `valid_from` on; nothing judged before changes."""
    entry = found(service, name)
    since = parsed(body.valid_from, "valid_from")

    async def act(unit: Unit) -> Row:
        version = _version(service, entry, number)
        streams = limits.streams_judged(service.catalog, entry, version.stream)
        newest = await service.records.newest_reading(streams)
        try:
            changed = limits.approved(
                version,
                service.catalog,
                who=body.who,
                at=service.clock(),
                second_person=_second_person(service, entry),
                newest=newest,
                valid_from=since,
            )
        except LimitsRefused as refused:
            raise Problem(409, str(refused)) from refused
        unit.batch.versions += changed
        _audit(service, unit, changed[0], body, None)
        return shapes.version(changed[0], service.catalog)

    return await once(service, idempotency_key, asked(f"approve {name} {number}", body), act)


@routes.post("/{number}/reject", summary="Reject proposed limits")
async def reject(
    service: Current,
    name: Name,
    number: Number,
    body: Rejection,
    idempotency_key: IdempotencyKey = None,
) -> Row:
    """The version stays on record."""
    entry = found(service, name)

    async def act(unit: Unit) -> Row:
        version = _version(service, entry, number)
        try:
            done = limits.rejected(version, who=body.who, at=service.clock(), reason=body.reason)
        except LimitsRefused as refused:
            raise Problem(409, str(refused)) from refused
        unit.batch.versions.append(done)
        _audit(service, unit, done, body, None)
        return shapes.version(done, service.catalog)

    return await once(service, idempotency_key, asked(f"reject {name} {number}", body), act)


def _scope(service: Service, entry: Characteristic, body: Proposal) -> int | None:
    if entry.retired:
        raise Problem(409, f"{entry.name} is retired")
    if body.stream is None and body.baseline is None:
        return None
    stream = stream_of(service, entry, body.stream)
    if stream is None:
        raise Problem(422, f"{entry.name} has no readings yet; enter center and sigma instead")
    return stream


async def _limits(
    service: Service,
    entry: Characteristic,
    stream: int | None,
    body: Proposal,
    definition: dict[str, Any],
) -> tuple[Limits, Row | None]:
    """What is proposed, and what it rests on."""
    if body.given is not None:
        return limits.typed(definition, **body.given.model_dump()), None
    if body.center is not None:
        return limits.typed(definition, center=body.center, sigma=body.sigma, n=body.n), None
    if body.baseline is None or stream is None:
        raise LimitsRefused(f"{entry.name}: there is nothing to estimate limits from")
    start, end = parsed(body.baseline.start, "start"), parsed(body.baseline.end, "end")
    points = await service.records.points(stream, start, end, body.baseline.last or MOST)
    used = np.unique(points["version"]).tolist()
    limits.comparable(used, service.catalog, definition)
    excluded = [(parsed(one.time, "excluded.time") or 0, one.key) for one in body.baseline.excluded]
    found_limits = limits.from_baseline(definition["chart"], points, excluded, body.baseline.method)
    basis = {
        "start": iso(int(points["time"][0])),
        "end": iso(int(points["time"][-1])),
        "points": found_limits.points,
        "excluded": [{"time": iso(time), "key": key} for time, key in found_limits.excluded],
        "advice": found_limits.advice,
    }
    return found_limits.limits, basis


def _version(service: Service, entry: Characteristic, number: int) -> Version:
    for version in service.catalog.versions_of(entry.id):
        if version.number == number:
            return version
    raise Problem(404, f"{entry.name} has no version {number}")


def _second_person(service: Service, entry: Characteristic) -> bool:
    rule = service.plant.second_person
    return rule == "always" or (rule == "critical" and entry.config.class_ == "critical")


def _audit(
    service: Service,
    unit: Unit,
    version: Version,
    body: Proposal | Approval | Rejection,
    basis: Row | None,
) -> None:
    name = service.catalog.characteristics[version.characteristic].name
    became = {"limits": version.limits, "state": version.state, "valid_from": version.valid_from}
    unit.batch.audits.append(
        Audit(
            id=unit.number("audit"),
            at=service.clock(),
            who=body.who,
            action=f"limits {version.state}",
            object=f"characteristic {name} version {version.number}",
            was=None,
            became={**became, "basis": basis},
            reason=body.reason,
        )
    )
