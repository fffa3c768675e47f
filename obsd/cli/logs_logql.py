"""`obsd logs --logql`: the lines of a LogQL query, or its numbers. docs/cli.md."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import click

from obsd.cli.client import ApiError, Client
from obsd.cli.query import point_at
from obsd.cli.query_formats import write_result
from obsd.model.rfc3339 import format_rfc3339_ns

PATH: Final = "/loki/api/v1/query_range"

_PARSE_ERROR: Final = re.compile(r"parse error at line (\d+), col (\d+): (.*)", re.DOTALL)
_SHOWN_APART: Final = frozenset(
    {"detected_level", "level", "service_name", "severity_number", "severity_text", "trace_id"}
)


def show(
    client: Client,
    query: str,
    times: Mapping[str, str],
    limit: int,
    show_entry: Callable[[dict[str, Any]], str],
    *,
    as_json: bool,
) -> None:
    """Ask, and print; `show_entry` makes a line of an entry as the product API has them.

    Raises:
        ClientError: the server cannot be reached, or refuses.
    """
    parameters = {"query": query, "limit": str(limit), "direction": "backward"}
    renamed = {"from": "start", "to": "end"}
    parameters |= {renamed[name]: text for name, text in times.items() if name in renamed}
    try:
        data = client.loki(PATH, parameters)
    except ApiError as error:
        _fail(query, error)
    if data["resultType"] != "streams":
        write_result(data, "json" if as_json else "table", sys.stdout)
        return
    lines = [
        (int(time), line, stream["stream"])
        for stream in data["result"]
        for time, line in stream["values"]
    ]
    lines.sort(key=lambda each: each[0])
    for time_ns, line, labels in lines:
        click.echo(show_entry(entry_of(time_ns, line, labels)))
    if len(lines) == limit and not as_json:
        click.echo(f"obsd: the newest {limit} lines; --limit shows more", err=True)


def entry_of(time_ns: int, line: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A line with its labels as the product API would show a record."""
    number = labels.get("severity_number", "")
    level = labels.get("detected_level") or labels.get("level", "")
    return {
        "timestamp": format_rfc3339_ns(time_ns),
        "level": "" if level == "unknown" else level,
        "service": labels.get("service_name", ""),
        "message": line,
        "trace_id": labels.get("trace_id", ""),
        "span_id": labels.get("span_id", ""),
        "severity_number": int(number) if number.isascii() and number.isdecimal() else 0,
        "severity_text": labels.get("severity_text", ""),
        "attributes": {n: v for n, v in labels.items() if n not in _SHOWN_APART},
        "resource": {},
    }


def _fail(query: str, error: ApiError) -> NoReturn:
    found = _PARSE_ERROR.fullmatch(error.message)
    if found is None:
        click.echo(f"obsd: {error.message}", err=True)
        raise SystemExit(2 if error.message.startswith("parse error") else 1)
    click.echo(f"obsd: parse error: {found[3]}", err=True)
    line, column = int(found[1]), int(found[2])
    # A column counts characters here; `point_at` counts bytes.
    before = query.split("\n")[min(line, query.count("\n") + 1) - 1][: column - 1]
    click.echo(point_at(query, line, len(before.encode()) + 1), err=True)
    raise SystemExit(2)
