"""What is known of a source's clock counts where its stamps are used, and nowhere else."""

import pytest

from app.catalog import Catalog, Source
from app.sources import Sources
from collectors.kinds import KINDS


@pytest.mark.parametrize(
    ("clock", "skew"), [("source", 5_000_000), ("arrival", 0), ("corrected", 0)]
)
async def test_only_its_own_stamps_are_off_by_its_skew(clock, skew) -> None:
    catalog = Catalog()
    catalog.put_source(Source(3, "broker"))

    async def emit(delivery, *, wait=True):
        raise NotImplementedError

    sources = Sources(catalog, emit, lambda: 0)
    config = KINDS["mqtt"].config.model_validate(
        {
            "id": "broker",
            "kind": "mqtt",
            "url": "mqtt://127.0.0.1:1",
            "clock": clock,
            "subscription": [{"topic": "a/{characteristic}"}],
        }
    )
    await sources.configure([config])
    [state] = sources.states()
    state.status.counters.skew_us = 5e6
    assert sources.traits()["broker"].skew == skew
    await sources.stop()
