"""What sets a slow set apart is found, and chance is not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.model.span_predicate import Constant, Field
from obsd.services.span_store import SpanColumns
from obsd.services.trace_analysis import populations
from obsd.services.trace_analysis.populations import compare_populations, log_likelihood_ratio

FIELDS = (Field("span", "version"), Field("span", "user"), Field("span", "size"))


def columns(rows: Sequence[Sequence[Constant | None]]) -> SpanColumns:
    """Rows of values as the engine gives them."""
    codes, values = [], []
    for column in zip(*rows, strict=True):
        distinct = list(dict.fromkeys((type(v), v) for v in column if v is not None))
        places = {value: place for place, value in enumerate(distinct)}
        codes.append(
            np.array([-1 if v is None else places[type(v), v] for v in column], dtype=np.int32)
        )
        values.append([value for _, value in distinct])
    times = np.zeros(len(rows), dtype=np.int64)
    return SpanColumns(times, times, codes, values)


def test_the_value_behind_slow_spans_comes_first() -> None:
    rng = random.Random(7)
    selected = [("v2" if rng.random() < 0.9 else "v1", rng.randrange(50), 1) for _ in range(400)]
    others = [("v2" if rng.random() < 0.1 else "v1", rng.randrange(50), 1) for _ in range(4000)]
    chunks = [columns(others[:1000]), columns(others[1000:])]
    found = compare_populations([columns(selected)], chunks, FIELDS)
    assert (found.selected, found.others) == (400, 4000)
    assert [d.field.name for d in found.fields] == ["version"]
    first = found.fields[0].values[0]
    assert first.value == "v2"
    assert first.selected == sum(row[0] == "v2" for row in selected)
    assert first.others == sum(row[0] == "v2" for row in others)
    assert first.difference == pytest.approx(first.selected / 400 - first.others / 4000)


def test_a_missing_attribute_can_be_what_differs() -> None:
    selected = columns([(None, "u", 1)] * 90 + [("v1", "u", 1)] * 10)
    others = columns([("v1", "u", 1)] * 1000)
    found = compare_populations([selected], [others], FIELDS)
    assert found.fields[0].values[0].value is None
    assert found.fields[0].score == pytest.approx(0.9)


def test_numbers_are_cut_into_bins() -> None:
    selected = columns([("v", "u", 5000 + n) for n in range(300)])
    others = columns([("v", "u", n) for n in range(3000)])
    found = compare_populations([selected], [others], FIELDS)
    assert [d.field.name for d in found.fields] == ["size"]
    values = found.fields[0].values
    assert len(values) <= populations.MAX_BINS
    assert sum(v.selected for v in values) == 300
    assert sum(v.others for v in values) == 3000
    assert values[0].selected == 300
    assert values[0].until == 5299.0


def test_ids_are_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(populations, "MAX_VALUES", 100)
    selected = columns([("v", f"user{n}", 1) for n in range(200)])
    found = compare_populations([selected], [columns([("v", "x", 1)])], FIELDS)
    assert [f.name for f in found.ids] == ["user"]
    assert not found.fields


def test_truth_is_not_one() -> None:
    selected = columns([(True, "u", 1)] * 100)
    others = columns([(1, "u", 1)] * 100)
    found = compare_populations([selected], [others], FIELDS)
    assert {v.value: (v.selected, v.others) for v in found.fields[0].values} == {
        "true": (100, 0),
        1: (0, 100),
    }


def test_one_population_alone_says_nothing() -> None:
    found = compare_populations([columns([("v", "u", 1)] * 100)], [], FIELDS)
    assert not found.fields


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_the_ratio_is_zero_for_equal_shares_alone(a: int, b: int, c: int, d: int) -> None:
    ratio = log_likelihood_ratio(a, a + b, c, c + d)
    assert ratio >= 0
    if a * (c + d) == c * (a + b):
        assert ratio == pytest.approx(0, abs=1e-9)
    assert ratio == pytest.approx(log_likelihood_ratio(c, c + d, a, a + b))
