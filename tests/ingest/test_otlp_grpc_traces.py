"""Traces over OTLP/gRPC: the same as logs, so only what is different."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from obsd.ingest.otlp_grpc import OtlpGrpcReceiver
from obsd.model.errors import StorageUnavailableError
from obsd.services.span_encoding import encode_spans
from tests.api.running_app import running_app
from tests.ingest.receiver_contexts import ANY_PORT, receiver_context
from tests.services.memory_spans import MemorySpans
from tests.services.spans import make_span

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


async def test_spans_are_stored_once_durable_and_told_of_one_by_one(tmp_path) -> None:
    store = MemorySpans()
    async with running_app(tmp_path, open_traces=lambda _: store) as app:
        receiver = OtlpGrpcReceiver(receiver_context(app.application), ANY_PORT)
        await receiver.start()
        await receiver.started()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
            export = channel.unary_unary(EXPORT)
            assert await export(encode_spans([make_span()]), timeout=20) == b""
            body = encode_spans([make_span(2), make_span(0)])
            compressed = grpc.Compression.Gzip
            answer = await export(body, timeout=20, compression=compressed)
            partial = ExportTraceServiceResponse.FromString(answer).partial_success
            assert partial.rejected_spans == 1
            assert store.kept == [make_span(), make_span(2)]
            store.sync_failure = StorageUnavailableError("I/O error")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await export(encode_spans([make_span(3)]), timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await receiver.stop()
