"""Request bodies as they came."""

from __future__ import annotations

from aiohttp import web

from obsd.model.errors import TooLargeError


async def read_compressed(request: web.Request, limit_bytes: int) -> bytes:
    """The whole body, still in its content coding; most often without copying it.

    Raises:
        TooLargeError: it is longer than the limit; at most that much was read.
    """
    length = request.content_length
    if length is not None:
        if length > limit_bytes:
            raise TooLargeError("request body", limit_bytes)
        return await request.content.read()
    pieces, size = [], 0
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > limit_bytes:
            raise TooLargeError("request body", limit_bytes)
        pieces.append(piece)
    return b"".join(pieces)
