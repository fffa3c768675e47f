"""Cross-origin requests: which pages may read the query APIs from a browser."""

from __future__ import annotations

import fnmatch
import re
from typing import Final

from aiohttp import web

_METHODS: Final = "GET, POST, PUT, DELETE, OPTIONS"
_HEADERS: Final = (
    "Accept, Authorization, Content-Type, Content-Encoding, Origin, X-Scope-OrgID, X-API-Key,"
    " traceparent, tracestate, baggage"
)
_EXPOSED: Final = "Date, Retry-After"
_MAX_AGE_S: Final = 600
_TOKENS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}", re.ASCII)


class Cors:
    """Answers preflights, and marks answers that a page of an allowed origin may read."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        # `[` is no wildcard here: it stands in the origins of IPv6 addresses.
        self._patterns = [
            re.compile(fnmatch.translate(o.replace("[", "[[]")), re.ASCII) for o in origins
        ]

    def allowed_origin(self, request: web.BaseRequest) -> str | None:
        """The request's origin if its pages may read the answer."""
        origin = request.headers.get("Origin")
        if origin is None or not any(pattern.match(origin) for pattern in self._patterns):
            return None
        return origin

    def preflight(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a preflight; None when the request is none."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        response = web.Response(status=204)
        if self.allowed_origin(request) is not None:
            asked = request.headers.get("Access-Control-Request-Headers", "")
            more = f", {asked}" if _TOKENS.fullmatch(asked) else ""
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = _HEADERS + more
            response.headers["Access-Control-Max-Age"] = str(_MAX_AGE_S)
        return response

    def mark(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Add the headers that let the page read the answer."""
        response.headers.add("Vary", "Origin")
        origin = self.allowed_origin(request)
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
