"""Errors as gRPC senders read them.

Whoever shall come again finds a `RetryInfo` in two places: in the details of `google.rpc.Status`,
where most SDKs look, and by itself, where the Python one does.
Specification: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-throttling
"""

from __future__ import annotations

from typing import Final, NoReturn

import grpc
import grpc.aio

from obsd.api.errors import ErrorAnswer
from obsd.ingest.otlp_answers import rpc_code
from obsd.services.protobuf import bytes_field, uint_field

STATUS_KEY: Final = "grpc-status-details-bin"
RETRY_KEY: Final = "google.rpc.retryinfo-bin"
_RETRY_INFO_TYPE: Final = b"type.googleapis.com/google.rpc.RetryInfo"
# Metadata of a call is to be small: clients refuse trailers of more than 8 KiB.
_MAX_MESSAGE_CHARS: Final = 400

_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}


def retry_info(seconds: int) -> bytes:
    """`google.rpc.RetryInfo`: a duration."""
    return bytes_field(1, uint_field(1, seconds))


def status_details(code: int, message: str, retry: bytes | None) -> bytes:
    """`google.rpc.Status`, with one detail at most."""
    detail = b""
    if retry is not None:
        detail = bytes_field(3, bytes_field(1, _RETRY_INFO_TYPE) + bytes_field(2, retry))
    return uint_field(1, code) + bytes_field(2, message.encode()) + detail


async def abort(call: grpc.aio.ServicerContext[bytes, bytes], answer: ErrorAnswer) -> NoReturn:
    """End the call with what HTTP would have answered."""
    code = rpc_code(answer.status)
    message = answer.message[:_MAX_MESSAGE_CHARS]
    seconds = answer.headers.get("Retry-After")
    retry = None if seconds is None else retry_info(int(seconds))
    metadata = [(STATUS_KEY, status_details(code, message, retry))]
    if retry is not None:
        metadata.append((RETRY_KEY, retry))
    await call.abort(_BY_NUMBER[code], message, tuple(metadata))
