"""Segments that are whole by their checksums, and yet hold anything: errors of ours, no panics."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd import _native
from obsd.logindex.predicates import encode_predicate
from obsd.model.log_predicate import Compare, Equals, Everything, Phrase, Predicate, Regex, Token
from tests.logindex.otlp_requests import NOW_NS, record, request
from tests.logindex.rewritten_segments import Block, Granule, build, parse

EVER = (-(1 << 63) + 1, (1 << 63) - 1)
AROUND = (NOW_NS - 10**14, NOW_NS + 10**14)
LIMITS = (NOW_NS, *EVER, 1 << 20, 1 << 20, 500)


def whole(directory: Path) -> list[Granule]:
    """Granules with a column of every kind."""
    memtable = _native.LogMemtable(60)
    bodies = ["GET /a/{n} took {n} ms from 10.0.0.{n}", "x{n} failed", {"a": 1}, [1, 2], 7, None]
    records = [
        record(
            body.format(n=n) if isinstance(body := bodies[n % 6], str) else body,
            NOW_NS - n * 10**9,
            severity_number=n % 3 * 8,
            severity_text=["", "odd"][n % 2],
            service=["api", "web"][n % 2],
            trace_id=["", "0af7" * 8][n % 2],
            span_id=["", "8f" * 8][n % 2],
            attributes={"id": n, f"k{n}": [n, str(n), 1.5, [n], {"a": n}][n % 5]},
        )
        for n in range(140)
    ]
    memtable.append(_native.LogBatch.decode(request(records), LIMITS), 0)
    (path,) = memtable.write_segments(directory / "whole-")
    data = Path(path).read_bytes()
    granules = parse(data)
    assert [granule.numbers[0] for granule in granules] == [60, 60, 20]
    return granules


PREDICATES: list[Predicate] = [
    Everything(),
    Token(None, "failed"),
    Phrase(None, ("took", "7")),
    Regex(None, "to+k [0-9]+"),
    Equals("k7", "7"),
    Compare("id", ">", 5),
]


def searches(
    segment: _native.LogSegment, predicate: Predicate, output: Path
) -> list[Callable[[], object]]:
    """All that reads a segment."""
    wanted, sources = encode_predicate(predicate), [segment]
    miner = _native.PatternMiner(100)

    def no_check() -> None:
        """Goes on."""

    def scan() -> None:
        running = _native.log_scan(sources, wanted, EVER, True, None)
        while running.next(100, None, no_check)[-1] is not None:
            continue

    def histogram(by: list[str], weight: str) -> object:
        return _native.log_histogram(sources, wanted, AROUND, 10**12, by, weight, no_check)

    return [
        lambda: _native.log_page(sources, wanted, EVER, 50, True, (NOW_NS, 70), no_check),
        lambda: _native.log_entries(sources, wanted, EVER, 200, False, None, no_check),
        lambda: histogram(["service"], "records"),
        lambda: histogram(["body", "id", "level"], "bytes"),
        lambda: _native.log_values(sources, wanted, EVER, "body", 50, no_check),
        lambda: _native.log_values(sources, wanted, EVER, None, 50, no_check),
        lambda: _native.log_resources(sources, wanted, EVER, 10**12, True, no_check),
        lambda: _native.log_statistics(
            sources, wanted, AROUND, 10**12, "id", ["service"], [0.5], no_check
        ),
        lambda: _native.log_patterns(miner, sources, wanted, AROUND, 10**12, 3, no_check),
        lambda: _native.log_arrived(sources, wanted, -1, 1000, 50, no_check),
        lambda: _native.log_sightings(
            sources, wanted, (-1, 1000), ["service"], ["body"], 10**12, no_check
        ),
        scan,
        lambda: segment.count(wanted),
        lambda: _native.merge_log_segments([segment], output, 500, -(1 << 63), 3),
        lambda: _native.erase_log_records(segment, wanted, output, 3),
    ]


def read_all(granules: list[Granule], predicate: Predicate, directory: Path) -> int:
    """Try everything; returns how often it was damaged."""
    path = directory / "any.logs"
    path.write_bytes(build(granules))
    try:
        segment = _native.LogSegment.open(path)
    except _native.CorruptError:
        return 1
    damaged = 0
    for search in searches(segment, predicate, directory / "output.logs"):
        try:
            search()
        except (_native.CorruptError, OverflowError):
            damaged += 1
    return damaged


@pytest.fixture(scope="module")
def granules(tmp_path_factory: pytest.TempPathFactory) -> list[Granule]:
    return whole(tmp_path_factory.mktemp("whole"))


def test_what_is_put_together_again_is_whole(granules: list[Granule], tmp_path: Path) -> None:
    assert read_all(granules, Everything(), tmp_path) == 0


numbers = st.one_of(
    st.sampled_from([0, 1, 59, 61, 1 << 20, (1 << 24) + 1, (1 << 30) - 1, (1 << 64) - 1]),
    st.integers(0, (1 << 64) - 1),
)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_contents_are_read_or_damaged(
    granules: list[Granule], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = copy.deepcopy(granules)
    granule = data.draw(st.sampled_from(changed))
    blocks = granule.blocks
    index = data.draw(st.integers(0, len(blocks) - 1))
    match data.draw(st.sampled_from(["head", "cut", "insert", "bits", "kind", "size", "drop"])):
        case "head":
            granule.numbers[data.draw(st.integers(0, 4))] = data.draw(numbers)
        case "cut":
            blocks[index].data = blocks[index].data[: data.draw(st.integers(0, 40))]
        case "insert":
            at = data.draw(st.integers(0, 12))
            own, new = blocks[index].data, data.draw(st.binary(min_size=1, max_size=9))
            blocks[index].data = own[:at] + new + own[at + data.draw(st.integers(0, 9)) :]
        case "bits":
            flipped = bytearray(blocks[index].data)
            flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= data.draw(st.integers(1, 255))
            blocks[index].data = bytes(flipped)
        case "kind":
            kind = data.draw(st.integers(0, 12))
            blocks[index] = Block(kind, b"\x07\x02id" if kind == 11 else b"", blocks[index].data)
        case "size":
            blocks[index].size_bytes = data.draw(numbers)
        case "drop":
            del blocks[index]
    predicate = data.draw(st.sampled_from(PREDICATES))
    read_all(changed, predicate, tmp_path_factory.mktemp("any"))


def test_a_head_that_tells_other_times_is_damage(granules: list[Granule], tmp_path: Path) -> None:
    changed = copy.deepcopy(granules)
    minute = 60 * 10**9
    for number in (1, 2):  # Zigzag: twice the time.
        changed[0].numbers[number] -= 2 * 10 * minute
    assert read_all(changed, Everything(), tmp_path) > 0


@pytest.mark.parametrize("rows", [(1 << 24) + 1, 1 << 29, (1 << 64) - 1])
def test_a_head_cannot_claim_any_number_of_rows(
    granules: list[Granule], tmp_path: Path, rows: int
) -> None:
    changed = copy.deepcopy(granules)
    changed[0].numbers[0] = rows
    (tmp_path / "any.logs").write_bytes(build(changed))
    with pytest.raises(_native.CorruptError):
        _native.LogSegment.open(tmp_path / "any.logs")
