"""Answers in the coding that the client prefers."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Final

import zstandard
from aiohttp import web

# Below this the coding's own headers eat what it saves, and a packet is sent anyway.
MIN_BYTES: Final = 1024
_INLINE_BYTES: Final = 32 << 10  # About 0.3 ms; more is for a thread.
_COMPRESSIBLE: Final = ("text/", "application/json", "application/openmetrics-text", "image/svg")
_LEVEL: Final = 4  # On query results, level 6 takes twice the time for 3 % less.
_ZSTD_LEVEL: Final = 3


def _deflate(body: bytes, window_bits: int) -> bytes:
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, window_bits)
    return stream.compress(body) + stream.flush()


# In the order of our own preference, for clients that have none.
_ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "zstd": lambda body: zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body),
    "gzip": lambda body: _deflate(body, 16 + zlib.MAX_WBITS),
    "deflate": lambda body: _deflate(body, zlib.MAX_WBITS),
}


def preferred_coding(accept_encoding: str) -> str | None:
    """The best coding of an Accept-Encoding header that we have; None for none at all."""
    weights: dict[str, float] = {}
    for item in accept_encoding.split(","):
        name, _, parameters = item.partition(";")
        weights[name.strip().lower()] = _weight(parameters)
    default = weights.get("*", 0.0)
    best = max(_ENCODERS, key=lambda coding: weights.get(coding, default))
    weight = weights.get(best, default)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


async def compress_response(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Compress a whole body in place, where the client takes it and it is worth it."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return
    body = response.body
    if len(body) < MIN_BYTES or not response.content_type.startswith(_COMPRESSIBLE):
        return
    if "Content-Encoding" in response.headers:
        return
    response.headers.add("Vary", "Accept-Encoding")
    coding = preferred_coding(request.headers.get("Accept-Encoding", ""))
    if coding is None:
        return
    encode = _ENCODERS[coding]
    if len(body) <= _INLINE_BYTES:
        response.body = encode(body)
    else:
        response.body = await asyncio.get_running_loop().run_in_executor(None, encode, body)
    response.headers["Content-Encoding"] = coding
