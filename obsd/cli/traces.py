"""`obsd traces`: docs/cli.md."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import quote

import click

from obsd.cli.client import ApiError, Client, ClientError
from obsd.cli.logs import parameters_of
from obsd.cli.query import DEFAULT_URL, StepParameter, TimeParameter, fail_with_place
from obsd.cli.terminal import local_time, one_line
from obsd.cli.traces_waterfall import milliseconds, waterfall
from obsd.model.rfc3339 import format_rfc3339_ns

PATH: Final = "/api/v1/monitoring/traces"
TEMPO: Final = "/tempo/api/search"
_DEFAULT_S: Final = 3600.0
_CHANGES: Final = {
    "added": ("+", "green"),
    "removed": ("-", "red"),
    "changed": ("~", "yellow"),
    "same": (" ", None),
}
_F = TypeVar("_F", bound=Callable[..., Any])


def _connection(command: _F) -> _F:
    """The options that say where the server is, and whose data is meant."""
    for option in (
        click.option(
            "--token", envvar="OBSD_TOKEN", metavar="TOKEN", help="Better set OBSD_TOKEN."
        ),
        click.option("--project", envvar="OBSD_PROJECT", metavar="P", help="Whose data."),
        click.option(
            "--url", envvar="OBSD_URL", default=DEFAULT_URL, show_default=True, help="Where."
        ),
        click.option("--json", "as_json", is_flag=True, help="The server's answer as JSON."),
    ):
        command = option(command)
    return command


@click.group()
def traces() -> None:
    """Find traces on a running server, look at one, or compare two."""


@traces.command()
@click.argument("traceql", default="")
@click.option("--service", "-s", multiple=True, metavar="S", help="Of this service; repeatable.")
@click.option("--operation", "-o", multiple=True, metavar="O", help="Of this operation.")
@click.option("--tag", "-t", multiple=True, metavar="K:V", help="With this attribute.")
@click.option("--min-duration", metavar="D", help="Traces that took at least so long, as 500ms.")
@click.option("--max-duration", metavar="D", help="Traces that took at most so long.")
@click.option("--error", is_flag=True, help="With a span that failed.")
@click.option(
    "--sort",
    type=click.Choice(["newest", "slowest", "most_spans"]),
    default="newest",
    show_default=True,
    help="What comes first.",
)
@click.option("--since", "since_s", type=StepParameter(), metavar="D", help="How far back to look.")
@click.option("--from", "from_s", type=TimeParameter(), metavar="T", help="Where to begin.")
@click.option("--to", "to_s", type=TimeParameter(), metavar="T", help="Where to end.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    metavar="N",
    help="How many traces at most.",
)
@_connection
def search(
    traceql: str,
    service: tuple[str, ...],
    operation: tuple[str, ...],
    tag: tuple[str, ...],
    min_duration: str | None,
    max_duration: str | None,
    error: bool,
    sort: str,
    limit: int,
    as_json: bool,
    url: str,
    project: str | None,
    token: str | None,
    **times: float | None,
) -> None:
    """Find traces: by options, or by TraceQL.

    By default of the last hour. TRACEQL is such as '{ .http.route = "/cart" && duration > 1s }'.
    """
    client = Client(url, project, token)
    parameters = parameters_of("", time.time(), **times)
    del parameters["query"]
    options: list[tuple[str, str]] = [
        *(("service", each) for each in service),
        *(("operation", each) for each in operation),
        *(("tag", each) for each in tag),
        *((("min_duration", min_duration),) if min_duration else ()),
        *((("max_duration", max_duration),) if max_duration else ()),
        *((("error", "true"),) if error else ()),
    ]
    if traceql and (options or sort != "newest"):
        raise click.UsageError("TRACEQL says it all: the other conditions do not go with it")
    try:
        if traceql:
            found = _by_traceql(client, traceql, limit, parameters)
        else:
            every = [*parameters.items(), *options, ("sort", sort), ("limit", str(limit))]
            found = client.get(PATH, every)
    except ApiError as failure:
        fail_with_place(traceql, failure)
    except ClientError as failure:
        _fail(failure)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for trace in found["traces"]:
        click.echo(_traceone_line(trace))
    if not found["traces"]:
        click.echo("obsd: no traces match", err=True)


def _by_traceql(
    client: Client, traceql: str, limit: int, parameters: dict[str, str]
) -> dict[str, Any]:
    """The answer of Tempo's API, in the form of the product's."""
    now_s = time.time()
    start = float(parameters.get("from", now_s - _DEFAULT_S))
    end = float(parameters.get("to", now_s + 1))
    asked = {"q": traceql, "limit": str(limit), "start": f"{start:.3f}", "end": f"{end:.3f}"}
    answer = client.get(TEMPO, asked)
    return {"traces": [_from_tempo(trace) for trace in answer["traces"]]}


def _from_tempo(trace: dict[str, Any]) -> dict[str, Any]:
    services = trace["serviceStats"]
    return {
        "trace_id": trace["traceID"],
        "root_service": trace["rootServiceName"],
        "root_operation": trace["rootTraceName"],
        "start": format_rfc3339_ns(int(trace["startTimeUnixNano"])),
        "duration_ms": trace["durationMs"],
        "spans": sum(each["spanCount"] for each in services.values()),
        "errors": sum(each["errorCount"] for each in services.values()),
        "span_sets": trace.get("spanSets", []),
    }


def _traceone_line(trace: dict[str, Any]) -> str:
    errors = trace["errors"]
    parts = [
        click.style(local_time(trace["start"]), dim=True),
        trace["trace_id"],
        f"{milliseconds(trace['duration_ms']):>9}",
        f"{trace['spans']:>4} spans",
        click.style(_count(errors, "error"), fg="red") if errors else " " * 8,
        click.style(one_line(trace["root_service"] or "-"), fg="cyan"),
        one_line(trace["root_operation"]),
    ]
    return " ".join(parts)


@traces.command()
@click.argument("trace_id")
@_connection
def show(trace_id: str, as_json: bool, url: str, project: str | None, token: str | None) -> None:
    """Show a trace as a waterfall, with its critical path, errors and findings."""
    client = Client(url, project, token)
    try:
        analysis = client.get(f"{PATH}/{quote(trace_id, safe='')}/analysis", {})
    except ClientError as failure:
        _fail(failure)
    if as_json:
        click.echo(json.dumps(analysis, ensure_ascii=False))
        return
    for line in trace_lines(analysis, shutil.get_terminal_size((110, 40)).columns):
        click.echo(line)


def trace_lines(analysis: dict[str, Any], width: int) -> Iterator[str]:
    """All that is shown of a trace."""
    spans = analysis["spans"]
    failed = sum(span["error"] for span in spans)
    head = [
        f"trace {analysis['trace_id']}",
        local_time(format_rfc3339_ns(int(analysis["start_ns"]))),
        milliseconds(analysis["duration_ms"]),
        _count(len(spans), "span"),
        *([_count(failed, "error")] if failed else []),
    ]
    yield click.style(" · ".join(head), bold=True)
    yield from waterfall(analysis, width)
    yield ""
    yield "critical path (━), by operation"
    total_ms = max(sum(each["critical_ms"] for each in analysis["operations"]), 1e-9)
    for share in analysis["operations"][:5]:
        if share["critical_ms"] > 0:
            took, part = milliseconds(share["critical_ms"]), share["critical_ms"] / total_ms
            yield f"  {took:>9} {part:>4.0%}  {one_line(share['key'])}"
    yield from _bottleneck_lines(analysis["bottlenecks"])
    yield from _error_lines(analysis["errors"])
    if analysis["findings"]:
        yield ""
        yield "findings"
        for finding in analysis["findings"]:
            cost = milliseconds(finding["cost_ms"])
            yield f"  {finding['kind']} ({cost}): {one_line(finding['detail'])}"


def _bottleneck_lines(bottlenecks: list[dict[str, Any]]) -> Iterator[str]:
    unusual = [each for each in bottlenecks if each["unusual"]]
    if unusual:
        yield ""
        yield "slower than usual"
    for each in unusual:
        usual = each["baseline"]
        yield (
            f"  {one_line(each['service'])} {one_line(each['operation'])}:"
            f" {milliseconds(each['duration_ms'])}, usually {milliseconds(usual['p50_ms'])}"
            f" (p95 {milliseconds(usual['p95_ms'])}, of {_count(usual['spans'], 'span')})"
        )


def _error_lines(errors: list[dict[str, Any]]) -> Iterator[str]:
    if errors:
        yield ""
        yield "errors began in"
    for error in errors:
        what = ": ".join(part for part in (error["type"], error["message"]) if part)
        reach = "failed the whole trace" if error["reaches_root"] else "was handled above"
        place = f"{one_line(error['service'])} {one_line(error['operation'])}"
        yield f"  {place}{': ' if what else ''}{click.style(one_line(what), fg='red')} ({reach})"


@traces.command()
@click.argument("before")
@click.argument("after")
@_connection
def compare(
    before: str, after: str, as_json: bool, url: str, project: str | None, token: str | None
) -> None:
    """Show what a trace has that another lacks, and what took longer."""
    client = Client(url, project, token)
    try:
        found = client.get(f"{PATH}/compare", {"before": before, "after": after})
    except ClientError as failure:
        _fail(failure)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for line in comparison_lines(found):
        click.echo(line)


def comparison_lines(found: dict[str, Any]) -> Iterator[str]:
    """A line for each span of either trace: `+` added, `-` removed, `~` changed."""
    yield f"{'before':>9} {'after':>9} {'change':>10}"
    for span in found["spans"]:
        mark, colour = _CHANGES[span["change"]]
        name = "  " * span["depth"] + one_line(f"{span['service'] or '-'} {span['operation']}")
        line = (
            f"{_side(span['before']):>9} {_side(span['after']):>9}"
            f" {_signed(span['duration_change_ms']):>10} {mark} {name}"
        )
        yield click.style(line, fg=colour)
        for attribute, (one, other) in span["attributes"].items():
            yield click.style(
                f"{'':32} {one_line(attribute)}: {_value(one)} -> {_value(other)}", dim=True
            )


def _side(side: dict[str, Any] | None) -> str:
    if side is None:
        return "-"
    return milliseconds(side["duration_ms"]) + ("✗" if side["error"] else "")


def _signed(duration_ms: float) -> str:
    return f"{'+' if duration_ms > 0 else ''}{milliseconds(duration_ms)}"


def _value(value: Any) -> str:  # noqa: ANN401 - any JSON
    return "-" if value is None else one_line(json.dumps(value, ensure_ascii=False))


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _fail(error: ClientError) -> NoReturn:
    click.echo(f"obsd: {error}", err=True)
    raise SystemExit(1) from None
