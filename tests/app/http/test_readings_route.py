import asyncio
import json

import pytest

from app.store.errors import SpoolFull
from collectors.key import numbered

T = "2026-11-23T10:00:00+01:00"
TIME = 1_795_424_400_000_000
URL = "/api/v1/readings"


async def post(client, *items, **kwargs):
    return await client.post(URL, json={"readings": list(items)}, **kwargs)


async def test_readings_are_accepted(client, service):
    answer = await post(client, {"characteristic": "bore", "value": 1.5, "time": T, "key": 7})
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": [], "durable": "database"}
    [reading] = service.deliveries[0].readings
    assert (reading.value, reading.time, reading.key) == (1.5, TIME, 7)


async def test_a_wrong_item_leaves_the_others_alone(client, service):
    answer = await post(
        client,
        {"characteristic": "bore", "value": 1, "time": T},
        {"characteristic": "bore", "value": "one", "time": T},
        {"characteristic": "nobody", "value": 1, "time": T},
        {"characteristic": "bore", "value": 2, "time": "2026-11-23T10:00:00"},
        {"characteristic": "bore", "value": 2, "time": T, "vaule": 3},
    )
    told = answer.json()
    assert told["accepted"] == 1
    assert [one["index"] for one in told["rejected"]] == [1, 2, 3, 4]
    assert "names no time zone" in told["rejected"][2]["reason"]
    assert "vaule" in told["rejected"][3]["reason"]
    [delivery] = service.deliveries
    assert b'"one"' in delivery.rejects[0].payload


async def test_a_request_of_nothing_but_wrong_items_is_answered_200(client):
    answer = await post(client, {"value": 3})
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 0


async def test_values_are_numbered_by_position_across_items_and_names(client, service):
    await post(
        client,
        {"characteristic": "bore", "values": [1, 2, 3], "time": T},
        {"characteristic": "Bohrung Ø 1", "value": 4, "time": T},
        {"characteristic": "bore", "value": 5, "time": "2026-11-23T09:00:00Z"},
    )
    readings = service.deliveries[0].readings
    assert [reading.key for reading in readings] == [0, 1, 2, 3, 4]


async def test_keys_that_are_no_integers_are_hashed_and_kept_in_the_tags(client, service):
    await post(
        client,
        {"characteristic": "bore", "value": 1, "time": T, "key": "SN-1", "tags": {"lot": 5}},
        {"characteristic": "bore", "value": 1, "time": T, "key": 2**63},
        {"characteristic": "bore", "values": [1, 2], "time": T, "key": "SN-2"},
    )
    readings = service.deliveries[0].readings
    assert readings[0].key == numbered("SN-1")[0]
    assert readings[0].tags == {"lot": "5", "key": "SN-1"}
    assert readings[1].tags == {"key": str(2**63)}
    assert len({reading.key for reading in readings}) == 4


@pytest.mark.parametrize("what", ["key", "subgroup"])
async def test_keys_and_subgroups_that_are_none_are_refused_with_a_sentence(client, service, what):
    wrong = [1.5, 1e30, 10**60, "x" * 257, "a\0b", True, [1]]
    items = [{"characteristic": "bore", "value": 1, "time": T, what: key} for key in [7.0, *wrong]]
    answer = (await post(client, *items)).json()
    assert [one["index"] for one in answer["rejected"]] == list(range(1, len(items)))
    reasons = [one["reason"] for one in answer["rejected"]]
    assert all(what in reason for reason in reasons), reasons
    [reading] = service.deliveries[0].readings
    assert getattr(reading, what) == 7
    assert reading.tags is None


async def test_a_number_in_a_table_is_a_key_only_as_it_would_be_written_again(client, service):
    cells = ["12", "-12", "0", "007", "+5", "-0", "1e3", "12.0", str(2**70)]
    rows = "".join(f"bore,1,{T},{cell},{cell}\n" for cell in cells)
    await client.post(
        URL,
        content="characteristic,value,time,key,subgroup\n" + rows,
        headers={"content-type": "text/csv"},
    )
    readings = service.deliveries[0].readings
    assert [reading.key for reading in readings[:3]] == [12, -12, 0]
    assert [reading.tags for reading in readings] == [None] * 3 + [
        {"key": cell, "subgroup": cell} for cell in cells[3:]
    ]


@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        ('{"readings":[{"characteristic":"bore","value":NaN,"time":"%s"}]}', 0),
        ('{"readings":[{"characteristic":"bore","value":1e400,"time":"%s"}]}', 0),
        ('{"readings":[{"characteristic":"bore","value":-Infinity,"time":"%s"}]}', 0),
        ('{"readings":[{"characteristic":"bore","value":1e308,"time":"%s"}]}', 1),
        ('{"readings":[{"characteristic":"bore","value":null,"time":"%s"}]}', 0),
        ('{"readings":[{"characteristic":"bore","value":null,"quality":"bad","time":"%s"}]}', 1),
        ('{"readings":[{"characteristic":"bo\\u0000re","value":1,"time":"%s"}]}', 0),
        (
            '{"readings":[{"characteristic":"bore","value":1,"time":"%s","tags":{"a":"\\ud800"}}]}',
            0,
        ),
    ],
)
async def test_numbers_that_are_none_are_rejected_one_by_one(client, body, accepted):
    answer = await client.post(URL, content=body % T)
    assert answer.status_code == 200, answer.text
    assert answer.json()["accepted"] == accepted
    assert len(answer.json()["rejected"]) == 1 - accepted


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"{}",
        b"[]",
        b"null",
        b'{"readings": 3}',
        b'{"readings": [], "more": 1}',
        b"[" * 100_000,
        b'{"readings":[' + b"[" * 50_000 + b"]" * 50_000 + b"]}",
        b'{"readings":[{"characteristic":"bore","value":1}',
    ],
)
async def test_a_body_that_cannot_be_read_is_a_problem(client, service, body):
    answer = await client.post(URL, content=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert not service.deliveries


async def test_a_body_that_is_too_large_is_refused_while_it_streams(client, service):
    async def endless():
        while True:
            yield b"x" * 65536

    answer = await client.post(URL, content=endless())
    assert answer.status_code == 413
    announced = await client.post(URL, content=b"x" * (2 << 20))
    assert announced.status_code == 413
    assert not service.deliveries


async def test_ndjson_is_read_line_by_line(client, service):
    lines = [
        json.dumps({"characteristic": "bore", "value": 1, "time": T}),
        "",
        "not json",
        json.dumps({"characteristic": "bore", "value": float("nan"), "time": T}),
        json.dumps({"characteristic": "bore", "value": 2, "time": T}),
    ]
    answer = await client.post(
        URL, content="\r\n".join(lines), headers={"content-type": "application/x-ndjson"}
    )
    assert answer.json()["accepted"] == 2
    assert [one["index"] for one in answer.json()["rejected"]] == [1, 2]
    assert [reading.key for reading in service.deliveries[0].readings] == [0, 1]


async def test_csv_with_semicolons_takes_decimal_commas_and_tags(client, service):
    table = f"characteristic;value;time;key;lot\nBohrung Ø 1;25,003;{T};12;L-7\nbore;x;{T};;\n"
    answer = await client.post(
        URL, content=table.encode(), headers={"content-type": "text/csv; charset=utf-8"}
    )
    assert answer.json()["accepted"] == 1
    [reading] = service.deliveries[0].readings
    assert (reading.value, reading.key, reading.tags) == (25.003, 12, {"lot": "L-7"})
    assert answer.json()["rejected"][0]["index"] == 1


async def test_another_content_type_is_refused(client):
    answer = await client.post(URL, content=b"<a/>", headers={"content-type": "text/xml"})
    assert answer.status_code == 415


async def test_without_time_a_repeat_needs_its_key(client, service):
    item = {"characteristic": "bore", "value": 1}
    bare = await post(client, item)
    assert "Idempotency-Key" in bare.json()["rejected"][0]["reason"]

    head = {"idempotency-key": "shift-1"}
    first = await post(client, item, headers=head)
    service.time.now += 5_000_000
    again = await post(client, item, headers=head)
    assert first.json()["accepted"] == 1
    assert again.json() == {**first.json(), "accepted": 0, "duplicates": 1}
    other = await post(client, {**item, "value": 2}, headers=head)
    assert other.status_code == 422


async def test_a_repeat_is_known_after_a_restart(client, service, connected):
    item, head = {"characteristic": "bore", "value": 1}, {"idempotency-key": "k"}
    await post(client, item, headers=head)
    service.time.now += 60_000_000
    async with connected(service) as restarted:
        again = await post(restarted, item, headers=head)
    assert again.json()["duplicates"] == 1


async def test_a_full_intake_says_when_to_come_back(client, service):
    service.full = True
    answer = await post(client, {"characteristic": "bore", "value": 1, "time": T})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 2


async def test_what_cannot_be_made_durable_is_not_acknowledged(client, service):
    service.failure = SpoolFull("the spool is full")
    answer = await post(client, {"characteristic": "bore", "value": 1, "time": T})
    assert answer.status_code == 503
    assert "spool" in answer.json()["detail"]


async def test_verdicts_come_with_the_answer(client):
    answer = await post(
        client,
        {"characteristic": "bore", "value": 1, "time": T},
        {"characteristic": "nobody", "value": 1, "time": T},
        {"characteristic": "bore", "values": [1, 200, 2], "time": T},
        params={"verdicts": "true"},
    )
    told = answer.json()["verdicts"]
    assert [one["index"] for one in told] == [0, 2]
    assert [one["verdict"] for one in told] == ["ok", "alarm"]
    assert told[1]["violations"] == [{"rule": "nelson-1"}]
    assert told[1]["alarms"] == [{"id": 7}]


async def test_verdicts_that_take_too_long_are_pending(client, service):
    service.verdict_delay_s = 60
    answer = await post(
        client,
        {"characteristic": "bore", "value": 1, "time": T},
        params={"verdicts": "true", "timeout": "10ms"},
    )
    assert [one["verdict"] for one in answer.json()["verdicts"]] == ["pending"]
    wrong = await post(client, params={"verdicts": "true", "timeout": "soon"})
    assert wrong.status_code == 422


async def test_a_large_body_does_not_hold_up_others(client, service):
    items = [{"characteristic": "bore", "value": i, "time": T, "key": i} for i in range(8_000)]
    large = asyncio.create_task(post(client, *items))
    small = await client.get("/health/live")
    assert small.status_code == 200
    assert (await large).json()["accepted"] == 8_000
