"""POST /readings: measurements from MES systems and from people's hands."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from app.duration import parse_duration
from app.http.current import Current
from app.http.formats import Format, Item, Unreadable
from app.http.items import ITEMS, Parsed, TooMany, parse
from app.http.ports import Clock, Service, Verdict
from app.http.problem import Problem
from app.plantfile import POSTED
from app.store.errors import StoreError
from collectors.reading import Delivery, Outcome, Receipt

SOURCE = POSTED
FORMS: dict[str, Format] = {
    "": "json",
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "text/csv": "csv",
}
IN_THREAD = 64 * 1024
"""Larger bodies are read in a worker thread: on the loop they would hold up everything else."""
REMEMBERED, KEPT = 20_000, 500
"""Idempotency keys of requests without times: in memory, and across a restart."""
LONGEST_WAIT = 30_000_000
SEVERITY = ("ok", "not_judged", "pending", "alarm")


class _Seen(NamedTuple):
    at: int
    fingerprint: str


class Arrivals:
    """When a request without times first came: a repeat gets the same times, so it is a duplicate."""

    def __init__(self, clock: Clock, stored: Callable[[], Mapping[str, Any] | None]) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._stored = stored

    def _restore(self) -> None:
        """Take up what was stored with the last such request before a restart."""
        position, self._stored = self._stored(), dict
        for key, (at, fingerprint) in (position or {}).get("arrivals", {}).items():
            self._seen.setdefault(key, _Seen(at, fingerprint))

    def at(self, key: str, body: bytes) -> int:
        """The time that stands for this request.

        Raises:
            Problem: another body came with the same key.
        """
        self._restore()
        fingerprint = blake2b(body, digest_size=8).hexdigest()
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(self._clock(), fingerprint)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        elif seen.fingerprint != fingerprint:
            raise Problem(422, "this Idempotency-Key was used with another body; take a new one")
        return seen.at

    def position(self) -> dict[str, Any]:
        """What to store with the readings."""
        newest = list(self._seen.items())[-KEPT:]
        return {"arrivals": {key: [seen.at, seen.fingerprint] for key, seen in newest}}


DESCRIPTION = f"""
Up to {ITEMS:,} readings at once. Every item is judged on its own: one that is wrong goes to the
quarantine, with its reason in the answer, and the others are accepted. An item is identified by
characteristic, time and key: sending it again is a duplicate and changes nothing, so a request that
was not answered can simply be repeated.

`time` is ISO 8601 with an offset or `Z`. Where items have none, send an `Idempotency-Key`: a repeat
with the same key is recognised as such. `values` are several readings of one time, numbered by
their position. A whole number as `key` is kept, any other key is stored as 64 bits and its original
in the tags.

Answered once everything accepted is durable. `verdict` other than `ok` means: hold the part.
"""

_ITEM_SCHEMA = msgspec.json.schema(Item)["$defs"]["Item"]
_EXAMPLE = {
    "characteristic": "bore-diameter",
    "value": 25.003,
    "time": "2026-11-23T10:15:00+01:00",
    "key": 1207,
    "tags": {"lot": "L-77"},
}
REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["readings"],
                    "additionalProperties": False,
                    "properties": {"readings": {"type": "array", "items": _ITEM_SCHEMA}},
                },
                "example": {"readings": [_EXAMPLE]},
            },
            "application/x-ndjson": {"schema": {"type": "string"}},
            "text/csv": {
                "schema": {"type": "string"},
                "example": "characteristic,value,time,key,lot\n"
                "bore-diameter,25.003,2026-11-23T10:15:00+01:00,1207,L-77\n",
            },
        },
    }
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What became of the items; also when every one was rejected.",
        "content": {
            "application/json": {
                "example": {"accepted": 1, "duplicates": 0, "rejected": [], "durable": "database"}
            }
        },
    },
    408: {"description": "The body stopped coming; send it again."},
    413: {"description": "The body is too large."},
    415: {"description": "The content type is none of these."},
    422: {"description": "The body as a whole cannot be read."},
    429: {
        "description": "The intake is full, or too many large bodies at once; come back after Retry-After."
    },
    503: {"description": "Neither database nor spool can take it."},
}


routes = APIRouter(tags=["readings"])


@routes.post(
    "/readings",
    summary="Post readings",
    description=DESCRIPTION,
    openapi_extra=REQUEST_BODY,
    responses=RESPONSES,
    response_class=Response,
)
async def post_readings(
    service: Current,
    request: Request,
    *,
    verdicts: Annotated[bool, Query(description="Answer what became of each item.")] = False,
    timeout: Annotated[  # noqa: ASYNC109 - a word of the public contract
        str, Query(description='How long to wait for verdicts, such as "500ms".')
    ] = "500ms",
    idempotency_key: Annotated[
        str | None,
        Header(max_length=200, description="Needed where an item has no time: it names a repeat."),
    ] = None,
) -> Response:
    """Read, hand over, wait until durable, answer."""
    wait = _wait(timeout)
    form = _form(request.headers.get("content-type", ""))
    arrivals: Arrivals = request.app.state.arrivals
    parsed = await _read(service, arrivals, await request.body(), form, idempotency_key)
    delivery = Delivery(
        SOURCE,
        service.clock(),
        parsed.readings,
        parsed.rejects,
        position=arrivals.position() if parsed.timeless else None,
    )
    outcome = await _durable(await service.emit(delivery, wait=False))
    document = _document(parsed, outcome)
    if verdicts:
        document["verdicts"] = await _verdicts(service, delivery, outcome, parsed, wait)
    return Response(msgspec.json.encode(document), media_type="application/json")


async def _read(
    service: Service, arrivals: Arrivals, body: bytes, form: Format, key: str | None
) -> Parsed:
    arrived = service.clock() if key is None else arrivals.at(key, body)

    def name_of(name: str) -> str:
        entry = service.catalog.find(name)
        return entry.name if entry else name

    try:
        if len(body) > IN_THREAD:
            return await asyncio.to_thread(parse, body, form, name_of, arrived, key)
        return parse(body, form, name_of, arrived, key)
    except Unreadable as error:
        raise Problem(422, str(error)) from error
    except TooMany as error:
        raise Problem(413, f"more than {ITEMS:,} readings in one request; send several") from error


async def _durable(receipt: Receipt) -> Outcome:
    """Wait until a delivery is durable."""
    try:
        # Shielded: a client that hangs up does not cancel what the pipeline has in its hands.
        return await asyncio.shield(receipt)
    except StoreError as error:
        raise Problem(503, str(error), headers={"Retry-After": "5"}) from error
    except asyncio.CancelledError:
        if receipt.cancelled():
            raise Problem(
                503, "Andon is stopping; send it again", headers={"Retry-After": "5"}
            ) from None
        raise


def _form(content_type: str) -> Format:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in FORMS:
        raise Problem(415, "send application/json, application/x-ndjson or text/csv")
    return FORMS[kind]


def _wait(text: str) -> float:
    try:
        return min(parse_duration(text), LONGEST_WAIT) / 1_000_000
    except ValueError as error:
        raise Problem(422, f"timeout: {error}") from error


def _document(parsed: Parsed, outcome: Outcome) -> dict[str, Any]:
    rejected = [(reject.index, reject.reason) for reject in parsed.rejects]
    rejected += [(parsed.index[index], reason) for index, reason in outcome.rejected]
    return {
        "accepted": outcome.accepted,
        "duplicates": outcome.duplicates,
        "rejected": [
            {"index": index, "reason": reason}
            for index, reason in sorted(rejected, key=lambda pair: pair[0] or 0)
        ],
        "durable": outcome.durable,
    }


async def _verdicts(
    service: Service, delivery: Delivery, outcome: Outcome, parsed: Parsed, wait: float
) -> list[dict[str, Any]]:
    """One entry per item: of several values the worst verdict, the newest point, all alarms."""
    refused = {index for index, _ in outcome.rejected}
    try:
        told = await asyncio.wait_for(service.verdicts(delivery, outcome), wait)
    except TimeoutError:
        told = [
            None if number in refused else Verdict("pending")
            for number in range(len(delivery.readings))
        ]
    entries: dict[int, dict[str, Any]] = {}
    for index, verdict in zip(parsed.index, told, strict=True):
        if verdict is None:
            continue
        entry = entries.setdefault(
            index,
            {"index": index, "verdict": "ok", "point": None, "violations": [], "alarms": []},
        )
        entry["verdict"] = max(entry["verdict"], verdict.verdict, key=SEVERITY.index)
        entry["point"] = verdict.point or entry["point"]
        alarms = [{"id": number} for number in verdict.alarms]
        for name, more in (("violations", verdict.violations), ("alarms", alarms)):
            entry[name] += [one for one in more if one not in entry[name]]
    return list(entries.values())
