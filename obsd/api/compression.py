"""Request bodies in and out of their content codings.

A body costs at most its compressed limit plus its decompressed limit, whatever it claims: the
first is enforced while reading, the second while decompressing, and a snappy block or zstd frame
that declares more is refused before anything is allocated for it.
"""

from __future__ import annotations

import asyncio
import functools
import zlib
from collections.abc import Callable
from typing import Final

import zstandard
from aiohttp import web

from obsd.api.errors import UnsupportedEncodingError
from obsd.model.errors import TooLargeError, UndecodableError

ANY_CODING: Final = frozenset({"identity", "gzip", "deflate", "zstd", "snappy"})

_ALIASES: Final = {"": "identity", "x-gzip": "gzip", "x-snappy": "snappy"}
_PIECE_BYTES: Final = 64 << 10
# What RFC 8878 asks every decoder to take; more would be memory of the sender's choosing.
_ZSTD_MAX_WINDOW_BYTES: Final = 8 << 20
# Decompressing this much takes about as long as a hand-over to a thread.
_INLINE_BYTES: Final = 32 << 10
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
_GZIP: Final = 16 + zlib.MAX_WBITS


def content_coding(request: web.BaseRequest, allowed: frozenset[str]) -> str:
    """The body's coding, from the headers alone.

    Raises:
        UnsupportedEncodingError: it is not one of `allowed`.
    """
    stated = request.headers.get("Content-Encoding", "").strip().lower()
    coding = _ALIASES.get(stated, stated)
    if coding not in allowed:
        raise UnsupportedEncodingError(stated or "identity", allowed)
    return coding


async def read_body(
    request: web.BaseRequest,
    *,
    max_compressed: int,
    max_decompressed: int,
    allowed: frozenset[str],
) -> bytes:
    """Read a request's body and undo its coding.

    Raises:
        UnsupportedEncodingError: the coding is not one of `allowed`; nothing was read.
        TooLargeError: the body, or what it decompresses to, is over its limit.
        UndecodableError: the body is not what its coding says, or ends early.
    """
    coding = content_coding(request, allowed)
    limit = max_compressed if coding != "identity" else min(max_compressed, max_decompressed)
    raw = await _read_raw(request, limit, max_decompressed if coding == "snappy" else None)
    if coding == "identity":
        return raw
    work = functools.partial(decompress, coding, raw, max_decompressed)
    if len(raw) <= _INLINE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def _read_raw(request: web.BaseRequest, limit: int, snappy_limit: int | None) -> bytes:
    if request.content_length is not None and request.content_length > limit:
        raise TooLargeError("the request's body", limit)
    pieces: list[bytes] = []
    size = 0
    while piece := await request.content.readany():
        if snappy_limit is not None and size < _LONGEST_PREAMBLE:
            _refuse_declared(b"".join([*pieces, piece[:_LONGEST_PREAMBLE]]), snappy_limit)
        size += len(piece)
        if size > limit:
            raise TooLargeError("the request's body", limit)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decompress(coding: str, raw: bytes, limit: int) -> bytes:
    """Undo one coding; blocks, and lets go of the GIL where it takes long.

    Raises:
        TooLargeError: the output is over `limit`.
        UndecodableError: `raw` is not that coding.
    """
    return _DECODERS[coding](raw, limit)


class _Output:
    """Pieces up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            raise TooLargeError("the decompressed body", self._limit)
        self._pieces.append(piece)

    def expect(self, size: int) -> None:
        """Refuse output that declares to be too large; -1 declares nothing."""
        if size > self._limit - self._size:
            raise TooLargeError("the decompressed body", self._limit)

    def join(self) -> bytes:
        return b"".join(self._pieces)


def _inflate(raw: bytes, limit: int, window_bits: int, name: str) -> bytes:
    """Every zlib stream of `raw`, one after the other; gzip allows for several."""
    output = _Output(limit)
    rest = raw
    while rest:
        stream = zlib.decompressobj(window_bits)
        try:
            while not stream.eof:
                piece = stream.decompress(rest, _PIECE_BYTES)
                output.add(piece)
                rest = stream.unconsumed_tail
                if not piece and not rest and not stream.eof:
                    raise UndecodableError(f"the {name} body ends early")
        except zlib.error as error:
            raise UndecodableError(f"the body is not {name}: {error}") from None
        rest = stream.unused_data
    return output.join()


def _decode_gzip(raw: bytes, limit: int) -> bytes:
    return _inflate(raw, limit, _GZIP, "gzip")


def _decode_deflate(raw: bytes, limit: int) -> bytes:
    """With a zlib header as the RFC says, or without one as some senders do."""
    has_header = len(raw) >= 2 and raw[0] & 0x0F == 8 and (raw[0] << 8 | raw[1]) % 31 == 0
    return _inflate(raw, limit, zlib.MAX_WBITS if has_header else _RAW_DEFLATE, "deflate")


def _decode_zstd(raw: bytes, limit: int) -> bytes:
    """Every frame of `raw`, one after the other."""
    output = _Output(limit)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW_BYTES)
    position = 0
    try:
        while position < len(raw):
            position = _decode_zstd_frame(decompressor, raw, position, output)
    except zstandard.ZstdError as error:
        raise UndecodableError(f"the body is not zstd: {error}") from None
    return output.join()


def _decode_zstd_frame(
    decompressor: zstandard.ZstdDecompressor, raw: bytes, start: int, output: _Output
) -> int:
    """Decode the frame at `start`; returns where it ends.

    Four bytes of a block can stand for 128 KiB, so the input goes in by few blocks at a time, and
    what one step allocates is bounded.
    """
    head = raw[start : start + _ZSTD_LONGEST_HEADER]
    if len(head) >= 8 and int.from_bytes(head[:4], "little") & ~0xF == _ZSTD_SKIPPABLE_MAGIC:
        return start + 8 + int.from_bytes(head[4:8], "little")
    output.expect(zstandard.frame_content_size(head))
    stream = decompressor.decompressobj()
    position = start
    block = start + zstandard.frame_header_size(head)
    while not stream.eof and position < len(raw):
        end = block = _skip_zstd_blocks(raw, block)
        output.add(stream.decompress(raw[position:end]))
        position = end
    if not stream.eof:
        raise UndecodableError("the zstd body ends early")
    return min(position, len(raw)) - len(stream.unused_data)


def _skip_zstd_blocks(raw: bytes, block: int) -> int:
    """The end of the next few blocks, or beyond the end of `raw`; RFC 8878, section 3.1.1.2."""
    for _ in range(_ZSTD_BLOCKS_A_STEP):
        header = int.from_bytes(raw[block : block + 3], "little")
        is_run = header >> 1 & 3 == 1
        block += 3 + (1 if is_run else header >> 3)
        if header & 1:
            return block + 4  # The checksum, which a frame may have.
    return block


_ZSTD_BLOCKS_A_STEP: Final = 8  # 1 MiB of output at most.
_ZSTD_LONGEST_HEADER: Final = 18
_ZSTD_SKIPPABLE_MAGIC: Final = 0x184D2A50
_LONGEST_PREAMBLE: Final = 5  # Bytes of a 32-bit varint.


def _refuse_declared(beginning: bytes, limit: int) -> int | None:
    """The length that a snappy block declares; None while too little of it has come.

    Raises:
        TooLargeError: it declares more than `limit`.
        UndecodableError: it declares no length.
    """
    length = 0
    for index, byte in enumerate(beginning[:_LONGEST_PREAMBLE]):
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if length > limit:
                raise TooLargeError("the decompressed body", limit)
            return length
    if len(beginning) >= _LONGEST_PREAMBLE:
        raise UndecodableError("the body is not a snappy block: its length is no varint")
    return None


def _decode_snappy(raw: bytes, limit: int) -> bytes:
    """A snappy block, not the framed format."""
    import cramjam

    length = _refuse_declared(raw, limit)
    if length is None:
        raise UndecodableError("the snappy body ends early")
    output = bytearray(length)
    try:
        written = cramjam.snappy.decompress_raw_into(raw, output)
    except cramjam.DecompressionError as error:
        raise UndecodableError(f"the body is not a snappy block: {error}") from None
    if written != length:
        raise UndecodableError(f"the snappy body has {written} bytes and declares {length}")
    return bytes(output)


_DECODERS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _decode_gzip,
    "deflate": _decode_deflate,
    "zstd": _decode_zstd,
    "snappy": _decode_snappy,
}
