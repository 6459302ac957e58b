"""The guard, the sign-in form, health, metrics, lists and the screen, over a real server."""

import httpx
import pytest
import websockets

from app.settings import Settings
from tests.app.http.served import served

TOKEN = "a-token-that-is-long-enough"
KEY = "a-key-for-the-mes-system"


@pytest.fixture
async def guarded(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = Settings(host="192.168.1.9", access_token=TOKEN, ingest_keys=f"mes:{KEY}")
    async with served(settings) as (service, place):
        yield service, place


@pytest.fixture
async def browser(guarded):
    async with httpx.AsyncClient(base_url=f"http://{guarded[1]}") as client:
        yield client


async def test_nothing_is_shown_without_the_token(browser):
    for path in ("/api/v1/alarms", "/api/v1/openapi.json", "/api/v1/site", "/"):
        answer = await browser.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["status"] == 401


async def test_a_browser_is_led_to_the_form_and_back(browser):
    first = await browser.get("/wall/4", headers={"accept": "text/html"})
    assert first.headers["location"] == "/login?next=/wall/4"
    form = await browser.get(first.headers["location"])
    assert 'value="/wall/4"' in form.text
    assert "script" not in form.text

    wrong = await browser.post("/login", data={"token": "guess", "next": "/wall/4"})
    assert wrong.status_code == 401
    assert "not the access token" in wrong.text

    signed = await browser.post("/login", data={"token": TOKEN, "next": "/wall/4"})
    assert signed.status_code == 303
    assert signed.headers["location"] == "/wall/4"
    cookie = signed.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert (await browser.get("/api/v1/alarms")).status_code == 200

    await browser.post("/logout")
    assert (await browser.get("/api/v1/alarms")).status_code == 401


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil", "x", "/\n"]
)
async def test_the_form_leads_nowhere_else(browser, target):
    signed = await browser.post("/login", data={"token": TOKEN, "next": target})
    assert signed.headers["location"] == "/"


async def test_the_form_shows_what_it_was_given_as_text(browser):
    form = await browser.get("/login", params={"next": '/"><script>alert(1)</script>'})
    assert "<script>" not in form.text


async def test_an_ingest_key_opens_one_door(browser):
    bearer = {"authorization": f"Bearer {KEY}"}
    posted = await browser.post("/api/v1/readings", json={"readings": []}, headers=bearer)
    assert posted.status_code == 200
    assert (await browser.get("/api/v1/alarms", headers=bearer)).status_code == 401


async def test_the_socket_asks_for_the_token(guarded):
    _, place = guarded
    url = f"ws://{place}/api/v1/live"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(url, subprotocols=["andon.v1"])
    assert refused.value.response.status_code == 403
    head = {"authorization": f"Bearer {TOKEN}"}
    async with websockets.connect(
        url, subprotocols=["andon.v1"], additional_headers=head
    ) as connection:
        assert connection.subprotocol == "andon.v1"
        assert await connection.recv() == "{}"
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(url, additional_headers=head, origin="http://evil.example")


async def test_health_and_metrics_are_open(guarded, browser):
    service, _ = guarded
    assert (await browser.get("/health/live")).json() == {"status": "live"}
    ready = await browser.get("/health/ready")
    assert (ready.status_code, ready.json()["database"]) == (200, "up")
    service.records.away = True
    away = await browser.get("/health/ready")
    assert away.status_code == 503
    assert away.json()["detail"] == ["the database is away"]
    metrics = (await browser.get("/metrics")).text
    for line in (
        "andon_intake_depth 5.0",
        'andon_source_messages_total{source="http"} 3.0',
        'andon_source_state{source="http",state="up"} 1.0',
        'andon_http_seconds_count{method="GET",route="/health/live",status="200"}',
    ):
        assert line in metrics


async def test_every_answer_carries_the_headers_that_browsers_heed(browser):
    for path in ("/health/live", "/login", "/api/v1/alarms"):
        policy = (await browser.get(path)).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


@pytest.fixture
async def local(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    async with (
        served(Settings()) as (service, place),
        httpx.AsyncClient(base_url=f"http://{place}") as client,
    ):
        client.service = service
        yield client


async def test_a_page_of_another_site_reaches_nothing(local):
    rebound = await local.get("/api/v1/site", headers={"host": "evil.example"})
    assert rebound.status_code == 421
    posted = await local.post(
        "/api/v1/readings", json={"readings": []}, headers={"origin": "http://evil.example"}
    )
    assert posted.status_code == 403


async def test_the_site(local):
    told = (await local.get("/api/v1/site")).json()
    assert (told["name"], told["timezone"], told["build"]) == ("Plant 1", "Europe/Berlin", "test")
    assert told["causes"]
    assert told["actions"]


async def test_lists(local):
    local.service.records.quarantine_rows = [{"id": number} for number in range(1, 6)]
    first = (await local.get("/api/v1/quarantine?limit=3")).json()
    assert [row["id"] for row in first["items"]] == [5, 4, 3]
    rest = (await local.get(f"/api/v1/quarantine?limit=3&after={first['next']}")).json()
    assert ([row["id"] for row in rest["items"]], rest["next"]) == ([2, 1], None)
    for name in ("gaps", "containments", "audit"):
        assert (await local.get(f"/api/v1/{name}")).json() == {"items": [], "next": None}
    [source] = (await local.get("/api/v1/sources")).json()["items"]
    assert (source["id"], source["state"], source["counters"]["messages"]) == ("http", "up", 3)
    assert (await local.get("/api/v1/sources/http")).json() == source
    assert (await local.get("/api/v1/sources/x")).status_code == 404


async def test_a_plant_file_is_applied_over_http(local):
    text = '[plant]\nname = "Two"\n[[characteristic]]\nid = "force"\n'
    body = {"who": "Roth", "text": text, "base_dir": "."}
    planned = (await local.post("/api/v1/plant?dry_run=true", json=body)).json()
    assert planned["applied"] is False
    assert [step["kind"] for step in planned["steps"]] == ["create", "change"]
    assert planned["steps"][1]["plant"] == "Two"
    assert (await local.get("/api/v1/characteristics/force")).status_code == 404
    done = (await local.post("/api/v1/plant", json=body)).json()
    assert done["applied"] is True
    assert (await local.get("/api/v1/characteristics/force")).status_code == 200
    assert (await local.get("/api/v1/site")).json()["name"] == "Two"
    again = (await local.post("/api/v1/plant", json=body)).json()
    assert (again["steps"], again["unchanged"]) == ([], 1)
    wrong = await local.post("/api/v1/plant", json={**body, "text": "[[characteristic]]\n"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"] == ["characteristic number 1: id: is missing; add it"]


async def test_a_test_announcement(local):
    told = await local.post("/api/v1/announce/test", json={"who": "Kim", "channel": "webhook"})
    assert told.json()["items"] == [{"channel": "webhook", "ok": True, "detail": "200"}]
    unknown = await local.post("/api/v1/announce/test", json={"who": "Kim", "channel": "phone"})
    assert unknown.status_code == 404
    assert '"phone"' in unknown.json()["detail"]


async def test_unknown_paths_of_the_api_are_problems_not_pages(local):
    for path in ("/api/v1/nothing", "/api", "/assets/none.js"):
        answer = await local.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
    wrong = await local.delete("/api/v1/alarms")
    assert wrong.status_code == 405


async def test_the_description_of_the_api_names_every_route(local):
    document = (await local.get("/api/v1/openapi.json")).json()
    assert document["info"]["version"] == "test"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), f"{method} {path}"
            assert operation.get("description"), f"{method} {path}"
    readings = document["paths"]["/api/v1/readings"]["post"]["requestBody"]["content"]
    assert set(readings) == {"application/json", "application/x-ndjson", "text/csv"}
