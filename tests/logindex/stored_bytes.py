"""Which files have a text, as it is or in any zstd frame, wherever in the file it begins."""

from __future__ import annotations

import contextlib
from pathlib import Path

import zstandard

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def unpacked(data: bytes) -> list[bytes]:
    """The file's own bytes, and what is in its frames."""
    pieces = [data]
    at = data.find(ZSTD_MAGIC)
    while at >= 0:
        reader = zstandard.ZstdDecompressor().decompressobj()
        # Bytes may happen to look like the beginning of a frame.
        with contextlib.suppress(zstandard.ZstdError):
            pieces.append(reader.decompress(data[at:]))
        at = data.find(ZSTD_MAGIC, at + 1)
    return pieces


def files_with(directory: Path, text: str) -> list[Path]:
    """The files below a directory that have the text in any case."""
    wanted = text.lower().encode()
    return [
        path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and any(wanted in piece.lower() for piece in unpacked(path.read_bytes()))
    ]
