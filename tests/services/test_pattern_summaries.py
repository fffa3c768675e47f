from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.logsearch import compile_query
from obsd.model.log_predicate import And, Phrase, Predicate, Token
from obsd.services.log_patterns import query_of
from obsd.services.pattern_change import Status, change_of, dispersion
from obsd.services.pattern_values import TOP_VALUES, hole_names, summarize, type_of


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("250", "number"),
        ("12.5%", "number"),
        ("-1.5e3", "number"),
        ("10.0.0.1:80", "ip"),
        ("fe80::1", "ip"),
        ("00:1b:ab:fe:cd:ef", "mac"),
        ("a9d29236-93d0-4d5e-8f3c-0d7f6a1c2b3d", "uuid"),
        ("0x3f", "hex"),
        ("a489c868f0c37da9", "hex"),
        ("649 ms", "duration"),
        ("<1 sec", "duration"),
        ("5.2 KB", "size"),
        ("2026-01-31T12:00:00Z", "timestamp"),
        ("00:02", "timestamp"),
        ("https://a.example/b", "url"),
        ("/var/log/x", "path"),
        ("ada@example.org", "email"),
        ("db1.example.org:5432", "host"),
        ("ada", "word"),
        ("backend-14", "id"),
        ("two words", "text"),
    ],
)
def test_values_have_types(value: str, kind: str) -> None:
    assert type_of(value) == kind


def test_numbers_are_summarised_in_one_unit() -> None:
    summary = summarize("took", ["500 ms"] * 99 + ["2 s"])
    assert (summary.type, summary.unique) == ("duration", 2)
    assert summary.top[0] == ("500 ms", 99)
    assert summary.numbers is not None
    assert (summary.numbers.min, summary.numbers.max) == (0.5, 2.0)
    assert summary.numbers.mean == pytest.approx(0.515)
    sizes = summarize("", ["1 KiB", "2 kB"])
    assert sizes.numbers is not None
    assert (sizes.numbers.min, sizes.numbers.max) == (1024, 2000)


def test_few_words_that_repeat_are_an_enumeration() -> None:
    assert summarize("state", ["up", "down"] * 30).type == "enum"
    assert summarize("user", [f"u{'x' * n}" for n in range(60)]).type == "word"
    assert summarize("", []).type == "text"


def test_holes_are_named_by_the_word_before() -> None:
    template = "user <_> at port=<_> [<_>] (took: <_>)"
    assert hole_names(template) == ["user", "port", "", "took"]


@given(st.lists(st.text(max_size=20), max_size=50))
def test_any_values_are_summarised(values: list[str]) -> None:
    summary = summarize("", values)
    assert summary.unique == len(set(values))
    assert len(summary.top) == min(summary.unique, TOP_VALUES)


def words(predicate: Predicate) -> list[tuple[str, ...]]:
    match predicate:
        case And(of):
            return [each for part in of for each in words(part)]
        case Phrase(None, tokens):
            return [tokens]
        case Token(None, text):
            return [(text,)]
    raise AssertionError(predicate)


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("user <_> signed in from <_>", [("user",), ("signed", "in", "from")]),
        ("link of eth<_> is up", [("link", "of"), ("is", "up")]),
        ("a.b(<_>): <_>x y", [("a", "b"), ("y",)]),
    ],
)
def test_a_template_has_a_query(template: str, found: list[tuple[str, ...]]) -> None:
    assert words(compile_query(query_of(template), 0)) == found


@given(st.text(max_size=40))
def test_any_template_has_a_query(template: str) -> None:
    compile_query(query_of(template), 0)


def counts(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("now", "before", "status"),
    [
        (3, counts(0, 0, 0, 0), Status.NEW),
        (0, counts(1, 0, 2, 0), Status.VANISHED),
        (100, counts(5, 6, 4, 5), Status.SURGING),
        (5, counts(25, 24, 26, 25), Status.DECLINING),
        (110, counts(25, 24, 26, 25), Status.STEADY),
        (9, counts(1, 1, 1, 0), Status.STEADY),  # Three times as many, but too few.
        (300, counts(0, 0, 100, 0), Status.STEADY),  # It has come in bursts before.
    ],
)
def test_statuses(now: int, before: np.ndarray, status: Status) -> None:
    change = change_of(now, before, compared=20)
    assert change.status is status
    assert change.previous == before.sum()


def test_chance_alone_is_no_change() -> None:
    random = np.random.default_rng(4)
    statuses = [
        change_of(int(random.poisson(30)), random.poisson(0.5, 60), compared=1000).status
        for _ in range(1000)
    ]
    assert statuses.count(Status.STEADY) >= 999


def test_dispersion_is_one_of_independent_events() -> None:
    random = np.random.default_rng(4)
    assert dispersion(random.poisson(5, 10_000)) == pytest.approx(1, abs=0.1)
    assert dispersion(counts(0, 0, 0, 100)) == pytest.approx(100)
    assert dispersion(counts()) == dispersion(counts(0, 0)) == 1
