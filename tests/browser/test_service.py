"""The screen on the running service: signing in, what people do with alarms, figures, proportions."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import INDEX, Watched
from tests.system.running import Andon, Receiver, receiving

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "a-token-for-the-tests"
OTHER_TOKEN = "another-token-for-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NOISE = re.compile(r"\d[.,]\d{7,}|\de-\d")
PLANT = """
[plant]
name = "Plant 1"
timezone = "Europe/Berlin"

[[characteristic]]
id = "bore"
name = "Bore diameter"
station = "line-1/op-10"
unit = "mm"
decimals = 3
limits = { center = 25.0, sigma = 0.004 }
spec = { lower = 24.9, upper = 25.1 }

[[characteristic]]
id = "weight"
name = "Cap weight"
station = "line-1/op-10"
unit = "g"
decimals = 2
stream = ["cavity"]
limits = { center = 4.2, sigma = 0.02 }

[[characteristic]]
id = "scratches"
name = "Scratched parts"
station = "line-1/op-20"
chart = "p"
limits = { center = 0.04 }

[[characteristic]]
id = "gap"
name = "Gap without stated decimals"
station = "line-1/op-20"
limits = { center = 0.3, sigma = 0.1 }

[[source]]
id = "press"
kind = "modbus"
url = "tcp://127.0.0.1:9"
[[source.register]]
characteristic = "gap"
address = 1
type = "uint16"

[[announce]]
id = "nobody-there"
kind = "webhook"
url = "http://127.0.0.1:9/alarms"
"""


def posted(service: Andon, rows: list[dict[str, Any]]) -> None:
    """Readings, one a second, the newest now."""
    newest = time.time()
    for i, row in enumerate(rows):
        stamp = newest - (len(rows) - 1 - i)
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp))
        row["time"] = f"{whole}.{int(stamp % 1 * 1e6):06}Z"
    answer = service.post(rows, **BEARER).raise_for_status().json()
    assert answer["rejected"] == []


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Somebody who takes announcements."""
    with receiving() as somebody:
        yield somebody


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Andon]:
    """A plant with two cavities, a proportion of varying n, and an alarm on the bore."""
    if not INDEX.exists():
        pytest.skip("the screen is not built: run `make install`")
    webhook = f'[[announce]]\nid = "maintenance"\nkind = "webhook"\nurl = "{receiver.url}"\n'
    running = Andon(tmp_path_factory.mktemp("andon"), PLANT + webhook, access_token=TOKEN)
    running.start()
    bore = [25.004, 25.019] * 3 + [25.0, 25.016]
    posted(running, [{"characteristic": "bore", "value": one} for one in bore])
    posted(running, [{"characteristic": "gap", "value": one} for one in (0.1, 0.3, 0.1 + 0.2)])
    cavities = [{"characteristic": "weight", "value": 4.2, "tags": {"cavity": c}} for c in "12"]
    posted(running, cavities)
    # 3 sigma below 4 % is nothing for 200 parts, and 0.16 % for 240.
    sizes = [200 if i % 3 else 240 for i in range(40)]
    posted(running, [{"characteristic": "scratches", "value": 8, "size": n} for n in sizes])
    yield running
    running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def screen(browser: Browser, service: Andon) -> AsyncIterator[Watched]:
    """Pages on the service: no page errors, no refused content, no request to other hosts."""
    watched = Watched(browser, service.url)
    yield watched
    await watched.close()
    assert watched.wrong == []


async def sign_in(screen: Watched, path: str, **options: Any) -> Page:
    """A page of a station that has the access token."""
    page = await screen.open(path, **options)
    await page.get_by_label("Access token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".live.is-live")).to_be_visible()
    return page


async def test_the_form_lets_in_whoever_has_the_token(screen: Watched, service: Andon) -> None:
    screen.losing = True  # 401 is logged by the browser
    page = await screen.open("/c/bore")
    await expect(page).to_have_title("Andon: sign in")
    await page.get_by_label("Access token").fill("not the access token")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("This is not the access token.")
    await page.get_by_label("Access token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Bore diameter")).to_be_visible()
    await expect(page.locator(".live.is-live")).to_be_visible()
    policy = (await page.request.get(service.url)).headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert "default-src 'none'" in policy


async def test_the_wall_counts_characteristics(screen: Watched) -> None:
    page = await sign_in(screen, "/")
    await expect(page.locator(".line h2")).to_contain_text("4 characteristics, 5 charts")
    await expect(page.locator(".tile")).to_have_count(5)


async def test_a_source_that_never_was_there_keeps_no_chart_waiting(screen: Watched) -> None:
    page = await sign_in(screen, "/alarms")
    row = page.locator(".row", has_text="Source press")
    await expect(row).to_be_visible(timeout=30_000)
    await expect(row).to_contain_text("Nothing has come from it yet.")
    await row.get_by_role("link").click()
    await expect(page.get_by_role("link", name="Sources").last).to_be_visible()
    await expect(page.get_by_role("link", name="Chart")).to_have_count(0)


async def test_an_alarm_is_snoozed_with_a_reason_and_woken(screen: Watched, service: Andon) -> None:
    found = await asyncio.to_thread(
        service.get, "/api/v1/alarms?characteristic=bore", headers=BEARER
    )
    number = found.json()["items"][0]["id"]
    page = await sign_in(screen, f"/alarms/{number}", who="K. Vogt")
    wall = await screen.page(page.context, "/")
    await page.get_by_role("button", name="Snooze").click()
    dialog = page.get_by_role("dialog", name="Snooze this alarm")
    snooze = dialog.locator("button.primary")
    await expect(snooze).to_be_disabled()
    await dialog.get_by_label("Why it can wait").fill("new inserts come at two")
    await expect(snooze).to_be_disabled()
    await dialog.get_by_role("button", name="30 min").click()
    await expect(snooze).to_have_text(re.compile(r"Snooze until \d\d:\d\d"))
    await snooze.click()
    head = page.locator(".alarm-head")
    await expect(head).to_contain_text(re.compile(r"Snoozed until \d\d:\d\d · K\. Vogt"))
    until = (await head.locator("strong").inner_text()).split()[2]
    await expect(page.locator(".timeline")).to_contain_text("new inserts come at two")
    tile = wall.locator('.tile[data-stream="bore"]')
    await expect(tile.locator(".badge.seen")).to_contain_text(f"SNOOZED {until}")
    await expect(tile).not_to_have_class(re.compile("unseen|p2"))
    stored = await asyncio.to_thread(service.get, f"/api/v1/alarms/{number}", headers=BEARER)
    assert stored.json()["state"] == "shelved"
    await page.get_by_role("button", name="Wake up now").click()
    await expect(head).to_contain_text("Seen · K. Vogt")
    await expect(tile.locator(".badge.seen")).to_contain_text("ACK")


async def test_who_was_first_with_something_else_is_told(screen: Watched, service: Andon) -> None:
    screen.losing = True  # 409 is logged by the browser
    found = await asyncio.to_thread(
        service.get, "/api/v1/alarms?characteristic=bore", headers=BEARER
    )
    number = found.json()["items"][0]["id"]
    page = await sign_in(screen, f"/alarms/{number}", who="K. Vogt")

    async def beaten(route: Any) -> None:
        body = {"who": "Kim", "text": "insert 7 is worn"}
        url = f"{service.url}/api/v1/alarms/{number}/comment"
        await page.request.post(url, data=body, headers=BEARER)
        await route.continue_()

    await page.route("**/shelve", beaten)
    await page.get_by_role("button", name="Snooze").click()
    dialog = page.get_by_role("dialog", name="Snooze this alarm")
    await dialog.get_by_label("Why it can wait").fill("the tool is on its way")
    await dialog.get_by_role("button", name="2 h").click()
    await dialog.locator("button.primary").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Kim was first: note")
    await expect(dialog.get_by_label("Why it can wait")).to_have_value("the tool is on its way")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("button", name="Snooze")).to_be_focused()


async def test_a_cause_comes_with_an_action(screen: Watched, service: Andon) -> None:
    """Where a cause is due, so is what was done; the button waits for both and says why."""
    rows = [{"characteristic": "bore", "value": 25.2}]
    await asyncio.to_thread(posted, service, rows)
    found = await asyncio.to_thread(
        service.get, "/api/v1/alarms?characteristic=bore", headers=BEARER
    )
    alarm = next(one for one in found.json()["items"] if one["class"] == "spec")
    assert alarm["needs_cause"]
    page = await sign_in(screen, f"/alarms/{alarm['id']}", who="K. Vogt")
    await expect(page.locator(".due")).to_be_visible()
    await page.get_by_role("button", name="Tool wear").click()
    save = page.get_by_role("button", name="Save cause")
    await expect(save).to_be_disabled()
    await expect(page.get_by_text("Say what was done, too.")).to_be_visible()
    await page.get_by_role("button", name="Tool changed").click()
    await save.click()
    await expect(page.locator(".timeline")).to_contain_text("Cause by K. Vogt")
    await expect(page.locator(".due")).to_have_count(0)


async def test_a_proportion_reads_in_percent_with_the_limits_of_its_n(screen: Watched) -> None:
    page = await sign_in(screen, "/c/scratches")
    await expect(page.locator(".big-value .digits")).to_have_text("3.33")
    facts = page.locator(".facts")
    await expect(page.locator(".panel h2", has_text="Limits of 240 parts")).to_be_visible()
    await expect(facts).to_contain_text("7.79 %")  # 4 % + 3 sqrt(0.04 * 0.96 / 240)
    await expect(facts).to_contain_text("0.21 %")
    await page.get_by_role("link", name="All versions").click()
    await expect(page.locator("tbody tr").first).to_contain_text("by n4.00 %by n")


@pytest.mark.parametrize(
    "path", ["/", "/c/bore", "/c/gap", "/alarms", "/limits/bore", "/limits/gap"]
)
async def test_no_figure_shows_the_noise_of_floats(screen: Watched, path: str) -> None:
    page = await sign_in(screen, path)
    await page.wait_for_timeout(500)
    seen = await page.locator("body").inner_text()
    if path.startswith("/c/"):
        await page.locator(".pane.location").focus()
        await page.keyboard.press("ArrowLeft")
        seen += await page.locator(".readout").inner_text()
        seen += " ".join(
            await page.locator(".pane").evaluate_all("all => all.map(one => one.ariaLabel)")
        )
        await page.get_by_role("button", name="Table").click()
        table = await page.locator("tbody").inner_text()
        assert ("0.015" if path == "/c/bore" else "0.2") in table
        seen += table
    assert NOISE.findall(seen) == []


async def test_a_test_message_tells_what_each_channel_said(
    screen: Watched, receiver: Receiver
) -> None:
    page = await sign_in(screen, "/sources", who="K. Vogt")
    await page.get_by_role("button", name="Send a test message").click()
    lines = page.get_by_role("region", name="Test message").locator("tbody tr")
    await expect(lines).to_have_count(2)
    arrived = lines.filter(has_text="maintenance")
    await expect(arrived.locator("td").nth(1)).to_have_text("Sent")
    await expect(arrived).to_contain_text("204")
    lost = lines.filter(has_text="nobody-there")
    await expect(lost.locator("td").nth(1)).to_have_text("Not sent")
    await expect(lost).to_contain_text("Not delivered:")
    assert [one.body["change"] for one in list(receiver.posts)].count("test") == 1


async def test_a_test_message_that_is_refused_says_why(screen: Watched, receiver: Receiver) -> None:
    screen.losing = True  # 422 is logged by the browser
    page = await sign_in(screen, "/sources", who="K" * 1000)
    before = [one.body["change"] for one in list(receiver.posts)].count("test")
    await page.get_by_role("button", name="Send a test message").click()
    await expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Not sent\. .*who"))
    assert [one.body["change"] for one in list(receiver.posts)].count("test") == before


async def test_a_session_that_is_over_leads_to_the_form(
    screen: Watched, service: Andon, tmp_path: Path
) -> None:
    screen.losing = True
    page = await sign_in(screen, "/c/bore")
    await asyncio.to_thread(service.end)
    await expect(page.locator(".banner")).to_contain_text("Values are OLD")
    service.settings["access_token"] = OTHER_TOKEN
    await asyncio.to_thread(service.start)
    await expect(page.get_by_label("Access token")).to_be_visible(timeout=30_000)
    await page.get_by_label("Access token").fill(OTHER_TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Bore diameter")).to_be_visible()
