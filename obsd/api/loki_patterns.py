"""Loki's HTTP API, patterns of lines: docs/api/loki.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.keys import LOGS
from obsd.api.loki_labels import success
from obsd.api.loki_params import get_and_post, read_loki_params

if TYPE_CHECKING:
    from obsd.services.log_patterns import Pattern

MAX_PATTERNS: Final = 300  # As many as Logs Drilldown can show.

_SECOND_NS: Final = 1_000_000_000


async def patterns(request: web.Request) -> web.Response:
    """`…/patterns`: templates of a selector's lines, the most frequent first."""
    from obsd.services.log_patterns import LogPatterns
    from obsd.services.loki_streams import selector_predicate

    params = await read_loki_params(request)
    of = params.range()
    step_ns = params.step_ns(of)
    start_ns = of.start_ns - of.start_ns % step_ns
    found = await LogPatterns(request.app[LOGS]).patterns(
        project_of(request),
        selector_predicate(params.query),
        start_ns,
        of.end_ns,
        step_ns,
        MAX_PATTERNS,
    )
    return success(list(_shown(found, start_ns, step_ns)))


def _shown(found: Sequence[Pattern], start_ns: int, step_ns: int) -> Iterator[dict[str, object]]:
    for pattern in found:
        samples = [
            ((start_ns + step * step_ns) // _SECOND_NS, count)
            for step, count in enumerate(pattern.counts)
            if count
        ]
        level = max(pattern.levels, key=lambda name: pattern.levels[name], default="unknown")
        yield {"pattern": pattern.template, "level": level, "samples": samples}


def routes() -> list[web.RouteDef]:
    return get_and_post("/patterns", patterns)
