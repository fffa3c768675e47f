"""Prometheus remote write, 1.0 and 2.0: docs/api/ingest.md.

Specifications: https://prometheus.io/docs/specs/prw/remote_write_spec/ and
https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/. This is the hottest path of the
program: headers are dispatched through a cache, the body goes to the engine as it came, and the
good path raises nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import ErrorRenderer, answer_to, render_text
from obsd.api.keys import METRICS
from obsd.api.prometheus_routes import PREFIXES, WRITE_PATHS
from obsd.ingest.body import read_compressed
from obsd.ingest.media_type import parse_media_type
from obsd.tsdb.write import Wire, WriteOutcome

MAX_COMPRESSED_BYTES: Final = 32 << 20

_MESSAGES: Final = {
    "prometheus.WriteRequest": Wire.REMOTE_WRITE_1,
    "io.prometheus.write.v2.Request": Wire.REMOTE_WRITE_2,
}
_WRITTEN: Final = "X-Prometheus-Remote-Write-{}-Written"
_SAMPLES: Final = _WRITTEN.format("Samples")
_HISTOGRAMS: Final = _WRITTEN.format("Histograms")
_EXEMPLARS: Final = _WRITTEN.format("Exemplars")
_NOTHING_WRITTEN: Final = {_SAMPLES: "0", _HISTOGRAMS: "0", _EXEMPLARS: "0"}

_LATE_EXEMPLAR: Final = "out_of_order_exemplar"
"""Fails a 2.0 request only: 1.0 senders could not mend it, and their samples are stored."""


@lru_cache(maxsize=256)
def dispatch(content_type: str | None, content_encoding: str | None) -> Wire | str:
    """The version that the headers name, or why they are refused (415)."""
    if content_encoding is not None and content_encoding.strip().lower() not in ("snappy", ""):
        return f"unsupported Content-Encoding {content_encoding!r}: expected snappy"
    if content_type is None or not content_type.strip():
        return Wire.REMOTE_WRITE_1
    media_type, parameters = parse_media_type(content_type)
    message = parameters.get("proto", "prometheus.WriteRequest")
    if media_type != "application/x-protobuf" or message not in _MESSAGES:
        return (
            f"unsupported Content-Type {content_type!r}: expected application/x-protobuf, with "
            f"proto={' or proto='.join(_MESSAGES)}"
        )
    return _MESSAGES[message]


async def write(request: web.Request) -> web.Response:
    """`POST /api/v1/write`: store a batch, and answer when it is durable."""
    headers = request.headers
    wire = dispatch(headers.get("Content-Type"), headers.get("Content-Encoding"))
    if isinstance(wire, str):
        return web.Response(status=415, text=wire)
    try:
        body = await read_compressed(request, MAX_COMPRESSED_BYTES)
        outcome = await request.app[METRICS].write(project_of(request), body, wire)
    except Exception as error:  # noqa: BLE001 - A 2.0 sender wants its headers whatever happens.
        return _refusal(error, wire)
    return answer(outcome, wire)


def answer(outcome: WriteOutcome, wire: Wire) -> web.Response:
    """204 where all was stored; 400 that says what was not."""
    rejected = outcome.rejected
    if wire is Wire.REMOTE_WRITE_1:
        if not rejected or rejected.keys() == {_LATE_EXEMPLAR}:
            return web.Response(status=204)
        return web.Response(status=400, text=describe(outcome))
    written = {
        _SAMPLES: str(outcome.samples),
        _HISTOGRAMS: str(outcome.histograms),
        _EXEMPLARS: str(outcome.exemplars),
    }
    if not rejected:
        return web.Response(status=204, headers=written)
    return web.Response(status=400, text=describe(outcome), headers=written)


def describe(outcome: WriteOutcome) -> str:
    """What was refused, in counts and then in the first few cases."""
    counts = ", ".join(f"{reason}: {count}" for reason, count in sorted(outcome.rejected.items()))
    stored = outcome.samples + outcome.histograms
    summary = f"stored {stored} samples, refused {sum(outcome.rejected.values())} ({counts})"
    return "\n".join((summary, *outcome.messages)) + "\n"


def _refusal(error: Exception, wire: Wire) -> web.Response:
    response = render_text(answer_to(error))
    if wire is Wire.REMOTE_WRITE_2:
        response.headers.update(_NOTHING_WRITTEN)
    return response


def routes() -> list[web.RouteDef]:
    return [web.post(prefix + path, write) for prefix in PREFIXES for path in WRITE_PATHS]


def error_renderers() -> dict[str, ErrorRenderer]:
    return {prefix + path: render_text for prefix in PREFIXES for path in WRITE_PATHS}
