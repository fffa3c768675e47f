"""OTLP over HTTP, the same for each signal: docs/api/ingest.md."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Generic, Protocol, TypeVar

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import read_body
from obsd.ingest.otlp_answers import JSON, body_type, success

MAX_BYTES: Final = 64 << 20
"""As sent and as unpacked alike: bodies may come as they are."""

CODINGS: Final = frozenset({"identity", "gzip", "deflate", "zstd"})


class Collector(Protocol):
    """What takes a signal."""

    @property
    def ingest_pool(self) -> Executor:
        """Where is decoded what is too much for the event loop."""


C = TypeVar("C", bound=Collector)


@dataclass(frozen=True, slots=True)
class Signal(Generic[C]):
    """One of OTLP's signals.

    Attributes:
        paths: where it is sent to.
        collector: what stores it.
        store: stores a request in protobuf durably, and tells how much was refused and why.
        from_json: module and name of what makes protobuf of JSON; imported when it is needed.
        rejected_field: the JSON name of the answer's count.
    """

    paths: Sequence[str]
    collector: web.AppKey[C]
    store: Callable[[C, str, bytes], Awaitable[tuple[int, str]]]
    from_json: tuple[str, str]
    rejected_field: str

    def routes(self) -> list[web.RouteDef]:
        return [web.post(path, self.export) for path in self.paths]

    async def export(self, request: web.Request) -> web.Response:
        """Store a batch, and answer when it is durable."""
        media_type = body_type(request)
        project_id = project_of(request)
        body = await read_body(
            request, max_compressed=MAX_BYTES, max_decompressed=MAX_BYTES, allowed=CODINGS
        )
        collector = request.app[self.collector]
        if media_type == JSON:
            body = await self._decoded(collector, body)
        rejected, message = await self.store(collector, project_id, body)
        return success(media_type, self.rejected_field, rejected, message)

    async def _decoded(self, collector: C, body: bytes) -> bytes:
        module, name = self.from_json
        decode: Callable[[bytes], bytes] = getattr(import_module(module), name)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(collector.ingest_pool, decode, body)
