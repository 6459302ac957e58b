"""A small plant for the screen: seeded streams through the real hub, socket and built pages.

The API is as small as the screen needs; ``/feeder/...`` makes things happen. Run it with
``python -m tests.browser.feeder --port 8123``.
"""

import argparse
import asyncio
import datetime as dt
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import numpy as np
import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request
from numpy.typing import NDArray
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from app.http import problem, screen
from app.http.guard import HEADERS
from app.http.shapes import alarm as alarm_shape
from app.live import CharacteristicFacts, Door, Live, StreamFacts
from app.store.batch import Alarm, Version
from app.store.rows import POINT
from rules.charts import chart_named
from rules.evaluate import evaluate
from rules.limits import Limits, location
from rules.runs import compile_rules
from tests.live_source import SECOND, Plant, version

NONE = np.empty(0, POINT)
CAUSES = ("Tool wear", "Material", "Setup", "Measurement", "Temperature", "Not known")
ACTIONS = ("Tool changed", "Offset", "Measured again", "Line stopped", "Maintenance called")
Row = dict[str, Any]

# id, name, unit, decimals, station, part, chart, n, center, sigma
TABLE = [
    ("bore-diameter", "Bore diameter", "mm", 3, "line-1/op-10", "Housing 4711", "i_mr", 1, 25.0, 0.004),
    ("bore-depth", "Bore depth", "mm", 2, "line-1/op-10", "Housing 4711", "i_mr", 1, 41.5, 0.03),
    ("face-runout", "Face runout", "µm", 1, "line-1/op-10", "Housing 4711", "i_mr", 1, 12.0, 1.1),
    ("thread-depth", "Thread depth", "mm", 2, "line-1/op-10", "Housing 4711", "i_mr", 1, 18.2, 0.05),
    ("shaft-diameter", "Shaft diameter", "mm", 3, "line-1/op-20", "Shaft 88", "xbar_r", 5, 12.0, 0.006),
    ("shaft-length", "Shaft length", "mm", 2, "line-1/op-20", "Shaft 88", "xbar_r", 5, 96.4, 0.04),
    ("roughness", "Roughness Ra", "µm", 2, "line-1/op-20", "Shaft 88", "i_mr", 1, 0.82, 0.05),
    ("groove-width", "Groove width", "mm", 3, "line-1/op-20", "Shaft 88", "xbar_s", 8, 3.2, 0.008),
    ("press-force", "Press force", "kN", 1, "line-2/op-30", "Bearing seat", "i_mr", 1, 84.0, 1.4),
    ("press-depth", "Press depth", "mm", 2, "line-2/op-30", "Bearing seat", "i_mr", 1, 7.1, 0.02),
    ("torque-a4", "Torque A4", "Nm", 2, "line-2/op-30", "Cover", "i_mr", 1, 12.86, 0.02),
    ("torque-angle", "Torque angle", "°", 0, "line-2/op-30", "Cover", "i_mr", 1, 64.0, 2.0),
    ("leak-rate", "Leak rate", "ml/min", 2, "line-2/op-40", "Cover", "i_mr", 1, 0.45, 0.04),
    ("coating", "Coating thickness", "µm", 1, "line-2/op-40", "Cover", "xbar_r", 4, 22.0, 0.9),
    ("scratches", "Scratched parts", "", None, "line-2/op-40", "Cover", "p", 100, 0.04, None),
    ("label-missing", "Missing label", "", None, "line-2/op-40", "Box", "p", 50, 0.03, None),
    ("cavity-weight", "Cap weight", "g", 2, "line-3/op-50", "Cap 12", "i_mr", 1, 4.2, 0.02),
    ("fill-weight", "Fill weight", "g", 1, "line-3/op-50", "Bottle", "i_mr", 1, 501.5, 0.8),
    ("fill-temperature", "Fill temperature", "°C", 1, "line-3/op-50", "Bottle", "i_mr", 1, 83.0, 0.6),
    ("cap-torque", "Cap torque", "Nm", 2, "line-3/op-60", "Bottle", "xbar_r", 3, 1.35, 0.05),
    ("seal-strength", "Seal strength", "N", 1, "line-3/op-60", "Pouch", "i_mr", 1, 31.0, 0.8),
    ("batch-energy", "Batch energy", "kJ/kg", 3, "line-3/op-60", "Pouch", "i_mr", 1, 1234567.891, 0.5),
    ("oven-zone-3", "Oven zone 3", "°C", 1, "line-3/op-60", "Pouch", "i_mr", 1, 212.0, 0.7),
]  # fmt: skip
PHASE = 110  # points under the first limits
CAVITIES = ("1", "2", "3", "4")


class Feeder:
    """A plant that measures every stream each ``every`` seconds, calm unless told otherwise."""

    def __init__(self, every: float, history: int, seed: int) -> None:
        self.every = every
        self._random = np.random.default_rng(seed)
        self._numbers = itertools.count(1)
        self._version_ids = itertools.count(1)
        self.silent: set[int] = set()
        self.limits: dict[str, Limits] = {}
        self.plant = Plant(self._facts())
        self.plant.era = str(time.time_ns())
        for row in TABLE:
            self._freeze(row)
        self.live = Live(self.plant, clock=lambda: time.time_ns() // 1000, build="feeder")
        self.posted: dict[str, Row] = {}
        start = time.time_ns() // 1000 - int(history * max(every, 1.0) * SECOND)
        for i in range(history):
            for stream in self.plant.owner:
                self._measure(stream, start + int(i * max(every, 1.0) * SECOND), None)

    def _facts(self) -> list[CharacteristicFacts]:
        facts = []
        for name, label, unit, decimals, station, part, chart, n, center, sigma in TABLE:
            tags = [{"cavity": c} for c in CAVITIES] if name == "cavity-weight" else [{}]
            plausible = (
                (None, None) if sigma is None else (center - 40 * sigma, center + 40 * sigma)
            )
            facts.append(CharacteristicFacts(
                id=name, name=label, unit=unit, decimals=decimals, station=station, part=part,
                class_="significant", chart=chart, n=1 if chart == "p" else n,
                expect_s=max(self.every, 1.0), plausible=plausible, causes=CAUSES, actions=ACTIONS,
                streams=tuple(StreamFacts(next(self._numbers), ":".join((name, *t.values())), t)
                              for t in tags),
            ))  # fmt: skip
        return facts

    def _freeze(self, row: tuple[Any, ...]) -> None:
        name, chart, n, center, sigma = row[0], *row[6:]
        spec = None
        if chart == "i_mr":
            spec = {"lower": center - 5 * sigma, "target": center, "upper": center + 5 * sigma}
        definition = {"chart": chart, "rules": ["andon"], "spec": spec,
                      "subgroup": {"size": 1 if chart == "p" else n}}  # fmt: skip
        now = Limits(chart, center, sigma, float(n if chart == "p" else 1), "entered")
        old = now if sigma is None else Limits(
            chart, center - 0.4 * sigma, 1.15 * sigma, 1.0, "entered")  # fmt: skip
        self.limits[name] = now
        stamp = time.time_ns() // 1000 - 86_400 * SECOND
        common: Row = {"definition": definition, "created_at": stamp, "approved_at": stamp}
        ids = itertools.islice(self._version_ids, 2)
        self.plant.versions_of[name] = [
            version(
                1,
                id=next(ids),
                state="superseded",
                limits=old.to_dict(),
                author="K. Vogt",
                **common,
            ),
            version(2, id=next(ids), limits=now.to_dict(), approved_by="M. Lang", **common),
        ]

    def _value(self, name: str, z: float | None) -> tuple[float, float]:
        """A statistic ``z`` sigma (of itself) off the center, and its n."""
        limits, facts = self.limits[name], self.plant.facts[name]
        z = float(np.clip(self._random.normal(), -2.4, 2.4)) if z is None else z
        if limits.chart == "p":
            n = float(self._random.integers(80, 121))
            sigma = float(np.sqrt(limits.center * (1 - limits.center) / n))
            return max(0.0, round((limits.center + z * sigma) * n) / n), n
        digits = facts.decimals or 0
        scale = (limits.sigma or 0.0) / facts.n**0.5
        return round(limits.center + z * scale, digits + (facts.n > 1)), float(facts.n)

    def _measure(self, stream: int, at: int, z: float | None) -> NDArray[np.void]:
        """One more point of a stream; without ``z`` one that completes no rule."""
        name = self.plant.owner[stream]
        before = self.plant.rows.get(stream, NONE)[-40:]
        for _ in range(50):
            y, n = self._value(name, z)
            d = self._spread(name, y, n, before)
            mask = self._judge(name, before, y, d, n)
            if z is not None or mask == 0:
                break
        first, second = self.plant.versions_of[name][:2]
        judge = first.id if len(self.plant.rows.get(stream, NONE)) < PHASE else second.id
        return self.plant.point(stream, at, y, d=d, n=n, violations=mask, version=judge)

    def _spread(self, name: str, y: float, n: float, before: NDArray[np.void]) -> float:
        limits = self.limits[name]
        if limits.chart == "p":
            return float("nan")
        if limits.chart == "i_mr":
            return abs(y - float(before["statistic"][-1])) if len(before) else float("nan")
        width = {"xbar_r": 2.326 if n >= 5 else 1.9, "xbar_s": 0.965}[limits.chart]
        return float((limits.sigma or 0) * width * self._random.uniform(0.5, 1.6))

    def _judge(self, name: str, before: NDArray[np.void], y: float, d: float, n: float) -> int:
        limits = self.limits[name]
        program = compile_rules(["andon"], None, chart_named(limits.chart))
        columns = [np.append(before[c], x)
                   for c, x in (("statistic", y), ("dispersion", d), ("n", n))]  # fmt: skip
        return int(evaluate(limits, program, *columns)[-1])

    def happen(self, stream: int, z: float | None = None, at: int | None = None) -> Row:
        """Measure once and tell everybody."""
        at = time.time_ns() // 1000 if at is None else at
        row = self._measure(stream, at, z)
        alarms = self._alarms(stream, row)
        self.live.publish(row, NONE, NONE, alarms)
        return {"value": float(row["statistic"][0]), "violations": int(row["violations"][0]),
                "alarms": [alarm_shape(one) for one in alarms]}  # fmt: skip

    def _alarms(self, stream: int, row: NDArray[np.void]) -> list[Alarm]:
        name = self.plant.owner[stream]
        facts, y = self.plant.facts[name], float(row["statistic"][0])
        spec = self.plant.versions_of[name][-1].definition["spec"]
        beyond = spec is not None and not spec["lower"] <= y <= spec["upper"]
        if not row["violations"][0] and not beyond:
            return []
        limits = self.limits[name]
        word = "specification" if beyond else "control limits"
        side = "above" if y > limits.center else "below"
        if not beyond and not int(row["violations"][0]) & 3:
            return self._raise(stream, 3, "control", f"Points run {side} the center line.", row)
        sentence = f"1 point {side} the {word}: {y:.{facts.decimals or 3}f} {facts.unit}. Check the tool, measure again."
        return self._raise(
            stream, 1 if beyond else 2, "spec" if beyond else "control", sentence, row
        )

    def _raise(
        self, stream: int, priority: int, kind: str, sentence: str, row: NDArray[np.void]
    ) -> list[Alarm]:
        named = next(
            s.name for s in self.plant.facts[self.plant.owner[stream]].streams if s.id == stream
        )
        known = next((one for one in self.plant.open_alarms()
                      if one.stream_name == named and one.alarm_class == kind), None)  # fmt: skip
        number = known.id if known else len(self.plant.alarms) + 1
        at = int(row["time"][0])
        fields: Row = {"priority": min(priority, known.priority if known else 9), "alarm_class": kind,
                       "sentence": sentence, "state": "unack", "last_time": at, "active": True,
                       "needs_cause": priority == 1, "last_key": int(row["key"][0])}  # fmt: skip
        if known is None:
            fields["opened"] = at
        else:
            fields["count"] = known.count + 1
        return [self.plant.raise_alarm(number, named, **fields)]

    def propose(self, name: str) -> None:
        """Somebody proposes tighter limits."""
        versions = self.plant.versions_of[name]
        last = versions[-1]
        limits = self.limits[name]
        tighter = Limits(
            limits.chart, limits.center, (limits.sigma or 0) * 0.8 or None, limits.n, "baseline"
        )
        versions.append(msgspec.structs.replace(
            last, id=next(self._version_ids), number=len(versions) + 1, state="proposed",
            limits=tighter.to_dict(), author="A. Roth", approved_by=None, approved_at=None,
        ))  # fmt: skip
        self.live.catalog_changed([name])

    async def run(self) -> None:
        """Measure for ever."""
        streams = list(self.plant.owner)
        for i in itertools.count():
            await asyncio.sleep(self.every / len(streams))
            stream = streams[i % len(streams)]
            if stream not in self.silent:
                self.happen(stream)


class Act(msgspec.Struct):
    """What a person does with an alarm."""

    who: str
    version: int | None = None
    cause: str | None = None
    action: str | None = None
    note: str | None = None
    text: str | None = None


def site_routes(feeder: Feeder) -> APIRouter:
    """The plant and its socket."""
    api = APIRouter(prefix="/api/v1")

    @api.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        await Door(feeder.live).serve(websocket)

    @api.get("/site")
    async def site() -> Row:
        return {"name": "Plant 1", "timezone": "Europe/Berlin", "locale": "en-GB",
                "build": "feeder", "causes": CAUSES, "actions": ACTIONS}  # fmt: skip

    @api.get("/sources")
    async def sources() -> Row:
        stamp = dt.datetime.now(dt.UTC).isoformat()
        up: Row = {"id": "line-1-broker", "kind": "mqtt", "state": "up", "since": stamp, "last_error": None,
              "attempts": 1, "last_reading_at": stamp, "skew_s": 0.012,
              "counters": {"messages": 8123, "readings": 8123, "rejects": 2}}  # fmt: skip
        down = {**up, "id": "press-7", "kind": "modbus", "state": "down", "skew_s": None,
                "last_error": "no answer from 10.0.4.17:502", "last_reading_at": None}  # fmt: skip
        http = {**up, "id": "http", "kind": "http", "skew_s": None}
        return {"items": [up, down, http], "next": None}

    @api.get("/quarantine")
    async def quarantine() -> Row:
        row = {"id": 1, "received_at": dt.datetime.now(dt.UTC).isoformat(), "source": "line-1-broker",
               "reason": 'characteristic "bore-diamter" is not known; did you mean "bore-diameter"?',
               "payload": '{"value": 24.998}'}  # fmt: skip
        return {"items": [row], "next": None}

    @api.get("/gaps")
    async def gaps() -> Row:
        now = dt.datetime.now(dt.UTC)
        row = {"id": 1, "source": "line-1-broker", "characteristic": None, "missed": 3,
               "start": (now - dt.timedelta(minutes=4)).isoformat(), "end": now.isoformat(),
               "reason": "sequence 4711 to 4715"}  # fmt: skip
        return {"items": [row], "next": None}

    @api.post("/announce/test")
    async def announce_test() -> Row:
        return {"items": [], "next": None}  # this plant announces nowhere

    return api


def alarm_routes(feeder: Feeder) -> APIRouter:
    """Alarms and what people do about them."""
    api = APIRouter(prefix="/api/v1")
    plant, histories = feeder.plant, {}

    @api.get("/alarms")
    async def alarms() -> Row:
        rows = [one for one in plant.alarms.values() if one.state == "closed"]
        return {"items": [alarm_shape(one) for one in rows], "next": None}

    @api.get("/alarms/{number}")
    async def alarm(number: int) -> Row:
        if number not in plant.alarms:
            raise HTTPException(404, "There is no such alarm.")
        return {**alarm_shape(plant.alarms[number]), "history": histories.get(number, [])}

    @api.post("/alarms/{number}/{command}")
    async def act(number: int, command: str, request: Request) -> Response:
        body = msgspec.json.decode(await request.body(), type=Act)
        known = plant.alarms[number]
        if body.version is not None and body.version != known.version:
            return problem.answer(409, f"{known.seen_by} was first", alarm=alarm_shape(known))
        now = time.time_ns() // 1000
        changes: Row = {}
        if command == "acknowledge":
            changes = {"state": "ack", "seen_by": body.who, "seen_at": now}
        elif command == "cause":
            changes = {"cause": body.cause, "action": body.action, "note": body.note,
                       "caused_by": body.who, "state": "ack"}  # fmt: skip
        elif command == "close":
            changes = {"state": "closed", "closed_at": now}
        changed = plant.raise_alarm(number, known.stream_name, **changes)
        kind = {"acknowledge": "seen", "close": "closed"}.get(command, command)
        said = body.text or " · ".join(filter(None, (body.cause, body.action, body.note)))
        histories.setdefault(number, []).append({
            "version": changed.version, "at": dt.datetime.now(dt.UTC).isoformat(), "kind": kind,
            "who": body.who, "text": said,
        })  # fmt: skip
        feeder.live.publish(NONE, NONE, NONE, [changed])
        return JSONResponse(alarm_shape(changed))

    return api


def reading_routes(feeder: Feeder) -> APIRouter:
    """Hand measurements and limits."""
    api = APIRouter(prefix="/api/v1")
    plant = feeder.plant

    @api.post("/readings")
    async def readings(request: Request) -> Row:
        body = msgspec.json.decode(await request.body())
        key = request.headers["Idempotency-Key"]
        item = body["readings"][0]
        feeder.posted.setdefault(key, item)
        facts = plant.facts[item["characteristic"]]
        low, high = facts.plausible
        value = item.get("value", (item.get("values") or [0])[0])
        if low is not None and high is not None and not low <= value <= high:
            reason = f"{value} is not plausible ({low:g} to {high:g})"
            return {"accepted": 0, "duplicates": 0, "durable": "database",
                    "rejected": [{"index": 0, "reason": reason}]}  # fmt: skip
        limits = feeder.limits[facts.id]
        told = feeder.happen(facts.streams[0].id, (value - limits.center) / (limits.sigma or 1))
        verdict = "alarm" if told["violations"] else "ok"
        return {"accepted": 1, "duplicates": 0, "rejected": [], "durable": "database",
                "verdicts": [{"index": 0, "verdict": verdict, "violations": [],
                              "alarms": told["alarms"]}]}  # fmt: skip

    @api.get("/characteristics/{name}/versions")
    async def versions(name: str) -> Row:
        return {"items": [_version(one) for one in plant.versions_of[name]], "next": None}

    @api.post("/characteristics/{name}/limits/{number}/{decision}")
    async def decide(name: str, number: int, decision: str, request: Request) -> Row:
        body = msgspec.json.decode(await request.body())
        for one in plant.versions_of[name]:
            if one.number == number:
                one.state = "active" if decision == "approve" else "rejected"
                one.approved_by, one.approved_at = body["who"], time.time_ns() // 1000
        feeder.live.catalog_changed([name])
        return {}

    return api


def _version(row: Version) -> Row:
    line = location(Limits.from_dict(row.limits)) if row.limits else None
    lines = line and {"center": line.center, "lcl": line.lcl, "ucl": line.ucl, "sigma": line.sigma}
    return {"number": row.number, "stream": None, "state": row.state, "valid_from": None,
            "limits": row.limits, "location": lines, "author": row.author, "reason": row.reason,
            "created_at": "2026-11-02T08:00:00Z", "approved_by": row.approved_by,
            "approved_at": None}  # fmt: skip


def controls(feeder: Feeder) -> APIRouter:
    """What a test makes happen."""
    api = APIRouter(prefix="/feeder")

    @api.post("/measure/{stream}")
    async def measure(stream: str, z: float) -> Row:
        return feeder.happen(feeder.plant.named[stream], z)

    @api.post("/silence/{stream}")
    async def silence(stream: str) -> Row:
        feeder.silent.add(feeder.plant.named[stream])
        return {}

    @api.post("/correct/{stream}")
    async def correct(stream: str) -> Row:
        number = feeder.plant.named[stream]
        row = feeder.plant.correct(number, 0, feeder.limits[stream].center)
        feeder.live.publish(NONE, row, NONE, [])
        return {}

    @api.post("/propose/{name}")
    async def propose(name: str) -> Row:
        feeder.propose(name)
        return {}

    @api.get("/posted")
    async def posted() -> dict[str, Row]:
        return feeder.posted

    return api


class Headers:
    """The headers that the service gives every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)


def create(every: float, history: int, seed: int) -> FastAPI:
    """The feeder as an application."""
    feeder = Feeder(every, history, seed)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(feeder.live.run()), asyncio.create_task(feeder.run())]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app = FastAPI(lifespan=lifespan)
    for made in (site_routes, alarm_routes, reading_routes, controls):
        app.include_router(made(feeder))
    app.include_router(screen.router())
    problem.install(app)
    app.add_middleware(Headers)
    return app


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--history", type=int, default=160)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    uvicorn.run(create(given.every, given.history, given.seed), port=given.port,
                log_level="warning", ws="websockets-sansio", ws_per_message_deflate=False)  # fmt: skip


if __name__ == "__main__":
    main()
