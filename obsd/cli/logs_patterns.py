"""`obsd logs --patterns`: a table of what the records say: docs/cli.md."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from obsd.cli.client import Client

PATH: Final = "/api/v1/monitoring/logs/patterns"
_BARS: Final = "▁▂▃▄▅▆▇█"
_TREND_WIDTH: Final = 12
_MIN_TEMPLATE: Final = 20
_COLOURS: Final[dict[str, dict[str, Any]]] = {
    "new": {"fg": "magenta"},
    "surging": {"fg": "red"},
    "vanished": {"fg": "cyan"},
    "declining": {"fg": "blue"},
}


def show(
    client: Client,
    parameters: dict[str, str],
    limit: int,
    printable: Callable[[str], str],
    *,
    as_json: bool,
) -> None:
    """Print the patterns of a search, one a line; `printable` escapes what drives terminals."""
    answer = client.get(PATH, parameters | {"limit": str(min(limit, 1000))})
    if as_json:
        for pattern in answer["patterns"]:
            click.echo(json.dumps(pattern, ensure_ascii=False))
        return
    width = shutil.get_terminal_size((160, 24)).columns
    shown = [p | {"template": printable(p["template"])} for p in answer["patterns"]]
    for line in table(shown, width):
        click.echo(line)
    found = answer["patterns_total"]
    if len(shown) < found:
        click.echo(f"obsd: {len(shown)} of {found} patterns; --limit shows more", err=True)


def table(patterns: Sequence[dict[str, Any]], width: int) -> list[str]:
    """The lines of the table, the heading first; nothing for no patterns."""
    if not patterns:
        return []
    counts = max(len("COUNT"), *(len(str(pattern["count"])) for pattern in patterns))
    heading = f"{'COUNT':>{counts}}  SHARE  {'TREND':<{_TREND_WIDTH}}  STATUS     TEMPLATE"
    room = max(_MIN_TEMPLATE, width - heading.index("TEMPLATE"))
    return [heading, *(_line(pattern, counts, room) for pattern in patterns)]


def _line(pattern: dict[str, Any], counts: int, room: int) -> str:
    template = " ".join(pattern["template"].split())
    if len(template) > room:
        template = template[: room - 1] + "…"
    status = f"{pattern['status']:<9}"
    if pattern["status"] in _COLOURS:
        status = click.style(status, **_COLOURS[pattern["status"]])
    trend = sparkline(pattern["counts"], _TREND_WIDTH)
    share = f"{100 * pattern['share']:.1f}%"
    return f"{pattern['count']:>{counts}}  {share:>5}  {trend}  {status}  {template}"


def sparkline(counts: Sequence[int], width: int) -> str:
    """Counts over time as bars, so many wide; the tallest is of the most records."""
    if not counts:
        return " " * width
    sums = [0] * width
    for place, count in enumerate(counts):
        sums[place * width // len(counts)] += count
    most = max(sums)
    if not most:
        return _BARS[0] * width
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in sums)
