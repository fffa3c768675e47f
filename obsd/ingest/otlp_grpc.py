"""OTLP/gRPC, port 4317: docs/api/ingest.md.

Messages stay bytes, and go to the native decoder as they came. gRPC's own library would undo their
compression before any limit is known to it, so that is done here, within the limit.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from multidict import CIMultiDict

from obsd.api.access_log import Sparse
from obsd.api.auth import project_in
from obsd.api.compression import decompress
from obsd.api.errors import ErrorAnswer, answer_to
from obsd.config.option import Address
from obsd.ingest.listeners import report_left_out
from obsd.ingest.otlp_answers import success_message
from obsd.ingest.otlp_logs import store_logs
from obsd.ingest.otlp_metrics import store_metrics
from obsd.ingest.otlp_traces import store_traces
from obsd.ingest.receiver import ReceiverContext

if TYPE_CHECKING:
    import grpc.aio

    from obsd.ingest.otlp_grpc_health import Health

    Call = grpc.aio.ServicerContext[bytes, bytes]

log = logging.getLogger("obsd.access")

MAX_MESSAGE_BYTES: Final = 64 << 20

# Handlers of one connection; further calls wait in the client, as HTTP/2 has it.
_MAX_STREAMS: Final = 64
_MIN_PING_INTERVAL_MS: Final = 10_000  # Collectors' keep-alive; the library's 5 min cuts them off.
_OPTIONS: Final = (
    # A second server would else share the port, and take every other connection.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.per_message_decompression", 0),
    ("grpc.max_concurrent_streams", _MAX_STREAMS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
)
# Decompressing this much takes about as long as a hand-over to a thread.
_INLINE_BYTES: Final = 32 << 10
_STOP_MARGIN_S: Final = 0.2
# How compressed messages begin; no protobuf message of OTLP has such a first field.
_CODINGS: Final = {b"\x1f\x8b": "gzip", b"\x78": "deflate"}

Store = Callable[[str, bytes], Awaitable[tuple[int, str]]]
"""Project and request to the number of refused items and what the sender should know."""


def stores(context: ReceiverContext) -> dict[str, Store]:
    """What takes the requests of each service's `Export`."""

    async def logs(project_id: str, body: bytes) -> tuple[int, str]:
        return await store_logs(context.logs, project_id, body)

    async def metrics(project_id: str, body: bytes) -> tuple[int, str]:
        return await store_metrics(context.metrics, project_id, body)

    async def traces(project_id: str, body: bytes) -> tuple[int, str]:
        return await store_traces(context.traces, project_id, body)

    return {
        "opentelemetry.proto.collector.logs.v1.LogsService": logs,
        "opentelemetry.proto.collector.metrics.v1.MetricsService": metrics,
        "opentelemetry.proto.collector.trace.v1.TraceService": traces,
    }


class OtlpGrpcReceiver:
    """A gRPC server beside the HTTP one. Event loop only.

    The library takes its time to load, so the server is there a moment after `start`; senders that
    are quicker try again. Whether the port is free is known at once.
    """

    name: Final = "otlp-grpc"

    def __init__(self, context: ReceiverContext, address: Address) -> None:
        self._context = context
        self._address = address
        self._starting: asyncio.Task[None] | None = None
        self._server: grpc.aio.Server | None = None
        self._health: Health | None = None
        self._refused = Sparse()
        self.port = 0  # The one that it really has, once `started` returned.

    async def start(self) -> None:
        probe_port(self._address)
        self._starting = asyncio.create_task(self._serve(), name="otlp-grpc")

    async def started(self) -> None:
        """Wait until calls are answered."""
        assert self._starting is not None
        await self._starting

    async def stop(self) -> None:
        await self.started()
        if self._server is None:
            return
        assert self._health is not None
        self._health.stop()
        timeout_s = self._context.config.server.shutdown_timeout_s
        await self._server.stop(max(0.0, timeout_s - _STOP_MARGIN_S))

    async def _serve(self) -> None:
        # The library writes lines of its own to standard error otherwise.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        await asyncio.get_running_loop().run_in_executor(None, _load)
        import grpc
        import grpc.aio

        from obsd.ingest.otlp_grpc_health import Health

        self._health = Health(stores(self._context))
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(
            [
                self._health.handler(),
                *(
                    grpc.method_handlers_generic_handler(
                        service,
                        {
                            "Export": grpc.unary_unary_rpc_method_handler(
                                self._export(service, each)
                            )
                        },
                    )
                    for service, each in stores(self._context).items()
                ),
            ]
        )
        try:
            self.port = server.add_insecure_port(str(self._address))
        except RuntimeError:
            report_left_out(self.name, self._address, f"cannot listen on {self._address}")
            return
        await server.start()
        self._server = server

    def _export(self, service: str, store: Store) -> Callable[[bytes, Call], Awaitable[bytes]]:
        route = f"/{service}/Export"

        async def export(body: bytes, call: Call) -> bytes:
            start_s = time.perf_counter()
            status = 200
            try:
                headers = _headers(call)
                self._context.authenticator.check_headers(headers)
                rejected, message = await store(project_in(headers), await self._message(body))
            except Exception as error:  # noqa: BLE001 - the edge: the table says what to answer
                answer = answer_to(error)
                status = answer.status
                self._log_refusal(route, answer)
            else:
                return success_message(rejected, message)
            finally:
                seconds = time.perf_counter() - start_s
                self._context.telemetry.observe_request("POST", route, status, seconds)
            from obsd.ingest.otlp_grpc_errors import abort

            return await abort(call, answer)

        return export

    async def _message(self, body: bytes) -> bytes:
        """What was sent, out of its compression.

        Raises:
            TooLargeError: it is over the limit.
            UndecodableError: it is not what its compression says.
        """
        coding = next((c for magic, c in _CODINGS.items() if body.startswith(magic)), None)
        if coding is None:
            return body
        if len(body) <= _INLINE_BYTES:
            return decompress(coding, body, MAX_MESSAGE_BYTES)
        return await asyncio.get_running_loop().run_in_executor(
            self._context.logs.ingest_pool, decompress, coding, body, MAX_MESSAGE_BYTES
        )

    def _log_refusal(self, route: str, answer: ErrorAnswer) -> None:
        if not self._context.config.log.requests:
            return
        if (suppressed := self._refused.take()) is None:
            return
        fields = {"path": route, "status": answer.status, "reason": answer.message}
        level = logging.WARNING if answer.status >= 500 else logging.INFO
        log.log(level, "request", extra={**fields, "suppressed": suppressed})


def _headers(call: Call) -> CIMultiDict[str]:
    """Metadata as HTTP's headers are; binary ones are none of ours."""
    pairs = call.invocation_metadata() or ()
    return CIMultiDict((name, value) for name, value in pairs if isinstance(value, str))


def _load() -> None:
    import grpc.aio  # noqa: F401 - to have it in memory


def probe_port(address: Address) -> None:
    """Find out whether a port may be had.

    Raises:
        OSError: it may not.
    """
    family, kind, protocol, _, target = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(target)


def open_receiver(context: ReceiverContext) -> OtlpGrpcReceiver:
    assert context.address is not None
    return OtlpGrpcReceiver(context, context.address)
