"""OTLP/gRPC over real sockets: what is stored, and which error says what to the sender."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from obsd.api import keys
from obsd.api.auth import Authenticator
from obsd.config.option import Address
from obsd.ingest.otlp_grpc import MAX_MESSAGE_BYTES, OtlpGrpcReceiver
from obsd.model.errors import OverloadedError, StorageUnavailableError
from tests.api.running_app import running_app
from tests.ingest.receiver_contexts import ANY_PORT, receiver_context
from tests.services.memory_logs import MemoryLogs

EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
NOW_NS = 1_800_000_000_123_456_789
TOKEN = "correct horse battery staple"


def export_of(*bodies: str, time_ns: int = NOW_NS) -> bytes:
    records = [LogRecord(time_unix_nano=time_ns, body=AnyValue(string_value=b)) for b in bodies]
    groups = [ResourceLogs(scope_logs=[ScopeLogs(log_records=records)])]
    return ExportLogsServiceRequest(resource_logs=groups).SerializeToString()


class Running:
    def __init__(self, receiver: OtlpGrpcReceiver, channel: grpc.aio.Channel, store, telemetry):
        self.receiver, self.channel, self.store, self.telemetry = (
            receiver,
            channel,
            store,
            telemetry,
        )

    async def export(self, body: bytes, *metadata: tuple[str, str], **options) -> bytes:
        call = self.channel.unary_unary(EXPORT)
        return await call(body, metadata=metadata, timeout=20, **options)

    async def refusal(self, body: bytes, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.export(body, *metadata)
        return caught.value


@asynccontextmanager
async def serving(tmp_path, token: str | None = None) -> AsyncIterator[Running]:
    store = MemoryLogs(NOW_NS)
    hashed = None if token is None else hashlib.sha256(token.encode()).digest()
    async with running_app(tmp_path, open_logs=lambda _: store) as app:
        context = receiver_context(app.application, authenticator=Authenticator(hashed))
        receiver = OtlpGrpcReceiver(context, ANY_PORT)
        await receiver.start()
        await receiver.started()
        options = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}", options) as channel:
            yield Running(receiver, channel, store, app.application[keys.TELEMETRY])
        await receiver.stop()


@pytest.fixture
async def server(tmp_path) -> AsyncIterator[Running]:
    async with serving(tmp_path) as running:
        yield running


async def test_a_request_is_stored_and_answered_with_an_empty_message(server) -> None:
    assert await server.export(export_of("hello", "world")) == b""
    assert [record.body for record in server.store.records] == ["hello", "world"]
    assert await server.export(b"") == b""


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("size", [100, 1 << 20])
async def test_the_librarys_compressions(server, compression, size) -> None:
    await server.export(export_of("x" * size), compression=compression)
    [record] = server.store.records
    assert record.body == "x" * size


async def test_what_is_refused_for_good_is_counted_in_a_partial_success(server) -> None:
    server.store.too_old_ns = NOW_NS
    body = export_of("old", time_ns=1) + export_of("new")
    answer = ExportLogsServiceResponse.FromString(await server.export(body))
    assert answer.partial_success.rejected_log_records == 1
    assert "too old" in answer.partial_success.error_message
    assert [record.body for record in server.store.records] == ["new"]


async def test_what_is_no_message_is_an_invalid_argument(server) -> None:
    error = await server.refusal(b"\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert retry_of(error) == (None, None)
    broken = await server.refusal(gzip.compress(export_of("a" * 1000))[:-9])
    assert broken.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ends early" in broken.details()


def retry_of(error: grpc.aio.AioRpcError) -> tuple[float | None, float | None]:
    """Seconds, in the status' details and by itself."""
    metadata = dict(error.trailing_metadata())
    status = Status.FromString(metadata["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    detail = None
    if status.details:
        found = RetryInfo()
        assert status.details[0].Unpack(found)
        detail = found.retry_delay.ToTimedelta().total_seconds()
    raw = metadata.get("google.rpc.retryinfo-bin")
    if raw is None:
        return detail, None
    return detail, RetryInfo.FromString(raw).retry_delay.ToTimedelta().total_seconds()


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [(OverloadedError("full", 7), 7), (StorageUnavailableError("no space left", 10), 10)],
)
async def test_trouble_that_passes_is_unavailable_and_says_when(server, failure, seconds) -> None:
    server.store.failure = failure
    error = await server.refusal(export_of("a"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert retry_of(error) == (seconds, seconds)
    server.store.failure = None
    assert await server.export(export_of("a")) == b""


async def test_a_failed_sync_is_unavailable(server) -> None:
    server.store.sync_failure = StorageUnavailableError("I/O error")
    error = await server.refusal(export_of("a"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_too_large_messages_are_exhausted_resources_without_a_retry(server) -> None:
    # As it is sent, and as it unpacks.
    plain = await server.refusal(bytes(MAX_MESSAGE_BYTES + 1))
    assert plain.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(plain.trailing_metadata()).get("google.rpc.retryinfo-bin") is None
    packed = await server.refusal(zlib.compress(bytes(MAX_MESSAGE_BYTES + 1)))
    assert packed.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_of(packed) == (None, None)


async def test_a_project_has_its_own_header(server) -> None:
    error = await server.refusal(export_of("a"), ("x-scope-orgid", "../etc"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await server.export(export_of("a"), ("x-scope-orgid", "team-a")) == b""


async def test_a_token_is_asked_for_in_metadata(tmp_path) -> None:
    async with serving(tmp_path, TOKEN) as server:
        for metadata in ([], [("authorization", "Bearer wrong")]):
            error = await server.refusal(export_of("a"), *metadata)
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        basic = base64.b64encode(f"any:{TOKEN}".encode()).decode()
        for metadata in (
            ("authorization", f"Bearer {TOKEN}"),
            ("authorization", f"Basic {basic}"),
            ("x-api-key", TOKEN),
        ):
            assert await server.export(export_of("a"), metadata) == b""
        assert len(server.store.records) == 3


async def test_services_that_are_not_there_are_unimplemented(server) -> None:
    call = server.channel.unary_unary("/opentelemetry.proto.collector.profiles.v1.P/Export")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


HEALTH = "/grpc.health.v1.Health"


def asking(service: str) -> bytes:
    return b"\x0a" + bytes([len(service)]) + service.encode()


async def test_health_is_served_by_service(server) -> None:
    check = server.channel.unary_unary(f"{HEALTH}/Check")
    assert await check(b"", timeout=20) == b"\x08\x01"
    assert await check(asking(EXPORT.split("/")[1]), timeout=20) == b"\x08\x01"
    for unknown in (asking("a.B"), b"\xff"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(unknown, timeout=20)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_who_watches_is_told_of_the_end(server) -> None:
    watch = server.channel.unary_stream(f"{HEALTH}/Watch")(b"", timeout=20)
    unknown = server.channel.unary_stream(f"{HEALTH}/Watch")(asking("a.B"), timeout=20)
    assert await watch.read() == b"\x08\x01"
    assert await unknown.read() == b"\x08\x03"
    stopping = asyncio.create_task(server.receiver.stop())
    assert await watch.read() == b"\x08\x02"
    await stopping


async def test_a_call_that_has_begun_is_answered_before_the_end(server) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    write = server.store.write

    def slow_write(*arguments, **options):
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(20)
        return write(*arguments, **options)

    server.store.write = slow_write
    call = asyncio.create_task(server.export(export_of("late")))
    await asyncio.wait_for(begun.wait(), 20)
    stopping = asyncio.create_task(server.receiver.stop())
    may_end.set()
    assert await call == b""
    await stopping
    error = await server.refusal(export_of("later"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert [record.body for record in server.store.records] == ["late"]


async def test_a_port_in_use_is_an_error_at_the_start(server) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = Address("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await OtlpGrpcReceiver(server.receiver._context, address).start()
    # gRPC's own ports are not shared either, as they are unless told otherwise.
    with pytest.raises(OSError, match="in use"):
        await OtlpGrpcReceiver(
            server.receiver._context, Address("127.0.0.1", server.receiver.port)
        ).start()


async def test_calls_are_counted(server) -> None:
    await server.export(export_of("a"))
    await server.refusal(b"\xff")
    lines = server.telemetry.render().decode().splitlines()
    for status in (200, 400):
        name = f'obsd_http_requests_total{{code="{status}",method="POST",route="{EXPORT}"}}'
        assert f"{name} 1.0" in lines


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200) | st.binary(max_size=50).map(lambda b: b"\x1f\x8b" + b))
async def test_arbitrary_bytes_are_stored_or_refused(server, body: bytes) -> None:
    try:
        await server.export(body)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017 - not always
