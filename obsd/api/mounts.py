"""Listeners of one API alone, whose paths stand under a prefix on the main listener.

Some clients insist on paths at the root of their server: `GET /` of Elasticsearch's port is not the
home page. The listener tells which is meant, and from there on there is one path for each thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web
from yarl import URL

APIS: Final = {
    "otlp-http": "/v1/logs",
    "loki": "/loki/api/v1/push",
    "elasticsearch": "/es/_bulk",
    "splunk": "/services/collector",
    "jaeger": "/jaeger/api/traces",
    "tempo": "/tempo/api/search",
    "zipkin": "/zipkin/api/v2/spans",
}
"""By receiver, one of its paths on the main listener: what its own listener does not have is told
in the form of that path's errors."""

# Probes of obsd itself are the same on every listener.
_OWN_PREFIX: Final = "/-/"


def mounted(request: web.Request, prefixes: Mapping[int, str]) -> web.Request:
    """The request as the main listener would have it; `prefixes` are by the listener's port."""
    if request.path.startswith(_OWN_PREFIX):
        return request
    prefix = of_listener(request, prefixes)
    if prefix is None:
        return request
    return request.clone(rel_url=URL(prefix + request.path_qs, encoded=True))


def of_listener(request: web.BaseRequest, by_port: Mapping[int, str]) -> str | None:
    """What is there for the listener that a request came to."""
    transport = request.transport
    return by_port.get(transport.get_extra_info("sockname")[1]) if transport is not None else None
