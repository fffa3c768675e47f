"""The codes of Splunk's HTTP Event Collector, and errors as its senders read them.

Codes: https://help.splunk.com/en/splunk-enterprise/get-data-in (HTTP Event Collector, errors).
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
from aiohttp import web

from obsd.api.errors import (
    ErrorAnswer,
    ForbiddenError,
    MalformedCredentialError,
    WrongTokenError,
)


class Code(Enum):
    """Code, HTTP status and text."""

    SUCCESS = (0, 200, "Success")
    TOKEN_DISABLED = (1, 403, "Token disabled")
    TOKEN_REQUIRED = (2, 401, "Token is required")
    INVALID_AUTHORIZATION = (3, 401, "Invalid authorization")
    INVALID_TOKEN = (4, 403, "Invalid token")
    NO_DATA = (5, 400, "No data")
    INVALID_FORMAT = (6, 400, "Invalid data format")
    INCORRECT_INDEX = (7, 400, "Incorrect index")
    INTERNAL = (8, 500, "Internal server error")
    BUSY = (9, 503, "Server is busy")
    CHANNEL_MISSING = (10, 400, "Data channel is missing")
    CHANNEL_INVALID = (11, 400, "Invalid data channel")
    EVENT_REQUIRED = (12, 400, "Event field is required")
    EVENT_BLANK = (13, 400, "Event field cannot be blank")
    INDEXED_FIELDS = (15, 400, "Error in handling indexed fields")
    HEALTHY = (17, 200, "HEC is healthy")
    UNHEALTHY = (18, 503, "HEC is unhealthy, queues are full")

    @property
    def number(self) -> int:
        return self.value[0]

    @property
    def status(self) -> int:
        return self.value[1]

    @property
    def text(self) -> str:
        return self.value[2]


def respond(code: Code, **more: Any) -> web.Response:  # noqa: ANN401 - any JSON
    """The answer of a code; names in `more` have `_` for `-`."""
    tree = {"text": code.text, "code": code.number}
    return _json(
        tree | {name.replace("_", "-"): value for name, value in more.items()}, code.status
    )


def respond_ack(ack_id: int | None) -> web.Response:
    """Success, with the id to ask about where the sender has a channel."""
    tree = {"text": Code.SUCCESS.text, "code": Code.SUCCESS.number}
    return _json(tree if ack_id is None else tree | {"ackId": ack_id}, Code.SUCCESS.status)


def _json(tree: dict[str, Any], status: int) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(tree), content_type="application/json"
    )


def render_error(answer: ErrorAnswer) -> web.Response:
    """The code of an error; where Splunk has none for it, the status and what is wrong."""
    code = _code_of(answer)
    if code is None:
        number = Code.INVALID_FORMAT.number if answer.status in (413, 415) else answer.status
        response = _json({"text": answer.message, "code": number}, answer.status)
    elif code is Code.INVALID_FORMAT:
        response = _json({"text": f"{code.text}: {answer.message}", "code": code.number}, 400)
    else:
        response = respond(code)
    response.headers.update(answer.headers)
    return response


def render_health_error(answer: ErrorAnswer) -> web.Response:
    """The same, but a server that cannot take data now is unhealthy rather than busy."""
    if answer.status != Code.UNHEALTHY.status:
        return render_error(answer)
    response = respond(Code.UNHEALTHY)
    response.headers.update(answer.headers)
    return response


def _code_of(answer: ErrorAnswer) -> Code | None:
    match answer.error:
        case WrongTokenError():
            return Code.INVALID_TOKEN
        case MalformedCredentialError():
            return Code.INVALID_AUTHORIZATION
        case ForbiddenError():
            return Code.TOKEN_DISABLED
    match answer.status:
        case 400:
            return Code.INVALID_FORMAT
        case 401:
            return Code.TOKEN_REQUIRED
        case 500:
            return Code.INTERNAL
        case 503:
            return Code.BUSY
    return None
