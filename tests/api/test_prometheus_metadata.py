"""What there is: series, labels, metadata, exemplars; and queries as text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from yarl import URL

from obsd.model.budget import QueryBudget
from obsd.model.errors import QueryCanceledError
from tests.api.running_app import WRITE_1, RunningApp, running_app
from tests.protobuf.prometheus_messages import WriteRequest, compressed

T0 = 1_700_000_000_000
T0_S = T0 // 1000
A = {"__name__": "up", "job": "a"}
B = {"__name__": "up", "job": "b"}
DOTTED = {"__name__": "http.requests", "status.code": "200", "état": "é"}


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as running:
        await running.write([(A, [(T0, 1.0)]), (B, [(T0 + 3_600_000, 1.0)]), (DOTTED, [(T0, 2.0)])])
        yield running


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_series(app: RunningApp, method: str):
    find = {"match[]": ["up", '{"http.requests"}']}
    assert await app.data("/api/v1/series", find, method) == [DOTTED, A, B]
    assert await app.data("/api/v1/series", find | {"end": str(T0_S)}, method) == [DOTTED, A]
    assert await app.data("/api/v1/series", {"match[]": 'up{job="c"}'}, method) == []


async def test_series_needs_a_selector(app: RunningApp):
    answer = await app.get("/api/v1/series")
    assert (answer.status, answer.json["error"]) == (400, "no match[] parameter provided")
    answer = await app.get("/api/v1/series", {"match[]": "rate(up[5m])"})
    assert answer.status == 400
    assert answer.json["error"].startswith('invalid parameter "match[]": ')


async def test_a_form_names_several_selectors(app: RunningApp):
    form = "match[]=up&match[]=%7B%22http.requests%22%7D"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await app.post("/prometheus/api/v1/series", form, headers=headers)
    assert answer.json["data"] == [DOTTED, A, B]


async def test_labels(app: RunningApp):
    assert await app.data("/api/v1/labels") == ["__name__", "job", "status.code", "état"]
    assert await app.data("/api/v1/labels", {"match[]": "up"}) == ["__name__", "job"]
    assert await app.data("/api/v1/labels", {"start": str(T0_S + 1)}, "POST") == ["__name__", "job"]


async def test_label_values(app: RunningApp):
    values = "/api/v1/label/{}/values"
    assert await app.data(values.format("job")) == ["a", "b"]
    assert await app.data(values.format("job"), {"end": str(T0_S)}) == ["a"]
    assert await app.data(values.format("job"), {"match[]": 'up{job!="a"}'}) == ["b"]
    assert await app.data(values.format("U__status_2e_code")) == ["200"]
    assert await app.data(values.format("status.code")) == ["200"]
    assert await app.data(values.format("%C3%A9tat")) == ["é"]
    assert await app.data(values.format("nothing")) == []
    answer = await app.get(values.format("U__"))
    assert (answer.status, answer.json["error"]) == (400, 'invalid label name: "U__"')


@pytest.mark.parametrize(
    ("path", "count"), [("series?match[]=up", 2), ("labels", 4), ("label/job/values", 2)]
)
async def test_limit(app: RunningApp, path: str, count: int):
    separator = "&" if "?" in path else "?"
    answer = await app.get(f"/api/v1/{path}{separator}limit=1")
    assert len(answer.json["data"]) == 1
    assert answer.json["warnings"] == ["results truncated due to limit"]
    answer = await app.get(f"/api/v1/{path}{separator}limit={count}")
    assert len(answer.json["data"]) == count
    assert "warnings" not in answer.json


async def test_an_end_before_the_start_is_an_error(app: RunningApp):
    answer = await app.get("/api/v1/labels", {"start": "5", "end": "1"})
    assert answer.status == 400


async def test_metadata(app: RunningApp):
    request = WriteRequest(
        metadata=[
            {"type": 1, "metric_family_name": "a_total", "help": "A", "unit": ""},
            {"type": 2, "metric_family_name": "b", "help": "B", "unit": "bytes"},
        ]
    )
    await app.post("/api/v1/write", compressed(request), headers=WRITE_1)
    a = {"a_total": [{"type": "counter", "help": "A", "unit": ""}]}
    b = {"b": [{"type": "gauge", "help": "B", "unit": "bytes"}]}
    assert await app.data("/api/v1/metadata") == a | b
    assert await app.data("/api/v1/metadata", {"metric": "b"}) == b
    assert await app.data("/api/v1/metadata", {"limit": "1"}) == a
    assert await app.data("/api/v1/metadata", {"metric": "c"}) == {}
    assert await app.data("/api/v1/metadata", {"limit": "-1"}) == a | b
    assert (await app.get("/api/v1/metadata", {"limit": "x"})).status == 400


async def test_exemplars(app: RunningApp):
    request = WriteRequest(
        timeseries=[
            {
                "labels": [{"name": n, "value": v} for n, v in A.items()],
                "samples": [{"timestamp": T0, "value": 1}],
                "exemplars": [
                    {
                        "labels": [{"name": "trace_id", "value": "abc"}],
                        "value": 0.25,
                        "timestamp": T0 + 500,
                    }
                ],
            }
        ]
    )
    await app.post("/api/v1/write", compressed(request), headers=WRITE_1)
    times = {"start": str(T0_S), "end": str(T0_S + 1)}
    expected = [
        {
            "seriesLabels": A,
            "exemplars": [
                {"labels": {"trace_id": "abc"}, "value": "0.25", "timestamp": T0_S + 0.5}
            ],
        }
    ]
    for query in ('up{job="a"}', "sum(rate(up[5m])) / 2"):
        assert await app.data("/api/v1/query_exemplars", {"query": query} | times) == expected
    assert await app.data("/api/v1/query_exemplars", {"query": "1"} | times) == []
    assert await app.data("/api/v1/query_exemplars", {"query": "other"} | times, "POST") == []
    answer = await app.get("/api/v1/query_exemplars", {"query": "up{"} | times)
    assert answer.json["errorType"] == "bad_data"


async def test_format_query(app: RunningApp):
    for method in ("GET", "POST"):
        text = await app.data("/api/v1/format_query", {"query": "sum by(job)(up )"}, method)
        assert text == "sum by (job) (up)"
    answer = await app.get("/api/v1/format_query", {"query": "sum("})
    assert answer.json["errorType"] == "bad_data"


async def test_parse_query(app: RunningApp):
    tree = await app.data("/api/v1/parse_query", {"query": "sum(up)"})
    assert (tree["type"], tree["op"], tree["expr"]["name"]) == ("aggregation", "sum", "up")


async def test_a_label_name_that_is_no_utf8_is_an_error(app: RunningApp):
    url = URL(f"{app.url}/api/v1/label/%FF/values", encoded=True)
    async with app.session.get(url) as response:
        answer = await response.json()
    assert (response.status, answer["errorType"]) == (400, "bad_data")


async def test_no_limit_per_metric_is_one_entry(app: RunningApp):
    await app.metrics.register_metric("default", "up", "gauge", "Help.")
    everything = await app.data("/api/v1/metadata")
    assert everything == {"up": [{"type": "gauge", "help": "Help.", "unit": ""}]}
    assert await app.data("/api/v1/metadata", {"limit_per_metric": "0"}) == everything


@pytest.mark.parametrize("listing", ["series", "label_names", "label_values", "exemplars"])
async def test_listings_stop_when_nobody_waits(app: RunningApp, listing: str):
    budget = QueryBudget()
    budget.cancel()
    engine = app.projects.engine("default")
    name = ["job"] if listing == "label_values" else []
    with pytest.raises(QueryCanceledError):
        getattr(engine, listing)(*name, [], 0, 1 << 60, budget=budget)
