"""Prometheus' protobuf messages, defined at run time, so that no generated code is needed.

They are read and written by the `protobuf` package: independent of obsd's own coders.
"""

from __future__ import annotations

from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS = {
    "double": 1,
    "int64": 3,
    "uint64": 4,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
    "sint32": 17,
    "sint64": 18,
    "int32": 5,
}
_HISTOGRAM = [
    "1 count_int uint64 ?count",
    "2 count_float double ?count",
    "3 sum double",
    "4 schema sint32",
    "5 zero_threshold double",
    "6 zero_count_int uint64 ?zero",
    "7 zero_count_float double ?zero",
    "8 negative_spans *BucketSpan",
    "9 negative_deltas *sint64",
    "10 negative_counts *double",
    "11 positive_spans *BucketSpan",
    "12 positive_deltas *sint64",
    "13 positive_counts *double",
    "14 reset_hint int32",
    "15 timestamp int64",
    "16 custom_values *double",
]
_SPAN = ["1 offset sint32", "2 length uint32"]

# Each field: number, name, type; * is repeated, ?x a member of the oneof x.
_VERSION_1 = {
    "Label": ["1 name string", "2 value string"],
    "Sample": ["1 value double", "2 timestamp int64"],
    "Exemplar": ["1 labels *Label", "2 value double", "3 timestamp int64"],
    "BucketSpan": _SPAN,
    "Histogram": _HISTOGRAM,
    "TimeSeries": [
        "1 labels *Label",
        "2 samples *Sample",
        "3 exemplars *Exemplar",
        "4 histograms *Histogram",
    ],
    "MetricMetadata": [
        "1 type int32",
        "2 metric_family_name string",
        "4 help string",
        "5 unit string",
    ],
    "WriteRequest": ["1 timeseries *TimeSeries", "3 metadata *MetricMetadata"],
    "LabelMatcher": ["1 type int32", "2 name string", "3 value string"],
    "Query": ["1 start_timestamp_ms int64", "2 end_timestamp_ms int64", "3 matchers *LabelMatcher"],
    "ReadRequest": ["1 queries *Query", "2 accepted_response_types *int32"],
    "QueryResult": ["1 timeseries *TimeSeries"],
    "ReadResponse": ["1 results *QueryResult"],
    "Chunk": ["1 min_time_ms int64", "2 max_time_ms int64", "3 type int32", "4 data bytes"],
    "ChunkedSeries": ["1 labels *Label", "2 chunks *Chunk"],
    "ChunkedReadResponse": ["1 chunked_series *ChunkedSeries", "2 query_index int64"],
}
_VERSION_2 = {
    "Sample": ["1 value double", "2 timestamp int64", "3 start_timestamp int64"],
    "Exemplar": ["1 labels_refs *uint32", "2 value double", "3 timestamp int64"],
    "Metadata": ["1 type int32", "3 help_ref uint32", "4 unit_ref uint32"],
    "BucketSpan": _SPAN,
    "Histogram": _HISTOGRAM,
    "TimeSeries": [
        "1 labels_refs *uint32",
        "2 samples *Sample",
        "3 histograms *Histogram",
        "4 exemplars *Exemplar",
        "5 metadata Metadata",
        "6 created_timestamp int64",
    ],
    "Request": ["4 symbols *string", "5 timeseries *TimeSeries"],
}


def _file(package: str, messages: dict[str, list[str]]) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        oneofs: list[str] = []
        for text in fields:
            number, field_name, kind, *oneof = text.split()
            field = message.field.add(name=field_name, number=int(number))
            field.label = 3 if kind.startswith("*") else 1
            kind = kind.removeprefix("*")
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = 11, f".{package}.{kind}"
            if oneof:
                group = oneof[0].removeprefix("?")
                if group not in oneofs:
                    oneofs.append(group)
                    message.oneof_decl.add(name=group)
                field.oneof_index = oneofs.index(group)
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file("prometheus", _VERSION_1))
_POOL.Add(_file("io.prometheus.write.v2", _VERSION_2))


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


WriteRequest = _message("prometheus.WriteRequest")
ReadRequest = _message("prometheus.ReadRequest")
ReadResponse = _message("prometheus.ReadResponse")
ChunkedReadResponse = _message("prometheus.ChunkedReadResponse")
WriteRequest2 = _message("io.prometheus.write.v2.Request")


def compressed(message: Any) -> bytes:
    """A message as a snappy block."""
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def write_request(
    series: list[tuple[dict[str, str], list[tuple[int, float]]]],
) -> Any:
    """A 1.0 request of float samples."""
    return WriteRequest(
        timeseries=[
            {
                "labels": [{"name": n, "value": v} for n, v in labels.items()],
                "samples": [{"timestamp": t, "value": v} for t, v in samples],
            }
            for labels, samples in series
        ]
    )


class Symbols:
    """The string table of a 2.0 request."""

    def __init__(self) -> None:
        self.texts = [""]

    def ref(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def refs(self, labels: dict[str, str]) -> list[int]:
        return [self.ref(text) for pair in labels.items() for text in pair]


def write_request_2(
    series: list[tuple[dict[str, str], list[tuple[int, float]]]],
) -> Any:
    """A 2.0 request of float samples."""
    symbols = Symbols()
    timeseries = [
        {
            "labels_refs": symbols.refs(labels),
            "samples": [{"timestamp": t, "value": v} for t, v in samples],
        }
        for labels, samples in series
    ]
    return WriteRequest2(symbols=symbols.texts, timeseries=timeseries)
