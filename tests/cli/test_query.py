"""`obsd query` against the real application."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import click
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from obsd.cli.query import point_at, query, request_of
from obsd.cli.query_formats import chart, write_result
from obsd.cli.query_result import Series, series_of
from tests.api.running_app import RunningApp, running_app

NOW_MS = time.time_ns() // 1_000_000 // 60_000 * 60_000


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as running:
        await running.write(
            [
                (
                    {"__name__": "temperature", "room": room},
                    [(NOW_MS - 60_000 * i, value + i) for i in range(10, -1, -1)],
                )
                for room, value in (("kitchen", 20.5), ('a "b"\n', 18.0))
            ]
        )
        yield running


async def ask(app: RunningApp, *arguments: str) -> Result:
    runner = CliRunner()
    return await asyncio.to_thread(
        runner.invoke, query, [*arguments, "--url", app.url], prog_name="obsd"
    )


async def test_an_instant_query_is_a_table_of_labels(app) -> None:
    result = await ask(app, 'temperature{room="kitchen"}', "--time", str(NOW_MS / 1000))
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["metric", "room", "value"],
        ["temperature", "kitchen", "20.5"],
    ]


async def test_a_range_query_is_a_table_by_time(app) -> None:
    span = ("--start", str(NOW_MS / 1000 - 120), "--end", str(NOW_MS / 1000), "--step", "1m")
    result = await ask(app, 'temperature{room="kitchen"}', *span)
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["time", 'temperature{room="kitchen"}']
    assert [row.split()[1] for row in rows] == ["22.5", "21.5", "20.5"]


async def test_csv_can_be_read_back(app) -> None:
    result = await ask(app, "temperature", "--time", str(NOW_MS / 1000), "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {(row["room"], row["value"]) for row in rows} == {("kitchen", "20.5"), ('a "b"\n', "18")}
    assert {row["timestamp"] for row in rows} == {f"{NOW_MS / 1000:.3f}"}


async def test_json_is_the_servers_data(app) -> None:
    result = await ask(app, "1 + 1", "--time", "5", "--format", "json")
    assert json.loads(result.stdout) == {"resultType": "scalar", "result": [5, "2"]}


async def test_a_chart_shows_each_series(app) -> None:
    result = await ask(app, "temperature", "--start=-10m", "--format", "chart")
    assert result.exit_code == 0, result.output
    assert 'temperature{room="kitchen"}' in result.stdout
    assert "\x1b" not in result.stdout


async def test_nothing_found_is_said(app) -> None:
    for form in ("table", "chart"):
        result = await ask(app, "absent_metric", "--format", form)
        assert (result.exit_code, result.stdout) == (0, "no series matched\n")


async def test_a_parse_error_shows_the_place_and_exits_2(app) -> None:
    result = await ask(app, "sum(temperature[5m)")
    assert result.exit_code == 2
    message, text, caret = result.stderr.splitlines()
    assert message.startswith("obsd: parse error: ")
    assert text == "  sum(temperature[5m)"
    assert caret.strip() == "^"
    assert text[caret.index("^")] in "5m)"


async def test_a_query_that_fails_exits_1(app) -> None:
    result = await ask(app, 'label_replace(temperature, "room", "x", "", "")')
    assert result.exit_code == 1
    assert result.stderr.startswith("obsd: ")


async def test_another_project_has_its_own_data(app) -> None:
    result = await ask(app, "temperature", "--project", "other")
    assert result.stdout == "no series matched\n"


def test_no_server_is_said_and_exits_1() -> None:
    result = CliRunner().invoke(query, ["1", "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "cannot reach obsd at http://127.0.0.1:1" in result.stderr
    assert "obsd serve" in result.stderr


def test_a_url_of_another_kind_is_refused() -> None:
    result = CliRunner().invoke(query, ["1", "--url", "file:///etc/passwd"])
    assert result.exit_code == 1
    assert "is not the URL of a server" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--start", "soon"], ["--step", "0"], ["--step", "x"], ["--format", "xml"], []],
)
def test_wrong_options_exit_2(arguments) -> None:
    expression = ["1"] if arguments else []
    assert CliRunner().invoke(query, [*expression, *arguments]).exit_code == 2


def test_what_is_asked_of_the_server() -> None:
    none = {"at_s": None, "start_s": None, "end_s": None, "step_s": None}
    path, parameters = request_of("up", "table", 1000.0, **none)
    assert (path, parameters) == ("/api/v1/query", {"query": "up", "time": "1000.000"})
    path, parameters = request_of("up", "table", 8000.0, **none | {"start_s": 800.0})
    assert path == "/api/v1/query_range"
    assert parameters == {"query": "up", "start": "800.000", "end": "8000.000", "step": "60.000"}
    with pytest.raises(click.UsageError, match="after"):
        request_of("up", "table", 1.0, **none | {"start_s": 800.0})
    with pytest.raises(click.UsageError, match="--time"):
        request_of("up", "chart", 1.0, **none | {"at_s": 800.0})


def test_the_caret_stands_under_the_column() -> None:
    assert point_at("sum(\n\tfoo bar)", 2, 6) == "  \tfoo bar)\n  \t    ^"
    assert point_at("foo", 1, 4) == "  foo\n     ^"
    assert point_at('"é" bar', 1, 6) == '  "é" bar\n      ^'


def test_every_result_type_is_series() -> None:
    assert series_of({"resultType": "string", "result": [1, "x"]}) == [Series({}, ((1.0, "x"),))]
    histogram = {"count": "3"}
    [found] = series_of(
        {
            "resultType": "matrix",
            "result": [
                {"metric": {"a": "b"}, "values": [[2, "1"]], "histograms": [[1, histogram]]}
            ],
        }
    )
    assert found.samples == ((1.0, '{"count": "3"}'), (2.0, "1"))
    assert found.name == '{a="b"}'


def test_many_series_are_rows_and_a_chart_leaves_out_what_is_no_number() -> None:
    data = {
        "resultType": "matrix",
        "result": [{"metric": {"n": str(i)}, "values": [[0, "1"], [60, "NaN"]]} for i in range(20)],
    }
    out = io.StringIO()
    write_result(data, "table", out)
    assert len(out.getvalue().splitlines()) == 41
    assert "and 8 more series" in chart(series_of(data), (80, 20))
    nans = [Series({}, ((0.0, "NaN"), (1.0, "+Inf")))]
    assert chart(nans, (80, 20)) == "no numbers to draw\n"
