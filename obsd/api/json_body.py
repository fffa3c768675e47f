"""JSON in and out of the product API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
from aiohttp import web

from obsd.api.compression import ANY_CODING, read_body
from obsd.model.errors import BadInputError, UndecodableError

T = TypeVar("T")


async def read_json(request: web.Request, kind: type[T], max_bytes: int) -> T:
    """The body as a value of a type, in whichever coding it came.

    Raises:
        UndecodableError: it is no JSON.
        BadInputError: it is not of the type; the text says where.
        TooLargeError, UnsupportedEncodingError: as `read_body`.
    """
    body = await read_body(
        request, max_compressed=max_bytes, max_decompressed=max_bytes, allowed=ANY_CODING
    )
    return decode_json(body, kind)


def decode_json(body: bytes, kind: type[T]) -> T:
    """The same of a body that was read.

    Raises:
        UndecodableError, BadInputError: as `read_json`.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadInputError(f"invalid body: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UndecodableError(f"the body is no JSON: {error}") from None


def json_response(value: object, status: int = 200) -> web.Response:
    """An answer."""
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")


async def rendered_response(make: Callable[[], object]) -> web.Response:
    """An answer that is long to make: in a thread, so that nobody else waits for it."""
    body = await asyncio.get_running_loop().run_in_executor(
        None, lambda: msgspec.json.encode(make())
    )
    return web.Response(body=body, content_type="application/json")
