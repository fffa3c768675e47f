"""The per-byte and per-sample loops of obsd, in Rust (native/)."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "Batch",
    "CorruptError",
    "Head",
    "LineJoiner",
    "LogBatch",
    "LogMemtable",
    "LogPipeline",
    "LogRule",
    "LogScan",
    "LogSeen",
    "LogSegment",
    "LogSegmentStats",
    "OtlpMetrics",
    "Part",
    "PartStats",
    "PatternMiner",
    "Registry",
    "SpanBatch",
    "SpanCounters",
    "SpanMemtable",
    "SpanScan",
    "SpanSegment",
    "SpanSegmentStats",
    "SpanTraceSet",
    "TooLargeError",
    "__version__",
    "bound_log_columns",
    "bound_span_columns",
    "columns_json",
    "crc32c",
    "encode_read_result",
    "encode_write_request",
    "encode_xor_chunks",
    "erase_log_records",
    "erase_span_traces",
    "exposition_to_write_request",
    "format_float",
    "log_arrived",
    "log_columns_bytes",
    "log_entries",
    "log_field_names",
    "log_histogram",
    "log_page",
    "log_pattern_values",
    "log_patterns",
    "log_resources",
    "log_scan",
    "log_sightings",
    "log_statistics",
    "log_values",
    "matrix_json",
    "merge_log_segments",
    "merge_parts",
    "merge_span_segments",
    "otlp_label_name",
    "otlp_metric_name",
    "read_loki_protobuf",
    "rollup",
    "rollup_columns",
    "select_blobs",
    "select_samples",
    "span_arrived",
    "span_columns_bytes",
    "span_field_names",
    "span_field_values",
    "span_find",
    "span_operations",
    "span_otlp",
    "span_scan",
    "span_search",
    "span_services",
    "span_summaries",
    "span_trace",
    "span_trace_ids",
    "vector_json",
    "with_samples",
    "write_part",
]

__version__: str

class CorruptError(Exception):
    """Stored bytes are not what was written: (path, detail)."""

class TooLargeError(Exception):
    """A body decompresses to too much."""

_Ids = npt.NDArray[np.uint32]
_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]
_Mark = tuple[int, int, int]

def crc32c(data: bytes, seed: int = 0) -> int: ...

@final
class Batch:
    """A decoded request, on its way into a head."""

    samples: int
    blobs: int
    metadata: int
    new_series: int
    generation: int
    refused: list[int]
    rejected: dict[str, int]
    messages: list[str]

@final
class Registry:
    """The series registry of one project."""

    def __new__(cls, seed: int) -> Registry: ...
    def load(self, record: bytes) -> None: ...
    def log(self) -> tuple[bytes, _Mark]: ...
    def confirm(self, mark: _Mark) -> None: ...
    id_end: int
    series_count: int
    size_bytes: int
    metadata_version: int
    generation: int
    def retain(self, ids: _Ids) -> bytes: ...
    def decode(
        self,
        body: bytes,
        version_2: bool,
        decompressed_bytes: int,
        labels: int,
        name_bytes: int,
        value_bytes: int,
        new_series: int,
        min_ts: int,
        max_ts: int,
        refused: Sequence[int],
        registered_series: int = ...,
        registry_bytes: int = ...,
    ) -> Batch: ...
    def select(self, selectors: Sequence[Sequence[tuple[str, str, str]]]) -> _Ids: ...
    def labels(self, ids: _Ids) -> list[tuple[tuple[str, str], ...]]: ...
    def label_names(self, ids: _Ids | None = None) -> list[str]: ...
    def label_values(self, name: str, ids: _Ids | None = None) -> list[str]: ...
    def cardinality(
        self, limit: int
    ) -> tuple[list[tuple[str, int, int, int]], list[tuple[str, str, int]]]: ...
    def label_sizes(self, name: str, limit: int) -> list[tuple[str, int]]: ...
    def metadata(self) -> list[tuple[str, int, str, str]]: ...
    def set_metadata(self, family: str, kind: int, help_text: str, unit: str) -> None: ...

@final
class Head:
    """The newest samples of each series, in memory."""

    def __new__(cls) -> Head: ...
    def append(
        self, registry: Registry, batch: Batch
    ) -> tuple[int, int, int, int, int, int, int]: ...
    def write_part(
        self, path: PathLike[str], info: tuple[int, int, int, tuple[int, int] | None]
    ) -> PartStats: ...
    def ids(self) -> _Ids: ...
    series: int
    samples: int
    size_bytes: int
    is_empty: bool
    time_range: tuple[int, int] | None

@final
class PartStats:
    """What a part holds."""

    min_ts: int
    max_ts: int
    samples: int
    chunks: int
    series: int
    size_bytes: int
    seq_min: int
    seq_max: int
    level: int
    partition: tuple[int, int] | None

@final
class Part:
    """An open part."""

    @staticmethod
    def open(path: PathLike[str] | str) -> Part: ...
    path: Path
    stats: PartStats
    size_bytes: int
    def verify(self) -> None: ...
    last_id: int | None
    def series_ids(self) -> list[int]: ...
    def read(self, series_id: int, start_ms: int, end_ms: int) -> tuple[_Ints, _Floats]: ...

def write_part(
    path: PathLike[str] | str,
    info: tuple[int, int, int, tuple[int, int] | None],
    ids: _Ids,
    offsets: _Ints,
    timestamps: _Ints,
    values: _Floats,
) -> PartStats: ...
def merge_parts(
    parts: Sequence[Part],
    prefix: PathLike[str] | str,
    level: int,
    partition_ms: int,
    best: bool,
    drop_before_ms: int | None = None,
    keep_ids: _Ids | None = None,
) -> list[tuple[Path, PartStats]]: ...
def select_samples(
    sources: Sequence[Head | Part], ids: _Ids, start: int, end: int
) -> tuple[_Ints, _Ints, _Floats]: ...
def select_blobs(
    sources: Sequence[Head | Part], ids: _Ids, kind: str, start: int, end: int
) -> tuple[_Ints, _Ints, list[bytes]]: ...
def with_samples(sources: Sequence[Head | Part], ids: _Ids, start: int, end: int) -> _Ids: ...
def rollup(
    sources: Sequence[Head | Part],
    ids: _Ids,
    function: str,
    args: Sequence[float],
    start_ms: int,
    end_ms: int,
    step_ms: int,
    window_ms: int,
    offset_ms: int,
) -> tuple[_Floats, _Bools, int]: ...
def rollup_columns(
    function: str,
    args: Sequence[float],
    offsets: _Ints,
    timestamps: _Ints,
    values: _Floats,
    start_ms: int,
    end_ms: int,
    step_ms: int,
    window_ms: int,
    offset_ms: int,
) -> tuple[_Floats, _Bools]: ...
def format_float(value: float) -> str: ...
def matrix_json(
    label_json: list[bytes], start_ms: int, step_ms: int, values: _Floats, present: _Bools
) -> bytes: ...
def vector_json(label_json: list[bytes], timestamps_ms: _Ints, values: _Floats) -> bytes: ...
def columns_json(
    label_json: list[bytes], offsets: _Ints, timestamps: _Ints, values: _Floats
) -> bytes: ...
def read_loki_protobuf(body: bytes, max_memory_bytes: int) -> tuple[bytes, int, list[str], int]: ...
def encode_read_result(
    labels: list[list[tuple[str, str]]], offsets: _Ints, timestamps: _Ints, values: _Floats
) -> bytes: ...
def encode_xor_chunks(timestamps: _Ints, values: _Floats) -> list[tuple[int, int, bytes]]: ...
def exposition_to_write_request(
    text: bytes,
    default_timestamp_ms: int,
    extra_labels: list[tuple[str, str]],
    honor_timestamps: bool,
) -> tuple[bytes, int, list[str]]: ...
def encode_write_request(
    labels: list[list[tuple[str, str]]], timestamps_ms: _Ints, values: _Floats
) -> bytes: ...

_LogLimits = tuple[int, int, int, int, int, int]
_LogPredicate = tuple[object, ...]

@final
class LogBatch:
    """A decoded OTLP logs request, on its way into a memtable."""

    MAX_BYTES: int
    """What its parts may take in memory."""

    @staticmethod
    def decode(body: bytes, limits: _LogLimits, dropped: Sequence[int] = ...) -> LogBatch: ...
    @staticmethod
    def unpack(
        packed: bytes, size_bytes: int, limits: _LogLimits, dropped: Sequence[int] = ...
    ) -> LogBatch: ...
    def packed(self) -> bytes: ...
    records: int
    rejected: dict[str, int]
    messages: list[str]

@final
class LogSeen:
    """Which log records have come of late."""

    def __new__(cls, records: int, requests: int, kept: int) -> LogSeen: ...
    def admit(self, batch: LogBatch) -> list[int]: ...
    def rotate(self) -> None: ...
    def clear(self) -> None: ...
    def encode(self) -> bytes: ...
    def restore(self, stored: bytes) -> bool: ...
    size_bytes: int

@final
class LogMemtable:
    """The newest log records, in memory."""

    def __new__(cls, granule_rows: int) -> LogMemtable: ...
    def append(self, batch: LogBatch, first_row: int) -> None: ...
    def write_segments(self, prefix: PathLike[str] | str) -> list[Path]: ...
    records: int
    size_bytes: int
    time_range: tuple[int, int] | None

@final
class LogSegmentStats:
    """What a log segment holds."""

    min_ns: int
    max_ns: int
    records: int
    granules: int
    last_row: int
    size_bytes: int

@final
class LogSegment:
    """An open log segment."""

    @staticmethod
    def open(path: PathLike[str] | str) -> LogSegment: ...
    path: Path
    stats: LogSegmentStats
    def count(self, wanted: _LogPredicate) -> int: ...
    def verify(self) -> None: ...

def merge_log_segments(
    segments: Sequence[LogSegment],
    path: PathLike[str] | str,
    granule_rows: int,
    min_ns: int,
    level: int,
) -> bool: ...
def erase_log_records(
    segment: LogSegment, gone: _LogPredicate, path: PathLike[str], level: int
) -> int: ...
def bound_log_columns(max_bytes: int) -> None: ...
def log_columns_bytes() -> int: ...
def log_page(
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    span: tuple[int, int],
    limit: int,
    newest_first: bool,
    after: tuple[int, int] | None,
    check: Callable[[], None],
) -> tuple[int, list[tuple[Any, ...]], tuple[int, int] | None]: ...
def log_entries(
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    span: tuple[int, int],
    limit: int,
    newest_first: bool,
    after: tuple[int, int] | None,
    check: Callable[[], None],
) -> tuple[int, bytes, tuple[int, int] | None]: ...

@final
class LogScan:
    """A scan's lines, batch by batch."""

    def next(
        self, limit: int, names: set[str] | None, check: Callable[[], None]
    ) -> tuple[
        _Ints,
        list[str],
        list[dict[str, str]],
        list[dict[str, str]],
        int,
        tuple[int, int] | None,
    ]: ...

def log_scan(
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    span: tuple[int, int],
    newest_first: bool,
    after: tuple[int, int] | None,
) -> LogScan: ...
def log_arrived(
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    after: int,
    through: int,
    limit: int,
    check: Callable[[], None],
) -> tuple[list[tuple[Any, ...]], int]: ...
def log_sightings(
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    rows: tuple[int, int],
    by: Sequence[str],
    shapes: Sequence[str],
    step_ns: int,
    check: Callable[[], None],
) -> list[tuple[list[str], int, int, int, int, tuple[Any, ...]]]: ...
def log_histogram(
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    span: tuple[int, int],
    step_ns: int,
    by: Sequence[str],
    weight: str,
    check: Callable[[], None],
) -> list[tuple[tuple[str, ...], npt.NDArray[np.uint64]]]: ...
def log_resources(
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    span: tuple[int, int],
    step_ns: int,
    weigh: bool,
    check: Callable[[], None],
) -> list[tuple[dict[str, Any], list[tuple[int, int, int]]]]: ...

_LogStatistics = tuple[
    int, int, tuple[int, bool], tuple[int, float, float, float], list[float], bool
]

def log_statistics(
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    span: tuple[int, int],
    step_ns: int,
    field: str,
    by: Sequence[str],
    quantiles: Sequence[float],
    check: Callable[[], None],
) -> list[tuple[tuple[str, ...], list[_LogStatistics]]]: ...
def log_values(
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    span: tuple[int, int],
    field: str | None,
    limit: int,
    check: Callable[[], None],
) -> tuple[list[tuple[str, int]], int]: ...

@final
class PatternMiner:
    """Finds the templates of log lines, as they come. Thread-safe."""

    def __new__(cls, max_patterns: int = 20_000) -> PatternMiner: ...
    @staticmethod
    def load(data: bytes, max_patterns: int = 20_000) -> PatternMiner: ...
    def dump(self) -> bytes: ...
    def learn(
        self, lines: Sequence[str], weights: Sequence[int] | None = None
    ) -> npt.NDArray[np.uint64]: ...
    def lookup(self, lines: Sequence[str]) -> npt.NDArray[np.uint64]: ...
    def patterns(self) -> list[tuple[int, str, int]]: ...
    def resolve(self, pattern_id: int) -> tuple[int, str] | None: ...
    def values(self, pattern_id: int, line: str) -> list[str] | None: ...
    def __len__(self) -> int: ...

def log_patterns(
    miner: PatternMiner,
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    span: tuple[int, int],
    step_ns: int,
    samples: int,
    check: Callable[[], None],
) -> list[
    tuple[
        int,
        str,
        npt.NDArray[np.uint64],
        tuple[int, int],
        dict[str, int],
        dict[str, int],
        tuple[Any, ...] | None,
    ]
]: ...
def log_pattern_values(
    miner: PatternMiner,
    pattern_id: int,
    sources: Sequence[LogSegment | LogMemtable],
    predicate: _LogPredicate,
    span: tuple[int, int],
    limit: int,
    check: Callable[[], None],
) -> tuple[int, list[list[str]]]: ...

@final
class LogRule:
    """One rule of a pipeline. A `ValueError` has the option and what is wrong with it.

    `kind` is extract, grok, rename, drop, drop_fields, keep_fields, mask or set; `when` is a
    predicate as the functions that search have it.
    """

    def __new__(cls, kind: str, when: object | None, options: dict[str, Any]) -> LogRule: ...

@final
class LogPipeline:
    """What the parsers and a project's rules do with requests."""

    MAX_METADATA_BYTES: int

    def __new__(cls, rules: Sequence[LogRule], parses: bool) -> LogPipeline: ...
    def apply(
        self,
        body: bytes,
        now_ns: int,
        offset_s: int,
        keeps_bodies: bool,
        rule_count: int | None = None,
    ) -> tuple[bytes, int, int, int]:
        """(request, records dropped, joined, changed); the very same request if nothing is to do.

        Only the first `rule_count` rules run, if it is given.
        """

@final
class LineJoiner:
    """Joins the lines of stack traces to one record each, across reads of a file.

    Feed it one line after the other, without their line ends. A record is complete once a line
    comes that is none of its; call `flush` when nothing has come for a while, and at the end.
    """

    def __new__(cls, max_bytes: int = 65536, max_lines: int = 1000) -> LineJoiner: ...
    def feed(self, line: bytes) -> tuple[bytes, int] | None:
        """The record before this line, and of how many lines it is; None while it may go on."""

    def flush(self) -> tuple[bytes, int] | None:
        """The record that waits for more lines, if there is one."""
    pending_bytes: int
    pending_lines: int

def log_field_names() -> dict[str, tuple[str, ...]]: ...

@final
class OtlpMetrics:
    def __new__(
        cls,
        *,
        strategy: str,
        promoted: Sequence[str],
        promote_all: bool,
        ignored: Sequence[str],
        keep_identifying: bool,
        promote_scope: bool,
        custom_buckets: bool,
        lookback_ms: int,
        delta_idle_ms: int,
        delta_memory_bytes: int,
    ) -> OtlpMetrics: ...
    def convert(
        self, body: bytes, now_ms: int, min_ms: int, max_ms: int, piece_bytes: int
    ) -> tuple[list[bytes], int, dict[str, int], list[str]]: ...
    def expire(self, now_ms: int) -> int: ...

def otlp_metric_name(name: str, unit: str, shape: str, strategy: str) -> str: ...
def otlp_label_name(key: str, strategy: str) -> str: ...

_SpanLimits = tuple[int, int, int, int]
"""(now in ns, oldest start in ns, most bytes of a span, most attributes of a span)."""

_SpanPredicate = tuple[object, ...]
"""("all",), ("and", [...]), ("or", [...]), ("not", p), ("has", scope, name),
("traces", SpanTraceSet) or ("compare", scope, name, op, constant); scopes, names and ops as in
obsd.model.span_predicate."""

_SpanTuple = tuple[Any, ...]
"""The fields of obsd.model.span.Span in their order: kind and status as numbers, maps as dicts, the
scope, events and links as tuples of the fields of theirs."""

_TraceTuple = tuple[str, str, str, int, int, int, int, dict[str, tuple[int, int]]]
"""The fields of obsd.model.span.TraceSummary in their order."""

@final
class SpanBatch:
    """A decoded OTLP trace request, on its way into a memtable."""

    MAX_BYTES: int
    """What its parts may take in memory."""

    @staticmethod
    def decode(body: bytes, limits: _SpanLimits) -> SpanBatch: ...
    @staticmethod
    def unpack(packed: bytes, size_bytes: int, limits: _SpanLimits) -> SpanBatch: ...
    def packed(self) -> bytes: ...
    spans: int
    rejected: dict[str, int]
    messages: list[str]

@final
class SpanCounters:
    """What one project's spans were counted to."""

    def __new__(
        cls,
        dimensions: Sequence[tuple[str, str]],
        latency_buckets: Sequence[float],
        graph_buckets: Sequence[float],
        times_ms: tuple[int, int, int],
        limits: tuple[int, int],
        wanted: tuple[bool, bool],
    ) -> SpanCounters: ...
    def count_batch(self, batch: SpanBatch, first_row: int, now_ms: int) -> None: ...
    def expire(self, now_ms: int) -> None: ...
    def forget_idle(self, now_ms: int) -> None: ...
    def samples(self, now_ms: int, with_metadata: bool) -> list[bytes]: ...
    def confirm(self) -> None: ...
    def take_changes(self) -> bool: ...
    def encode(self) -> bytes: ...
    def restore(self, stored: bytes) -> None: ...
    row: int
    def totals(self) -> dict[str, int]: ...

@final
class SpanTraceSet:
    """Trace ids, of 16 bytes each."""

    def __new__(cls, trace_ids: Sequence[bytes]) -> SpanTraceSet: ...
    def __contains__(self, trace_id: bytes, /) -> bool: ...
    def __len__(self) -> int: ...

@final
class SpanMemtable:
    """The newest spans, in memory."""

    def __new__(cls, granule_spans: int) -> SpanMemtable: ...
    def append(self, batch: SpanBatch, first_row: int) -> None: ...
    def write_segments(self, prefix: PathLike[str] | str) -> list[Path]: ...
    spans: int
    traces: int
    size_bytes: int
    time_range: tuple[int, int] | None

@final
class SpanSegmentStats:
    """What a span segment holds."""

    min_ns: int
    max_ns: int
    spans: int
    traces: int
    granules: int
    last_row: int
    size_bytes: int

@final
class SpanSegment:
    """An open span segment."""

    @staticmethod
    def open(path: PathLike[str] | str) -> SpanSegment: ...
    path: Path
    stats: SpanSegmentStats
    def verify(self) -> None: ...

_SpanSources = Sequence[SpanSegment | SpanMemtable]
"""Older ones first: of the same span the later counts."""

_SpanKeep = tuple[int, int, float, SpanTraceSet]
"""Of traces that start before a time in ns those are kept that have an error, that are among so
many slowest of a root operation, that are in the share, or in the set."""

def merge_span_segments(
    segments: Sequence[SpanSegment],
    path: PathLike[str] | str,
    granule_spans: int,
    min_ns: int,
    keep: _SpanKeep | None,
    level: int,
) -> tuple[int, int]: ...
def erase_span_traces(
    segment: SpanSegment, gone: SpanTraceSet, path: PathLike[str] | str, level: int
) -> int: ...
def bound_span_columns(max_bytes: int) -> None: ...
def span_columns_bytes() -> int: ...
def span_trace(
    sources: _SpanSources, trace_id: bytes, check: Callable[[], object]
) -> list[_SpanTuple]: ...
def span_otlp(
    sources: _SpanSources, trace_id: bytes, check: Callable[[], object]
) -> bytes | None: ...
def span_search(
    sources: _SpanSources,
    predicate: _SpanPredicate,
    span: tuple[int, int],
    duration: tuple[int | None, int | None],
    order: str,
    limit: int,
    after: tuple[int, bytes] | None,
    check: Callable[[], object],
) -> tuple[list[_TraceTuple], tuple[int, bytes] | None]: ...
def span_summaries(
    sources: _SpanSources, trace_ids: Sequence[bytes], check: Callable[[], object]
) -> list[_TraceTuple]: ...
def span_trace_ids(
    sources: _SpanSources,
    predicate: _SpanPredicate,
    span: tuple[int, int],
    limit: int,
    check: Callable[[], object],
) -> list[bytes]: ...
def span_find(
    sources: _SpanSources,
    predicate: _SpanPredicate,
    span: tuple[int, int],
    limit: int,
    check: Callable[[], object],
) -> list[_SpanTuple]: ...
def span_arrived(
    memtables: Sequence[SpanMemtable],
    predicate: _SpanPredicate,
    after_row: int,
    limit: int,
    check: Callable[[], object],
) -> tuple[list[_SpanTuple], int]: ...

@final
class SpanScan:
    """Matching spans as columns: some thousand a turn."""

    def next(
        self, check: Callable[[], object]
    ) -> (
        tuple[
            _Ints,
            _Ints,
            list[npt.NDArray[np.int32]],
            list[list[str | int | float | bool]],
            list[str] | None,
        ]
        | None
    ): ...

def span_scan(
    sources: _SpanSources,
    predicate: _SpanPredicate,
    fields: Sequence[tuple[str, str]],
    span: tuple[int, int],
    trace_ids: bool,
) -> SpanScan: ...
def span_services(
    sources: _SpanSources, span: tuple[int, int], check: Callable[[], object]
) -> list[str]: ...
def span_operations(
    sources: _SpanSources, service: str, span: tuple[int, int], check: Callable[[], object]
) -> list[tuple[str, int]]: ...
def span_field_names(
    sources: _SpanSources, span: tuple[int, int], limit: int, check: Callable[[], object]
) -> list[tuple[str, str]]: ...
def span_field_values(
    sources: _SpanSources,
    field: tuple[str, str],
    predicate: _SpanPredicate,
    span: tuple[int, int],
    limit: int,
    check: Callable[[], object],
) -> list[tuple[str | int | float | bool, int]]: ...
