"""`obsd query`: docs/cli.md."""

from __future__ import annotations

import os
import re
import sys
import time
from http import HTTPStatus
from typing import Any, NoReturn

import click

from obsd.cli.client import ApiError, Client, ClientError
from obsd.cli.query_formats import FORMATS, write_result
from obsd.cli.times import parse_time_s
from obsd.config.units import parse_duration_s

DEFAULT_URL = "http://127.0.0.1:6273"
_DEFAULT_SPAN_S = 3600.0
_DEFAULT_STEPS = 120  # A chart's width, more or less.

_PARSE_ERROR = re.compile(r"(?s).*?(\d+):(\d+): parse error: (.*)")


class TimeParameter(click.ParamType[float]):
    """A time, relative to when the command began."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return parse_time_s(value, time.time())
        except ValueError as error:
            self.fail(str(error), param, ctx)


class StepParameter(click.ParamType[float]):
    """A duration, or plain seconds."""

    name = "duration"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = f"{value}s" if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII) else value
        try:
            seconds = parse_duration_s(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail("a step is longer than zero", param, ctx)
        return seconds


@click.command()
@click.argument("expression", metavar="EXPR")
@click.option(
    "--time", "at_s", type=TimeParameter(), metavar="T", help="The moment to ask about; now."
)
@click.option(
    "--start",
    "start_s",
    type=TimeParameter(),
    metavar="T",
    help="Where a range begins; an hour before its end.",
)
@click.option("--end", "end_s", type=TimeParameter(), metavar="T", help="Where a range ends; now.")
@click.option(
    "--step",
    "step_s",
    type=StepParameter(),
    metavar="D",
    help="Time between a range's points, as 30s; a 120th of the range.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How to print the answer; a chart is always of a range.",
)
@click.option(
    "--url",
    envvar="OBSD_URL",
    metavar="URL",
    default=DEFAULT_URL,
    show_default=True,
    help="Where the server is; OBSD_URL.",
)
@click.option(
    "--project",
    envvar="OBSD_PROJECT",
    metavar="P",
    help="Whose data; OBSD_PROJECT, else the project 'default'.",
)
@click.option(
    "--token",
    envvar="OBSD_TOKEN",
    metavar="TOKEN",
    help="The server's token; better in OBSD_TOKEN, which 'ps' does not show.",
)
def query(expression: str, form: str, url: str, project: str, token: str, **times: Any) -> None:  # noqa: ANN401 - click's parameters
    """Ask a running server with PromQL.

    Without --start, --end or --step the answer is of one moment, else of a range. A time is RFC
    3339, Unix seconds, 'now', or relative to now, as -1h.
    """
    path, parameters = request_of(expression, form, time.time(), **times)
    try:
        answer = Client(url, project, token).call(path, parameters)
    except ApiError as error:
        fail_with_place(expression, error)
    except ClientError as error:
        click.echo(f"obsd: {error}", err=True)
        raise SystemExit(1) from None
    for kind in ("warnings", "infos"):
        for text in answer.get(kind, ()):
            click.echo(f"obsd: {kind[:-1]}: {text}", err=True)
    try:
        write_result(answer["data"], form, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # Click ends quietly: who reads, as `head` does, has had enough.
    except OSError as error:
        click.echo(f"obsd: cannot write the answer: {error.strerror or error}", err=True)
        # What is still buffered would fail again, and be shown, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def request_of(
    expression: str,
    form: str,
    now_s: float,
    *,
    at_s: float | None,
    start_s: float | None,
    end_s: float | None,
    step_s: float | None,
) -> tuple[str, dict[str, str]]:
    """The path and parameters that answer this.

    Raises:
        click.UsageError: the options contradict each other.
    """
    is_range = any(value is not None for value in (start_s, end_s, step_s)) or form == "chart"
    if not is_range:
        moment_s = now_s if at_s is None else at_s
        return "/api/v1/query", {"query": expression, "time": f"{moment_s:.3f}"}
    if at_s is not None:
        raise click.UsageError("--time is for one moment; a range has --start and --end")
    end = now_s if end_s is None else end_s
    start = end - _DEFAULT_SPAN_S if start_s is None else start_s
    if start > end:
        raise click.UsageError("--start is after --end")
    step = step_s or max(1.0, round((end - start) / _DEFAULT_STEPS))
    times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
    return "/api/v1/query_range", {"query": expression, **times}


def fail_with_place(expression: str, error: ApiError) -> NoReturn:
    """Exit with 2 where the query is wrong, showing the place, and with 1 for the rest."""
    found = _PARSE_ERROR.fullmatch(error.message)
    if found is None:
        click.echo(f"obsd: {error.message}{_hint(error)}", err=True)
        raise SystemExit(1)
    line, column = int(found[1]), int(found[2])
    click.echo(f"obsd: parse error: {found[3]}", err=True)
    click.echo(point_at(expression, line, column), err=True)
    raise SystemExit(2)


def _hint(error: ApiError) -> str:
    """What to do about it here, where the server's sentence speaks to programs."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        return "; set OBSD_TOKEN to the token"
    if "maximum resolution" in error.message:
        return "; a larger --step gives fewer points"
    if "X-Scope-OrgID" in error.message:
        return "; --project sets it"
    return ""


def point_at(text: str, line: int, column: int) -> str:
    """The line, and a caret under the column; both count from 1, and columns count bytes."""
    lines = text.split("\n")
    shown = lines[min(line, len(lines)) - 1]
    before = shown.encode()[: column - 1].decode(errors="ignore")
    # Tabs before the caret are kept, so that it lands where the terminal puts the column.
    lead = "".join("\t" if c == "\t" else " " for c in before)
    return f"  {shown}\n  {lead}^"
