"""`obsd/durable/records.py`: torn tails end a file quietly, damage is told, whole records stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.durable.records import HEADER_BYTES, MAGIC_BYTES, frame, iter_records
from obsd.model.errors import CorruptDataError

MAGIC = b"TESTFMT1"
PAYLOADS = [b"first", b"second", b"third"]


def encode(payloads: list[bytes]) -> bytes:
    return MAGIC + b"".join(piece for payload in payloads for piece in frame(payload))


def read(path: Path, content: bytes) -> tuple[list[bytes], list[str]]:
    path.write_bytes(content)
    damage: list[str] = []
    records = iter_records(path, MAGIC, lambda error: damage.append(str(error)))
    return [record.payload for record in records], damage


@given(st.lists(st.lists(st.binary(max_size=40), max_size=3), max_size=5))
def test_records_come_back_whatever_their_pieces(
    tmp_path_factory: pytest.TempPathFactory, records: list[list[bytes]]
) -> None:
    content = MAGIC + b"".join(piece for pieces in records for piece in frame(*pieces))
    path = tmp_path_factory.mktemp("records") / "file"
    assert read(path, content) == ([b"".join(pieces) for pieces in records], [])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_records_or_not(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("records") / "file"
    path.write_bytes(MAGIC + content)
    for record in iter_records(path, MAGIC, lambda _: None):
        assert record.end_bytes <= MAGIC_BYTES + len(content)


def test_a_file_cut_anywhere_keeps_its_whole_records_and_tells_no_damage(tmp_path: Path) -> None:
    content = encode(PAYLOADS)
    ends = [len(encode(PAYLOADS[:n])) for n in range(4)]
    for size in range(MAGIC_BYTES, len(content)):
        whole = sum(size >= end for end in ends[1:])
        assert read(tmp_path / "file", content[:size]) == (PAYLOADS[:whole], [])


def test_a_tail_of_zeros_is_torn(tmp_path: Path) -> None:
    assert read(tmp_path / "file", encode(PAYLOADS) + bytes(100)) == (PAYLOADS, [])


def test_a_flipped_bit_in_a_payload_costs_that_record_alone(tmp_path: Path) -> None:
    content = bytearray(encode(PAYLOADS))
    start = MAGIC_BYTES + HEADER_BYTES
    for at in range(start, start + len(PAYLOADS[0])):
        content[at] ^= 4
        found, damage = read(tmp_path / "file", bytes(content))
        assert found == PAYLOADS[1:]
        assert len(damage) == 1
        assert f"record at byte {MAGIC_BYTES}" in damage[0]
        with pytest.raises(CorruptDataError, match="bad checksum"):
            list(iter_records(tmp_path / "file", MAGIC))
        content[at] ^= 4


def test_a_flipped_bit_in_a_length_is_no_torn_tail(tmp_path: Path) -> None:
    content = bytearray(encode(PAYLOADS))
    for at in range(MAGIC_BYTES, MAGIC_BYTES + 8):
        content[at] ^= 4
        found, damage = read(tmp_path / "file", bytes(content))
        assert found == []
        assert len(damage) == 1
        assert "bad header" in damage[0]
        content[at] ^= 4
