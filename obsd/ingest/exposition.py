"""`POST /api/v1/import/prometheus`: exposition text, for people with curl. docs/api/ingest.md."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.errors import ErrorRenderer, render_text
from obsd.api.keys import METRICS
from obsd.api.prometheus_routes import PREFIXES
from obsd.ingest.remote_write import describe
from obsd.model.errors import BadInputError

PATH: Final = "/api/v1/import/prometheus"
MAX_COMPRESSED_BYTES: Final = 32 << 20
MAX_DECOMPRESSED_BYTES: Final = 128 << 20

MAX_NAMED_ERRORS: Final = 20
"""The parser names the first so many wrong lines."""

_LABEL_PARAMETERS: Final = ("job", "instance")


async def import_prometheus(request: web.Request) -> web.Response:
    """Store the good lines; answer 204, or 400 that names the bad ones."""
    labels = extra_labels(request)
    now_ms = default_timestamp_ms(request)
    text = await read_body(
        request,
        max_compressed=MAX_COMPRESSED_BYTES,
        max_decompressed=MAX_DECOMPRESSED_BYTES,
        allowed=ANY_CODING,
    )
    # `curl -d` sends no line feed at the end, which the format asks for.
    whole = text if text.endswith(b"\n") else text + b"\n"
    outcome, errors = await request.app[METRICS].write_exposition(
        project_of(request), whole, labels, now_ms
    )
    if not errors and not outcome.rejected:
        return web.Response(status=204)
    lines = [describe(outcome)] if outcome.rejected else [f"stored {outcome.samples} samples\n"]
    if errors:
        count = f"at least {len(errors)}" if len(errors) >= MAX_NAMED_ERRORS else str(len(errors))
        lines.append(f"{count} lines are wrong and were left out:\n")
        lines += (f"{error}\n" for error in errors)
    return web.Response(status=400, text="".join(lines))


def extra_labels(request: web.Request) -> list[tuple[str, str]]:
    """Labels that the URL puts on every sample: `extra_label=name=value`, `job=…`, `instance=…`.

    Raises:
        BadInputError: an `extra_label` is not of that form.
    """
    labels = [(n, request.query[n]) for n in _LABEL_PARAMETERS if request.query.get(n)]
    for text in request.query.getall("extra_label", []):
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise BadInputError(f"invalid extra_label {text!r}: expected name=value")
        labels.append((name, value))
    return labels


def default_timestamp_ms(request: web.Request) -> int | None:
    """The time of samples that state none: `timestamp=…` in milliseconds, or now.

    Raises:
        BadInputError: it is no number.
    """
    text = request.query.get("timestamp", "")
    if not text:
        return None
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdecimal():
        raise BadInputError(f"invalid timestamp {text!r}: expected Unix milliseconds")
    if len(text) > 18:
        raise BadInputError(f"invalid timestamp {text!r}: it is out of range")
    return int(text)


def routes() -> list[web.RouteDef]:
    return [
        web.route(method, prefix + PATH, import_prometheus)
        for prefix in PREFIXES
        for method in ("POST", "PUT")
    ]


def error_renderers() -> dict[str, ErrorRenderer]:
    return {prefix + PATH: render_text for prefix in PREFIXES}
