import numpy as np
import pytest

from app.store.batch import Stream
from app.store.rows import POINT, READING, PointFlag

URL = "/api/v1/characteristics"
RNG = np.random.default_rng(3)
MINUTE = 60_000_000
T0 = 1_763_892_000_000_000


@pytest.fixture
def series(client, service):
    """300 points of "bore", one a minute, the last outside of its limits."""
    service.catalog.put_stream(Stream(1, 1, "bore", {}))
    rows = np.zeros(300, POINT)
    rows["stream"] = 1
    rows["time"] = T0 + np.arange(300) * MINUTE
    rows["key"] = np.arange(300)
    rows["statistic"] = RNG.normal(10, 1, 300)
    rows["statistic"][-1] = 20
    rows["dispersion"] = np.abs(np.diff(rows["statistic"], prepend=np.nan))
    rows["n"] = 1
    rows["version"] = 1
    rows["violations"][-1] = 1
    rows["flags"][0] = PointFlag.CUT
    service.records.point_rows = rows
    readings = np.zeros(300, READING)
    for name in ("stream", "time", "key"):
        readings[name] = rows[name]
    readings["value"] = rows["statistic"]
    readings["size"] = np.nan
    readings["context"][::2] = 4
    service.records.reading_rows = readings
    return rows


async def test_a_characteristic_is_made_with_version_1(client):
    answer = await client.post(
        f"{URL}?who=Roth&reason=new", json={"id": "force", "unit": "N", "class": "critical"}
    )
    assert answer.status_code == 201
    told = (await client.get(f"{URL}/force")).json()
    assert (told["class"], told["version"], told["version_state"]) == ("critical", 1, "collecting")
    assert told["kept_by"] == "api"
    [version] = (await client.get(f"{URL}/force/versions")).json()["items"]
    assert version["author"] == "Roth"


async def test_a_name_is_given_once(client):
    for body in ({"id": "bore"}, {"id": "new", "aliases": ["bore"]}):
        answer = await client.post(f"{URL}?who=x", json=body)
        assert answer.status_code == 409, body


async def test_it_is_found_by_its_alias_too(client):
    assert (await client.get(f"{URL}/Bohrung Ø 1")).json()["id"] == "bore"
    assert (await client.get(f"{URL}/nobody")).status_code == 404


async def test_a_definition_makes_a_version_and_a_name_does_not(client, series):
    named = await client.put(f"{URL}/bore?who=Roth", json={"id": "bore", "name": "Bore"})
    assert named.json()["steps"][0].startswith("change")
    ruled = await client.put(f"{URL}/bore?who=Roth", json={"id": "bore", "rules": ["nelson-1"]})
    assert ruled.json()["steps"][0].startswith("version")
    new, old = (await client.get(f"{URL}/bore/versions")).json()["items"]
    assert (new["number"], old["state"]) == (2, "superseded")
    assert new["valid_from"] > "2025-11-23T14:58"
    other = await client.put(f"{URL}/bore?who=Roth", json={"id": "other"})
    assert other.status_code == 422


async def test_a_retired_one_stays_readable(client):
    assert (await client.delete(f"{URL}/bore?who=Roth")).status_code == 200
    assert (await client.get(URL)).json()["items"] == []
    assert (await client.get(f"{URL}?retired=true")).json()["items"][0]["retired"]
    assert (await client.get(f"{URL}/bore")).json()["retired"]
    assert (await client.delete(f"{URL}/bore?who=Roth")).status_code == 200


async def test_a_wrong_configuration_says_what_is_wrong(client):
    answer = await client.post(f"{URL}?who=x", json={"id": "q", "chart": "xbar_r"})
    assert answer.status_code == 422
    assert "subgroups of 2 to 10" in answer.json()["detail"]
    nobody = await client.post(URL, json={"id": "q"})
    assert nobody.status_code == 422


async def test_the_newest_points_in_columns(client, series):
    told = (await client.get(f"{URL}/bore/points", params={"limit": 3})).json()
    assert told["key"] == [297, 298, 299]
    assert told["violations"] == [[], [], ["nelson-1"]]
    assert told["version"] == [1, 1, 1]
    assert told["bands"] is None
    assert told["time"][-1] == "2025-11-23T14:59:00.000000Z"


async def test_a_dense_range_becomes_bands_that_keep_violations(client, series):
    params = {"start": "2025-11-23T10:00:00Z", "limit": 50}
    told = (await client.get(f"{URL}/bore/points", params=params)).json()
    assert len(told["bands"]["time"]) == 50
    assert max(told["bands"]["max"]) == 20
    assert told["key"] == [299]
    raw = (await client.get(f"{URL}/bore/points", params={**params, "reduce": False})).json()
    assert len(raw["key"]) == 50


async def test_readings_page_by_page(client, series):
    params, keys = {"limit": 128}, []
    while True:
        told = (await client.get(f"{URL}/bore/readings", params=params)).json()
        keys += told["key"]
        if told["next"] is None:
            break
        params["after"] = told["next"]
    assert keys == list(range(300))
    assert told["tags"][0] == {"lot": "L4"}
    assert told["size"][0] is None
    assert told["purpose"][0] == "production"


@pytest.mark.parametrize("start", ["2025-11-23T15:57:00+01:00", "2025-11-23T14:57:00Z"])
async def test_a_plus_that_was_not_escaped_is_understood(client, series, start):
    answer = await client.get(f"{URL}/bore/readings?start={start}")
    assert answer.json()["key"] == [297, 298, 299]


@pytest.mark.parametrize(
    "params", [{"start": "yesterday"}, {"start": "2025-11-23T10:00:00"}, {"after": "x_y"}]
)
async def test_a_wrong_range_is_a_problem(client, series, params):
    assert (await client.get(f"{URL}/bore/readings", params=params)).status_code == 422


async def test_one_of_several_streams_has_to_be_chosen(client, service, series):
    service.catalog.put_stream(Stream(2, 1, "bore:2", {}))
    unsaid = await client.get(f"{URL}/bore/points")
    assert unsaid.status_code == 422
    assert unsaid.json()["streams"] == ["bore", "bore:2"]
    assert (await client.get(f"{URL}/bore/points?stream=bore:2")).json()["key"] == []
    assert (await client.get(f"{URL}/bore/points?stream=bore:3")).status_code == 404


async def test_a_characteristic_without_readings(client):
    assert (await client.get(f"{URL}/bore/points")).json()["time"] == []
    assert (await client.get(f"{URL}/bore/readings")).json()["next"] is None


async def test_limits_are_proposed_by_one_and_approved_by_another(client, series):
    await client.put(f"{URL}/bore?who=x", json={"id": "bore", "class": "critical"})
    proposed = await client.post(
        f"{URL}/bore/limits",
        json={
            "who": "A. Roth",
            "reason": "first month",
            "baseline": {
                "start": "2025-11-23T10:00:00Z",
                "excluded": [{"time": "2025-11-23T14:59:00Z", "key": 299}],
            },
        },
    )
    assert proposed.status_code == 201, proposed.text
    told = proposed.json()
    assert told["state"] == "proposed"
    assert told["basis"]["points"] == 299
    assert told["limits"]["sigma"] == pytest.approx(1, abs=0.2)
    assert told["location"]["ucl"] == pytest.approx(13, abs=0.7)

    url = f"{URL}/bore/limits/{told['number']}"
    alone = await client.post(f"{url}/approve", json={"who": "A. Roth"})
    assert alone.status_code == 409
    done = await client.post(f"{url}/approve", json={"who": "B. Kim"})
    assert done.json()["state"] == "active"
    assert done.json()["valid_from"] == "2025-11-23T14:59:00.000001Z"
    again = await client.post(f"{url}/approve", json={"who": "B. Kim"})
    assert again.status_code == 409
    assert (await client.get(f"{URL}/bore")).json()["version"] == told["number"]


async def test_limits_are_rejected_with_a_reason(client, series):
    body = {"who": "A", "reason": "typed", "center": 10, "sigma": 1}
    number = (await client.post(f"{URL}/bore/limits", json=body)).json()["number"]
    url = f"{URL}/bore/limits/{number}/reject"
    assert (await client.post(url, json={"who": "B"})).status_code == 422
    done = await client.post(url, json={"who": "B", "reason": "too wide"})
    assert done.json()["state"] == "rejected"
    assert (
        await client.post(f"{URL}/bore/limits/77/reject", json={"who": "B", "reason": "x"})
    ).status_code == 404


async def test_given_limits_keep_their_source(client, series):
    given = {"center": 10, "lcl": 7, "ucl": 14, "source": "control plan 12"}
    answer = await client.post(
        f"{URL}/bore/limits", json={"who": "A", "reason": "customer", "given": given}
    )
    assert answer.json()["limits"]["source"] == "control plan 12"
    assert answer.json()["location"] == {"center": 10, "lcl": 7, "ucl": 14, "sigma": None}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "one of them"),
        ({"center": 1, "baseline": {"last": 50}}, "one of them"),
        ({"center": 1}, "sigma"),
        ({"center": 1, "sigma": 0}, "sigma"),
        ({"baseline": {"last": 5}}, "5 points"),
        ({"baseline": {}}, "give start"),
        ({"baseline": {"last": 50, "method": "guess"}}, "no method"),
        ({"given": {"center": 1}}, "sigma"),
    ],
)
async def test_limits_that_do_not_follow_are_refused(client, service, series, body, told):
    answer = await client.post(f"{URL}/bore/limits", json={"who": "A", "reason": "r", **body})
    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert len(service.catalog.versions_of(1)) == 1
