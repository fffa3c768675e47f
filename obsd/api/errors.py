"""One table from errors to HTTP answers, and how answers are rendered.

The product API's form is `{"error": {"type": "…", "message": "…"}}`. A route family with a form of
its own names a renderer for its path prefixes in `error_renderers()` of its module; the longest
prefix wins, for unknown paths too. A name that begins with `*` is a suffix instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import msgspec
from aiohttp import web

from obsd.model.errors import (
    BadInputError,
    CorruptDataError,
    OverloadedError,
    QueryCanceledError,
    QueryError,
    QueryParseError,
    QueryTimeoutError,
    StorageUnavailableError,
    TooLargeError,
    TooManySamplesError,
    UndecodableError,
)

log = logging.getLogger(__name__)


class UnsupportedEncodingError(BadInputError):
    """A content coding that this endpoint does not take."""

    def __init__(self, coding: str, allowed: frozenset[str]) -> None:
        super().__init__(
            f"content encoding {coding!r} is not supported here; send {', '.join(sorted(allowed))}"
        )


class UnsupportedMediaTypeError(BadInputError):
    """A content type that this endpoint does not take."""


class UnauthorizedError(BadInputError):
    """No credential, or a wrong one."""


class MalformedCredentialError(UnauthorizedError):
    """There is a credential, but in no form that is known."""


class WrongTokenError(UnauthorizedError):
    """A credential that is not the right one."""


class ForbiddenError(BadInputError):
    """A good credential that does not reach as far."""


class NotFoundError(BadInputError):
    """What was asked for is not there."""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error as HTTP, before a route family gives it its form.

    Attributes:
        request_type: the request's `Content-Type`, for forms that follow it.
    """

    status: int
    type: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    error: BaseException | None = None
    request_type: str = ""


ErrorRenderer = Callable[[ErrorAnswer], web.Response]

# The first class that an error is an instance of decides, so a subclass stands before its base.
_TABLE: tuple[tuple[type[BaseException], int, str], ...] = (
    (UnsupportedEncodingError, 415, "unsupported_encoding"),
    (UnsupportedMediaTypeError, 415, "unsupported_media_type"),
    (UnauthorizedError, 401, "unauthorized"),
    (ForbiddenError, 403, "forbidden"),
    (NotFoundError, 404, "not_found"),
    (QueryParseError, 400, "query_parse"),
    (UndecodableError, 400, "undecodable"),
    (BadInputError, 400, "bad_input"),
    (TooLargeError, 413, "too_large"),
    (OverloadedError, 503, "overloaded"),
    (StorageUnavailableError, 503, "storage_unavailable"),
    (TooManySamplesError, 422, "too_many_samples"),
    (QueryTimeoutError, 503, "query_timeout"),
    (QueryCanceledError, 499, "query_canceled"),
    (QueryError, 422, "query_failed"),
    (CorruptDataError, 500, "corrupt_data"),
)


def answer_to(error: BaseException) -> ErrorAnswer:
    """The answer to an error; one that the table does not know is logged, not sent."""
    if isinstance(error, web.HTTPException):
        return _answer_to_http(error)
    for kind, status, name in _TABLE:
        if isinstance(error, kind):
            return ErrorAnswer(status, name, str(error), _headers(error), error)
    if isinstance(error, asyncio.IncompleteReadError | ConnectionError):
        return ErrorAnswer(400, "incomplete_body", "the request's body ended early", {}, error)
    if isinstance(error, web.RequestPayloadError):
        return ErrorAnswer(400, "undecodable", f"the request's body is broken: {error}", {}, error)
    log.error("request failed", exc_info=error)
    message = "obsd failed to answer this request; its log says why"
    return ErrorAnswer(500, "internal", message, {}, error)


def _headers(error: BaseException) -> dict[str, str]:
    match error:
        case OverloadedError() | StorageUnavailableError():
            return {"Retry-After": str(error.retry_after_s)}
        case UnauthorizedError():
            return {"WWW-Authenticate": 'Bearer realm="obsd", Basic realm="obsd"'}
    return {}


def _answer_to_http(error: web.HTTPException) -> ErrorAnswer:
    """What aiohttp raises by itself: no such path, wrong method, too large a body."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            message = f"method {error.method} is not allowed here; use {allowed}"
            return ErrorAnswer(405, "method_not_allowed", message, {"Allow": allowed}, error)
        case web.HTTPNotFound():
            message = "there is nothing at this path; / lists what there is"
            return ErrorAnswer(404, "not_found", message, {}, error)
        case web.HTTPRequestEntityTooLarge():
            return ErrorAnswer(413, "too_large", "the request's body is too large", {}, error)
    name = HTTPStatus(error.status).phrase.lower().replace(" ", "_")
    headers = {k: v for k, v in error.headers.items() if k.lower() in {"allow", "location"}}
    return ErrorAnswer(error.status, name, error.text or error.reason, headers, error)


def render_json(answer: ErrorAnswer) -> web.Response:
    """The product API's form."""
    body = msgspec.json.encode({"error": {"type": answer.type, "message": answer.message}})
    return web.Response(
        status=answer.status,
        body=body,
        content_type="application/json",
        headers=answer.headers,
    )


def render_text(answer: ErrorAnswer) -> web.Response:
    """Plain text, as senders of remote write log it."""
    return web.Response(status=answer.status, text=answer.message + "\n", headers=answer.headers)


class ErrorRenderers:
    """Finds the renderer of a path."""

    def __init__(self, by_prefix: Mapping[str, ErrorRenderer]) -> None:
        self._by_prefix = sorted(by_prefix.items(), key=lambda item: -len(item[0]))

    def render(self, path: str, error: BaseException, request_type: str = "") -> web.Response:
        answer = replace(answer_to(error), request_type=request_type)
        for prefix, renderer in self._by_prefix:
            is_suffix = prefix.startswith("*")
            if path.endswith(prefix[1:]) if is_suffix else path.startswith(prefix):
                return renderer(answer)
        return render_json(answer)
