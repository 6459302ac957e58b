"""What people do on the screen: seen, cause, measurements, limits; and what they cannot while it is away."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import FeederProcess, Watched

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


async def test_a_test_message_goes_nowhere_where_none_is_configured(screen: Watched) -> None:
    page = await screen.open("/sources", who="K. Vogt")
    button = page.get_by_role("button", name="Send a test message")
    await expect(button).to_be_enabled()
    await button.click()
    words = "No announcements are configured: add [[announce]] to the plant file."
    await expect(page.get_by_role("status").filter(has_text=words)).to_be_visible()
    screen.losing = True
    await page.context.set_offline(True)
    await expect(button).to_be_disabled()
    await expect(page.get_by_text("Not now: the server is away.")).to_be_visible()
