"""Labels, streams, volumes and fields as Loki's API has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.loki_app import (
    API_LINES,
    NOW_S,
    SHOP_LINES,
    START_S,
    TRACE_ID,
    WEB_LINES,
    ask,
    at,
    fill,
    loki_app,
    push,
)
from tests.api.running_app import RunningApp

API_ERROR = {"app": "api", "env": "prod", "level": "error", "service_name": "api"}
API_INFO = API_ERROR | {"level": "info"}
WEB = {"app": "web", "env": "dev", "service_name": "web"}
SHOP = {"k8s_pod_name": "shop-1", "service_name": "shop"}

API_BYTES = sum(map(len, API_LINES))
ERROR_BYTES = sum(len(API_LINES[n]) for n in range(0, 60, 3))
WEB_BYTES = sum(map(len, WEB_LINES))
SHOP_BYTES = sum(len(f"checkout {n}") for n in range(SHOP_LINES))


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with loki_app(tmp_path) as running:
        await fill(running)
        yield running


async def test_label_names(app: RunningApp) -> None:
    everything = ["app", "env", "k8s_pod_name", "level", "service_name"]
    for path in ("/labels", "/label"):
        assert await ask(app, path) == {"status": "success", "data": everything}
    for query, expected in (
        ('{app="web"}', ["app", "env", "service_name"]),
        ('{service_name="shop"}', ["k8s_pod_name", "service_name"]),
        ('{env="none"}', []),
        ("{}", everything),
    ):
        assert (await ask(app, "/labels", query=query))["data"] == expected
    # Only what has a line in the range.
    assert (await ask(app, "/labels", start=at(59), end=at(60)))["data"] == [
        "app",
        "env",
        "level",
        "service_name",
    ]


async def test_label_values(app: RunningApp) -> None:
    for name, parameters, expected in (
        ("app", {}, ["api", "web"]),
        ("service_name", {}, ["api", "shop", "web"]),
        ("level", {}, ["error", "info"]),
        ("app", {"query": '{env="prod"}'}, ["api"]),
        ("app", {"query": '{env!="prod"}'}, ["web"]),
        ("app", {"start": at(59), "end": at(60)}, ["api"]),
        ("app", {"start": at(0), "end": at(0)}, []),
        ("nothing", {}, []),
    ):
        found = await ask(app, f"/label/{name}/values", **parameters)
        assert found == {"status": "success", "data": expected}


async def test_a_label_may_have_any_text_as_value(app: RunningApp) -> None:
    odd = 'a"b\\c/d e?é'
    await push(app, ({"app": odd}, [[at(1), "x"]]))
    assert odd in (await ask(app, "/label/app/values"))["data"]
    query = '{app="a\\"b\\\\c/d e?é"}'
    assert (await ask(app, "/series", **{"match[]": query}))["data"] == [
        {"app": odd, "service_name": odd}
    ]


async def test_series(app: RunningApp) -> None:
    for selector, expected in (
        ('{app="api"}', [API_ERROR, API_INFO]),
        ('{level=~"err.*"}', [API_ERROR]),
        ('{service_name="shop"}', [SHOP]),
        ("{}", [API_ERROR, API_INFO, WEB, SHOP]),
        ('{app="none"}', []),
    ):
        found = await ask(app, "/series", **{"match[]": selector})
        assert found == {"status": "success", "data": expected}
    form = [("match[]", '{app="web"}'), ("match[]", '{level="info"}'), ("start", str(START_S))]
    posted = await app.post("/loki/api/v1/series", data=form)
    assert posted.json["data"] == [API_INFO, WEB]


async def test_index_stats(app: RunningApp) -> None:
    for selector, streams, entries, size in (
        ('{app="api"}', 2, 60, API_BYTES),
        ('{level="error"}', 1, 20, ERROR_BYTES),
        ('{service_name=~".+"}', 4, 100, API_BYTES + WEB_BYTES + SHOP_BYTES),
    ):
        found = await ask(app, "/index/stats", query=selector)
        assert found == {"streams": streams, "chunks": streams, "entries": entries, "bytes": size}


async def volumes(app: RunningApp, **parameters: Any) -> list[tuple[dict[str, str], list[Any]]]:
    found = await ask(app, "/index/volume", **parameters)
    assert found["status"] == "success"
    assert found["data"]["resultType"] == "vector"
    return [(each["metric"], each["value"]) for each in found["data"]["result"]]


async def test_volumes_are_by_labels_the_largest_first(app: RunningApp) -> None:
    by_service = [
        ({"service_name": "api"}, [NOW_S, str(API_BYTES)]),
        ({"service_name": "web"}, [NOW_S, str(WEB_BYTES)]),
        ({"service_name": "shop"}, [NOW_S, str(SHOP_BYTES)]),
    ]
    assert await volumes(app, query="{}", targetLabels="service_name") == by_service
    assert await volumes(app, query='{service_name=~".+"}') == by_service
    assert await volumes(app, query='{service_name=~".+"}', limit=1) == by_service[:1]
    assert await volumes(app, query='{service_name=~".+"}', limit=0) == by_service
    # What has no such label is left out.
    assert await volumes(app, query='{service_name=~".+"}', targetLabels="env") == [
        ({"env": "prod"}, [NOW_S, str(API_BYTES)]),
        ({"env": "dev"}, [NOW_S, str(WEB_BYTES)]),
    ]
    assert await volumes(app, query="{}") == [
        (API_INFO, [NOW_S, str(API_BYTES - ERROR_BYTES)]),
        (WEB, [NOW_S, str(WEB_BYTES)]),
        (API_ERROR, [NOW_S, str(ERROR_BYTES)]),
        (SHOP, [NOW_S, str(SHOP_BYTES)]),
    ]


async def test_volumes_by_names_of_labels(app: RunningApp) -> None:
    found = await volumes(app, query='{service_name=~".+"}', aggregateBy="labels")
    assert found == [
        ({"service_name": ""}, [NOW_S, str(API_BYTES + WEB_BYTES + SHOP_BYTES)]),
        ({"app": ""}, [NOW_S, str(API_BYTES + WEB_BYTES)]),
        ({"env": ""}, [NOW_S, str(API_BYTES + WEB_BYTES)]),
        ({"level": ""}, [NOW_S, str(API_BYTES)]),
        ({"k8s_pod_name": ""}, [NOW_S, str(SHOP_BYTES)]),
    ]
    assert await volumes(app, query="{}", aggregateBy="labels", targetLabels="level,env") == [
        ({"env": ""}, [NOW_S, str(API_BYTES)]),
        ({"level": ""}, [NOW_S, str(API_BYTES)]),
    ]


async def test_volumes_over_time(app: RunningApp) -> None:
    found = await ask(
        app,
        "/index/volume_range",
        query='{app="api"}',
        step="20s",
        start=START_S + 5,
        end=START_S + 50,
    )
    assert found["data"]["resultType"] == "matrix"

    def size(first: int, end: int) -> str:
        return str(sum(map(len, API_LINES[first:end])))

    assert found["data"]["result"] == [
        {
            "metric": {"app": "api"},
            "values": [
                [START_S + 19.999, size(5, 20)],
                [START_S + 39.999, size(20, 40)],
                [START_S + 50, size(40, 50)],
            ],
        }
    ]


async def test_detected_fields(app: RunningApp) -> None:
    found = await ask(app, "/detected_fields", query='{app="api"}')
    assert found["limit"] == 1000
    fields = {each.pop("label"): each for each in found["fields"]}

    def logfmt(kind: str, cardinality: int) -> dict[str, Any]:
        return {"type": kind, "cardinality": cardinality, "parsers": ["logfmt"]}

    def metadata(kind: str, cardinality: int) -> dict[str, Any]:
        return {"type": kind, "cardinality": cardinality, "parsers": []}

    assert fields == {
        "msg": logfmt("string", 60),
        # obsd has made fields of these when they came.
        "took": metadata("duration", 60),
        "status": metadata("int", 2),
        "size": metadata("bytes", 60),
        "ok": metadata("boolean", 2),
        "request_id": metadata("string", 60),
        "detected_level": metadata("string", 2),
        "severity_number": metadata("int", 2),
        "severity_text": metadata("string", 2),
    }


async def test_detected_fields_of_json_have_their_paths(app: RunningApp) -> None:
    found = await ask(app, "/detected_fields", query='{app="web"}', limit=100, line_limit=8)
    assert found["limit"] == 100
    fields = {each.pop("label"): each for each in found["fields"]}
    assert fields["user_id"] == {
        "type": "int",
        "cardinality": 4,
        "parsers": ["json"],
        "jsonPath": ["user", "id"],
    }
    # obsd has made a field of this when it came.
    assert fields["took"] == {"type": "float", "cardinality": 8, "parsers": []}
    assert fields["detected_level"] == {"type": "string", "cardinality": 1, "parsers": []}


async def test_detected_field_values(app: RunningApp) -> None:
    for name, query, expected in (
        ("user_name", '{app="web"}', ["u0", "u1"]),
        ("status", '{app="api"} |= "order 1"', ["200", "500"]),
        ("trace_id", '{service_name="shop"}', [TRACE_ID]),
        ("nothing", '{app="web"}', []),
    ):
        found = await ask(app, f"/detected_field/{name}/values", query=query)
        assert found == {"values": expected, "limit": 1000}
    few = await ask(app, "/detected_field/msg/values", query='{app="api"}', limit=2)
    assert few == {"values": ["order 0", "order 1"], "limit": 2}


async def test_labels_that_only_name_single_things_are_no_choice(app: RunningApp) -> None:
    ids = ["7", "8.5", "0b9ff0bc-28f9-4f2e-9b0f-0f1b1f6c6f5e"]
    await push(app, *(({"app": "ids", "id": each, "flag": "1"}, [[at(1), "x"]]) for each in ids))
    found = await ask(app, "/detected_labels", query='{app=~".+"}')
    assert found == {
        "detectedLabels": [
            {"label": "app", "cardinality": 3},
            {"label": "env", "cardinality": 2},
            {"label": "flag", "cardinality": 1},
            {"label": "level", "cardinality": 2},
            {"label": "service_name", "cardinality": 3},
        ]
    }


async def test_patterns(app: RunningApp) -> None:
    found = await ask(app, "/patterns", query='{service_name="shop"}', step="30s")
    assert found == {
        "status": "success",
        "data": [
            {
                "pattern": "checkout <_>",
                "level": "info",
                "samples": [[START_S, 5], [START_S + 30, 5]],
            }
        ],
    }
    assert (await ask(app, "/patterns", query='{app="none"}'))["data"] == []
    assert (await ask(app, "/patterns", query="{}", start=at(0), end=at(0)))["data"] == []
