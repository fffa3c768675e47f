"""Writing parts from dicts and reading them back."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from obsd import _native
from obsd.tsdb import filenames
from obsd.tsdb.parts import PartFile, PartSet

Samples = dict[tuple[int, int], float]
"""Value of (series id, timestamp in ms)."""


def write_part(path: Path, sequence: int, samples: Mapping[tuple[int, int], float]) -> None:
    """Write a level 0 part."""
    keys = sorted(samples)
    ids = sorted({series for series, _ in keys})
    counts = [sum(1 for series, _ in keys if series == wanted) for wanted in ids]
    _native.write_part(
        path,
        (sequence, sequence, 0, None),
        np.array(ids, np.uint32),
        np.concatenate([[0], np.cumsum(np.array(counts, np.int64))]).astype(np.int64),
        np.array([ts for _, ts in keys], np.int64),
        np.array([samples[key] for key in keys], np.float64),
    )


def flush(parts: PartSet, samples: Mapping[tuple[int, int], float]) -> PartFile:
    """Write and publish a part, as the engine's flush does."""
    sequence = parts.next_sequence()
    path = parts.directory / filenames.flushed_part(sequence)
    write_part(path, sequence, samples)
    return parts.add(path)


def read_part(part: _native.Part) -> Samples:
    """Every sample of a part."""
    samples: Samples = {}
    for series in part.series_ids():
        timestamps, values = part.read(series, -(1 << 63), (1 << 63) - 1)
        for ts, value in zip(timestamps.tolist(), values.tolist(), strict=True):
            samples[series, ts] = value
    return samples


def read_all(files: Iterable[PartFile]) -> Samples:
    """Every sample of the parts; of equal times, that of the later part."""
    samples: Samples = {}
    for file in files:
        samples.update(read_part(file.part))
    return samples


def bits(samples: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], bytes]:
    """The samples as bits, since NaN is not equal to itself."""
    return {key: struct.pack(">d", value) for key, value in samples.items()}
