"""A slow, plain reader of XOR chunks: the oracle of the encoder, from the format's description."""

from __future__ import annotations

import struct


class Bits:
    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def take(self, count: int) -> int:
        text = self._text[self._at : self._at + count]
        assert len(text) == count, "the chunk ends early"
        self._at += count
        return int(text, 2) if text else 0

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(8)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    @property
    def left(self) -> str:
        return self._text[self._at :]


def read_chunk(data: bytes) -> list[tuple[int, bytes]]:
    """Timestamps, and values as the 8 bytes of the float."""
    bits = Bits(data)
    count = bits.take(16)
    samples: list[tuple[int, bytes]] = []
    time = delta = value = 0
    leading = trailing = 0
    for i in range(count):
        if i == 0:
            zigzag = bits.uvarint()
            time = (zigzag >> 1) ^ -(zigzag & 1)
            value = bits.take(64)
        else:
            if i == 1:
                delta = bits.uvarint()
            else:
                delta += _delta_of_deltas(bits)
            time += delta
            if bits.take(1):
                if bits.take(1):
                    leading, significant = bits.take(5), bits.take(6) or 64
                    trailing = 64 - leading - significant
                value ^= bits.take(64 - leading - trailing) << trailing
        samples.append((time, struct.pack(">Q", value)))
    assert len(bits.left) < 8
    assert "1" not in bits.left
    return samples


def _delta_of_deltas(bits: Bits) -> int:
    for width in (0, 14, 17, 20):
        if not bits.take(1):
            value = bits.take(width)
            return value - (1 << width) if width and value > 1 << width - 1 else value
    value = bits.take(64)
    return value - (1 << 64) if value >> 63 else value
