import pytest
from starlette.datastructures import Headers

from app.security import Door
from app.settings import Settings

TOKEN = "the-access-token-of-this-plant"
KEY = "the-key-of-the-mes-system"
NOW = 1_800_000_000_000_000
HOME = {"host": "127.0.0.1:8000"}


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def local(clock, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return Door(Settings(allowed_hosts=("andon.plant",)), clock)


@pytest.fixture
def guarded(clock, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = Settings(host="192.168.1.5", access_token=TOKEN, ingest_keys=f"mes:{KEY}")
    return Door(settings, clock)


def refused(door, method="GET", path="/api/v1/alarms", socket=False, **headers) -> int:
    named = {name.replace("_", "-"): value for name, value in (HOME | headers).items()}
    refusal = door.refusal(method, path, Headers(named), socket=socket)
    return refusal.status if refusal else 0


def test_on_loopback_nothing_is_needed(local):
    assert refused(local) == 0
    assert refused(local, "POST") == 0
    assert refused(local, socket=True) == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 0),
        ("LOCALHOST", 0),
        ("[::1]:8000", 0),
        ("andon.plant:8000", 0),
        ("evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_its_own_names_reach_it_on_loopback(local, host, status):
    assert refused(local, host=host) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:8000"}, 0),
        ({"origin": "http://127.0.0.1:9000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 0),
        ({}, 0),
    ],
)
def test_other_web_sites_change_nothing_and_open_no_socket(local, headers, status):
    assert refused(local, "POST", **headers) == status
    assert refused(local, "DELETE", **headers) == status
    assert refused(local, socket=True, **headers) == status
    assert refused(local, "GET", **headers) == 0


@pytest.mark.parametrize("path", ["/", "/api/v1/alarms", "/assets/x.js", "/api/v1/openapi.json"])
def test_beyond_loopback_every_route_needs_the_token(guarded, path):
    assert refused(guarded, path=path) == 401
    assert refused(guarded, path=path, authorization=f"Bearer {TOKEN}") == 0
    assert refused(guarded, path=path, authorization=f"bearer {TOKEN}") == 0
    for wrong in ("Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é", f"Bearer {KEY}"):
        assert refused(guarded, path=path, authorization=wrong) == 401


def test_the_socket_too(guarded):
    assert refused(guarded, socket=True) == 401
    assert refused(guarded, socket=True, authorization=f"Bearer {TOKEN}") == 0


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/login"])
def test_health_metrics_and_the_form_are_open(guarded, path):
    assert refused(guarded, path=path) == 0


def test_an_ingest_key_posts_readings_and_nothing_else(guarded):
    bearer = {"authorization": f"Bearer {KEY}"}
    assert refused(guarded, "POST", "/api/v1/readings", **bearer) == 0
    assert refused(guarded, "POST", "/api/v1/readings", x_api_key=KEY) == 0
    assert refused(guarded, "POST", "/api/v1/readings", x_api_key="wrong") == 401
    assert refused(guarded, "GET", "/api/v1/readings", **bearer) == 401
    assert refused(guarded, "POST", "/api/v1/alarms/1/acknowledge", **bearer) == 401
    assert refused(guarded, "POST", "/api/v1/readings/", **bearer) == 401


def test_a_session_lets_in_until_it_ends(guarded, clock):
    cookie = f"other=1; andon_session={guarded.session()}"
    assert TOKEN not in cookie
    assert refused(guarded, cookie=cookie) == 0
    clock.now += 31 * 86_400 * 1_000_000
    assert refused(guarded, cookie=cookie) == 401


@pytest.mark.parametrize("forged", ["", "x", "9999999999.abc.def", "a.b.c", "1.é", "..."])
def test_a_forged_session_lets_nobody_in(guarded, forged):
    assert refused(guarded, cookie=f"andon_session={forged}") == 401


def test_a_changed_session_is_no_session(guarded):
    end, rest = guarded.session().split(".", 1)
    assert refused(guarded, cookie=f"andon_session={int(end) + 1}.{rest}") == 401


def test_another_token_ends_all_sessions(guarded, clock):
    other = Door(Settings(host="192.168.1.5", access_token=f"{TOKEN}-new"), clock)
    assert refused(other, cookie=f"andon_session={guarded.session()}") == 401
