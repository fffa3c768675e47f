"""Grafana's own grammar as an oracle: what its editor takes is a query here, and the reverse.

Its release is older than the language: it knows no functions behind metrics, no arithmetic between
them and no comparison of `compare()` by time, so that queries for it have none of these.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.traceql import TraceqlParseError, parse
from tests.e2e.processes import installed
from tests.traceql.queries import metric_functions, pipelines

CLIENT = Path(__file__).parent.parent / "clients" / "traceql"


class Grammar:
    """Grafana's parser, in a process that is asked query by query."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def takes(self, query: str) -> bool:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(query) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer in {"true", "false"}
        return answer == "true"


@pytest.fixture(scope="module")
def grammar() -> Iterator[Grammar]:
    assert (CLIENT / "node_modules").is_dir(), f"npm ci in {CLIENT}"
    with subprocess.Popen(
        [installed("node", "nodejs"), str(CLIENT / "parse.js")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Grammar(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0


NEWER = ("//", "\n", "nestedSet", "childCount", "1e3", "1h30m", "1d", ".99", "\\n")


def known(query: str) -> bool:
    """Whether all of it is in the grammar's release, which also stumbles over a line's end."""
    return not any(each in query for each in NEWER)


@settings(max_examples=80, deadline=None)
@given(query=pipelines().filter(known))
def test_queries_are_queries_to_grafana(grammar: Grammar, query: str) -> None:
    parse(query)
    assert grammar.takes(query)


@settings(max_examples=40, deadline=None)
@given(
    query=st.builds(lambda p, f: f"{p} | {f}", pipelines(), metric_functions()).filter(known),
)
def test_metrics_are_metrics_to_grafana(grammar: Grammar, query: str) -> None:
    parse(query)
    assert grammar.takes(query)


# Without the relations of spans, which that grammar takes between fields too.
WHATEVER = (
    "(", ")", "&&", "||", "!", "=", "!=", "=~", ">", "+", "-", "*", "^", " .a ", " span.b ",
    " name ", " status ", "error", '"x"', " 1 ", " 2.5 ", " 3s ", " true ", " nil ",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    inner=st.lists(st.sampled_from(WHATEVER), min_size=1, max_size=6).map("".join),
    outer=st.sampled_from(("{{ {} }}", "{{ .a = {} }}", "{{ ({}) && .b }}")),
)
def test_what_grafana_takes_is_no_syntax_error(grammar: Grammar, inner: str, outer: str) -> None:
    query = outer.format(inner)
    assert not grammar.takes(query) or "syntax error" not in complaint(query)


def complaint(query: str) -> str:
    """What is wrong with a query; "" where nothing is."""
    try:
        parse(query)
    except TraceqlParseError as error:
        return str(error)
    return ""
