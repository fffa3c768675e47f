"""Errors as Loki's clients show them: plain text, and 400 for every query that cannot be answered.

Grafana puts the body in front of its user as it is.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from obsd.api.errors import ErrorAnswer

_TIMED_OUT: Final = (
    "request timed out, decrease the duration of the request or add more label matchers (prefer "
    "exact match over regex match) to reduce the amount of data processed"
)


def render_loki_error(answer: ErrorAnswer) -> web.Response:
    """Plain text; a query's own limits are its sender's, so 400."""
    status, text = answer.status, answer.message
    if answer.type == "query_timeout":
        status, text = 504, _TIMED_OUT
    elif answer.status == 422:
        status = 400
    return web.Response(
        status=status,
        text=text,
        headers={**answer.headers, "X-Content-Type-Options": "nosniff"},
    )
