import httpx
import pytest
from fastapi import FastAPI

from app.http import problem, screen


@pytest.fixture
def static(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>Andon</title>")
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path / "assets" / "app-1a2b.js").write_text("1")
    return tmp_path


def browser(static) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(screen.router(static))
    problem.install(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize("path", ["/", "/wall/4", "/c/bore", "/alarms/17", "/c/x.y"])
async def test_every_path_of_the_screen_is_its_one_page(static, path):
    async with browser(static) as client:
        answer = await client.get(path)
    assert answer.text == "<title>Andon</title>"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"].startswith("text/html")


async def test_assets_are_kept_for_good_and_other_files_are_not(static):
    async with browser(static) as client:
        asset = await client.get("/assets/app-1a2b.js")
        icon = await client.get("/favicon.svg")
        missing = await client.get("/assets/gone.js")
        outside = await client.get("/assets/%2e%2e/index.html")
        unchanged = await client.get(
            "/assets/app-1a2b.js", headers={"if-none-match": asset.headers["etag"]}
        )
    assert "immutable" in asset.headers["cache-control"]
    assert icon.headers["cache-control"] == "no-cache"
    assert missing.status_code == 404
    assert outside.status_code == 404
    assert unchanged.status_code == 304


async def test_a_screen_that_is_not_built_says_how_to_build_it(tmp_path):
    async with browser(tmp_path) as client:
        answer = await client.get("/wall")
    assert answer.status_code == 503
    assert "make install" in answer.text


def test_another_page_is_another_build(static):
    before = screen.build(static)
    (static / "index.html").write_text("<title>Andon 2</title>")
    assert screen.build(static) != before
    assert screen.build(static / "assets").endswith("+bare")
