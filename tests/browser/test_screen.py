"""The screen in a real browser, against the real hub and socket."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, WebSocket, expect

from tests.browser.conftest import ROOT, FeederProcess, Watched

pytestmark = pytest.mark.asyncio(loop_scope="module")

RED, AMBER = [168, 0, 28], [255, 176, 0]
STREAMS = 26
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"


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


async def test_nothing_can_be_saved_while_the_server_is_away(
    screen: Watched, feeder: FeederProcess
) -> None:
    screen.losing = True
    alarm = feeder.measure("face-runout", 4.4)["alarms"][0]
    pages = {
        path: await screen.open(path, who="A. Roth")
        for path in (f"/alarms/{alarm['id']}", "/entry/bore-diameter", "/limits/bore-diameter")
    }
    entry = pages["/entry/bore-diameter"]
    value = entry.get_by_label("Value (mm)")
    await value.fill("250")
    await entry.get_by_role("button", name="Save").click()
    await expect(entry.get_by_role("button", name="send it to quarantine")).to_be_enabled()
    for page in pages.values():
        await expect(page.locator(".live.is-live")).to_be_visible()
        await page.context.set_offline(True)
        await expect(page.locator(".banner")).to_be_visible()
        for button in await page.locator("button.primary.big").all():
            await expect(button).to_be_disabled()
        await expect(page.get_by_text("Not now: the server is away.").first).to_be_visible()
    await expect(entry.get_by_role("button", name="send it to quarantine")).to_be_disabled()
    await expect(value).to_have_value("250")
    snooze = pages[f"/alarms/{alarm['id']}"].get_by_role("button", name="Snooze")
    await expect(snooze).to_be_disabled()


async def test_seen_is_one_tap_and_a_badge_that_stays(
    screen: Watched, feeder: FeederProcess
) -> None:
    feeder.measure("press-depth", 4.2)
    feeder.measure("torque-angle", 4.2)
    page = await screen.open("/alarms")
    other = await screen.open("/alarms")
    row = page.locator(".row", has_text="Press depth")
    await row.get_by_role("button", name="Seen").click()
    dialog = page.get_by_role("dialog", name="Who are you?")
    await dialog.get_by_role("textbox").fill("R. Berg")
    await dialog.get_by_role("button", name="That is me").click()
    await expect(row).to_contain_text("Seen · R. Berg")
    await expect(row.locator(".badge.seen")).to_contain_text("ACK")
    await expect(other.locator(".row", has_text="Press depth")).to_contain_text("Seen · R. Berg")
    second = page.locator(".row", has_text="Torque angle")
    await second.get_by_role("button", name="Seen").click()
    await expect(second).to_contain_text("Seen · R. Berg")
    await page.reload()
    await expect(page.locator(".row", has_text="Press depth")).to_contain_text("Seen · R. Berg")
    await expect(page.locator(".who")).to_have_text("R. Berg")


async def test_who_was_first_is_told(screen: Watched, feeder: FeederProcess) -> None:
    alarm = feeder.measure("face-runout", 4.2)["alarms"][0]
    page = await screen.open(f"/alarms/{alarm['id']}", who="A. Roth")

    async def beaten(route: Any) -> None:
        path = f"/api/v1/alarms/{alarm['id']}/acknowledge"
        await asyncio.to_thread(feeder.post, path, {"who": "Kim", "version": alarm["version"]})
        await route.continue_()

    await page.route("**/acknowledge", beaten)
    await page.get_by_role("button", name="Seen").click()
    await expect(page.get_by_role("alert")).to_contain_text("Already seen by Kim")


async def test_cause_and_action_are_a_step_of_their_own(
    screen: Watched, feeder: FeederProcess
) -> None:
    alarm = feeder.measure("seal-strength", 6)["alarms"][0]
    page = await screen.open(f"/alarms/{alarm['id']}", who="A. Roth")
    await expect(page.locator(".due")).to_be_visible()
    await page.get_by_role("button", name="Tool wear").click()
    pressed = page.get_by_role("button", name="Tool changed")
    await pressed.click()
    # The pointer rests on it now, as on a touch screen after a tap: its words can be read.
    await expect(pressed).to_have_css("background-color", "rgb(21, 25, 28)")
    await expect(pressed).to_have_css("color", "rgb(255, 255, 255)")
    await page.get_by_label("Note", exact=True).fill("insert 7 broke")
    failing = re.compile("/cause$")
    await page.route(failing, lambda route: route.fulfill(status=500, body="{}"))
    await page.get_by_role("button", name="Save cause").click()
    await expect(page.get_by_role("alert")).to_contain_text("Not saved. Nothing was changed.")
    await expect(page.get_by_label("Note", exact=True)).to_have_value("insert 7 broke")
    await page.unroute(failing)
    await page.get_by_role("button", name="Save cause").click()
    await expect(page.locator(".timeline")).to_contain_text(
        "Cause by A. Roth · Tool wear · Tool changed"
    )
    assert feeder.get(f"/api/v1/alarms/{alarm['id']}")["cause"] == "Tool wear"


async def test_hand_measurements(screen: Watched, feeder: FeederProcess) -> None:
    page = await screen.open("/entry", who="A. Roth")
    await page.get_by_label("Characteristic").select_option(label="Bore diameter")
    value, save = page.get_by_label("Value (mm)"), page.get_by_role("button", name="Save")
    await value.fill("1.234,5")
    await save.click()
    await expect(page.get_by_role("alert")).to_contain_text("not both")
    await value.fill("25,001")
    await save.click()
    await expect(page.get_by_role("status").get_by_text("In control.")).to_be_visible()
    await expect(value).to_have_value("")
    await value.fill("250.01")
    await save.click()
    await expect(page.get_by_role("alert")).to_contain_text("not plausible here")
    await page.get_by_role("button", name="Correct it").click()
    await expect(value).to_be_focused()
    await value.fill("25.03")
    await save.click()
    await expect(page.locator(".answer.alarm")).to_contain_text("above the specification")
    sent = list(feeder.get("/feeder/posted").values())
    assert [item["value"] for item in sent] == [25.001, 25.03]
    assert all(item["tags"]["operator"] == "A. Roth" and item["time"] for item in sent)


async def test_a_failed_entry_keeps_its_input_and_its_key(screen: Watched) -> None:
    page = await screen.open("/entry/bore-depth", who="A. Roth")
    keys: list[str] = []

    async def fail_once(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        await (route.continue_() if len(keys) > 1 else route.fulfill(status=500, body="{}"))

    await page.route("**/readings?*", fail_once)
    await page.get_by_label("Value (mm)").fill("41.5")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("alert")).to_contain_text("Press Save again")
    await expect(page.get_by_label("Value (mm)")).to_have_value("41.5")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status").get_by_text("In control.")).to_be_visible()
    assert keys[0] == keys[1]


async def test_a_silent_gauge_says_so_alone(screen: Watched, feeder: FeederProcess) -> None:
    feeder.post("/feeder/silence/fill-temperature")
    page = await screen.open("/wall/line-3")
    await expect(tile(page, "fill-temperature").locator(".badge.p4")).to_contain_text("NO DATA")
    await expect(page.locator(".tile.nodata")).to_have_count(1)


async def test_limits_are_proposed_and_approved_in_sight(
    screen: Watched, feeder: FeederProcess
) -> None:
    chart = await screen.open("/c/torque-a4")
    await expect(chart.locator(".versions .current")).to_contain_text("v2")
    feeder.post("/feeder/propose/torque-a4")
    await expect(chart.locator(".versions")).to_contain_text("PROPOSED")
    limits = await screen.open("/limits/torque-a4", who="M. Lang")
    await limits.get_by_role("button", name="Approve").click()
    await expect(limits.get_by_role("alert")).to_contain_text("v3 is in force")
    await expect(chart.locator(".versions .current")).to_contain_text("v3")
    await expect(chart.locator(".versions")).not_to_contain_text("PROPOSED")


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


async def test_a_list_does_not_move_under_a_finger(screen: Watched, feeder: FeederProcess) -> None:
    feeder.measure("fill-weight", 4.5)
    page = await screen.open("/alarms", who="A. Roth", has_touch=True)
    await page.get_by_role("button", name="New", exact=True).click()
    rows = page.locator(".row")
    mine = page.locator(".row", has_text="Fill weight")
    await expect(mine).to_be_visible()
    places = "all => all.map(one => [one.getBoundingClientRect().top, one.querySelector('strong').textContent])"
    before = await rows.evaluate_all(places)
    await mine.get_by_role("button", name="Seen").tap()
    await expect(mine).to_contain_text("Seen · A. Roth")
    feeder.measure("bore-depth", 6)
    await expect(page.get_by_role("button", name="1 new")).to_be_visible()
    assert await rows.evaluate_all(places) == before
    await page.get_by_role("button", name="1 new").tap()
    await expect(page.locator(".row", has_text="Bore depth")).to_be_visible()
    await expect(mine).to_have_count(0)


async def test_long_values_fit_their_tiles(screen: Watched) -> None:
    for width, height in [(320, 900), (800, 1280), (1280, 800), (1920, 1080), (3840, 2160)]:
        page = await screen.open("/", viewport={"width": width, "height": height})
        await expect(page.locator(".tile .digits").first).to_have_text(re.compile(r"\d"))
        cut = """() => [...document.querySelectorAll('.tile')].flatMap((tile) => {
          const box = tile.getBoundingClientRect()
          return [...tile.querySelectorAll('.digits, .unit, .tag, .badge')].filter((one) => {
            const { left, right, top, bottom } = one.getBoundingClientRect()
            return left < box.left || right > box.right || top < box.top || bottom > box.bottom
          }).map((one) => one.textContent)
        })"""
        assert await page.evaluate(cut) == []
        await page.context.close()


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


async def test_an_alarm_raised_while_away_is_there_after(
    screen: Watched, feeder: FeederProcess
) -> None:
    screen.losing = True
    page = await screen.open("/alarms")
    await expect(page.locator(".live.is-live")).to_be_visible()
    await page.context.set_offline(True)
    await expect(page.locator(".banner")).to_be_visible()
    feeder.measure("cap-torque", 4.5)
    await page.context.set_offline(False)
    await expect(page.locator(".row", has_text="Cap torque")).to_be_visible()


async def accessible(page: Page) -> list[str]:
    """What axe finds wrong."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: run `npm ci` in web/")
    await page.evaluate(AXE.read_text())
    found: list[str] = await page.evaluate("""async () => {
      const tags = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']
      const { violations } = await axe.run(document, { runOnly: tags })
      return violations.map((one) => one.id + ': ' + one.nodes.map((node) => node.html).join(' | '))
    }""")
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/wall/line-1",
        "/c/shaft-length",
        "/c/scratches",
        "/alarms",
        "/entry/bore-depth",
        "/limits/bore-depth",
        "/sources",
    ],
)
async def test_anybody_can_use_it(screen: Watched, feeder: FeederProcess, path: str) -> None:
    feeder.measure("groove-width", 4.5)
    page = await screen.open(path)
    await expect(page.locator(".live.is-live")).to_be_visible()
    assert await accessible(page) == []


async def test_anybody_can_use_an_alarm_and_its_dialog(
    screen: Watched, feeder: FeederProcess
) -> None:
    alarm = feeder.measure("groove-width", 4.5)["alarms"][0]
    screen.losing = True
    for width in (320, 800):
        viewport = {"width": width, "height": 1100}
        page = await screen.open(f"/alarms/{alarm['id']}", viewport=viewport, has_touch=True)
        await expect(page.locator(".live.is-live")).to_be_visible()
        assert await accessible(page) == []
        await page.get_by_role("button", name="Snooze").tap()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await accessible(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(SMALL) == []
    await page.context.set_offline(True)
    await expect(page.locator(".banner")).to_be_visible()
    assert await accessible(page) == []


SMALL = """() => [...document.querySelectorAll('button, .button, input, select, nav a')]
  .filter((one) => one.checkVisibility())
  .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
  .filter(([, box]) => box.height < 55.5)
  .map(([html]) => html)"""
"""Controls that a glove would miss."""


@pytest.mark.parametrize("width", [320, 800])
@pytest.mark.parametrize(
    "path", ["/", "/c/bore-depth", "/alarms", "/entry/bore-depth", "/limits/bore-depth", "/sources"]
)
async def test_nothing_is_cut_off_or_too_small_for_gloves(
    screen: Watched, path: str, width: int
) -> None:
    page = await screen.open(path, viewport={"width": width, "height": 1100}, has_touch=True)
    await expect(page.locator(".live.is-live")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.evaluate(SMALL) == []


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
