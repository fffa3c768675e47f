"""`GET /federate`: the newest sample of chosen series as exposition text, for other servers.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import ErrorRenderer, render_text
from obsd.api.keys import METRICS
from obsd.api.params import read_params
from obsd.api.prometheus_routes import PREFIXES, get
from obsd.api.result_json import format_float
from obsd.ingest.media_type import parse_media_type
from obsd.model.budget import QueryBudget
from obsd.model.labels import METRIC_NAME, Labels
from obsd.model.samples import STALE_NAN_BITS, Columns
from obsd.services.metrics_collector import MetricsReader
from obsd.tsdb.absent import MatcherSets

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8; escaping={}"

_ALLOW_UTF8: Final = "allow-utf-8"
_UNDERSCORES: Final = "underscores"

_PLAIN_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_PLAIN_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
# What may not stand there, a digit at the beginning included.
_UNPLAIN_IN_METRIC = re.compile(r"^[0-9]|[^a-zA-Z0-9_:]", re.ASCII)
_UNPLAIN_IN_LABEL = re.compile(r"^[0-9]|[^a-zA-Z0-9_]", re.ASCII)
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Newest(NamedTuple):
    """A series' newest sample."""

    labels: Labels
    timestamp_ms: int
    value: float


async def federate(request: web.Request) -> web.Response:
    """`GET /federate`: docs/api/prometheus.md."""
    params = await read_params(request)
    matcher_sets = params.matcher_sets()
    escaping = accepted_escaping(request.headers.get("Accept", ""))
    metrics = request.app[METRICS]
    now_ms = time.time_ns() // 1_000_000
    start_ms = now_ms - metrics.limits.lookback_ms + 1

    def work(engine: MetricsReader, budget: QueryBudget) -> bytes:
        newest = newest_samples(engine, matcher_sets, start_ms, now_ms, budget)
        return exposition(newest if escaping == _ALLOW_UTF8 else with_plain_names(newest))

    body = await metrics.read(project_of(request), work)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE.format(escaping)})


def accepted_escaping(accept: str) -> str:
    """How names that are no plain identifiers are written; servers before 3.0 know none of them."""
    for media_type in accept.split(","):
        _, parameters = parse_media_type(media_type)
        if parameters.get("escaping", "").lower() == _ALLOW_UTF8:
            return _ALLOW_UTF8
    return _UNDERSCORES


def with_plain_names(samples: Sequence[Newest]) -> list[Newest]:
    """Names in the letters that every parser knows; of names that become alike, one stays."""
    plain: dict[Labels, Newest] = {}
    for newest in samples:
        labels = Labels.of({_plain_name(name): value for name, value in _plain_metric(newest)})
        plain.setdefault(labels, newest._replace(labels=labels))
    return list(plain.values())


def _plain_metric(newest: Newest) -> Iterator[tuple[str, str]]:
    for name, value in newest.labels:
        yield name, _UNPLAIN_IN_METRIC.sub("_", value) if name == METRIC_NAME else value


def _plain_name(name: str) -> str:
    return _UNPLAIN_IN_LABEL.sub("_", name)


def newest_samples(
    engine: MetricsReader,
    matcher_sets: MatcherSets,
    start_ms: int,
    end_ms: int,
    budget: QueryBudget,
) -> list[Newest]:
    """Each series once, sorted by labels; those that have ended are left out."""
    found: dict[Labels, Newest] = {}
    for matchers in matcher_sets:
        for newest in _newest(engine.select(matchers, start_ms, end_ms, budget)):
            found[newest.labels] = newest
    return sorted(found.values(), key=lambda newest: newest.labels.pairs)


def _newest(columns: Columns) -> list[Newest]:
    has_samples = np.diff(columns.offsets) > 0
    last = columns.offsets[1:][has_samples] - 1
    values = columns.values[last]
    is_live = values.view(np.int64) != STALE_NAN_BITS
    rows = np.flatnonzero(has_samples)[is_live]
    return [
        Newest(columns.labels[row], timestamp_ms, value)
        for row, timestamp_ms, value in zip(
            rows.tolist(),
            columns.timestamps[last][is_live].tolist(),
            values[is_live].tolist(),
            strict=True,
        )
    ]


def exposition(samples: Sequence[Newest]) -> bytes:
    """Samples as exposition text, one family after the other."""
    lines: list[str] = []
    named = sorted(samples, key=lambda newest: newest.labels.get(METRIC_NAME))
    for name, family in groupby(named, key=lambda newest: newest.labels.get(METRIC_NAME)):
        shown = name if _PLAIN_METRIC_NAME.fullmatch(name) else _quoted(name)
        lines.append(f"# TYPE {shown} untyped\n")
        lines += (_sample_line(name, sample) for sample in family)
    return "".join(lines).encode()


def _sample_line(name: str, sample: Newest) -> str:
    labels = [
        f"{label if _PLAIN_LABEL_NAME.fullmatch(label) else _quoted(label)}={_quoted(value)}"
        for label, value in sample.labels
        if label != METRIC_NAME
    ]
    if not sample.labels.get("instance"):
        # Else the scraping server would make its own target the instance.
        labels.append('instance=""')
    if _PLAIN_METRIC_NAME.fullmatch(name):
        identity = f"{name}{{{','.join(labels)}}}"
    else:
        identity = f"{{{','.join((_quoted(name), *labels))}}}"
    return f"{identity} {format_float(sample.value)} {sample.timestamp_ms}\n"


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def routes() -> list[web.RouteDef]:
    return get("/federate", federate)


def error_renderers() -> dict[str, ErrorRenderer]:
    return {prefix + "/federate": render_text for prefix in PREFIXES}
