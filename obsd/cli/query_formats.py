"""Prints query results: tables, JSON, CSV, and a chart in the terminal."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from typing import Any, Final, TextIO

from obsd.cli.query_result import METRIC_NAME, Series, series_of
from obsd.cli.times import format_time

FORMATS: Final = ("table", "json", "csv", "chart")
# More columns than this do not fit beside each other; rows it is, then.
_MAX_COLUMNS: Final = 4
_MAX_LINES: Final = 12  # Colours that can be told apart.


def write_result(data: dict[str, Any], form: str, out: TextIO) -> None:
    """Print in one of FORMATS."""
    match form:
        case "json":
            json.dump(data, out, indent=2, ensure_ascii=False)
            out.write("\n")
        case "csv":
            _write_csv(series_of(data), out)
        case "chart":
            out.write(chart(series_of(data)))
        case _:
            _write_table(series_of(data), out, is_range=data["resultType"] == "matrix")


def _write_csv(series: list[Series], out: TextIO) -> None:
    names = sorted({name for each in series for name in each.labels})
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "timestamp", "value"])
    for each in series:
        labels = [each.labels.get(name, "") for name in names]
        writer.writerows([*labels, f"{time_s:.3f}", value] for time_s, value in each.samples)


def _write_table(series: list[Series], out: TextIO, *, is_range: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Cut nothing off where a program reads; a person's terminal folds.
    console = Console(file=out, width=None if out.isatty() else 100_000, highlight=False)
    if not series:
        console.print("no series matched")
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    if is_range and len(series) <= _MAX_COLUMNS:
        _fill_by_time(table, series)
    elif is_range:
        table.add_column("series", overflow="fold")
        table.add_column("time", no_wrap=True)
        table.add_column("value", justify="right", overflow="fold")
        for each in series:
            for time_s, value in each.samples:
                table.add_row(Text(each.name or "{}"), format_time(time_s), value)
    else:
        _fill_instant(table, series)
    console.print(table)


def _fill_instant(table: Any, series: list[Series]) -> None:  # noqa: ANN401 - rich comes late
    """One row a series and a column a label, so that a column can be read downwards."""
    from rich.text import Text

    names = sorted({name for each in series for name in each.labels if name != METRIC_NAME})
    has_metric = any(METRIC_NAME in each.labels for each in series)
    for name in ([METRIC_NAME] if has_metric else []) + names:
        table.add_column("metric" if name == METRIC_NAME else name, overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    has_times = len({s[0] for each in series for s in each.samples}) > 1
    if has_times:
        table.add_column("time", no_wrap=True)
    for each in series:
        for time_s, value in each.samples:
            cells = [each.labels.get(METRIC_NAME, "")] if has_metric else []
            cells += [each.labels.get(name, "") for name in names]
            cells += [value, *([format_time(time_s)] if has_times else [])]
            table.add_row(*map(Text, cells))


def _fill_by_time(table: Any, series: list[Series]) -> None:  # noqa: ANN401 - rich comes late
    """One row a time and a column a series."""
    from rich.text import Text

    table.add_column("time", no_wrap=True)
    for each in series:
        table.add_column(Text(each.name or "value"), justify="right", overflow="fold")
    columns = [dict(each.samples) for each in series]
    for time_s in sorted({t for column in columns for t in column}):
        table.add_row(format_time(time_s), *(Text(column.get(time_s, "")) for column in columns))


def chart(series: list[Series], size: tuple[int, int] | None = None) -> str:
    """A line chart of the terminal's size; the first series only, where there are very many."""
    if not series:
        return "no series matched\n"
    import plotext  # type: ignore[import-untyped]

    width, height = size or shutil.get_terminal_size((100, 30))
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, max(10, min(height - 2, 30)))
    figure.theme("clear")  # The terminal's own background.
    first_s = min(t for each in series for t, _ in each.samples)
    last_s = max(t for each in series for t, _ in each.samples)
    drawn = 0
    for each in series[:_MAX_LINES]:
        if points := _numbers(each):
            signal = figure.signal([t for t, _ in points], [v for _, v in points])
            figure.draw(signal.lines().label(each.name or "value"))
            drawn += 1
    if not drawn:
        return "no numbers to draw\n"
    ticks = [first_s + (last_s - first_s) * i / 4 for i in range(5)]
    figure.ruler("x").ticks(ticks, [_tick(tick, last_s - first_s) for tick in ticks])
    text = str(figure.build())
    if not sys.stdout.isatty():
        text = plotext.uncolorize(text)
    hidden = len(series) - _MAX_LINES
    return f"{text.rstrip()}\n" + (f"and {hidden} more series\n" if hidden > 0 else "")


def _numbers(series: Series) -> list[tuple[float, float]]:
    """Samples that a chart can show: no histograms, infinities or NaN."""
    points = []
    for time_s, text in series.samples:
        if text[:1] == "{":
            continue
        value = float(text)
        if value - value == 0:
            points.append((time_s, value))
    return points


def _tick(time_s: float, span_s: float) -> str:
    """A time as short as the span allows."""
    text = format_time(time_s)
    return text[5:16].replace("T", " ") if span_s > 86_400 else text[11:19]
