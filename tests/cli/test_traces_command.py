"""`obsd traces`: a waterfall, comparisons, and what is asked of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click
import pytest
from click.testing import CliRunner

from obsd.api.trace_analysis_entry import analysis_entry, comparison_entry
from obsd.cli.traces import comparison_lines, trace_lines, traces
from obsd.model.span import SpanEvent
from obsd.services.trace_analysis.analysis import analyze
from obsd.services.trace_analysis.compare import compare_traces
from obsd.services.trace_analysis.tree import build_tree
from tests.services.trace_analysis.span_makers import TRACE, failed, span

SHOP = [
    span("1", "", 0, 100, name="GET /", service="web"),
    span("2", "1", 10, 20, name="auth"),
    failed(
        "3",
        "1",
        20,
        90,
        name="SELECT",
        service="db",
        events=(SpanEvent(0, "exception", {"exception.type": "E", "exception.message": "no"}),),
    ),
    span("4", "1", 30, 60, name="\x1b[31mred\nline"),
]


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A server with these answers by path, and what it is asked for."""
    asked: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            params: dict[str, Any] = {}
            for name, value in parse_qsl(parts.query):
                params.setdefault(name, []).append(value)
            asked.append((parts.path, params))
            found = answers.get(parts.path)
            error = {"error": {"type": "not_found", "message": "there is no trace"}}
            body = json.dumps(error if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: pytest owns the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def run(*arguments: str):
    return CliRunner().invoke(traces, arguments)


def analysis() -> dict[str, Any]:
    return json.loads(json.dumps(analysis_entry(TRACE, analyze(SHOP))))


def test_a_waterfall_marks_the_critical_path_and_errors() -> None:
    head, *lines = [click.unstyle(line) for line in trace_lines(analysis(), 80)]
    assert head.startswith(f"trace {TRACE}")
    assert head.endswith("100ms · 4 spans · 1 error")
    root, auth, query, other = lines[:4]
    assert root.startswith("web GET /")
    assert auth.startswith("  api auth")
    assert "✗" in query
    assert "✗" not in root
    assert query.rstrip().endswith("━" * 10)
    assert "━" not in other
    assert "─" in other
    assert all(line.isprintable() for line in lines)
    bars = [line.rstrip() for line in (root, query)]
    assert len(bars[0]) <= 80
    # 70 of 100 ms are of the query, which begins at a fifth.
    assert bars[1].count("━") == pytest.approx(
        0.7 * bars[0].count("─") + 0.7 * bars[0].count("━"), abs=2
    )


def test_what_a_trace_tells_is_under_it() -> None:
    text = click.unstyle("\n".join(trace_lines(analysis(), 100)))
    assert "70ms  70%  db: SELECT" in text
    assert "errors began in\n  db SELECT: E: no (was handled above)" in text


def test_a_comparison_shows_what_changed() -> None:
    after = [
        span("a", "", 0, 180, name="GET /", service="web", attributes={"v": 2}),
        span("b", "a", 10, 170, name="SELECT", service="db"),
    ]
    found = comparison_entry("1", "2", compare_traces(build_tree(SHOP), build_tree(after)))
    lines = [click.unstyle(each) for each in comparison_lines(json.loads(json.dumps(found)))]
    text = "\n".join(lines)
    assert "100ms     180ms      +80ms ~ web GET /" in text
    assert "v: - -> 2" in text
    assert "10ms         -      -10ms -   api auth" in text
    assert "70ms✗     160ms      +90ms ~   db SELECT" in text


def test_options_become_parameters() -> None:
    trace = {
        "trace_id": TRACE,
        "root_service": "web",
        "root_operation": "GET /",
        "start": "2026-01-31T12:00:00.000Z",
        "start_ns": "0",
        "duration_ms": 12.5,
        "spans": 3,
        "errors": 1,
        "services": {},
    }
    with answering({"/api/v1/monitoring/traces": {"traces": [trace]}}) as (url, asked):
        result = run(
            "search", "-s", "web", "-s", "db", "-t", "a:b", "--error", "--min-duration", "5ms",
            "--sort", "slowest", "--url", url,
        )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"{TRACE}    12.5ms    3 spans 1 error web GET /" in result.output
    ((path, params),) = asked
    assert path == "/api/v1/monitoring/traces"
    assert params == {
        "service": ["web", "db"],
        "tag": ["a:b"],
        "error": ["true"],
        "min_duration": ["5ms"],
        "sort": ["slowest"],
        "limit": ["20"],
    }


def test_traceql_is_asked_of_tempos_api() -> None:
    found = {
        "traceID": TRACE,
        "rootServiceName": "web",
        "rootTraceName": "GET /",
        "startTimeUnixNano": "1769860800000000000",
        "durationMs": 7,
        "serviceStats": {"web": {"spanCount": 2, "errorCount": 0}},
    }
    with answering({"/tempo/api/search": {"traces": [found]}}) as (url, asked):
        result = run("search", "{ status = error }", "--url", url)
        refused = run("search", "{}", "--error", "--url", url)
    assert f"{TRACE}       7ms    2 spans" in result.output
    assert asked[0][1]["q"] == ["{ status = error }"]
    assert (len(asked), refused.exit_code) == (1, 2)


def test_a_trace_is_shown_or_missing() -> None:
    with answering({f"/api/v1/monitoring/traces/{TRACE}/analysis": analysis()}) as (url, _):
        shown = run("show", TRACE, "--url", url)
        as_json = run("show", TRACE, "--json", "--url", url)
        missing = run("show", "ff", "--url", url)
    assert "db SELECT" in shown.output
    assert json.loads(as_json.output)["trace_id"] == TRACE
    assert missing.exit_code == 1
    assert "there is no trace" in missing.output
