"""Prometheus remote read: raw samples for another server's queries. docs/api/prometheus.md.

Protocol: https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cramjam
from aiohttp import web

from obsd import _native
from obsd.api.auth import project_of
from obsd.api.compression import decompress
from obsd.api.errors import ErrorRenderer, UnsupportedEncodingError, render_text
from obsd.api.keys import METRICS
from obsd.api.prometheus_routes import PREFIXES, post
from obsd.api.remote_read_messages import (
    ReadRequest,
    ResponseType,
    decode_request,
    encode_response,
    encode_result,
    frame,
    iter_chunked_series,
)
from obsd.ingest.body import read_compressed
from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError, TooManySamplesError
from obsd.model.samples import Columns
from obsd.services.metrics_collector import MetricsReader

MAX_BODY_BYTES: Final = 4 << 20
FRAME_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 256 << 10  # Frames are small; this much goes to the socket at once.

_STREAM_TYPE: Final = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"


async def read(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/read`: samples of the series that each query matches."""
    coding = request.headers.get("Content-Encoding", "snappy").strip().lower()
    if coding != "snappy":
        raise UnsupportedEncodingError(coding, frozenset({"snappy"}))
    body = await read_compressed(request, MAX_BODY_BYTES)
    asked = decode_request(decompress("snappy", body, MAX_BODY_BYTES))
    metrics = request.app[METRICS]
    project_id = project_of(request)
    budget = metrics.new_budget()
    try:
        results = await metrics.read(
            project_id, lambda engine, spend: select(engine, asked, spend), budget
        )
        if response_type(asked, results) is ResponseType.SAMPLES:
            payload = await metrics.read(project_id, lambda *_: encode_all(results), budget)
            return _samples(payload)
    except TooManySamplesError as error:
        raise BadInputError(str(error)) from error
    response = web.StreamResponse(headers={"Content-Type": _STREAM_TYPE})
    await response.prepare(request)
    pieces = iter_pieces(results)
    while piece := await metrics.read(project_id, lambda *_: next(pieces, b""), budget):
        await response.write(piece)
    await response.write_eof()
    return response


def select(engine: MetricsReader, asked: ReadRequest, budget: QueryBudget) -> list[Columns]:
    """What each query reads, in the order of the request."""
    return [
        engine.select(query.matchers, query.start_ms, query.end_ms, budget)
        for query in asked.queries
    ]


def response_type(asked: ReadRequest, results: list[Columns]) -> ResponseType:
    """The first type that the client lists and obsd knows.

    Native histograms are not streamed, so where there are some, and the client takes whole samples
    as well, those are what it gets.

    Raises:
        BadInputError: the client lists only types that obsd does not know.
    """
    if not asked.names_types:
        return ResponseType.SAMPLES
    if not asked.response_types:
        raise BadInputError(
            "server does not support any of the requested response types; "
            "supported: SAMPLES, STREAMED_XOR_CHUNKS"
        )
    has_histograms = any(columns.histograms is not None for columns in results)
    if has_histograms and ResponseType.SAMPLES in asked.response_types:
        return ResponseType.SAMPLES
    return asked.response_types[0]


def encode_all(results: list[Columns]) -> bytes:
    """A compressed `ReadResponse`."""
    encoded = encode_response([encode_result(columns) for columns in results])
    return bytes(cramjam.snappy.compress_raw(encoded))


def _samples(payload: bytes) -> web.Response:
    return web.Response(
        body=payload,
        headers={"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
    )


def iter_pieces(results: list[Columns]) -> Iterator[bytes]:
    """Frames, joined to pieces that are worth a write each."""
    pieces: list[bytes] = []
    size = 0
    for query_index, columns in enumerate(results):
        for message in iter_chunked_series(columns, query_index, FRAME_BYTES):
            pieces.append(frame(message, _native.crc32c(message)))
            size += len(message)
            if size >= _PIECE_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
    yield b"".join(pieces)


def routes() -> list[web.RouteDef]:
    return post("/api/v1/read", read)


def error_renderers() -> dict[str, ErrorRenderer]:
    return {prefix + "/api/v1/read": render_text for prefix in PREFIXES}
