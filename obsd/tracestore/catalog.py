"""What span segments are to the machinery of segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from obsd import _native
from obsd.segments.catalog import Catalog, SegmentFile
from obsd.segments.kind import Kind
from obsd.tracestore.filenames import SEGMENT_SUFFIX

SpanCatalog: TypeAlias = Catalog[_native.SpanSegment, _native.SpanMemtable]
SpanFile: TypeAlias = SegmentFile[_native.SpanSegment]
Sources: TypeAlias = Sequence[_native.SpanSegment | _native.SpanMemtable]


def span_kind(granule_spans: int) -> Kind[_native.SpanSegment, _native.SpanMemtable]:
    """Span segments with granules of so many spans."""
    return Kind(
        name="span",
        suffix=SEGMENT_SUFFIX,
        open_segment=_native.SpanSegment.open,
        new_memtable=lambda: _native.SpanMemtable(granule_spans),
        write_segments=lambda memtable, prefix: memtable.write_segments(prefix),
    )
