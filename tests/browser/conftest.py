"""A browser and a feeder for the screen's tests; every page is watched for what must not happen."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.servers import CHROMIUM_ARGS, free_port

ROOT = Path(__file__).parent.parent.parent
INDEX = ROOT / "app/static/index.html"
START_S = 60


class FeederProcess:
    """The feeder in a process of its own, which can be killed and started again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.browser.feeder", "--port", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."})
        for _ in range(START_S * 10):
            try:
                self.get("/api/v1/site")
            except OSError:
                assert self._process.poll() is None, "the feeder ended"
                time.sleep(0.1)
            else:
                return
        raise TimeoutError

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310
            return json.load(answer)

    def post(self, path: str, body: object = None, **headers: str) -> Any:
        request = urllib.request.Request(  # noqa: S310
            self.url + path, json.dumps(body).encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return json.load(answer)

    def measure(self, stream: str, z: float) -> Any:
        return self.post(f"/feeder/measure/{stream}?z={z}")


@pytest.fixture(scope="module")
def feeder() -> Iterator[FeederProcess]:
    """A plant that starts calm."""
    if not INDEX.exists():
        pytest.skip("the screen is not built: run `npm ci && npm run build` in web/")
    process = FeederProcess(free_port())
    process.start()
    yield process
    process.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """One browser for all tests of a module."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=chromium_path, args=list(CHROMIUM_ARGS)
        )
        yield launched
        await launched.close()


class Watched:
    """Opens pages and remembers what went wrong in them."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url
        self._contexts: list[BrowserContext] = []
        self.wrong: list[str] = []
        self.losing = False  # a lost server makes the browser log failed requests

    async def open(self, path: str, *, who: str = "", **options: Any) -> Page:
        """A page of a station of its own."""
        options = {"viewport": {"width": 1440, "height": 900}, **options}
        context = await self._browser.new_context(**options)
        self._contexts.append(context)
        if who:
            kept = json.dumps({"name": who, "since": time.time() * 1000})
            await context.add_init_script(
                f"localStorage.setItem('andon.badge', {json.dumps(kept)})"
            )
        return await self.page(context, path)

    async def page(self, context: BrowserContext, path: str) -> Page:
        """Another page of the same station."""
        page = await context.new_page()
        page.on("pageerror", lambda error: self.wrong.append(f"page error: {error}"))
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("request", lambda request: self._asked(request.url))
        await page.goto(self._url + path)
        return page

    def _said(self, kind: str, text: str) -> None:
        answers = any(f"status of {code}" in text for code in (404, 409, 500))
        expected = self.losing or answers or "getImageData" in text
        if kind in ("error", "warning") and not expected:
            self.wrong.append(f"console {kind}: {text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and parts.netloc != urlsplit(self._url).netloc:
            self.wrong.append(f"request to elsewhere: {url}")

    async def close(self) -> None:
        for context in self._contexts:
            await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def screen(browser: Browser, feeder: FeederProcess) -> AsyncIterator[Watched]:
    """Pages on the feeder: no page errors, no refused content, no request to other hosts."""
    watched = Watched(browser, feeder.url)
    yield watched
    await watched.close()
    assert watched.wrong == []


@pytest.fixture
def has_color() -> Callable[[str], str]:
    """JavaScript that counts the pixels of a color in the canvases below a selector."""

    def script(selector: str) -> str:
        return f"""(color) => {{
          let found = 0
          for (const canvas of document.querySelectorAll({json.dumps(selector)})) {{
            const {{ width, height }} = canvas
            const data = canvas.getContext('2d').getImageData(0, 0, width, height).data
            for (let i = 0; i < data.length; i += 4) {{
              const near = (k) => Math.abs(data[i + k] - color[k]) < 12
              if (data[i + 3] > 200 && near(0) && near(1) && near(2)) found += 1
            }}
          }}
          return found
        }}"""

    return script
