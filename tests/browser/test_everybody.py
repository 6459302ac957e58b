"""The screen for everybody: axe, gloves, narrow and wide displays."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import ROOT, FeederProcess, Watched

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE = ROOT / "web/node_modules/axe-core/axe.min.js"


SMALL = """() => [...document.querySelectorAll('button, .button, input, select, nav a')]
  .filter((one) => one.checkVisibility())
  .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
  .filter(([, box]) => box.height < 55.5)
  .map(([html]) => html)"""
"""Controls that a glove would miss."""


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
