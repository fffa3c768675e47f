"""Types of fields, and which labels are worth a choice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.services.loki_fields import (
    DetectedField,
    FieldType,
    is_identifier_like,
    shown_labels,
    type_of,
)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int", ["0", "-7", "+7", "123456789012345678"]),
        ("float", ["1.5", "-0.1", "1e9", "NaN", "+Inf"]),
        ("boolean", ["true", "False", "t"]),
        ("duration", ["250ms", "1h15m30.5s", "-3µs", "1.5s"]),
        ("bytes", ["10KB", "5.5 MiB", "42 B"]),
        ("string", ["", "x", "12 apples", "ms", "KB", "1.2.3.4", "9" * 100, "2024-01-01"]),
    ],
)
def test_the_narrowest_type_is_the_type(kind: FieldType, values: list[str]) -> None:
    assert {value: type_of(value) for value in values} == dict.fromkeys(values, kind)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2.5"], "float"),
        (["2.5", "1"], "float"),
        (["1", "5ms"], "string"),
        (["5ms", "", "7s"], "duration"),
        (["true", "x"], "string"),
        (["", ""], None),
    ],
)
def test_a_field_has_the_type_of_all_its_values(values: list[str], kind: FieldType | None) -> None:
    field = DetectedField("f")
    for value in values:
        field.see(value)
    assert field.kind == kind
    assert field.values == set(values)


@given(text=st.text())
def test_every_text_has_a_type(text: str) -> None:
    assert type_of(text) in ("int", "float", "boolean", "duration", "bytes", "string")


@pytest.mark.parametrize(
    ("values", "is_one"),
    [
        ({"1", "2", "3.5"}, True),
        ({"0", "1"}, False),
        ({"1"}, False),
        ({"7"}, True),
        ({"0b9ff0bc-28f9-4f2e-9b0f-0f1b1f6c6f5e", "8"}, True),
        ({"1", "2", "api"}, False),
    ],
)
def test_numbers_and_uuids_are_like_identifiers(values: set[str], is_one: bool) -> None:
    assert is_identifier_like(values) == is_one


def test_some_labels_are_always_shown() -> None:
    values = {"pod": {"1", "2", "3"}, "id": {"1", "2", "3"}, "app": {"api"}}
    assert shown_labels(values) == [("app", 1), ("pod", 3)]
