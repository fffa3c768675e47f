"""The health service that gRPC's probes and load balancers ask, `grpc.health.v1.Health`.

Messages: https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

import grpc
import grpc.aio

from obsd.model.errors import UndecodableError
from obsd.services.protobuf import iter_fields, uint_field

SERVICE: Final = "grpc.health.v1.Health"
SERVING: Final = 1
NOT_SERVING: Final = 2
SERVICE_UNKNOWN: Final = 3

Call = grpc.aio.ServicerContext[bytes, bytes]


class Health:
    """Says that services are there until it is told to stop. Event loop only."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset({"", SERVICE, *services})
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Say from now on that nothing is served; who watches is told at once."""
        self._stopped.set()

    def handler(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, body: bytes, call: Call) -> bytes:
        if _service_of(body) not in self._services:
            await call.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _response(NOT_SERVING if self._stopped.is_set() else SERVING)

    async def _watch(self, body: bytes, _call: Call) -> AsyncIterator[bytes]:
        is_known = _service_of(body) in self._services
        if not self._stopped.is_set():
            yield _response(SERVING if is_known else SERVICE_UNKNOWN)
        await self._stopped.wait()
        yield _response(NOT_SERVING if is_known else SERVICE_UNKNOWN)


def _service_of(body: bytes) -> str | None:
    """The name that a `HealthCheckRequest` asks about; None where it is no such message."""
    name = b""
    try:
        for number, _, value in iter_fields(body):
            if number == 1 and isinstance(value, bytes):
                name = value
    except UndecodableError:
        return None
    return name.decode("utf-8", "replace")


def _response(status: int) -> bytes:
    return uint_field(1, status)
