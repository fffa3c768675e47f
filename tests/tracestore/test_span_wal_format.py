"""What the span engine writes ahead: the documented bytes, round trips, damage."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.model.errors import CorruptDataError
from obsd.tracestore.wal_record import MAX_PACKED_TO, WalRecord

PAGE = Path(__file__).parents[2] / "docs" / "format" / "span-wal.md"
EMPTY = bytes.fromhex("28b52ffd2000010000")

whole = st.integers(-(1 << 63), (1 << 63) - 1)
sizes = st.integers(0, (1 << 32) - 1)
records = st.builds(
    WalRecord,
    sequence=st.integers(0, (1 << 64) - 1),
    first_row=whole,
    now_ns=whole,
    oldest_ns=whole,
    max_span_bytes=sizes,
    max_attributes=sizes,
    size_bytes=st.integers(0, MAX_PACKED_TO),
    packed=st.binary(max_size=50),
)


def test_the_documented_record_is_what_is_written() -> None:
    (example,) = re.findall(r"```text\n((?:[0-9a-f]{2,}\s+)+)```", PAGE.read_text())
    record = WalRecord(7, 42, 1_700_000_000_000_000_000, -(1 << 63) + 255, 1 << 20, 1024, 0, EMPTY)
    assert b"".join(record.encode()) == bytes.fromhex(example)


@given(record=records)
def test_decode_inverts_encode(record: WalRecord) -> None:
    assert WalRecord.decode(b"".join(record.encode())) == record


@given(payload=st.binary(max_size=100))
def test_any_bytes_are_a_record_or_damage(payload: bytes) -> None:
    try:
        record = WalRecord.decode(payload)
    except CorruptDataError:
        return
    assert b"".join(record.encode()) == payload


@pytest.mark.parametrize(("at", "byte", "said"), [(0, 2, "unknown kind 2"), (44, 0xFF, "too many")])
def test_what_is_of_another_version_is_said(at: int, byte: int, said: str) -> None:
    payload = bytearray(b"".join(WalRecord(1, 2, 3, 4, 5, 6, 7, EMPTY).encode()))
    payload[at] = byte
    with pytest.raises(CorruptDataError, match=said):
        WalRecord.decode(bytes(payload))
