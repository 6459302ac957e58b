"""The live protocol over real websockets against a real server on loopback."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from app.live import Door, FrameSocket, Live, StreamFacts
from app.store.rows import POINT
from tests.live_source import SECOND, Plant, characteristic, small_plant, version

NONE = np.empty(0, POINT)
PROTOCOLS = [Subprotocol("andon.v1")]


class Site:
    """A served plant; what happens in it is published at once."""

    def __init__(self, plant: Plant, live: Live, url: str) -> None:
        self.plant, self.live, self.url = plant, live, url

    def measure(self, stream: int, *values: float, start: int = 0, **fields: Any) -> None:
        points = [self.plant.point(stream, (start + i) * SECOND, y, **fields)
                  for i, y in enumerate(values)]  # fmt: skip
        self.live.publish(np.concatenate(points), NONE, NONE, [])

    def correct(self, stream: int, place: int, y: float) -> None:
        self.live.publish(NONE, self.plant.correct(stream, place, y), NONE, [])


Clock = Callable[[], int]


def wall_clock() -> int:
    return time.time_ns() // 1000


@contextlib.asynccontextmanager
async def serve(plant: Plant, clock: Clock = wall_clock, clients: int = 200) -> AsyncIterator[Site]:
    live = Live(plant, clock=clock, build="b1")
    door = Door(live, clients=clients)
    app = Starlette(routes=[WebSocketRoute("/api/v1/live", door.serve)])
    config = uvicorn.Config(app, ws=FrameSocket, ws_per_message_deflate=False,
                            log_level="error", lifespan="off")  # fmt: skip
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        running = asyncio.create_task(live.run())
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield Site(plant, live, f"ws://127.0.0.1:{listener.getsockname()[1]}/api/v1/live")
        finally:
            server.should_exit = True
            await serving
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class Screen:
    """A client that keeps what it was told."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.welcome: dict[str, Any] = {}
        self.seen: list[dict[str, Any]] = []

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of a kind; everything before it is in ``seen``."""
        while True:
            message: dict[str, Any] = json.loads(await self.connection.recv())
            self.seen.append(message)
            wanted = message["t"] == kind
            if wanted and all(message.get(name) == value for name, value in fields.items()):
                return message

    async def rows(self, number: int) -> list[list[Any]]:
        """The next ``number`` rows of points."""
        rows: list[list[Any]] = []
        while len(rows) < number:
            rows += (await self.until("d"))["p"]
        return rows

    def kinds(self) -> list[str]:
        return [message["t"] for message in self.seen if message["t"] != "hb"]


@contextlib.asynccontextmanager
async def screen(site: Site, **options: Any) -> AsyncIterator[Screen]:
    async with connect(site.url, subprotocols=PROTOCOLS, compression=None, **options) as connection:
        one = Screen(connection)
        one.welcome = await one.until("welcome")
        one.seen.clear()
        yield one


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve(small_plant()) as served:
        yield served


async def test_a_screen_is_welcomed_and_gets_what_is_stored(site: Site) -> None:
    site.plant.point(1, 1_500_000, 10.05, d=0.01)
    site.plant.point(1, 2_000_001, 10.5, violations=1, key=2**60)
    async with screen(site) as one:
        assert one.connection.subprotocol == "andon.v1"
        assert one.welcome["v"] == 1
        assert one.welcome["build"] == "b1"
        assert [c["streams"][0]["c"] for c in one.welcome["chars"]] == ["c-1", "c-2", "c-3"]
        await one.send(t="sub", chars=["c-1"], window=50)
        snap = await one.until("snap")
        assert snap["seq"] == 2
        assert snap["ts"] == [1500, 2000.001]
        assert snap["x"] == [1, str(2**60)]
        assert snap["y"] == [10.05, 10.5]
        assert snap["d"] == [0.01, None]
        assert snap["f"] == [0, 1]
        assert snap["v"] == [1, 1]
        assert not snap["partial"]
        assert snap["limits_version"] == 1
        assert snap["versions"]["1"]["x"]["ucl"] == pytest.approx(10.3)
        assert snap["versions"]["1"]["d"]["cl"] == pytest.approx(0.11284, abs=1e-5)
        await one.until("ready")


async def test_points_reach_only_who_shows_them(site: Site) -> None:
    async with screen(site) as one, screen(site) as other:
        await one.send(t="sub", chars=["c-1"])
        await other.send(t="sub", chars=["c-2"])
        await asyncio.gather(one.until("ready"), other.until("ready"))
        site.measure(1, 10.0, 10.1)
        site.measure(2, 11.0)
        assert [row[:2] for row in await one.rows(2)] == [["c-1", 1], ["c-1", 2]]
        assert [row[:2] for row in await other.rows(1)] == [["c-2", 1]]
        assert site.live.watched == {1, 2}


async def test_limits_of_a_point_with_its_own_n_come_with_it(site: Site) -> None:
    definition = {"chart": "p", "rules": ["andon"], "spec": None}
    limits = {"chart": "p", "center": 0.1, "n": 100, "method": "entered"}
    site.plant.versions_of["c-1"] = [version(1, definition=definition, limits=limits)]
    site.plant.point(1, 0, 0.1, n=100)
    site.plant.point(1, 1, 0.1, n=400)
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1"])
        snap = await one.until("snap")
        assert snap["versions"]["1"]["n"] == 100
        assert list(snap["l"]) == ["1"]
        assert snap["l"]["1"][1] == pytest.approx(0.145)
        await one.until("ready")
        site.measure(1, 0.1, n=25, start=5)
        assert (await one.rows(1))[0][10][1] == pytest.approx(0.28)


async def test_given_limits_keep_their_asymmetry_and_have_no_sigma(site: Site) -> None:
    limits = {"chart": "i_mr", "center": 10.0, "n": 1, "method": "given", "ucl": 10.2,
              "source": "CP 17"}  # fmt: skip
    site.plant.versions_of["c-1"] = [version(1, limits=limits)]
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1"])
        drawn = (await one.until("snap"))["versions"]["1"]
        assert drawn["x"] == {"cl": 10.0, "lcl": None, "ucl": 10.2, "s": None}
        assert drawn["source"] == "CP 17"
        assert drawn["d"] is None


async def test_a_dropped_screen_resumes_without_gap_or_snapshot(site: Site) -> None:
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1", "c-2"])
        await one.until("ready")
        site.measure(1, 10.0, 10.1, 10.2)
        await one.rows(3)
        epoch = one.welcome["epoch"]
    site.measure(1, 10.3, 10.4, start=10)
    async with screen(site) as again:
        await again.send(t="sub", chars=["c-1", "c-2"], since={"c-1": 3, "c-2": 0}, epoch=epoch)
        assert [row[1] for row in await again.rows(2)] == [4, 5]
        await again.until("ready")
        assert "snap" not in again.kinds()
        site.measure(1, 10.5, start=20)
        assert (await again.rows(1))[0][1] == 6


async def test_a_correction_while_away_brings_a_snapshot(site: Site) -> None:
    site.measure(1, 10.0, 10.1, 10.2)
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1"])
        await one.until("ready")
    site.correct(1, 0, 9.9)
    async with screen(site) as again:
        await again.send(t="sub", chars=["c-1"], since={"c-1": 3}, epoch="first")
        snap = await again.until("snap")
        assert snap["y"] == [9.9, 10.1, 10.2]
        assert snap["seq"] == 4


async def test_another_epoch_brings_a_snapshot_and_all_alarms(site: Site) -> None:
    site.measure(1, 10.0)
    site.plant.raise_alarm(1, "c-1")
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1"], since={"c-1": 1}, epoch="older", alarm_since=1)
        assert len((await one.until("alarms"))["alarms"]) == 1
        assert (await one.until("snap"))["seq"] == 1


async def test_changes_of_the_past_arrive_in_order(site: Site) -> None:
    site.measure(1, 10.0, 10.1, 10.2)
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1"])
        await one.until("ready")
        plant = site.plant
        new = plant.point(1, 9 * SECOND, 10.3)
        changed = plant.correct(1, 1, 10.15)
        gone = plant.withdraw(1, 0)
        late = plant.point(1, SECOND // 2, 9.8)
        site.live.publish(np.concatenate([new, late]), changed, gone, [])
        assert (await one.until("upd", rev="inserted"))["y"] == 9.8
        order = [row[1] for m in one.seen if m["t"] == "d" for row in m["p"]]
        order += [m["seq"] for m in one.seen if m["t"] == "upd"]
        assert order == [4, 5, 6, 7]
        assert [m["rev"] for m in one.seen if m["t"] == "upd"] == [
            "corrected", "withdrawn", "inserted",
        ]  # fmt: skip
    async with screen(site) as again:
        await again.send(t="sub", chars=["c-1"])
        assert (await again.until("snap"))["y"] == [9.8, 10.15, 10.2, 10.3]
    assert site.plant.asked == [(1, 100)], "the second screen is served from memory"


async def test_the_window_slides_and_can_grow(site: Site) -> None:
    site.measure(1, *[float(i) for i in range(300)])
    async with screen(site) as one, screen(site) as wide:
        await one.send(t="sub", chars=["c-1"], window=20)
        assert (await one.until("snap"))["y"] == [float(i) for i in range(280, 300)]
        await one.until("ready")
        for i in range(300, 360):
            site.measure(1, float(i), start=i)
        await one.send(t="sub", chars=["c-1"], window=20)
        assert (await one.until("snap", seq=360))["y"] == [float(i) for i in range(340, 360)]
        await wide.send(t="sub", chars=["c-1"], window=200)
        assert (await wide.until("snap"))["y"] == [float(i) for i in range(160, 360)]


async def test_more_rows_than_may_wait_become_a_snapshot(site: Site) -> None:
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1", "c-2"])
        await one.until("ready")
        site.measure(1, *[float(i) for i in range(500)])
        site.measure(2, 1.0)
        snap = await one.until("snap", c="c-1", seq=500)
        assert snap["y"][-1] == 499.0
        rows = [row for m in one.seen if m["t"] == "d" for row in m["p"]]
        assert [row[0] for row in rows] == ["c-2"]


async def test_while_the_database_is_away_live_goes_on_and_the_past_follows(site: Site) -> None:
    site.measure(1, 10.0, 10.1)
    site.plant.away = True
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1"])
        snap = await one.until("snap")
        assert snap["partial"]
        assert snap["y"] == []
        assert snap["versions"]["1"]["x"]["cl"] == 10.0
        await one.until("ready")
        site.measure(1, 10.2, start=10)
        await one.rows(1)
        site.plant.away = False
        whole = await one.until("snap")
        assert whole["y"] == [10.0, 10.1, 10.2]
        assert not whole["partial"]


async def test_points_published_while_history_is_read_are_not_lost(site: Site) -> None:
    site.measure(1, 10.0)
    behind, asked = asyncio.Event(), asyncio.Event()
    stored = site.plant.history

    async def slow(stream: int, window: int) -> Any:
        history = await stored(stream, window)
        asked.set()
        await behind.wait()
        return history

    site.plant.history = slow  # type: ignore[method-assign]
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1"])
        await asked.wait()
        site.measure(1, 10.1, start=5)
        behind.set()
        snap = await one.until("snap")
        assert snap["y"] == [10.0, 10.1]
        assert snap["seq"] == 2


async def test_alarms_arrive_on_every_screen_and_again_after_a_drop(site: Site) -> None:
    async with screen(site) as one:
        await one.send(t="sub", chars=[], alarm_since=0)
        assert (await one.until("alarms"))["alarms"] == []
        site.live.publish(NONE, NONE, NONE, [site.plant.raise_alarm(7, "c-1")])
        told = await one.until("al")
        assert told["seq"] == 1
        assert told["alarm"]["state"] == "unack"
    site.live.publish(NONE, NONE, NONE, [site.plant.raise_alarm(7, "c-1", state="ack")])
    async with screen(site) as again:
        await again.send(t="sub", chars=[], alarm_since=1, epoch="first")
        told = await again.until("al")
        assert (told["seq"], told["alarm"]["state"], told["alarm"]["version"]) == (2, "ack", 2)
        await again.until("ready")
        assert "alarms" not in again.kinds()


async def test_new_limits_and_streams_are_told(site: Site) -> None:
    async with screen(site) as one:
        await one.send(t="sub", chars=["c-1"])
        await one.until("ready")
        site.plant.versions_of["c-1"] = [
            version(1),
            version(2, state="proposed", limits=version(1).limits),
        ]
        site.live.catalog_changed(["c-1"])
        told = await one.until("lim")
        assert told["limits_version"] == 1
        assert told["versions"]["2"]["state"] == "proposed"
        streams = (StreamFacts(9, "cav:1", {"cavity": "1"}),)
        site.plant.facts["cav"] = characteristic("cav", streams=streams)
        site.plant.named["cav:1"], site.plant.owner[9] = 9, "cav"
        site.live.catalog_changed(["cav", "gone"])
        assert (await one.until("char"))["char"]["streams"][0]["c"] == "cav:1"
        assert (await one.until("char"))["char"] == {"id": "gone", "retired": True}
        await one.send(t="sub", chars=["cav:1"])
        assert (await one.until("snap"))["c"] == "cav:1"
    async with screen(site) as again:
        assert len(again.welcome["chars"]) == 4


async def test_a_screen_that_does_not_read_harms_nobody(site: Site) -> None:
    async with screen(site, max_queue=1) as slow, screen(site) as fast:
        for one in (slow, fast):
            await one.send(t="sub", chars=["c-1"], window=1000)
            await one.until("ready")
        await slow.send(t="rx", now=site.live.now_ms() - 5_000)
        told = site.plant.raise_alarm(1, "c-1")
        site.live.publish(NONE, NONE, NONE, [told])
        for i in range(300):
            site.measure(1, float(i), start=i)
            if i % 50 == 0:
                await fast.until("d")
        assert site.plant.seqs[1] == 300
        while fast.seen[-1]["t"] != "d" or fast.seen[-1]["p"][-1][1] < 300:
            await fast.until("d")
        await slow.until("al")
        assert "d" not in slow.kinds()[-2:], "points wait while the screen is behind"
        await slow.send(t="rx", now=site.live.now_ms())
        snap = await slow.until("snap", seq=300)
        assert snap["y"][-1] == 299.0
        assert site.live.coalesced >= 1


async def test_a_screen_thirty_seconds_behind_is_closed(site: Site) -> None:
    async with screen(site) as one:
        await one.send(t="rx", now=site.live.now_ms() - 31_000)
        with pytest.raises(ConnectionClosed) as closed:
            await one.until("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4008


async def test_a_screen_that_takes_no_alarms_is_closed_and_not_served_some(site: Site) -> None:
    async with screen(site) as one:
        for i in range(1, 10_102):
            site.live.publish(NONE, NONE, NONE, [site.plant.raise_alarm(i, "c-1")])
        with pytest.raises(ConnectionClosed) as closed:
            await one.until("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
    async with screen(site, max_size=None) as again:
        await again.send(t="sub", chars=[], alarm_since=1, epoch="first")
        assert len((await again.until("alarms"))["alarms"]) == 10_101


async def test_a_silent_plant_still_shows_that_it_is_there(site: Site) -> None:
    async with screen(site) as one:
        first = await one.until("hb")
        assert (await one.until("hb"))["now"] > first["now"]


async def test_what_is_not_known_or_not_the_protocol_is_answered(site: Site) -> None:
    async with screen(site) as one:
        await one.send(t="sub", chars=["nobody", "c-1"])
        assert (await one.until("err"))["code"] == "unknown"
        assert (await one.until("snap"))["c"] == "c-1"
        for nonsense in ("", "{", '{"t":"sub","window":"x"}', '{"t":"??"}', "[1]", b"\xff\x00"):
            await one.connection.send(nonsense)
            assert (await one.until("err"))["code"] == "bad_message"
        await one.send(t="unsub", chars=["c-1", "nobody"])
        await one.until("hb")
        for _ in range(4):
            await one.connection.send("{")
        with pytest.raises(ConnectionClosed) as closed:
            await one.until("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"origin": "https://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
        ({"subprotocols": ["other.v9"]}, 400),
    ],
)
async def test_strangers_are_refused(site: Site, options: dict[str, Any], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(site.url, **options):
            pass
    assert refused.value.response.status_code == status


async def test_the_server_s_own_pages_are_let_in(site: Site) -> None:
    origin = site.url.replace("ws://", "http://").removesuffix("/api/v1/live")
    async with screen(site, origin=origin) as one:
        assert one.welcome["t"] == "welcome"


async def test_more_screens_than_allowed_are_told_to_come_back() -> None:
    async with serve(small_plant(), clients=1) as site, screen(site):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(site.url, subprotocols=PROTOCOLS):
                pass
        assert refused.value.response.status_code == 503


async def test_streams_nobody_shows_are_forgotten_in_time() -> None:
    async with serve(small_plant(400)) as site:
        async with screen(site) as one:
            await one.send(t="sub", chars=[f"c-{i}" for i in range(1, 401)])
            await one.until("ready")
            assert len(site.live.watched) == 400
        async with screen(site) as other:
            while len(site.live.clients) > 1:
                await other.until("hb")
        assert len(site.live.watched) == 256
