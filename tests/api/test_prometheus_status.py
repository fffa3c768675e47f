"""The server itself: build, settings, runtime, cardinality, targets and rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio
import yaml

from obsd import __version__
from obsd.api.keys import CONFIG, SELF_MONITORING
from obsd.api.prometheus_targets import own_targets
from obsd.config import Config
from obsd.services.self_monitoring import LastCollection
from tests.api.running_app import RunningApp, running_app

T0 = 1_700_000_000_000


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as running:
        yield running


async def test_build_info_names_a_prometheus_version(app: RunningApp):
    info = await app.data("/api/v1/status/buildinfo")
    assert info["version"] == "3.0.0"
    assert __version__ in info["revision"]
    assert set(info) == {"version", "revision", "branch", "buildUser", "buildDate", "goVersion"}


async def test_config_is_yaml_without_secrets(app: RunningApp):
    text = (await app.data("/api/v1/status/config"))["yaml"]
    assert yaml.safe_load(text)["server"]["listen"] == "127.0.0.1:6273"


async def test_flags_are_texts(app: RunningApp):
    flags = await app.data("/api/v1/status/flags")
    assert all(isinstance(value, str) for value in flags.values())
    assert flags["server.listen"] == "127.0.0.1:6273"
    assert flags["storage.tsdb.retention.time"] == flags["storage.retention"]


async def test_runtime_info(app: RunningApp):
    info = await app.data("/prometheus/api/v1/status/runtimeinfo")
    assert datetime.fromisoformat(info["startTime"]) <= datetime.fromisoformat(info["serverTime"])
    assert info["storageRetention"]


async def test_tsdb_counts_series(app: RunningApp):
    await app.write(
        [
            ({"__name__": "m", "host": str(i), "job": "a"}, [(T0, 1.0), (T0 + 1000, 2.0)])
            for i in range(12)
        ]
    )
    status = await app.data("/api/v1/status/tsdb")
    assert status["headStats"]["numSeries"] == 12
    assert (status["headStats"]["minTime"], status["headStats"]["maxTime"]) == (T0, T0 + 1000)
    assert status["seriesCountByMetricName"] == [{"name": "m", "value": 12}]
    assert status["labelValueCountByLabelName"][0] == {"name": "host", "value": 12}
    assert {"name": "job=a", "value": 12} in status["seriesCountByLabelValuePair"]
    assert {entry["name"] for entry in status["memoryInBytesByLabelName"]} >= {"host", "job"}
    assert all(len(status[key]) <= 10 for key in status if key != "headStats")
    limited = await app.data("/api/v1/status/tsdb", {"limit": "1"})
    assert len(limited["labelValueCountByLabelName"]) == 1
    assert (await app.get("/api/v1/status/tsdb", {"limit": "0"})).status == 400


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("status/walreplay", {"min": 0, "max": 0, "current": 0}),
        ("rules", {"groups": []}),
        ("alerts", {"alerts": []}),
        ("alertmanagers", {"activeAlertmanagers": [], "droppedAlertmanagers": []}),
        ("targets/metadata", []),
    ],
)
async def test_what_is_empty_is_well_formed(app: RunningApp, path: str, data: object):
    assert await app.data("/api/v1/" + path) == data


async def test_rules_and_targets_refuse_unknown_filters(app: RunningApp):
    for path in ("rules?type=x", "rules?match[]=up{", "targets?state=x"):
        answer = await app.get("/api/v1/" + path)
        assert (answer.status, answer.json["errorType"]) == (400, "bad_data")


class Monitoring:
    """Self-monitoring as its targets are seen: one up, one down, one not read yet."""

    last: ClassVar = {
        "node": LastCollection(T0, 10, 0.25, is_up=True),
        "obsd": LastCollection(T0, error="no answer"),
        "other": LastCollection(),
    }


async def test_targets_are_those_of_self_monitoring(app: RunningApp):
    assert (await app.data("/api/v1/targets"))["activeTargets"] == []
    assert await app.data("/api/v1/scrape_pools") == {"scrapePools": []}


async def test_targets_tell_their_health(app: RunningApp):
    monitoring = {SELF_MONITORING: Monitoring(), CONFIG: Config()}
    node, own, other = own_targets(monitoring)
    assert (node["health"], own["health"], other["health"]) == ("up", "down", "unknown")
    assert own["lastError"] == "no answer"
    assert own["scrapeUrl"] == "http://127.0.0.1:6273/metrics"
    assert node["lastScrape"] == "2023-11-14T22:13:20Z"
    assert (node["lastScrapeDuration"], other["lastScrapeDuration"]) == (0.25, 0)
    assert node["labels"]["job"] == node["scrapePool"] == "node"
    assert set(node) == {
        "discoveredLabels", "labels", "scrapePool", "scrapeUrl", "globalUrl", "lastError",
        "lastScrape", "lastScrapeDuration", "health", "scrapeInterval", "scrapeTimeout",
    }  # fmt: skip
