"""Deletion of whole traces: hidden at once, erased from every file, proven by reading the files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError, OverloadedError, StorageUnavailableError
from obsd.model.span import Span, SpanEvent, SpanKind
from obsd.model.span_predicate import CompareField, Field
from obsd.tracestore import engine as engine_module
from obsd.tracestore import filenames
from obsd.tracestore.engine import SpanEngine
from tests.logindex.stored_bytes import files_with
from tests.services.spans import NOW_MS, NOW_NS, make_span
from tests.tracestore.spans_written import ANY, EVER, open_engine, traces_of, write

SECRET = "alice7f3secret"
BY_USER = CompareField(Field("span", "user"), "=", SECRET)

Open = Callable[[], SpanEngine]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "traces"


@pytest.fixture
def reopen(directory: Path) -> Iterator[Open]:
    engines: list[SpanEngine] = []

    def open_one() -> SpanEngine:
        engines.append(open_engine(directory))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


def visit(trace: int) -> list[Span]:
    """Every third one is the secret user's, which stands in many places of it."""
    user = SECRET if trace % 3 == 0 else f"bob{trace}"
    at_ns = NOW_NS - trace * 1000
    root = make_span(trace, 1, start_ns=at_ns, end_ns=at_ns + 500, attributes={"user": user})
    below = make_span(
        trace,
        2,
        service=f"for-{user}",
        name=f"read {user}",
        parent_id=root.span_id,
        kind=SpanKind.CLIENT,
        start_ns=at_ns + 10,
        end_ns=at_ns + 20,
        events=(SpanEvent(at_ns + 11, "query", {"text": f"of {user}"}),),
        status_message=f"{user} is gone",
    )
    return [root, below]


def visits(numbers: range) -> list[Span]:
    return [span for number in numbers for span in visit(number)]


@pytest.mark.parametrize("before", ["nothing", "flush", "settle"])
def test_what_is_deleted_is_hidden_at_once_and_erased_from_every_file(
    reopen: Open, directory: Path, before: str
) -> None:
    engine = reopen()
    write(engine, visits(range(1, 31)))
    if before != "nothing":
        getattr(engine, before)()
    write(engine, visits(range(31, 61)))
    assert files_with(directory, SECRET)
    assert engine.count_deletable(BY_USER, *EVER, QueryBudget()) == 40
    assert engine.delete(BY_USER, *EVER, QueryBudget()).matched == 40
    kept = {f"{n:032x}" for n in range(1, 61) if n % 3}
    for done in (False, True):
        assert {trace.trace_id for trace in traces_of(engine)} == kept
        assert engine.trace(f"{3:032x}", QueryBudget()) == []
        assert engine.otlp(f"{3:032x}", QueryBudget()) is None
        assert f"for-{SECRET}" not in engine.services(*EVER, QueryBudget())
        assert "for-bob1" in engine.services(*EVER, QueryBudget())
        assert engine.operations(f"for-{SECRET}", *EVER, QueryBudget()) == []
        bobs = engine.operations("for-bob1", *EVER, QueryBudget())
        assert bobs == [("read bob1", SpanKind.CLIENT)]
        values = engine.field_values(Field("span", "user"), ANY, *EVER, 100, QueryBudget())
        assert SECRET not in dict(values)
        assert len(engine.spans(ANY, *EVER, 1000, QueryBudget())) == 80
        scanned = engine.scan(ANY, [], *EVER, QueryBudget())
        assert sum(len(turn.start_ns) for turn in scanned) == 80
        (deletion,) = engine.deletions()
        assert (deletion.done_ms is not None) == done
        if not done:
            assert engine.erase()
    assert files_with(directory, SECRET) == []
    assert not engine.erase()
    engine.close()
    engine = reopen()
    assert {trace.trace_id for trace in traces_of(engine)} == kept
    assert engine.deletions() == [deletion]
    assert deletion.files >= 1


def test_a_deletion_survives_a_crash_before_its_erasure(
    reopen: Open, directory: Path, tmp_path: Path
) -> None:
    engine = reopen()
    write(engine, visits(range(1, 13)))
    engine.flush()
    write(engine, visits(range(13, 25)))
    engine.delete(BY_USER, *EVER, QueryBudget())
    shutil.copytree(directory, tmp_path / "crashed")
    after = open_engine(tmp_path / "crashed")
    try:
        assert len(traces_of(after)) == 16
        assert after.erase()
        assert files_with(tmp_path / "crashed", SECRET) == []
        assert len(traces_of(after)) == 16
    finally:
        after.close()


def test_what_comes_of_a_trace_after_its_erasure_is_new(reopen: Open) -> None:
    engine = reopen()
    root, below = visit(3)
    write(engine, [root])
    engine.delete(BY_USER, *EVER, QueryBudget())
    write(engine, [below])
    assert engine.trace(root.trace_id, QueryBudget()) == []  # Deleted with what it belongs to.
    engine.erase()
    assert engine.trace(root.trace_id, QueryBudget()) == []
    write(engine, [below])
    assert engine.trace(root.trace_id, QueryBudget()) == [below]
    engine.settle()
    assert engine.trace(root.trace_id, QueryBudget()) == [below]


def test_times_are_those_of_the_spans_that_match(reopen: Open) -> None:
    engine = reopen()
    write(engine, visits(range(1, 11)))
    # Their second spans start there; their roots do not.
    deletion = engine.delete(ANY, NOW_NS - 5000 + 5, NOW_NS - 3000 + 5, QueryBudget())
    assert deletion.matched == 6
    left = {int(trace.trace_id, 16) for trace in traces_of(engine)}
    assert left == set(range(1, 11)) - {5, 4, 3}


def test_too_many_are_refused_and_none_is_deleted(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = reopen()
    write(engine, visits(range(1, 11)))
    monkeypatch.setattr(engine_module, "MAX_TRACES", 5)
    with pytest.raises(BadInputError, match="several steps"):
        engine.delete(ANY, *EVER, QueryBudget())
    engine.delete(BY_USER, *EVER, QueryBudget())
    with pytest.raises(OverloadedError):
        engine.delete(
            CompareField(Field("intrinsic", "start"), ">", NOW_NS - 4500), *EVER, QueryBudget()
        )
    assert len(traces_of(engine)) == 7


def test_a_disk_that_refuses_deletes_nothing(reopen: Open, directory: Path) -> None:
    engine = reopen()
    write(engine, visits(range(1, 4)))
    blocked = directory / (filenames.DELETIONS + ".tmp")
    blocked.mkdir()
    with pytest.raises(StorageUnavailableError):
        engine.delete(BY_USER, *EVER, QueryBudget())
    assert len(traces_of(engine)) == 3
    blocked.rmdir()
    engine.delete(BY_USER, *EVER, QueryBudget())
    assert len(traces_of(engine)) == 2


def test_damaged_segments_that_may_have_it_leave_the_quarantine(
    reopen: Open, directory: Path
) -> None:
    engine = reopen()
    write(engine, visits(range(1, 40)))
    engine.close()
    (path,) = (directory / filenames.SEGMENTS_DIRECTORY).glob("*.spans")
    quarantine = directory / filenames.QUARANTINE_DIRECTORY
    quarantine.mkdir(exist_ok=True)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (quarantine / path.name).write_bytes(bytes(damaged))
    (quarantine / "1-0000000001.wal").write_bytes(b"of the log")
    engine = reopen()
    assert engine.delete(BY_USER, *EVER, QueryBudget()).created_ms == NOW_MS
    engine.erase()
    assert list(quarantine.iterdir()) == []
