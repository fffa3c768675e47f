"""OTLP metrics through the native conversion, and what comes of them as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cramjam

from obsd import _native
from tests.protobuf.prometheus_messages import WriteRequest

NOW_MS = 1_800_000_000_000
ANY_TIME = (-(1 << 62), 1 << 62)

LabelSet = tuple[tuple[str, str], ...]


@dataclass
class Converted:
    """Everything by its labels; times in milliseconds."""

    points: int
    rejected: dict[str, int]
    messages: list[str]
    samples: dict[LabelSet, list[tuple[int, float]]] = field(default_factory=dict)
    histograms: dict[LabelSet, list[Any]] = field(default_factory=dict)
    exemplars: dict[LabelSet, list[tuple[dict[str, str], float, int]]] = field(default_factory=dict)
    metadata: list[tuple[str, int, str, str]] = field(default_factory=list)

    def of(self, name: str) -> dict[LabelSet, list[tuple[int, float]]]:
        """Samples of the series of one name, by their other labels."""
        return {
            tuple(pair for pair in labels if pair[0] != "__name__"): samples
            for labels, samples in self.samples.items()
            if ("__name__", name) in labels
        }

    def values(self, name: str) -> dict[str, float]:
        """The newest values of the series of one name, by `a=b c=d`."""
        return {
            " ".join(f"{key}={value}" for key, value in labels): samples[-1][1]
            for labels, samples in self.of(name).items()
        }


def converter(**options: Any) -> _native.OtlpMetrics:
    defaults: dict[str, Any] = {
        "strategy": "UnderscoreEscapingWithSuffixes",
        "promoted": [],
        "promote_all": False,
        "ignored": [],
        "keep_identifying": False,
        "promote_scope": False,
        "custom_buckets": False,
        "lookback_ms": 300_000,
        "delta_idle_ms": 3_600_000,
        "delta_memory_bytes": 1 << 20,
    }
    assert options.keys() <= defaults.keys(), options
    return _native.OtlpMetrics(**(defaults | options))


def converted(
    body: bytes,
    native: _native.OtlpMetrics | None = None,
    *,
    now_ms: int = NOW_MS,
    times: tuple[int, int] = ANY_TIME,
    piece_bytes: int = 1 << 20,
    **options: Any,
) -> Converted:
    native = native or converter(**options)
    bodies, points, rejected, messages = native.convert(body, now_ms, *times, piece_bytes)
    found = Converted(points, rejected, messages)
    for each in bodies:
        request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(each)))
        for series in request.timeseries:
            labels = tuple(sorted((label.name, label.value) for label in series.labels))
            assert len({name for name, _ in labels}) == len(labels), (
                f"a name is there twice: {labels}"
            )
            for sample in series.samples:
                found.samples.setdefault(labels, []).append((sample.timestamp, sample.value))
            if series.histograms:
                found.histograms.setdefault(labels, []).extend(series.histograms)
            for exemplar in series.exemplars:
                own = {label.name: label.value for label in exemplar.labels}
                example = (own, exemplar.value, exemplar.timestamp)
                found.exemplars.setdefault(labels, []).append(example)
        for each_metadata in request.metadata:
            found.metadata.append(
                (
                    each_metadata.metric_family_name,
                    each_metadata.type,
                    each_metadata.help,
                    each_metadata.unit,
                )
            )
    return found
