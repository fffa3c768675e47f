from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from obsd.model.span import Span, SpanKind
from obsd.services.trace_analysis.breakdown import (
    break_down,
    by_kind,
    by_operation,
    by_service,
    covered_ns,
    self_time_ns,
)
from obsd.services.trace_analysis.critical_path import critical_path
from obsd.services.trace_analysis.tree import build_tree
from tests.services.trace_analysis.span_makers import span

MS = 1_000_000


def path(*spans: Span) -> list[tuple[str, int, int]]:
    tree = build_tree(spans)
    assert tree.main is not None
    sections = critical_path(tree.main)
    return [(s.node.span.span_id, s.start_ns // MS, s.end_ns // MS) for s in sections]


def test_of_concurrent_children_the_last_to_finish_counts() -> None:
    assert path(span("r", "", 0, 100), span("a", "r", 10, 60), span("b", "r", 20, 90)) == [
        ("r", 90, 100),
        ("b", 20, 90),
        ("r", 0, 20),
    ]


def test_children_one_after_the_other_all_count() -> None:
    assert path(span("r", "", 0, 100), span("a", "r", 10, 40), span("b", "r", 40, 90)) == [
        ("r", 90, 100),
        ("b", 40, 90),
        ("a", 10, 40),
        ("r", 0, 10),
    ]


def test_what_outlives_its_parent_is_cut() -> None:
    assert path(span("r", "", 10, 50), span("a", "r", 0, 80)) == [("a", 10, 50)]


def test_a_consumer_long_after_its_producer_does_not_count() -> None:
    spans = (
        span("r", "", 0, 50),
        span("p", "r", 10, 20, kind=SpanKind.PRODUCER),
        span("c", "p", 30, 90, kind=SpanKind.CONSUMER, service="worker"),
    )
    assert path(*spans) == [("r", 20, 50), ("p", 10, 20), ("r", 0, 10)]


def test_the_clock_of_a_server_is_corrected_to_its_client() -> None:
    tree = build_tree(
        [
            span("c", "", 100, 200, kind=SpanKind.CLIENT, service="web"),
            span("s", "c", 500, 580, kind=SpanKind.SERVER, service="api"),
            span("d", "s", 520, 540, service="api"),
        ]
    )
    starts = {n.span.span_id: (n.start_ns // MS, n.end_ns // MS) for n in tree.nodes()}
    assert starts == {"c": (100, 200), "s": (110, 190), "d": (130, 150)}


def test_a_server_that_is_longer_than_its_client_is_left_where_it_is() -> None:
    tree = build_tree(
        [
            span("c", "", 100, 200, kind=SpanKind.CLIENT, service="web"),
            span("s", "c", 150, 580, kind=SpanKind.SERVER, service="api"),
        ]
    )
    assert all(node.skew_ns == 0 for node in tree.nodes())


def test_parents_in_a_circle_are_cut_at_the_earliest() -> None:
    tree = build_tree([span("a", "c", 5, 9), span("b", "a", 6, 9), span("c", "b", 7, 9)])
    assert [node.span.span_id for node in tree.nodes()] == ["a", "b", "c"]
    assert len(tree.roots) == 1


def test_a_span_that_is_its_own_parent_is_a_root() -> None:
    tree = build_tree([span("a", "a", 5, 9)])
    assert [root.span.span_id for root in tree.roots] == ["a"]


def test_spans_that_share_an_id_are_client_and_server() -> None:
    tree = build_tree(
        [
            span("x", "", 0, 10, kind=SpanKind.CLIENT, service="web"),
            span("x", "", 2, 8, kind=SpanKind.SERVER, service="api"),
            span("y", "x", 3, 4, service="api"),
        ]
    )
    assert [node.span.service for node in tree.roots] == ["web"]
    assert len(list(tree.nodes())) == 3


@st.composite
def traces(draw: st.DrawFn) -> list[Span]:
    count = draw(st.integers(1, 12))
    spans = []
    for number in range(count):
        start, length = draw(st.integers(0, 50)), draw(st.integers(0, 50))
        parent = draw(st.integers(-1, count - 1))
        kind = draw(st.sampled_from(list(SpanKind)))
        service = draw(st.sampled_from(["a", "b"]))
        name = "" if parent < 0 else f"s{parent}"
        spans.append(span(f"s{number}", name, start, start + length, kind=kind, service=service))
    return draw(st.permutations(spans))


@given(traces())
def test_the_path_covers_the_root_without_overlap(spans: list[Span]) -> None:
    tree = build_tree(spans)
    assert sorted(n.span.span_id for n in tree.nodes()) == sorted(s.span_id for s in spans)
    assert tree.main is not None
    sections = critical_path(tree.main)
    assert sum(section.duration_ns for section in sections) == tree.main.duration_ns
    at = tree.main.end_ns
    for section in sections:
        assert section.end_ns == at
        at = section.start_ns


@given(traces())
def test_sections_lie_in_their_spans(spans: list[Span]) -> None:
    tree = build_tree(spans)
    assert tree.main is not None
    for section in critical_path(tree.main):
        node = section.node
        assert node.start_ns <= section.start_ns < section.end_ns <= node.end_ns


@given(traces())
def test_shares_add_up(spans: list[Span]) -> None:
    tree = build_tree(spans)
    assert tree.main is not None
    sections = critical_path(tree.main)
    for key in (by_service, by_operation, by_kind):
        shares = break_down(tree, sections, key)
        assert sum(share.spans for share in shares) == len(spans)
        assert sum(share.critical_ns for share in shares) == tree.main.duration_ns
        assert all(0 <= share.self_ns <= share.total_ns for share in shares)


def test_self_time_is_without_children() -> None:
    tree = build_tree(
        [
            span("r", "", 0, 100),
            span("a", "r", 10, 40),
            span("b", "r", 30, 60),
            span("c", "r", 90, 150),
        ]
    )
    assert tree.main is not None
    assert self_time_ns(tree.main) == 40 * MS


def test_overlapping_pieces_count_once() -> None:
    assert covered_ns([(0, 10), (5, 12), (20, 25), (21, 22), (30, 29)]) == 17
