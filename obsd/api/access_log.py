"""The access log: one logfmt line a request, without secrets.

Accepted writes are not logged, only counted: at thousands a second the log would cost more than
the work.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from obsd.api.auth import OPEN_PATHS

log = logging.getLogger("obsd.access")

_SECRET_PARAMETER = re.compile(r"(?i)([?&](?:token|p|password|api_?key|access_token|key)=)[^&]*")
_LONGEST_QUERY: Final = 2000  # Characters; a selector of 64 KiB would drown the log.
# Scraped, and asked for again every few seconds by a start page that somebody left open.
_POLLED_PATHS: Final = frozenset({"/metrics", "/"})


def redact(path_and_query: str) -> str:
    """Take credentials out of a query string, and cut it to a length that reads."""
    shown = _SECRET_PARAMETER.sub(r"\1redacted", path_and_query)
    if len(shown) > _LONGEST_QUERY:
        return f"{shown[:_LONGEST_QUERY]}…"
    return shown


class Sparse:
    """Lets one of many alike lines pass a second; event loop only.

    A server that is full refuses thousands of writes a second, and must not write a line for each.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._next_s = 0.0
        self._suppressed = 0

    def take(self) -> int | None:
        """How many were passed over before this one, or None if it is passed over, too."""
        now_s = self._clock_s()
        if now_s < self._next_s:
            self._suppressed += 1
            return None
        suppressed = self._suppressed
        self._next_s, self._suppressed = now_s + 1.0, 0
        return suppressed


class SparseLog:
    """Logs one of many alike requests a second, with how many were passed over; event loop only."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._sparse = Sparse(clock_s)

    def log_request(
        self, request: web.BaseRequest, response: web.StreamResponse, seconds: float
    ) -> None:
        """Write the line, unless there was one less than a second ago."""
        suppressed = self._sparse.take()
        if suppressed is not None:
            log_request(request, response, seconds, suppressed=suppressed)


def _level(path: str, status: int) -> int:
    if path in OPEN_PATHS:  # Asked many times a second at a start, and 503 is what they are for.
        return logging.DEBUG
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if path in _POLLED_PATHS else logging.INFO


def log_request(
    request: web.BaseRequest, response: web.StreamResponse, seconds: float, *, suppressed: int = 0
) -> None:
    """Write the line; health checks at debug, failures of ours at warning."""
    level = _level(request.path, response.status)
    if not log.isEnabledFor(level):
        return
    log.log(
        level,
        "request",
        extra={
            "method": request.method,
            "path": redact(request.path_qs),
            "status": response.status,
            "duration_ms": round(seconds * 1000, 2),
            "bytes": response.content_length or 0,
            "remote": request.remote,
            "project": request.headers.get("X-Scope-OrgID", "default")[:64],
            **({"suppressed": suppressed} if suppressed else {}),
        },
    )
