from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from app.http.application import create_app
from app.settings import Settings
from tests.app.standin import StandIn, as_service

TOKEN = "a-token-that-is-long-enough"
BASE = "http://127.0.0.1:8000"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(body_max_bytes=1 << 20)


@pytest.fixture
async def service(settings: Settings) -> StandIn:
    return StandIn(settings)


def connect(service: StandIn, **kwargs) -> httpx.AsyncClient:
    app = create_app(as_service(service))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE, **kwargs)


@pytest.fixture
async def client(service: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(service) as client:
        created = await client.post(
            "/api/v1/characteristics?who=test", json={"id": "bore", "aliases": ["Bohrung Ø 1"]}
        )
        assert created.status_code == 201, created.text
        yield client


@pytest.fixture
def connected() -> Callable[..., httpx.AsyncClient]:
    return connect
