"""Loki's pushes in protobuf, read in plain Python: the oracle of the native reader.

What becomes of streams and entries is that of pushes in JSON, which are read in Python.
"""

from __future__ import annotations

from obsd.ingest.loki_labels import parse_labels
from obsd.ingest.loki_push import Push
from obsd.model.errors import BadInputError
from obsd.services.protobuf import BYTES, VARINT, iter_fields, signed


def read_protobuf(body: bytes) -> Push:
    """`PushRequest`, after its snappy is undone.

    Raises:
        UndecodableError: it is no such message.
    """
    push = Push()
    for number, kind, value in iter_fields(body):
        if number == 1 and kind == BYTES:
            assert isinstance(value, bytes)
            _read_stream(push, value)
    return push


def _read_stream(push: Push, message: bytes) -> None:
    labels = ""
    for number, kind, value in iter_fields(message):
        if number == 1 and kind == BYTES and isinstance(value, bytes):
            labels = _text(value)
    try:
        stream = push.start_stream(parse_labels(labels))
    except BadInputError as error:
        push.refuse(str(error))
        stream = None
    # One by one: an entry is two bytes in the message and hundreds when it is read.
    for number, kind, value in iter_fields(message):
        if number != 2 or kind != BYTES or not isinstance(value, bytes):
            continue
        entry = _read_entry(value)
        try:
            if stream is not None:
                stream.add(*entry)
        except BadInputError as error:
            push.refuse(str(error))


def _read_entry(message: bytes) -> tuple[int, str, dict[str, str]]:
    time_ns, line = 0, ""
    metadata: dict[str, str] = {}
    for number, kind, value in iter_fields(message):
        if kind != BYTES or not isinstance(value, bytes):
            continue
        match number:
            case 1:
                time_ns = _read_timestamp(value)
            case 2:
                line = _text(value)
            case 3:
                pair = {n: _text(v) for n, _, v in iter_fields(value) if isinstance(v, bytes)}
                metadata[pair.get(1, "")] = pair.get(2, "")
    return time_ns, line, metadata


def _read_timestamp(message: bytes) -> int:
    """A `google.protobuf.Timestamp`."""
    parts = {n: v for n, kind, v in iter_fields(message) if kind == VARINT and isinstance(v, int)}
    return signed(parts.get(1, 0)) * 1_000_000_000 + signed(parts.get(2, 0))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
