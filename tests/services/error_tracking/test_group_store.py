from collections.abc import Iterator
from pathlib import Path

import pytest

from obsd.model.log_record import LogRecord
from obsd.model.log_sighting import LogSighting
from obsd.services.error_tracking import group_store
from obsd.services.error_tracking.fingerprint import ErrorKeys
from obsd.services.error_tracking.group_store import ErrorGroups, GroupQuery
from obsd.services.error_tracking.groups import HOUR_NS, MAX_TRACES, ErrorState, Sightings
from obsd.services.metadata_store import FILE, MetadataStore
from tests.services.error_tracking.errors import NOW_NS, error_record

SECOND_NS = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetadataStore]:
    store = MetadataStore(tmp_path)
    yield store
    store.close()


@pytest.fixture
def groups(store: MetadataStore) -> ErrorGroups:
    return ErrorGroups(store)


def record(
    groups: ErrorGroups, records: list[LogRecord], row: int = 0, project: str = "p"
) -> list[str]:
    keys, seen = ErrorKeys(), {}
    for each in records:
        key = keys.of(each)
        seen.setdefault(key.fingerprint, Sightings(key)).add(one(each))
    return groups.record(project, seen.values(), row, NOW_NS)


def one(record: LogRecord) -> LogSighting:
    time_ns = record.time_ns
    return LogSighting([], time_ns // HOUR_NS * HOUR_NS, 1, time_ns, time_ns, record)


def only(groups: ErrorGroups) -> group_store.ErrorGroup:
    found, total = groups.search("p", GroupQuery())
    assert total == 1
    return found[0]


def test_nothing_is_opened_to_find_nothing(groups: ErrorGroups, tmp_path: Path) -> None:
    assert groups.search("p", GroupQuery()) == ([], 0)
    assert groups.get("p", "x") is None
    assert groups.progress("p") == -1
    assert groups.set_state("p", ["x"], ErrorState.RESOLVED, 0) == 0
    assert list(tmp_path.iterdir()) == []


def test_records_add_up(groups: ErrorGroups) -> None:
    new = record(
        groups,
        [
            error_record("boom 1", time_ns=NOW_NS, version="1.0", trace_id="a" * 32),
            error_record("boom 2", time_ns=NOW_NS + HOUR_NS, service="web", severity_number=21),
        ],
        row=5,
    )
    assert record(groups, [error_record("boom 3", time_ns=NOW_NS - 1, version="1.1")], row=9) == []
    group = only(groups)
    assert new == [group.id]
    assert (group.template, group.count, group.level) == ("boom <_>", 3, "fatal")
    assert (group.first_ns, group.last_ns, group.sample_ns) == (
        NOW_NS - 1,
        NOW_NS + HOUR_NS,
        NOW_NS + HOUR_NS,
    )
    assert group.services == {"api": 2, "web": 1}
    assert group.versions == {"1.0": 1, "1.1": 1}
    assert [trace.trace_id for trace in group.traces] == ["a" * 32]
    hour_ns = NOW_NS // HOUR_NS * HOUR_NS
    assert groups.get("p", group.id).hours == {
        **({hour_ns - HOUR_NS: 1, hour_ns: 1} if hour_ns == NOW_NS else {hour_ns: 2}),
        hour_ns + HOUR_NS: 1,
    }
    assert groups.progress("p") == 9


def test_projects_are_apart(groups: ErrorGroups) -> None:
    record(groups, [error_record("boom")], row=3, project="p")
    record(groups, [error_record("boom")], row=8, project="q")
    assert (groups.progress("p"), groups.progress("q")) == (3, 8)
    assert only(groups).count == 1
    assert groups.set_state("p", [only(groups).id], ErrorState.IGNORED, NOW_NS) == 1
    assert groups.search("q", GroupQuery(state=ErrorState.IGNORED)) == ([], 0)


def test_a_resolved_error_that_comes_back_is_open_again(groups: ErrorGroups) -> None:
    record(groups, [error_record("boom")])
    group = only(groups)
    groups.set_state("p", [group.id], ErrorState.RESOLVED, NOW_NS + SECOND_NS)
    late = error_record("boom", time_ns=NOW_NS + SECOND_NS)
    assert record(groups, [late]) == []
    assert only(groups).state is ErrorState.RESOLVED
    assert record(groups, [error_record("boom", time_ns=NOW_NS + SECOND_NS + 1)]) == [group.id]
    group = only(groups)
    assert (group.state, group.regressed, group.regressions) == (ErrorState.OPEN, True, 1)
    groups.set_state("p", [group.id], ErrorState.OPEN, NOW_NS)
    assert (only(groups).regressed, only(groups).regressions) == (False, 1)


def test_an_ignored_error_stays_so(groups: ErrorGroups) -> None:
    record(groups, [error_record("boom")])
    groups.set_state("p", [only(groups).id], ErrorState.IGNORED, NOW_NS)
    assert record(groups, [error_record("boom", time_ns=NOW_NS + HOUR_NS)]) == []
    assert (only(groups).state, only(groups).count) == (ErrorState.IGNORED, 2)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (GroupQuery(), ["c", "b", "a"]),
        (GroupQuery(sort="first_seen"), ["c", "b", "a"]),
        (GroupQuery(sort="count"), ["a", "c", "b"]),
        (GroupQuery(sort="services"), ["b", "c", "a"]),
        (GroupQuery(limit=1), ["c"]),
        (GroupQuery(limit=1, offset=2), ["a"]),
        (GroupQuery(text="B F"), ["b"]),
        (GroupQuery(text="%"), []),
        (GroupQuery(service="api"), ["c", "b", "a"]),
        (GroupQuery(service='we"b.x'), ["b"]),
        (GroupQuery(start_ns=NOW_NS + 2), ["c", "b"]),
        (GroupQuery(end_ns=NOW_NS + 2), ["a"]),
        (GroupQuery(state=ErrorState.RESOLVED), ["c"]),
    ],
)
def test_groups_are_found(groups: ErrorGroups, query: GroupQuery, found: list[str]) -> None:
    record(
        groups,
        [
            *(error_record("a fails", time_ns=NOW_NS + 1) for _ in range(5)),
            error_record("b fails", time_ns=NOW_NS + 2),
            error_record("b fails", time_ns=NOW_NS + 2, service='we"b.x'),
            *(error_record("c fails", time_ns=NOW_NS + 3) for _ in range(3)),
        ],
    )
    resolved = groups.search("p", GroupQuery(text="c fails"))[0][0]
    groups.set_state("p", [resolved.id], ErrorState.RESOLVED, NOW_NS + 9)
    page, total = groups.search("p", query)
    assert [group.template[0] for group in page] == found
    assert total >= len(found)


def test_groups_are_bounded(groups: ErrorGroups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_store, "MAX_GROUPS", 3)
    kinds = ["one", "two", "three", "four", "five"]
    record(groups, [error_record(kind, time_ns=NOW_NS + i) for i, kind in enumerate(kinds)])
    page, total = groups.search("p", GroupQuery())
    assert ([group.template for group in page], total) == (["five", "four", "three"], 3)


def test_old_groups_and_hours_go(groups: ErrorGroups) -> None:
    record(groups, [error_record("old"), error_record("new", time_ns=NOW_NS + HOUR_NS)])
    groups.prune(NOW_NS + group_store.KEPT_NS + 1)
    assert only(groups).template == "new"
    assert only(groups).hours == {}


def test_traces_are_the_newest(groups: ErrorGroups) -> None:
    record(
        groups,
        [error_record("boom", time_ns=NOW_NS + i, trace_id=f"{i:032x}") for i in range(50)],
    )
    traces = only(groups).traces
    assert [int(trace.trace_id, 16) for trace in traces] == list(range(49, 49 - MAX_TRACES, -1))


def test_forgotten_words_are_in_no_file(groups: ErrorGroups, tmp_path: Path) -> None:
    record(groups, [error_record("payment of janedoe failed")])
    groups.forget_words("p", [only(groups).id])
    assert only(groups).template == ""
    for path in tmp_path.glob(FILE + "*"):
        assert b"janedoe" not in path.read_bytes()
