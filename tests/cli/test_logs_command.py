import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import click
import pytest
from click.testing import CliRunner

from obsd.cli.logs import PAGE, field_of, logs, parameters_of, text_line
from obsd.cli.terminal import local_time, printable


def entry(number: int = 0, **parts):
    return {
        "timestamp": "2026-01-31T12:00:00.123456789Z",
        "observed_timestamp": "2026-01-31T12:00:00.123Z",
        "level": "info",
        "severity_number": 9,
        "severity_text": "",
        "service": "api",
        "message": f"m{number}",
        "body": None,
        "trace_id": "",
        "span_id": "",
        "attributes": {},
        "resource": {},
        "details": {},
    } | parts


@contextmanager
def answering(count: int, *, exact: bool = True) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that has `count` entries, and what it is asked for."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            params = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
            asked.append(params | {"project": self.headers.get("X-Scope-OrgID", "")})
            first = int(params.get("cursor", "0"))
            end = min(first + int(params["limit"]), count)
            page = {
                "logs": [entry(number) for number in range(first, end)],
                "total": count,
                "total_exact": exact,
                "next_cursor": str(end) if end < count else None,
            }
            body = json.dumps(page).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: pytest owns the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def run(url: str, *arguments: str):
    return CliRunner().invoke(logs, [*arguments, "--url", url])


def test_more_than_a_page_is_fetched_page_by_page() -> None:
    with answering(2 * PAGE + 5) as (url, asked):
        result = run(url, "a b", "--limit", str(PAGE + 3), "--json", "--project", "p")
    assert result.exit_code == 0
    messages = [json.loads(line)["message"] for line in result.stdout.splitlines()]
    assert messages == [f"m{number}" for number in reversed(range(PAGE + 3))]
    assert [(each["limit"], each.get("cursor")) for each in asked] == [
        (str(PAGE), None),
        ("3", str(PAGE)),
    ]
    assert {(each["query"], each["project"]) for each in asked} == {("a b", "p")}


@pytest.mark.parametrize(("exact", "bound"), [(True, "of 5"), (False, "of at least 5")])
def test_what_is_left_out_is_told(exact, bound) -> None:
    with answering(5, exact=exact) as (url, _):
        result = run(url, "--limit", "2")
    assert f"the newest 2 {bound} records" in result.stderr


def test_an_answer_of_something_else_is_an_error() -> None:
    result = run("http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "cannot reach obsd" in result.stderr


@pytest.mark.parametrize(
    ("times", "parameters"),
    [
        ({}, {}),
        ({"since_s": 600.0}, {"from": "400.000000"}),
        ({"since_s": 600.0, "to_s": 900.0}, {"from": "300.000000", "to": "900.000000"}),
        ({"since_s": 6000.0}, {"from": "0.000000"}),
        ({"from_s": 5.5}, {"from": "5.500000"}),
    ],
)
def test_times_become_parameters(times, parameters) -> None:
    every = {"since_s": None, "from_s": None, "to_s": None} | times
    assert parameters_of("q", 1000.0, **every) == {"query": "q"} | parameters


@pytest.mark.parametrize(
    "times", [{"since_s": 1.0, "from_s": 5.0, "to_s": None}, {"from_s": 5.0, "to_s": 4.0}]
)
def test_times_that_contradict_each_other_are_wrong_usage(times) -> None:
    with pytest.raises(click.UsageError):
        parameters_of("q", 1000.0, **({"since_s": None} | times))


def test_a_line_shows_what_matters_in_colours() -> None:
    line = text_line(
        entry(
            level="error",
            message="two\nlines \x1b[31m",
            attributes={"n": 1, "text": "with space", "plain": "x", "none": None},
            trace_id="5b8efff798038103d269b633813fc60c",
        ),
        None,
    )
    assert click.unstyle(line) == (
        f"{local_time('2026-01-31T12:00:00.123456789Z')} ERROR api two\n    lines \\x1b[31m"
        ' n=1 text="with space" plain=x none=null trace_id=5b8efff798038103d269b633813fc60c'
    )
    assert click.style("ERROR", fg="red") in line


def test_fields_are_those_of_queries() -> None:
    one = entry(attributes={"a.b": 1, "c": {"d": {"e": 2}}}, resource={"host": "h"}, trace_id="t1")
    asked = ("time", "message", "level", "trace_id", "a.b", "c.d.e", "host", "c.x", "none")
    assert [field_of(one, name) for name in asked] == [
        one["timestamp"], "m0", "info", "t1", 1, 2, "h", None, None,
    ]  # fmt: skip
    assert text_line(one, ["level", "c", "none"]) == 'info  {"d": {"e": 2}}  -'


def test_printable_keeps_letters_and_tells_the_rest() -> None:
    assert printable("größe 中文\t\n") == "größe 中文\t\n"
    assert printable("\x07\x9b\u202e") == "\\x07\\x9b\\u202e"
