"""`obsd logs`: docs/cli.md."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import click
from click.core import ParameterSource

from obsd.cli import logs_delete, logs_follow, logs_logql, logs_patterns
from obsd.cli.client import ApiError, Client, ClientError
from obsd.cli.logs_context import groups_of
from obsd.cli.query import DEFAULT_URL, StepParameter, TimeParameter, fail_with_place
from obsd.cli.terminal import local_time, printable

PATH: Final = "/api/v1/monitoring/logs"
PAGE: Final = 1000
_NOT_WITH_FOLLOW: Final = {
    "since_s": "--since",
    "from_s": "--from",
    "to_s": "--to",
    "limit": "--limit",
    "context": "--context",
}
_NOT_WITH_LOGQL: Final = {"follow": "--follow", "context": "--context", "delete": "--delete"}
_NOT_WITH_DELETE: Final = {
    "follow": "--follow",
    "limit": "--limit",
    "context": "--context",
    "as_json": "--json",
    "fields": "--fields",
}
_NOT_WITH_PATTERNS: Final = {
    "follow": "--follow",
    "context": "--context",
    "delete": "--delete",
    "logql": "--logql",
    "fields": "--fields",
}
_COLOURS: Final[dict[str, dict[str, Any]]] = {
    "trace": {"fg": "bright_black"},
    "debug": {"fg": "bright_black"},
    "info": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "error": {"fg": "red"},
    "fatal": {"fg": "red", "bold": True},
}


@click.command()
@click.argument("query", default="")
@click.option("--since", "since_s", type=StepParameter(), metavar="D", help="How far back to look.")
@click.option("--from", "from_s", type=TimeParameter(), metavar="T", help="Where to begin.")
@click.option("--to", "to_s", type=TimeParameter(), metavar="T", help="Where to end.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="How many records at most, the newest ones.",
)
@click.option("--follow", "-f", is_flag=True, help="Show what arrives from now on, until Ctrl-C.")
@click.option(
    "--context",
    "-C",
    type=click.IntRange(0, 1000),
    metavar="N",
    help="Show N records before and after each, too, from the same source.",
)
@click.option(
    "--delete", is_flag=True, help="Delete what matches since --from or --since, after asking."
)
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.option("--patterns", is_flag=True, help="Show what the records say, and what changed.")
@click.option("--logql", is_flag=True, help="QUERY is LogQL: shows lines, or a table of numbers.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--fields", metavar="A,B", help="Show these fields, and no others.")
@click.option("--url", envvar="OBSD_URL", default=DEFAULT_URL, show_default=True, help="Where.")
@click.option("--project", envvar="OBSD_PROJECT", metavar="P", help="Whose data.")
@click.option("--token", envvar="OBSD_TOKEN", metavar="TOKEN", help="Better set OBSD_TOKEN.")
@click.pass_context
def logs(
    invocation: click.Context,
    /,
    query: str,
    limit: int,
    follow: bool,
    context: int | None,
    delete: bool,
    yes: bool,
    patterns: bool,
    logql: bool,
    as_json: bool,
    fields: str | None,
    url: str,
    project: str | None,
    token: str | None,
    **times: float | None,
) -> None:
    """Search the logs of a running server.

    QUERY is words, "phrases" and conditions such as level:error or duration:>100; without one
    everything is shown. By default that is of the last hour, the oldest record first.
    """
    parameters = parameters_of(query, time.time(), **times)
    if follow:
        _refuse_with(invocation, "--follow, which shows what arrives", _NOT_WITH_FOLLOW)
    if delete:
        _refuse_with(invocation, "--delete", _NOT_WITH_DELETE)
    if logql:
        _refuse_with(invocation, "--logql", _NOT_WITH_LOGQL)
    if patterns:
        _refuse_with(invocation, "--patterns", _NOT_WITH_PATTERNS)
    client = Client(url, project, token)
    names = [name.strip() for name in fields.split(",") if name.strip()] if fields else None
    show = json_line if as_json else text_line
    try:
        if delete:
            logs_delete.delete(client, parameters, is_confirmed=yes)
            return
        if patterns:
            logs_patterns.show(client, parameters, limit, printable, as_json=as_json)
            return
        if logql:
            logs_logql.show(
                client, query, parameters, limit, lambda e: show(e, names), as_json=as_json
            )
            return
        if follow:
            logs_follow.follow(client, PATH, query, lambda entry: show(entry, names))
            return
        entries, total, is_exact = fetch(client, parameters, limit)
        entries.reverse()
        if context is None:
            for entry in entries:
                click.echo(show(entry, names))
        else:
            _show_context(client, entries, context, names, as_json=as_json)
    except ApiError as error:
        fail_with_place(query, error)
    except ClientError as error:
        click.echo(f"obsd: {error}", err=True)
        raise SystemExit(1) from None
    if len(entries) < total and not as_json:
        bound = "" if is_exact else "at least "
        click.echo(
            f"obsd: the newest {len(entries)} of {bound}{total} records; --limit shows more",
            err=True,
        )


def _refuse_with(invocation: click.Context, what: str, options: dict[str, str]) -> None:
    """Options that say nothing about what is done here."""
    for name, option in options.items():
        if invocation.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} does not go with {what}")


def _show_context(
    client: Client,
    hits: list[dict[str, Any]],
    lines: int,
    names: list[str] | None,
    *,
    as_json: bool,
) -> None:
    """As grep does: `>` before a hit, and `--` between runs; in JSON, `match` tells."""
    for number, group in enumerate(groups_of(client, f"{PATH}/context", hits, lines)):
        if number and not group.goes_on and not as_json:
            click.echo("--")
        for line in group.lines:
            if as_json:
                shown = json.loads(json_line(line.entry, names)) | {"match": line.is_hit}
                click.echo(json.dumps(shown, ensure_ascii=False))
            else:
                click.echo(f"{'>' if line.is_hit else ' '} {text_line(line.entry, names)}")


def parameters_of(
    query: str, now_s: float, *, since_s: float | None, from_s: float | None, to_s: float | None
) -> dict[str, str]:
    """The parameters of the search.

    Raises:
        click.UsageError: the options contradict each other.
    """
    parameters = {"query": query}
    if since_s is not None:
        if from_s is not None:
            raise click.UsageError("--since and --from both say where to begin; give one")
        from_s = (now_s if to_s is None else to_s) - since_s
    if from_s is not None and to_s is not None and from_s > to_s:
        raise click.UsageError("--from is after --to")
    if from_s is not None:
        parameters["from"] = f"{max(0.0, from_s):.6f}"
    if to_s is not None:
        parameters["to"] = f"{to_s:.6f}"
    return parameters


def fetch(
    client: Client, parameters: dict[str, str], limit: int
) -> tuple[list[dict[str, Any]], int, bool]:
    """Entries, the newest first; how many match in all, and whether that is exact."""
    entries: list[dict[str, Any]] = []
    cursor, total, is_exact = "", 0, True
    while True:
        size = min(PAGE, limit - len(entries))
        page = {"limit": str(size)} | ({"cursor": cursor} if cursor else {})
        answer = client.get(PATH, parameters | page)
        if not cursor:
            total, is_exact = answer["total"], answer["total_exact"]
        entries += answer["logs"]
        cursor = answer["next_cursor"]
        if not cursor or len(entries) >= limit:
            return entries, max(total, len(entries)), is_exact


def field_of(entry: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON
    """A field by the name that a query has for it; None where there is none."""
    match name:
        case "time" | "timestamp":
            return entry["timestamp"]
        case "body" | "message":
            return entry["message"]
        case "level" | "service" | "trace_id" | "span_id" | "severity_number" | "severity_text":
            return entry[name]
    for fields in (entry["attributes"], entry.get("details", {}), entry["resource"]):
        if name in fields:
            return fields[name]
    inner: Any = entry["attributes"]
    for part in name.split("."):
        inner = inner.get(part) if isinstance(inner, dict) else None
    return inner


def json_line(entry: dict[str, Any], names: list[str] | None) -> str:
    """All of it, or the fields that were asked for."""
    shown = entry if names is None else {name: field_of(entry, name) for name in names}
    return json.dumps(shown, ensure_ascii=False)


def text_line(entry: dict[str, Any], names: list[str] | None) -> str:
    """Time, level, service, message, attributes; a message's further lines are indented."""
    level = entry["level"]
    if names is not None:
        return "  ".join(printable(_plain(field_of(entry, name))) for name in names)
    parts = [
        click.style(local_time(entry["timestamp"]), dim=True),
        click.style(f"{level.upper() or '-':5}", **_COLOURS.get(level, {})),
    ]
    if entry["service"]:
        parts.append(click.style(printable(entry["service"]), fg="cyan"))
    parts.append(printable(entry["message"]).replace("\n", "\n    "))
    parts += [click.style(pair, dim=True) for pair in _pairs(entry)]
    return " ".join(parts)


def _pairs(entry: dict[str, Any]) -> Iterator[str]:
    for name, value in entry["attributes"].items():
        yield f"{printable(name)}={printable(_quoted(value))}"
    if entry["trace_id"]:
        yield f"trace_id={entry['trace_id']}"


def _plain(value: Any) -> str:  # noqa: ANN401 - any JSON
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _quoted(value: Any) -> str:  # noqa: ANN401 - any JSON
    needs_none = isinstance(value, str) and value and not set(value) & set(' "=\n')
    return value if needs_none else json.dumps(value, ensure_ascii=False)
