"""The service map over HTTP."""

from __future__ import annotations

import pytest

from obsd.model.clock import ManualClock
from tests.api.running_app import running_app
from tests.services.test_service_map import T0, shop

PATH = "/api/v1/monitoring/service-map"
HOUR = 3_600_000


@pytest.fixture
async def app(tmp_path):
    async with running_app(tmp_path, clock=ManualClock(T0)) as app:
        await app.metrics.collect_metrics("default", shop(T0 - HOUR, T0))
        yield app


async def test_the_last_hour_is_shown(app) -> None:
    answer = await app.get(PATH, {"to": "now"})
    assert answer.status == 200, answer.text
    found = answer.json
    assert (found["from"], found["to"]) == ("2023-11-14T21:13:20.000Z", "2023-11-14T22:13:20.000Z")
    nodes = {node["name"]: node for node in found["nodes"]}
    assert {name: node["type"] for name, node in nodes.items()} == {
        "batch": "service",
        "cart": "service",
        "front": "service",
        "orders": "queue",
        "shop-db": "database",
        "user": "user",
    }
    cart = nodes["cart"]
    assert (cart["calls"], cart["error_rate"], cart["baseline"]) == (60, 0.0, None)
    assert cart["calls_per_second"] == pytest.approx(60 / 3600, rel=0.01)
    assert cart["p50_ms"] == pytest.approx(50)
    assert cart["health"]["state"] == "healthy"
    assert nodes["shop-db"]["health"] == {
        "state": "failing",
        "reason": "25 % of calls fail; there is no past to compare with",
    }
    direct = next(edge for edge in found["edges"] if edge["server"] == "cart")
    assert (direct["client"], direct["connection_type"], direct["calls"]) == ("front", "direct", 60)
    assert found["uncounted_calls"] == 70


async def test_another_project_has_another_map(app) -> None:
    answer = await app.get(PATH, headers={"X-Scope-OrgID": "other"})
    assert (answer.json["nodes"], answer.json["edges"]) == ([], [])


@pytest.mark.parametrize(
    "params", [{"from": "soon"}, {"from": "-1h", "to": "-2h"}, {"from": "5", "to": "5"}]
)
async def test_ranges_that_are_none(app, params: dict[str, str]) -> None:
    answer = await app.get(PATH, params)
    assert answer.status == 400, answer.text
