"""Arbitrary bytes at every endpoint: an answer of ours each time, and never a 500."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.running_app import WRITE_1, WRITE_2, RunningApp, running_app

POSTS = {
    "/api/v1/write": WRITE_1,
    "/api/v1/push": WRITE_2,
    "/api/v1/read": WRITE_1,
    "/api/v1/import/prometheus": {},
    "/api/v1/monitoring/metrics": {},
    "/api/v1/query": {"Content-Type": "application/x-www-form-urlencoded"},
    "/api/v1/query_range": {"Content-Type": "application/x-www-form-urlencoded"},
}
GETS = {
    "/api/v1/query": ["query", "time", "timeout", "limit", "lookback_delta"],
    "/api/v1/query_range": ["query", "start", "end", "step"],
    "/api/v1/series": ["match[]", "start", "end", "limit"],
    "/api/v1/labels": ["match[]", "start"],
    "/api/v1/metadata": ["metric", "limit", "limit_per_metric"],
    "/api/v1/query_exemplars": ["query", "start"],
    "/api/v1/parse_query": ["query"],
    "/api/v1/rules": ["type", "match[]"],
    "/api/v1/status/tsdb": ["limit"],
    "/api/v1/monitoring/metrics": ["query", "start", "end", "step"],
    "/federate": ["match[]"],
}
EXPECTED = {200, 204, 400, 413, 415, 422, 503}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="module")
def app(
    loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApp]:
    directory: Path = tmp_path_factory.mktemp("hostile")
    context = running_app(directory)
    running = loop.run_until_complete(context.__aenter__())
    yield running
    loop.run_until_complete(context.__aexit__(None, None, None))


once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@once
@given(path=st.sampled_from(sorted(POSTS)), body=st.binary(max_size=300))
def test_bodies(
    loop: asyncio.AbstractEventLoop,
    app: RunningApp,
    caplog: pytest.LogCaptureFixture,
    path: str,
    body: bytes,
):
    with caplog.at_level(logging.ERROR):
        answer = loop.run_until_complete(app.post(path, body, headers=POSTS[path]))
    assert answer.status in EXPECTED, answer.text
    assert caplog.records == []


words = st.one_of(
    st.text(max_size=30).filter(lambda text: text.isprintable()),
    st.sampled_from(["1", "-1", "0", "1e400", "NaN", "up", "up{", "now", "5m", "9" * 30, "\x00"]),
)


@once
@given(path=st.sampled_from(sorted(GETS)), data=st.data())
def test_parameters(
    loop: asyncio.AbstractEventLoop,
    app: RunningApp,
    caplog: pytest.LogCaptureFixture,
    path: str,
    data: st.DataObject,
):
    values = {name: data.draw(words, label=name) for name in GETS[path]}
    query = "&".join(
        f"{quote(name)}={quote(value, errors='replace')}" for name, value in values.items()
    )
    with caplog.at_level(logging.ERROR):
        answer = loop.run_until_complete(app.get(f"{path}?{query}"))
    assert answer.status in EXPECTED, answer.text
    assert caplog.records == []
