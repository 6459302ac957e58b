"""The screen in a real browser, against the real hub and socket."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, WebSocket, expect

from tests.browser.conftest import FeederProcess, Watched

pytestmark = pytest.mark.asyncio(loop_scope="module")

RED, AMBER = [168, 0, 28], [255, 176, 0]
STREAMS = 26


def tile(page: Page, stream: str) -> Any:
    return page.locator(f'.tile[data-stream="{stream}"]')


async def until(page: Page, script: str, arg: Any, *, least: int) -> None:
    """Ask the page until the answer is large enough; its CSP forbids that it asks itself."""
    async with asyncio.timeout(10):
        while await page.evaluate(script, arg) < least:
            await page.wait_for_timeout(50)


async def test_every_tile_shows_a_value(screen: Watched) -> None:
    page = await screen.open("/")
    await expect(page.locator(".tile")).to_have_count(STREAMS)
    await expect(
        page.locator(".tile .digits", has_text=re.compile(r"^\d+(\.\d+)?$"))
    ).to_have_count(STREAMS)
    await expect(page.locator(".live")).to_contain_text("Live")
    await expect(page.get_by_text("Plant 1", exact=True)).to_be_visible()
    await expect(tile(page, "cavity-weight:3")).to_have_attribute(
        "aria-label", re.compile("Cap weight · cavity 3: 4")
    )


async def test_a_value_reaches_tile_and_chart(screen: Watched, feeder: FeederProcess) -> None:
    wall = await screen.open("/wall/line-2")
    await expect(tile(wall, "leak-rate").locator(".digits")).to_have_text(re.compile(r"\d"))
    await wall.evaluate("""() => {
      window.shown = []
      const digits = document.querySelector('.tile[data-stream="leak-rate"] .digits')
      new MutationObserver(() => window.shown.push(digits.textContent))
        .observe(digits, { characterData: true, childList: true, subtree: true })
    }""")
    told = feeder.measure("leak-rate", 1.9)
    await until(wall, "(text) => +window.shown.includes(text)", f"{told['value']:.2f}", least=1)


async def test_four_sigma_is_an_alarm_on_every_screen(
    screen: Watched, feeder: FeederProcess, has_color: Callable[[str], str]
) -> None:
    chart = await screen.open("/c/thread-depth")
    wall = await screen.open("/wall/line-1")
    canvas = has_color(".pane.location canvas")
    await expect(chart.locator(".big-value .digits")).to_have_text(re.compile(r"\d"))
    await expect(tile(wall, "thread-depth").locator(".badge")).to_have_count(0)
    assert await chart.evaluate(canvas, AMBER) == 0
    feeder.measure("thread-depth", 4)
    await expect(tile(wall, "thread-depth").locator(".badge.p2")).to_have_text(re.compile("OOC.*▲"))
    await expect(tile(wall, "thread-depth").locator(".badge svg path")).to_have_count(1)
    await expect(wall).to_have_title(re.compile("◆"))
    await until(chart, canvas, AMBER, least=20)
    await chart.get_by_role("button", name="Table").click()
    await expect(
        chart.locator("tr", has_text="outside the control limits, high (nelson-1)")
    ).not_to_have_count(0)


async def test_beyond_the_specification_outranks_control_limits(
    screen: Watched, feeder: FeederProcess, has_color: Callable[[str], str]
) -> None:
    page = await screen.open("/c/roughness")
    await expect(page.locator(".big-value .digits")).to_have_text(re.compile(r"\d"))
    feeder.measure("roughness", -6)
    canvas = has_color(".pane.location canvas")
    await until(page, canvas, RED, least=20)
    await expect(page.locator(".alarm-card .badge.p1")).to_contain_text("SPEC")
    await expect(page).to_have_title(re.compile("■"))


async def test_a_mark_beyond_the_scale_of_a_tile_stands_at_its_edge(
    screen: Watched, feeder: FeederProcess, has_color: Callable[[str], str]
) -> None:
    page = await screen.open("/wall/line-2")
    selector = '.tile[data-stream="coating"] canvas'
    await expect(tile(page, "coating").locator(".digits")).to_have_text(re.compile(r"\d"))
    assert await page.evaluate(has_color(selector), AMBER) == 0
    feeder.measure("coating", 40)
    await expect(tile(page, "coating").locator(".badge.p2")).to_contain_text("▲")
    await until(page, has_color(selector), AMBER, least=10)


async def test_a_silent_gauge_says_so_alone(screen: Watched, feeder: FeederProcess) -> None:
    feeder.post("/feeder/silence/fill-temperature")
    page = await screen.open("/wall/line-3")
    await expect(tile(page, "fill-temperature").locator(".badge.p4")).to_contain_text("NO DATA")
    await expect(page.locator(".tile.nodata")).to_have_count(1)


async def test_paused_stands_still_until_it_follows_again(screen: Watched) -> None:
    page = await screen.open("/c/fill-weight")
    await expect(page.locator(".span")).to_have_text("100 points")
    await page.get_by_role("button", name="Show fewer points").click()
    await expect(page.locator(".span")).to_have_text("50 points")
    await expect(page.get_by_role("button", name="PAUSED")).to_be_visible()
    await page.get_by_role("button", name="Follow the newest point").click()
    await expect(page.get_by_role("button", name="Following")).to_be_visible()
    await page.locator(".pane.location").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator(".readout strong")).to_have_text(re.compile(r"\d g$"))
    await page.keyboard.press("Escape")
    await expect(page.locator(".readout strong")).to_have_count(0)


async def test_paused_stands_still_through_a_snapshot(
    screen: Watched, feeder: FeederProcess
) -> None:
    """What is in sight is the same after the server had to send everything anew."""
    screen.losing = True
    page = await screen.open("/c/oven-zone-3")
    await expect(page.locator(".span")).to_have_text("100 points")
    await page.get_by_role("button", name="Following").click()
    await page.locator(".pane.location").focus()
    await page.keyboard.press("ArrowLeft")
    readout = page.locator(".readout")
    before = await readout.inner_text()
    await page.context.set_offline(True)
    await expect(page.locator(".banner")).to_be_visible()
    for z in (0.1, -0.2, 0.3):
        feeder.measure("oven-zone-3", z)
    feeder.post("/feeder/correct/oven-zone-3")  # so that the missing points are not enough
    await page.context.set_offline(False)
    await expect(page.locator(".banner")).to_have_count(0)
    await page.wait_for_timeout(300)
    assert await readout.inner_text() == before
    await expect(page.get_by_role("button", name="PAUSED")).to_be_visible()
    await page.locator(".pane.location").focus()
    await page.keyboard.press("ArrowRight")
    assert await readout.inner_text() != before


async def test_keys_move_through_the_chart(screen: Watched) -> None:
    """As docs/screen.md has them."""
    page = await screen.open("/c/seal-strength")
    await expect(page.locator(".span")).to_have_text("100 points")
    await page.locator(".pane.location").focus()
    await page.keyboard.press("Shift+ArrowLeft")
    await expect(page.get_by_role("button", name="PAUSED")).to_be_visible()
    await page.keyboard.press("ArrowLeft")
    first = await page.locator(".readout").inner_text()
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator(".readout")).not_to_have_text(first)
    await page.keyboard.press("ArrowRight")
    assert await page.locator(".readout").inner_text() == first
    await page.keyboard.press("Escape")
    await expect(page.locator(".readout strong")).to_have_count(0)
    await page.keyboard.press("p")  # a scanner is a keyboard: letters do nothing
    await expect(page).to_have_url(re.compile("/c/seal-strength$"))


async def test_an_address_that_nobody_can_read_is_answered(screen: Watched) -> None:
    page = await screen.open("/c/%E0%A4%A")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("No characteristic")


async def test_the_picture_has_a_title(screen: Watched) -> None:
    page = await screen.open("/c/bore-diameter")
    await expect(page.locator(".span")).to_have_text("100 points")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="PNG").click()
    saved = await (await download.value).path()
    assert (await download.value).suggested_filename == "bore-diameter.png"
    assert (await asyncio.to_thread(Path(saved).read_bytes)).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/c/shaft-length", "Shaft length"),
        ("/c/cavity-weight:2", "Cap weight · cavity 2"),
        ("/wall/line-2", "Press force"),
        ("/sources", "press-7"),
        ("/limits/bore-depth", "Limits of Bore depth"),
        ("/entry/shaft-length", "Value 5"),
        ("/c/nobody", 'No characteristic is called "nobody"'),
        ("/alarms/4711", "There is no such alarm"),
        ("/nowhere/at/all", "Nothing is at /nowhere/at/all"),
    ],
)
async def test_every_address_can_be_reloaded(screen: Watched, path: str, says: str) -> None:
    page = await screen.open(path)
    await expect(page.get_by_text(says).first).to_be_attached()
    await page.reload()
    await expect(page.get_by_text(says).first).to_be_attached()


async def test_times_are_the_site_s_not_the_browser_s(screen: Watched) -> None:
    page = await screen.open("/", timezone_id="America/New_York", locale="en-US")
    berlin = await page.evaluate(
        "new Date().toLocaleTimeString('en-GB', {timeZone: 'Europe/Berlin', hour: '2-digit'})"
    )
    await expect(page.locator(".clock")).to_have_text(re.compile(f"^{berlin}:"))
    await expect(page.locator(".zone")).to_have_text(re.compile("CES?T"))


def recorded(page: Page) -> list[dict[str, Any]]:
    """Every message that the page's sockets receive from here on."""
    messages: list[dict[str, Any]] = []

    def opened(socket: WebSocket) -> None:
        socket.on("framereceived", lambda payload: messages.append(json.loads(payload)))

    page.on("websocket", opened)
    return messages


async def test_a_dropped_socket_resumes_without_gap(screen: Watched) -> None:
    screen.losing = True
    page = await screen.open("/wall/line-1")
    messages = recorded(page)
    await page.reload()
    await expect(page.locator(".live.is-live")).to_be_visible()
    await page.wait_for_timeout(1500)
    await page.context.set_offline(True)
    await expect(page.locator(".banner")).to_contain_text("Values are OLD")
    await expect(page.locator(".tile.old")).to_have_count(8)
    await page.wait_for_timeout(2000)
    at = len(messages)
    await page.context.set_offline(False)
    await expect(page.locator(".banner")).to_have_count(0)
    await page.wait_for_timeout(500)
    assert [m["t"] for m in messages[at:]].count("welcome") == 1
    assert "snap" not in [m["t"] for m in messages[at:]]
    last = {m["c"]: m["seq"] for m in messages if m["t"] == "snap"}
    rows = [row for m in messages if m["t"] == "d" for row in m["p"]]
    assert len(rows) > 8
    for row in rows:
        assert row[1] == last[row[0]] + 1
        last[row[0]] = row[1]


async def test_a_killed_server_makes_everything_look_old_until_it_is_back(
    screen: Watched, feeder: FeederProcess
) -> None:
    screen.losing = True
    page = await screen.open("/")
    await expect(page.locator(".live.is-live")).to_be_visible()
    feeder.kill()
    await expect(page.locator(".banner")).to_contain_text("Values are OLD")
    await expect(page.locator(".tile.old")).to_have_count(STREAMS)
    await expect(page).to_have_title(re.compile("^OLD"))
    await asyncio.to_thread(feeder.start)
    await expect(page.locator(".banner")).to_have_count(0, timeout=15_000)
    await expect(page.locator(".tile.old")).to_have_count(0)
    told = feeder.measure("bore-depth", 1.0)
    await expect(tile(page, "bore-depth")).to_have_attribute(
        "aria-label", re.compile(f"{told['value']:.2f} mm"), timeout=2_000
    )
