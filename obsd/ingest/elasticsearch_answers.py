"""Answers as Elasticsearch's clients want them: their header, their media type, their errors."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from aiohttp import web

from obsd.api.errors import ErrorAnswer
from obsd.ingest.elasticsearch_filter import EVERYTHING, FilterPath
from obsd.ingest.media_type import parse_media_type

PRODUCT: Final = {"X-Elastic-Product": "Elasticsearch"}
JSON: Final = "application/json"
_COMPATIBLE: Final = "application/vnd.elasticsearch+json"
_VERSIONS: Final = frozenset({"7", "8", "9"})

_TYPES: Final = {
    400: "illegal_argument_exception",
    401: "security_exception",
    403: "security_exception",
    404: "resource_not_found_exception",
    405: "method_not_allowed_exception",
    413: "content_too_long_exception",
    415: "media_type_header_exception",
    429: "es_rejected_execution_exception",
    503: "es_rejected_execution_exception",
}
_UNDECODABLE: Final = "parse_exception"
_CAUSE: Final = re.compile(r"(?s)\[([a-z_]+_exception)\] (.*)", re.ASCII)


def answer_type(accept: str) -> str:
    """The media type of the answer: plain JSON, or that of a version if the client asks for it."""
    for wanted in accept.split(","):
        media_type, parameters = parse_media_type(wanted)
        version = parameters.get("compatible-with")
        if media_type == _COMPATIBLE and version in _VERSIONS:
            return f"{_COMPATIBLE}; compatible-with={version}"
    return JSON


def filter_path(request: web.Request) -> FilterPath:
    """What of the answer the client wants."""
    text = request.query.get("filter_path", "")
    return FilterPath.parse(text) if text else EVERYTHING


def respond(request: web.Request, tree: Any, status: int = 200) -> web.Response:  # noqa: ANN401 - any JSON
    """An answer of this content, less what `filter_path` leaves out."""
    wanted = filter_path(request)
    if wanted is not EVERYTHING:
        tree = wanted.apply(tree) or {}
    return respond_encoded(request, msgspec.json.encode(tree), status)


def respond_encoded(request: web.Request, body: bytes, status: int = 200) -> web.Response:
    """The same of JSON that is there already."""
    content_type = answer_type(request.headers.get("Accept", ""))
    headers = {**PRODUCT, "Content-Type": content_type}
    return web.Response(status=status, body=body, headers=headers)


def error_tree(status: int, kind: str, reason: str) -> dict[str, Any]:
    cause = {"type": kind, "reason": reason}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


def respond_error(request: web.Request, status: int, kind: str, reason: str) -> web.Response:
    return respond_encoded(request, msgspec.json.encode(error_tree(status, kind, reason)), status)


def render_error(answer: ErrorAnswer) -> web.Response:
    """The error of a whole request; its text may name the exception: `[parse_exception] why`."""
    kind = _TYPES.get(answer.status, "exception")
    if answer.type == "undecodable":
        kind = _UNDECODABLE
    reason = answer.message
    if named := _CAUSE.fullmatch(reason):
        kind, reason = named[1], named[2]
    return web.Response(
        status=answer.status,
        body=msgspec.json.encode(error_tree(answer.status, kind, reason)),
        headers={**answer.headers, **PRODUCT, "Content-Type": JSON},
    )
