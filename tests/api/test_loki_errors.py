"""What a query's limits become in Loki's API, and what ends a query."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import aiohttp
import pytest

from obsd.api.errors import answer_to
from obsd.api.keys import LOGS
from obsd.api.loki_errors import render_loki_error
from obsd.logql import log_query
from obsd.model.budget import QueryBudget
from obsd.model.errors import (
    BadInputError,
    OverloadedError,
    QueryCanceledError,
    QueryError,
    QueryTimeoutError,
    TooLargeError,
    TooManySamplesError,
)
from obsd.services.log_store import LogStore
from obsd.services.metrics_collector import QueryLimits
from tests.api.loki_app import API, fill, loki_app, send

DEADLINE_S = 20.0


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (BadInputError("parse error : x"), 400, "parse error : x"),
        (TooManySamplesError(7), 400, "limit 7"),
        (QueryError("too many values"), 400, "too many values"),
        (QueryTimeoutError(2.0), 504, "request timed out, decrease the duration"),
        (OverloadedError("busy"), 503, "busy"),
        (TooLargeError("the form", 10), 413, "the form is larger"),
        (QueryCanceledError(), 499, "canceled"),
    ],
)
def test_errors_have_lokis_status_and_a_text(error: Exception, status: int, text: str) -> None:
    answer = render_loki_error(answer_to(error))
    assert answer.status == status
    assert answer.content_type == "text/plain"
    assert answer.text is not None
    assert text in answer.text
    assert ("Retry-After" in answer.headers) == (status == 503)


async def test_a_query_that_takes_too_long_is_a_504(tmp_path: Path) -> None:
    async with loki_app(tmp_path, QueryLimits(timeout_s=0.0)) as app:
        await fill(app)
        for path in ("/query_range", "/index/stats", "/detected_fields", "/patterns"):
            answer = await send(app, path, query='{app="api"}')
            assert answer.status == 504
            assert answer.text.startswith("request timed out")


async def test_lines_over_the_budget_are_a_400(tmp_path: Path) -> None:
    async with loki_app(tmp_path, QueryLimits(max_samples=10)) as app:
        await fill(app)
        answer = await send(app, "/query_range", query='{app="api"} | logfmt | n > 1000000')
        assert answer.status == 400
        assert "(limit 10)" in answer.text


async def test_a_result_that_nobody_could_take_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_query, "MAX_RESULT_BYTES", 1000)
    async with loki_app(tmp_path) as app:
        await fill(app)
        answer = await send(app, "/query_range", query='{app="api"}')
        assert answer.status == 400
        assert "limit of 1000 bytes" in answer.text
        assert (await send(app, "/query_range", query='{app="api"}', limit=10)).status == 200


async def test_a_client_that_goes_away_ends_its_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ended = threading.Event(), threading.Event()

    def labels(store: LogStore, budget: QueryBudget) -> None:
        asked.set()
        deadline = threading.Event()
        try:
            while not deadline.wait(0.005):
                budget.check()
        except QueryCanceledError:
            ended.set()
            raise

    async with loki_app(tmp_path) as app:
        logs = app.application[LOGS]
        read = logs.read
        monkeypatch.setattr(logs, "read", lambda project_id, _: read(project_id, labels))
        with pytest.raises(asyncio.TimeoutError):
            await app.get(f"{API}/labels", timeout=aiohttp.ClientTimeout(total=0.2))
        assert await asyncio.to_thread(asked.wait, DEADLINE_S)
        assert await asyncio.to_thread(ended.wait, DEADLINE_S)
