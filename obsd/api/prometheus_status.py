"""Prometheus' HTTP API, the server itself: what it is, how it is set, what it holds."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from obsd import __version__
from obsd.api.auth import project_of
from obsd.api.keys import CONFIG, METRICS, STATE
from obsd.api.params import InvalidParameterError, read_params
from obsd.api.prometheus_envelope import success
from obsd.api.prometheus_routes import get
from obsd.config import Config, config_to_dict, config_to_yaml
from obsd.services.metrics_collector import MetricsReader
from obsd.tsdb.stats import EngineStats

PROMETHEUS_VERSION: Final = "3.0.0"
"""Whose features these are. Grafana turns its own on by it; obsd's version is the revision."""

_TOP_ENTRIES: Final = 10  # As Prometheus' status page.
_MAX_TOP_ENTRIES: Final = 10_000


async def build_info(request: web.Request) -> web.Response:
    """`GET /api/v1/status/buildinfo`: which features a client may count on."""
    return _success(
        {
            "version": PROMETHEUS_VERSION,
            "revision": f"obsd-{__version__}",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }
    )


async def config(request: web.Request) -> web.Response:
    """`GET /api/v1/status/config`: every setting in force, as YAML, without secrets."""
    return _success({"yaml": config_to_yaml(request.app[CONFIG])})


async def flags(request: web.Request) -> web.Response:
    """`GET /api/v1/status/flags`: every setting in force, by its name."""
    return _success(flag_values(request.app[CONFIG]))


def flag_values(settings: Config) -> dict[str, str]:
    """Settings by section and name, and two that Prometheus' clients look for by its names."""
    values = {
        f"{section}.{name}": _flag_text(value)
        for section, options in config_to_dict(settings).items()
        for name, value in options.items()
    }
    storage = values.get("storage.data_dir", "")
    retention = values.get("storage.retention", "")
    return values | {"storage.tsdb.path": storage, "storage.tsdb.retention.time": retention}


def _flag_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return ",".join(map(str, value))
    return str(value)


async def runtime_info(request: web.Request) -> web.Response:
    """`GET /api/v1/status/runtimeinfo`: the process."""
    state = request.app[STATE]
    started = datetime.fromtimestamp(state.started_s, UTC)
    settings = flag_values(request.app[CONFIG])
    return _success(
        {
            "startTime": rfc3339(started),
            "CWD": str(await asyncio.to_thread(Path.cwd)),
            "hostname": socket.gethostname(),
            "serverTime": rfc3339(datetime.now(UTC)),
            "reloadConfigSuccess": True,
            "lastConfigTime": rfc3339(started),
            "corruptionCount": 0,
            "goroutineCount": threading.active_count(),
            "GOMAXPROCS": len(os.sched_getaffinity(0)),
            "GOMEMLIMIT": 0,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": settings["storage.tsdb.retention.time"],
        }
    )


def rfc3339(moment: datetime) -> str:
    """A UTC time as Prometheus writes it."""
    return moment.isoformat().replace("+00:00", "Z")


async def tsdb(request: web.Request) -> web.Response:
    """`GET /api/v1/status/tsdb`: how many series there are, and where they come from."""
    params = await read_params(request)
    limit = params.count("limit") if params.text("limit") else _TOP_ENTRIES
    if limit is None or not 1 <= limit <= _MAX_TOP_ENTRIES:
        raise InvalidParameterError("limit", f"limit must be between 1 and {_MAX_TOP_ENTRIES}")
    wanted = limit
    data = await request.app[METRICS].read(
        project_of(request), lambda engine, _: _cardinality(engine, wanted)
    )
    return success(data)


def _cardinality(engine: MetricsReader, limit: int) -> bytes:
    cardinality, stats = engine.cardinality(limit), engine.stats()
    return msgspec.json.encode(
        {
            "headStats": {
                "numSeries": cardinality.series,
                "numLabelPairs": cardinality.label_pairs,
                "chunkCount": 0 if stats is None else _chunks(stats),
                "minTime": 0 if stats is None else stats.min_time_ms or 0,
                "maxTime": 0 if stats is None else stats.max_time_ms or 0,
            },
            "seriesCountByMetricName": _top(cardinality.by_metric),
            "labelValueCountByLabelName": _top(cardinality.values_by_label),
            "memoryInBytesByLabelName": _top(cardinality.bytes_by_label),
            "seriesCountByLabelValuePair": _top(cardinality.by_pair),
        }
    )


def _chunks(stats: EngineStats) -> int:
    """One of each series in the head, and those of the parts."""
    return stats.active_series + sum(level.chunks for level in stats.levels)


def _top(entries: Iterable[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"name": name, "value": value} for name, value in entries]


async def wal_replay(request: web.Request) -> web.Response:
    """`GET /api/v1/status/walreplay`: done, since nothing is served before."""
    return _success({"min": 0, "max": 0, "current": 0})


def _success(data: object) -> web.Response:
    return success(msgspec.json.encode(data))


def routes() -> list[web.RouteDef]:
    return [
        *get("/api/v1/status/buildinfo", build_info),
        *get("/api/v1/status/config", config),
        *get("/api/v1/status/flags", flags),
        *get("/api/v1/status/runtimeinfo", runtime_info),
        *get("/api/v1/status/tsdb", tsdb),
        *get("/api/v1/status/walreplay", wal_replay),
    ]
