import asyncio

import pytest

from app.store.batch import Alarm
from tests.app.standin import START

URL = "/api/v1/alarms"


def alarm(number: int, **changes) -> Alarm:
    plain = {
        "id": number,
        "stream": 1,
        "characteristic": "bore",
        "stream_name": "bore",
        "alarm_class": "control",
        "state": "unack",
        "priority": 2,
        "opened": START,
        "last_time": START,
        "last_key": 2**62 + 1,
        "count": 1,
        "rules": ["nelson-1"],
        "sentence": "1 point above 12.004",
        "version": 3,
        "seq": number,
        "active": True,
    }
    return Alarm(**(plain | changes))


@pytest.fixture
def alarms(service):
    rows = [alarm(1, state="closed", active=False), *(alarm(n) for n in range(2, 8))]
    service.records.alarm_rows = {row.id: row for row in rows}
    return service.records.alarm_rows


async def act(client, name, number=2, key=None, **body):
    headers = {"idempotency-key": key} if key else {}
    return await client.post(f"{URL}/{number}/{name}", json={"who": "Kim", **body}, headers=headers)


async def test_open_alarms_newest_first_and_page_by_page(client, alarms):
    first = (await client.get(URL, params={"limit": 4})).json()
    assert [row["id"] for row in first["items"]] == [7, 6, 5, 4]
    rest = (await client.get(URL, params={"limit": 4, "after": first["next"]})).json()
    assert [row["id"] for row in rest["items"]] == [3, 2]
    assert rest["next"] is None
    everything = (await client.get(URL, params={"state": "all"})).json()
    assert len(everything["items"]) == 7


async def test_an_alarm_says_everything(client, alarms):
    told = (await client.get(f"{URL}/2")).json()
    assert told["last"] == {"time": "2025-11-23T10:00:00.000000Z", "key": 2**62 + 1}
    assert told["class"] == "control"
    assert told["rules"] == ["nelson-1"]
    assert told["history"] == []


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"state": "loud"}, 422),
        ({"after": "x"}, 422),
        ({"after": "1_2"}, 422),
        ({"after": "9" * 20}, 422),
        ({"limit": 0}, 422),
        ({"characteristic": "nobody"}, 404),
    ],
)
async def test_a_wrong_question_is_a_problem(client, alarms, params, status):
    answer = await client.get(URL, params=params)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_seen_is_stored_with_who(client, service, alarms):
    answer = await act(client, "acknowledge", version=3)
    assert answer.status_code == 200
    assert answer.json()["state"] == "ack"
    assert answer.json()["seen_by"] == "Kim"
    assert alarms[2].version == 4
    assert [change.kind for change in service.records.changes] == ["seen"]


async def test_whoever_comes_second_is_told_who_was_first(client, alarms):
    await act(client, "acknowledge", version=3)
    second = await act(client, "acknowledge", version=3, who="Lee")
    assert second.status_code == 409
    assert "Kim" in second.json()["detail"]
    assert second.json()["alarm"]["seen_by"] == "Kim"
    first = second.json()["first"]
    assert (first["who"], first["kind"]) == ("Kim", "seen")
    await act(client, "comment", number=3, text="looking")
    other = await act(client, "acknowledge", number=3, version=3, who="Lee")
    assert (other.json()["first"]["who"], other.json()["first"]["kind"]) == ("Kim", "comment")


async def test_two_at_once_one_wins(client, alarms):
    both = await asyncio.gather(
        *(act(client, "acknowledge", version=3, who=who) for who in ("Kim", "Lee"))
    )
    assert sorted(answer.status_code for answer in both) == [200, 409]


async def test_a_repeat_with_its_key_gets_the_first_answer(client, service, alarms):
    first = await act(client, "acknowledge", version=3, key="tap-1")
    again = await act(client, "acknowledge", version=3, key="tap-1")
    assert again.status_code == 200
    assert again.json() == first.json()
    assert len(service.records.changes) == 1
    other = await act(client, "acknowledge", number=3, version=3, key="tap-1")
    assert other.status_code == 422


async def test_cause_comment_close(client, alarms):
    alarms[2] = alarm(2, active=False, state="rtn_unack", needs_cause=True)
    early = await act(client, "close", version=3)
    assert early.status_code == 409
    assert "cause" in early.json()["detail"]
    said = await act(client, "comment", text="looking")
    assert said.json()["version"] == 4
    done = await act(client, "cause", version=4, cause="Tool wear", action="Tool changed")
    assert done.json()["state"] == "closed"
    assert done.json()["cause"] == "Tool wear"


async def test_shelve_and_unshelve(client, alarms):
    shelved = await act(
        client, "shelve", version=3, reason="known", until="2025-11-23T11:00:00+01:00"
    )
    assert shelved.status_code == 409, "that time has passed"
    shelved = await act(
        client, "shelve", version=3, reason="known", until="2025-11-23T12:00:00+01:00"
    )
    assert shelved.json()["state"] == "shelved"
    assert shelved.json()["shelved_until"] == "2025-11-23T11:00:00.000000Z"
    back = await act(client, "unshelve", version=4)
    assert back.json()["state"] == "ack"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": "three"},
        {"version": 3, "who": ""},
        {"version": 3, "who": "x" * 101},
        {"version": 3, "who": "a\0b"},
        {"version": 3, "sure": True},
    ],
)
async def test_an_act_that_cannot_be_read_changes_nothing(client, service, alarms, body):
    answer = await act(client, "acknowledge", **body)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert not service.records.changes


async def test_an_unknown_alarm(client, alarms):
    assert (await client.get(f"{URL}/99")).status_code == 404
    assert (await act(client, "acknowledge", number=99, version=1)).status_code == 404
    assert (await client.get(f"{URL}/x")).status_code == 422


async def test_acts_of_people_wait_while_the_database_is_away(client, service, alarms):
    service.records.away = True
    answer = await act(client, "acknowledge", version=3)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
