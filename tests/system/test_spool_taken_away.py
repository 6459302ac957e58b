"""Somebody deletes the spool while it is all there is: nothing acknowledged is lost, and it is said."""

import shutil
import time
from contextlib import suppress

import pytest

from tests.databases import Postgres
from tests.system.running import Andon, until

pytestmark = pytest.mark.slow

PLANT = """
[[characteristic]]
id = "bore"
limits = { center = 25.0, sigma = 0.004 }
"""


def test_the_spool_is_deleted_while_the_database_is_away(own_timescale: Postgres, tmp_path):
    service = Andon(tmp_path / "andon", PLANT, own_timescale.create_database())
    spool = service.data / "spool"
    posted: list[float] = []

    def post() -> int:
        value = 25.0 + len(posted) / 10_000
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        item = {"characteristic": "bore", "value": value, "time": stamp, "key": len(posted)}
        answer = service.post([item])
        if answer.status_code == 200:
            assert answer.json()["accepted"] == 1
            posted.append(value)
        return answer.status_code

    try:
        service.start()
        assert post() == 200
        own_timescale.stop()
        for _ in range(3):
            assert post() == 200
        shutil.rmtree(spool)
        for _ in range(3):
            assert post() == 200
        (spool / "spool.sqlite").unlink()
        assert post() == 200
        shutil.rmtree(spool)
        spool.write_text("no directory any more")
        assert post() == 503
        assert "nothing is acknowledged" in " ".join(not_ready(service)["detail"])
        spool.unlink()
        until("there is room again", service.ready)
        assert post() == 200
        service.strike()
        service.start()
        assert post() == 200
        own_timescale.start()
        until("the spool drains", service.drained)
        rows = service.rows("SELECT value FROM reading ORDER BY key")
        assert [row["value"] for row in rows] == posted
        assert len(posted) == 10
        assert service.end() == 0
    finally:
        with suppress(Exception):
            service.close()


def not_ready(service: Andon) -> dict:
    answer = service.get("/health/ready")
    assert answer.status_code == 503
    return answer.json()
