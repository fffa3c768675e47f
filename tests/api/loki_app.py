"""A running application with logs of three senders, whose every count is known."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import ManualClock
from obsd.services.metrics_collector import QueryLimits
from tests.api.running_app import Answer, RunningApp, running_app
from tests.logindex.otlp_requests import record, request

NOW_S = 1_700_000_040  # A multiple of 60.
NOW_MS = NOW_S * 1000
NOW_NS = NOW_MS * 1_000_000
SECOND_NS = 1_000_000_000
START_S = NOW_S - 120
API = "/loki/api/v1"
CATEGORIZE = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
TRACE_ID = "5b8efff798038103d269b633813fc60c"

# Lines of api: one a second from START_S on, every third an error.
API_LINES = [
    f'msg="order {n}" took={n}ms status={500 if n % 2 else 200} size={n}KB '
    f"ok={'true' if n % 2 else 'false'}"
    for n in range(60)
]
# Lines of web: one every two seconds.
WEB_LINES = [
    json.dumps({"user": {"id": n % 4, "name": f"u{n % 2}"}, "took": n / 2, "path": "/x"})
    for n in range(30)
]
SHOP_LINES = 10


@asynccontextmanager
async def loki_app(directory: Path, limits: QueryLimits | None = None) -> AsyncIterator[RunningApp]:
    """The application, with nothing in it."""
    clock = ManualClock(NOW_MS)

    def open_logs(path: Path) -> LogEngine:
        return LogEngine.open(path, LogOptions(granule_rows=32), clock)

    async with running_app(directory, limits=limits, clock=clock, open_logs=open_logs) as running:
        yield running


def at(second: int) -> int:
    """The time of a second of the data."""
    return START_S * SECOND_NS + second * SECOND_NS


async def push(app: RunningApp, *streams: tuple[dict[str, str], list[list[Any]]]) -> None:
    """Push streams of [time, line] or [time, line, metadata]."""
    body = {
        "streams": [
            {"stream": labels, "values": [[str(time), *rest] for time, *rest in values]}
            for labels, values in streams
        ]
    }
    answer = await app.post("/loki/api/v1/push", json=body)
    assert answer.status == 204, answer.text


async def fill(app: RunningApp) -> None:
    """Write all the lines."""
    level = ["error", "info", "info"]
    await push(
        app,
        *(
            (
                {"app": "api", "env": "prod", "level": name},
                [
                    [at(n), API_LINES[n], {"request_id": f"r{n}"}]
                    for n in range(60)
                    if level[n % 3] == name
                ],
            )
            for name in ("error", "info")
        ),
        ({"app": "web", "env": "dev"}, [[at(2 * n), WEB_LINES[n]] for n in range(30)]),
    )
    shop = [
        record(
            f"checkout {n}",
            at(6 * n),
            service="shop",
            severity_number=17 if n % 5 == 0 else 9,
            trace_id=TRACE_ID,
            resource={"host.name": "h1", "k8s.pod.name": "shop-1"},
            attributes={"http.status": 500 + n},
        )
        for n in range(SHOP_LINES)
    ]
    headers = {"Content-Type": "application/x-protobuf"}
    answer = await app.post("/v1/logs", request(shop), headers=headers)
    assert answer.status == 200, answer.text


async def ask(app: RunningApp, path: str, **parameters: Any) -> Any:
    """The JSON of a successful answer over all of the data's time."""
    answer = await send(app, path, **parameters)
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.json


async def send(app: RunningApp, path: str, **parameters: Any) -> Answer:
    headers = CATEGORIZE if parameters.pop("categorized", False) else {}
    chosen = {"start": START_S, "end": NOW_S} | parameters
    return await app.get(API + path, params={k: str(v) for k, v in chosen.items()}, headers=headers)
