"""Ids of lines and searches by the service, over the real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from obsd.api.keys import LOGS
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import ManualClock
from obsd.model.errors import BadInputError
from obsd.model.log_predicate import Token
from obsd.services.log_aggregator import LogQuery
from obsd.services.log_encoding import encode_logs
from obsd.services.log_patterns import LogPatterns
from tests.api.running_app import running_app
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record

SECOND_NS = 1_000_000_000
SPAN = (NOW_NS - 60 * SECOND_NS, NOW_NS + SECOND_NS, 10 * SECOND_NS)
OTLP = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
async def patterns(tmp_path: Path) -> AsyncIterator[LogPatterns]:
    clock = ManualClock(NOW_MS)

    def open_logs(directory: Path) -> LogEngine:
        return LogEngine.open(directory, LogOptions(), clock)

    async with running_app(tmp_path, clock=clock, open_logs=open_logs) as app:
        records = [record(f"job {n} failed", NOW_NS - n * SECOND_NS) for n in range(20)]
        body = encode_logs([*records, record("all is well")])
        assert (await app.post("/v1/logs", body, headers=OTLP)).status == 200
        yield LogPatterns(app.application[LOGS])


async def test_ids_of_lines_are_those_of_searches(patterns: LogPatterns) -> None:
    jobs, well = await patterns.patterns("default", LogQuery(), *SPAN, 10)
    assert (jobs.template, jobs.count, well.count) == ("job <_> failed", 20, 1)
    assert jobs.change is None
    assert sum(jobs.counts) == 20
    ids = await patterns.ids_of("default", ["job 99 failed", "all is well"])
    assert list(ids) == [jobs.id, well.id]
    assert await patterns.resolve("default", jobs.id) == (jobs.id, "job <_> failed")
    (found,) = await patterns.patterns("default", Token(None, "well"), *SPAN, 10)
    assert found.id == well.id
    (most,) = await patterns.patterns("default", LogQuery(), *SPAN, 1)
    assert most.id == jobs.id


async def test_a_project_without_logs_has_no_patterns(patterns: LogPatterns) -> None:
    report = await patterns.report("other", LogQuery(), *SPAN, 10)
    assert (report.patterns, report.total, report.previous_total) == ([], 0, 0)
    assert list(await patterns.ids_of("other", ["a line"])) == [""]
    assert await patterns.resolve("other", "0" * 16) is None
    assert await patterns.pattern("other", "0" * 16, LogQuery(), *SPAN) is None


async def test_too_many_steps_are_refused(patterns: LogPatterns) -> None:
    with pytest.raises(BadInputError, match="steps"):
        await patterns.report("default", LogQuery(), 0, NOW_NS, 1, 10)
    with pytest.raises(BadInputError, match="steps"):
        await patterns.pattern("default", "0" * 16, LogQuery(), 0, NOW_NS, 1)
