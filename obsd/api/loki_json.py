"""Results of LogQL as Loki's JSON.

Called in the query pool: a result can be many megabytes. Grafana reads it as a stream, so the
order of fields counts: the type and the flags stand before the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, assert_never

import msgspec

from obsd.api.result_json import encode_value, labels_json
from obsd.promql import MatrixValue, ScalarValue, VectorValue

if TYPE_CHECKING:
    from obsd.logql import LogEntry, LogStream, Matrix, QueryStats, Scalar, Vector
    from obsd.services.loki_queries import Answer

FLAGS_HEADER: Final = "X-Loki-Response-Encoding-Flags"
CATEGORIZE: Final = "categorize-labels"

_MS_NS: Final = 1_000_000
_encode: Final = msgspec.json.Encoder().encode


def wants_categories(headers: Mapping[str, str]) -> bool:
    """Whether a client wants labels by where they came from; Grafana always does."""
    flags = headers.get(FLAGS_HEADER, "")
    return any(flag.strip() == CATEGORIZE for flag in flags.split(","))


def answer_json(answer: Answer, *, categorized: bool) -> bytes:
    """The body that answers a query."""
    from obsd.logql import LogStreams

    value = answer.value
    if isinstance(value, LogStreams):
        result_type, result = (
            b"streams",
            streams_json(value.streams if categorized else value.merged(), categorized=categorized),
        )
        returned = sum(len(stream.entries) for stream in value.streams)
    else:
        result_type, result, returned = _numbers(value)
    flags = b'"encodingFlags":["%b"],' % CATEGORIZE.encode() if categorized else b""
    return b'{"status":"success","data":{"resultType":"%b",%b"result":%b,"stats":%b}}\n' % (
        result_type,
        flags,
        result,
        _encode(stats(value.stats, returned, answer.run_s, answer.queued_s)),
    )


def _numbers(value: Matrix | Vector | Scalar) -> tuple[bytes, bytes, int]:
    from obsd.logql import Matrix, Scalar, Vector

    match value:
        case Scalar():
            encoded = encode_value(ScalarValue(value.time_ns // _MS_NS, value.value))
            count = 1
        case Vector():
            time_ms = value.time_ns // _MS_NS
            encoded = encode_value(VectorValue(value.labels, time_ms, value.values))
            count = len(value.labels)
        case Matrix():
            start_ms, step_ms = value.start_ns // _MS_NS, value.step_ns // _MS_NS
            matrix = MatrixValue(value.labels, start_ms, step_ms, value.values, value.present)
            encoded = encode_value(matrix)
            count = int(value.present.sum())
        case _:
            assert_never(value)
    return encoded.result_type.encode(), encoded.result, count


def streams_json(streams: Iterable[LogStream], *, categorized: bool) -> bytes:
    """An array of streams with their lines."""
    values = _categorized_values if categorized else _plain_values
    pieces = (
        b'{"stream":%b,"values":%b}' % (labels_json(stream.labels), values(stream.entries))
        for stream in streams
    )
    return b"[%b]" % b",".join(pieces)


def _plain_values(entries: Iterable[LogEntry]) -> bytes:
    return _encode([(str(entry.time_ns), entry.line) for entry in entries])


def _categorized_values(entries: Iterable[LogEntry]) -> bytes:
    return _encode(
        [
            (str(entry.time_ns), entry.line, categories(entry.structured_metadata, entry.parsed))
            for entry in entries
        ]
    )


def categories(
    structured_metadata: Mapping[str, str], parsed: Mapping[str, str]
) -> dict[str, Mapping[str, str]]:
    """A line's labels beside those of its stream; what is empty is left out."""
    found = {"structuredMetadata": structured_metadata, "parsed": parsed}
    return {name: labels for name, labels in found.items() if labels}


def stats(of: QueryStats, returned: int, run_s: float, queued_s: float) -> dict[str, object]:
    """What Grafana's query inspector shows.

    obsd has no ingesters, chunks or caches: their numbers are there, since clients look for them,
    and are 0.
    """
    run_s = max(run_s, 1e-9)
    return {
        "summary": {
            "bytesProcessedPerSecond": int(of.bytes / run_s),
            "linesProcessedPerSecond": int(of.lines / run_s),
            "totalBytesProcessed": of.bytes,
            "totalLinesProcessed": of.lines,
            "execTime": run_s,
            "queueTime": queued_s,
            "subqueries": 0,
            "totalEntriesReturned": returned,
            "splits": 0,
            "shards": 0,
            "totalPostFilterLines": of.entries,
            "totalStructuredMetadataBytesProcessed": 0,
        },
        **_ABSENT_PARTS,
    }


_CACHES: Final = (
    "chunk",
    "index",
    "result",
    "statsResult",
    "volumeResult",
    "seriesResult",
    "labelResult",
    "instantMetricResult",
)
_STORE: Final = {
    "totalChunksRef": 0,
    "totalChunksDownloaded": 0,
    "chunksDownloadTime": 0,
    "queryReferencedStructuredMetadata": False,
    "chunk": {
        "headChunkBytes": 0,
        "headChunkLines": 0,
        "decompressedBytes": 0,
        "decompressedLines": 0,
        "compressedBytes": 0,
        "totalDuplicates": 0,
        "postFilterLines": 0,
        "headChunkStructuredMetadataBytes": 0,
        "decompressedStructuredMetadataBytes": 0,
    },
    "chunkRefsFetchTime": 0,
    "congestionControlLatency": 0,
    "pipelineWrapperFilteredLines": 0,
}
_ABSENT_PARTS: Final[dict[str, object]] = {
    "querier": {"store": _STORE},
    "ingester": {
        "totalReached": 0,
        "totalChunksMatched": 0,
        "totalBatches": 0,
        "totalLinesSent": 0,
        "store": _STORE,
    },
    "cache": {
        name: {
            "entriesFound": 0,
            "entriesRequested": 0,
            "entriesStored": 0,
            "bytesReceived": 0,
            "bytesSent": 0,
            "requests": 0,
            "downloadTime": 0,
            "queryLengthServed": 0,
        }
        for name in _CACHES
    },
    "index": {"totalChunks": 0, "postFilterChunks": 0, "shardsDuration": 0},
}
