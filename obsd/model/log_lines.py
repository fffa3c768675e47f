"""Lines of log records in batches: what of records the languages over lines look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLines:
    """Lines in order; the lists are of one length.

    Attributes:
        times_ns: when each happened.
        texts: the bodies' texts.
        streams: the labels of each line's stream, as `obsd.model.log_labels` has them.
        metadata: the structured metadata of each line; empty where nobody asked for it.
            Maps may be shared by lines: who changes one copies it.
        size_bytes: of all texts, in UTF-8.
    """

    times_ns: Sequence[int]
    texts: Sequence[str]
    streams: Sequence[Mapping[str, str]]
    metadata: Sequence[Mapping[str, str]]
    size_bytes: int
