"""Compares what two Prometheus APIs answer: the same label sets, values to 1e-9."""

from __future__ import annotations

import math
from typing import Any

RELATIVE_TOLERANCE = 1e-9
ABSOLUTE_TOLERANCE = 1e-15  # Sums that cancel out leave a rounding error, whose size varies.

Samples = list[tuple[float, float]]
LabelSet = tuple[tuple[str, str], ...]


def samples_by_labels(data: dict[str, Any]) -> dict[LabelSet, Samples]:
    """The samples of a query's `data`, of numbers of any type; a scalar has no labels."""
    match data["resultType"]:
        case "scalar":
            return {(): [_sample(data["result"])]}
        case "vector":
            series = [(entry["metric"], [entry["value"]]) for entry in data["result"]]
        case "matrix":
            series = [(entry["metric"], entry["values"]) for entry in data["result"]]
    found = {
        tuple(sorted(labels.items())): [_sample(s) for s in samples] for labels, samples in series
    }
    assert len(found) == len(series), "a label set is there twice"
    return found


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """Sentences that say how two queries' `data` differ; none when they agree."""
    if expected["resultType"] != actual["resultType"]:
        return [f"type {actual['resultType']} instead of {expected['resultType']}"]
    if expected["resultType"] == "string":
        same = expected["result"] == actual["result"]
        return [] if same else [f"{actual['result']} instead of {expected['result']}"]
    wanted, found = samples_by_labels(expected), samples_by_labels(actual)
    said = [f"{dict(labels)} is missing" for labels in sorted(wanted.keys() - found.keys())]
    said += [f"{dict(labels)} is too much" for labels in sorted(found.keys() - wanted.keys())]
    for labels in sorted(wanted.keys() & found.keys()):
        said += [
            f"{dict(labels)}: {difference}"
            for difference in _sample_differences(wanted[labels], found[labels])
        ]
    return said


def same_value(expected: float, actual: float) -> bool:
    if math.isnan(expected) or math.isnan(actual):
        return math.isnan(expected) and math.isnan(actual)
    return math.isclose(expected, actual, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)


def _sample_differences(wanted: Samples, found: Samples) -> list[str]:
    if [time for time, _ in wanted] != [time for time, _ in found]:
        return [f"samples at {[t for t, _ in found]} instead of {[t for t, _ in wanted]}"]
    return [
        f"{value!r} instead of {expected!r} at {time}"
        for (time, expected), (_, value) in zip(wanted, found, strict=True)
        if not same_value(expected, value)
    ]


def _sample(sample: list[Any]) -> tuple[float, float]:
    return float(sample[0]), float(sample[1])
