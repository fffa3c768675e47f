"""Numbers and fields as protocol buffers have them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from obsd.services.protobuf import BYTES, bytes_field, iter_fields, read_varint, signed, varint


@given(st.integers(-(1 << 63), (1 << 63) - 1))
@example(0x7F)
@example(0x80)
@example(0x3FFF)
@example(0x4000)
def test_a_number_survives(value: int) -> None:
    encoded = varint(value)
    read, end = read_varint(encoded, 0)
    assert (signed(read), end) == (value, len(encoded))
    # As short as can be: the last byte is not a needless zero.
    assert len(encoded) == 1 or encoded[-1] != 0


@given(st.integers(1, 40), st.integers(0, 300))
def test_a_field_survives(number: int, size: int) -> None:
    assert list(iter_fields(bytes_field(number, bytes(size)))) == [(number, BYTES, bytes(size))]
