"""XOR chunks as Prometheus stores and streams them: up to 120 samples of one series.

Format: docs of Prometheus' chunk encodings; the scheme is Pelkonen et al., "Gorilla", VLDB 2015,
section 4.1, https://www.vldb.org/pvldb/vol8/p1816-teller.pdf. A chunk is

    sample_count u16 big-endian
    timestamp of sample 0: zigzag varint; value of sample 0: 8 bytes big-endian
    timestamp delta of sample 1: uvarint; from here on bits, the value of sample 1 first
    then for each sample: delta of deltas, value

A delta of deltas is `0`, or `10`, `110`, `1110` with 14, 17, 20 bits, or `1111` with 64. A value is
`0` where it is the one before, else its XOR with that one: `11`, leading zeros (5 bits),
significant bits (6 bits, 64 as 0), and those bits. (`10` would reuse the window of an earlier
sample; a writer is free to state it anew, and without that all samples are encoded at once.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from obsd.model.samples import FloatArray, IntArray
from obsd.services.protobuf import varint

MAX_SAMPLES: Final = 120

_U64 = npt.NDArray[np.uint64]
_MAX_LEADING_ZEROS: Final = 31  # What 5 bits hold.


@dataclass(frozen=True, slots=True)
class XorChunk:
    """An encoded chunk and the times of its first and last sample."""

    min_ms: int
    max_ms: int
    data: bytes


def encode_chunks(timestamps: IntArray, values: FloatArray) -> list[XorChunk]:
    """The samples of one series, in order, as chunks."""
    return [
        XorChunk(
            int(timestamps[at]),
            int(timestamps[min(at + MAX_SAMPLES, len(timestamps)) - 1]),
            encode_chunk(timestamps[at : at + MAX_SAMPLES], values[at : at + MAX_SAMPLES]),
        )
        for at in range(0, len(timestamps), MAX_SAMPLES)
    ]


def encode_chunk(timestamps: IntArray, values: FloatArray) -> bytes:
    """One chunk; at least one sample, at most 65,535."""
    count = len(timestamps)
    assert 0 < count <= 0xFFFF
    bits = np.ascontiguousarray(values).view(np.uint64)
    head = b"".join(
        (count.to_bytes(2, "big"), _zigzag(int(timestamps[0])), int(bits[0]).to_bytes(8, "big"))
    )
    if count == 1:
        return head
    deltas = np.diff(timestamps)
    fields = _interleaved(_time_fields(np.diff(deltas)), _value_fields(bits[1:] ^ bits[:-1]))
    return b"".join((head, varint(int(deltas[0])), _packed(*fields)))


def _zigzag(value: int) -> bytes:
    return varint(value << 1 ^ value >> 63)


def _time_fields(deltas_of_deltas: IntArray) -> tuple[_U64, IntArray]:
    """Contents and widths in bits, shape (samples, 2): a prefix, and the delta of deltas."""
    low, high = deltas_of_deltas, deltas_of_deltas
    fits = [
        (deltas_of_deltas == 0),
        *((low > -(1 << bits - 1)) & (high <= 1 << bits - 1) for bits in (14, 17, 20)),
    ]
    prefix = np.select(fits, [0b0, 0b10, 0b110, 0b1110], 0b1111)
    prefix_width = np.select(fits, [1, 2, 3, 4], 4)
    width = np.select(fits, [0, 14, 17, 20], 64)
    contents = np.stack([prefix.astype(np.uint64), deltas_of_deltas.view(np.uint64)], axis=1)
    return contents, np.stack([prefix_width, width], axis=1).astype(np.int64)


def _value_fields(xors: _U64) -> tuple[_U64, IntArray]:
    """Contents and widths in bits, shape (samples, 2): the window, and the bits in it."""
    is_same = xors == 0
    set_bits = np.unpackbits(xors.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    leading = np.minimum(set_bits.argmax(axis=1), _MAX_LEADING_ZEROS).astype(np.uint64)
    trailing = set_bits[:, ::-1].argmax(axis=1).astype(np.uint64)
    significant = np.uint64(64) - leading - trailing
    window = (
        np.uint64(0b11 << 11)
        | leading << np.uint64(6)
        | np.where(significant == 64, np.uint64(0), significant)
    )
    zero = np.uint64(0)
    contents = np.stack([np.where(is_same, zero, window), xors >> trailing], axis=1)
    widths = np.stack([np.where(is_same, 1, 13), np.where(is_same, 0, significant)], axis=1)
    return contents, widths.astype(np.int64)


def _interleaved(
    times: tuple[_U64, IntArray], values: tuple[_U64, IntArray]
) -> tuple[_U64, IntArray]:
    """The value of sample 1, and then time and value of each sample after it."""
    contents = np.concatenate(
        [values[0][0], np.concatenate([times[0], values[0][1:]], axis=1).ravel()]
    )
    widths = np.concatenate(
        [values[1][0], np.concatenate([times[1], values[1][1:]], axis=1).ravel()]
    )
    return contents, widths


def _packed(contents: _U64, widths: IntArray) -> bytes:
    """The lowest `width` bits of each field, highest first, one after the other."""
    bits = np.unpackbits(contents.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    is_used = np.arange(64) >= 64 - widths[:, np.newaxis]
    return np.packbits(bits[is_used]).tobytes()
