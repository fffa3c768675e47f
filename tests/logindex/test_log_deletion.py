"""Deletion by query: hidden at once, erased from every file, proven by reading the files."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obsd.logindex import filenames
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.deletion import Deletion
from obsd.model.errors import BadInputError, OverloadedError, StorageUnavailableError
from obsd.model.log_predicate import Equals, Everything, Or, Predicate, Regex, Substring, Token
from obsd.model.log_record import LogRecord
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, write
from tests.logindex.stored_bytes import files_with

DAY_MS = 86_400_000
DAY_NS = DAY_MS * 1_000_000
EVER = (-(1 << 62), 1 << 62)
ANY = Everything()
SECRET = "alice7f3secret"

Open = Callable[[], LogEngine]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def open_engine(directory: Path) -> Iterator[Open]:
    engines: list[LogEngine] = []

    def open_one() -> LogEngine:
        options = LogOptions(retention_ms=None, granule_rows=8, merge_run=3)
        engines.append(LogEngine.open(directory, options, ManualClock(NOW_MS)))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


def bodies(engine: LogEngine, predicate: Predicate = ANY) -> list[object]:
    page = engine.search(predicate, *EVER, 10_000, None, QueryBudget())
    assert page.total == len(page.records)
    return [each.body for each in page.records]


def delete(
    engine: LogEngine, predicate: Predicate, start: int = EVER[0], end: int = EVER[1]
) -> Deletion:
    return engine.delete(predicate, start, end, QueryBudget())


def lines(count: int, secret: str = SECRET) -> list[LogRecord]:
    """Every third one has the secret, each in another place."""
    places = [
        lambda n: record(f"line {n} of {secret} ends", NOW_NS - n),
        lambda n: record(f"line {n}", NOW_NS - n, attributes={"user": secret}),
        lambda n: record(f"line {n}", NOW_NS - n, resource={"owner": f"{secret}"}),
        lambda n: record({"who": [secret]}, NOW_NS - n),
    ]
    return [
        places[n // 3 % 4](n) if n % 3 == 0 else record(f"line {n} of bob", NOW_NS - n)
        for n in range(count)
    ]


def all_of_it(engine: LogEngine) -> int:
    where = Or((Token(None, SECRET), Equals("owner", SECRET), Token("body", SECRET)))
    return delete(engine, where).matched


@pytest.mark.parametrize("before", ["nothing", "flush", "settle"])
def test_what_is_deleted_is_hidden_at_once_and_erased_from_every_file(
    open_engine: Open, directory: Path, before: str
) -> None:
    engine = open_engine()
    sent = lines(60)
    write(engine, sent[:30])
    if before != "nothing":
        getattr(engine, before)()
    write(engine, sent[30:])
    assert files_with(directory, SECRET)
    assert all_of_it(engine) == 20
    kept = [each.body for each in sent if "bob" in str(each.body)]
    assert bodies(engine) == kept
    assert engine.count_over_time(ANY, *EVER, 1 << 62, (), QueryBudget())[0][1].sum() == 40
    resources = engine.resources(ANY, *EVER, 1 << 62, QueryBudget())
    assert [each.resource for each in resources] == [{}]
    assert not engine.field_values(ANY, "user", *EVER, 10, QueryBudget()).counts
    assert not engine.field_names(ANY, *EVER, 10, QueryBudget()).counts
    arrived, _ = engine.arrived(-1, 1000, ANY, QueryBudget())
    assert len(arrived) == 40
    (pending,) = engine.deletions()
    assert (pending.done_ms, pending.matched) == (None, 20)
    assert engine.erase()
    assert files_with(directory, SECRET) == []
    (done,) = engine.deletions()
    assert done.done_ms == NOW_MS
    assert done.files >= 1
    assert not engine.erase()
    assert bodies(engine) == kept
    engine.close()
    assert files_with(directory, SECRET) == []
    engine = open_engine()
    assert bodies(engine) == kept
    assert engine.deletions() == [done]


def test_what_comes_later_is_not_deleted(open_engine: Open, directory: Path) -> None:
    engine = open_engine()
    write(engine, [record(f"{SECRET} before")])
    delete(engine, Token(None, SECRET))
    write(engine, [record(f"{SECRET} after")])
    assert bodies(engine) == [f"{SECRET} after"]
    engine.erase()
    write(engine, [record(f"{SECRET} later")])
    assert sorted(map(str, bodies(engine))) == [f"{SECRET} after", f"{SECRET} later"]
    engine.settle()
    assert len(bodies(engine)) == 2
    assert delete(engine, Token(None, SECRET)).matched == 2
    engine.settle()
    assert bodies(engine) == []
    assert files_with(directory, SECRET) == []


def test_times_are_bounds(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, [record(f"r{n}", NOW_NS + n) for n in range(10)])
    assert delete(engine, ANY, NOW_NS + 3, NOW_NS + 7).matched == 4
    engine.erase()
    assert sorted(map(str, bodies(engine))) == ["r0", "r1", "r2", "r7", "r8", "r9"]


def test_a_count_deletes_nothing_and_counts_what_is_visible(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, lines(12))
    count = engine.count_deletable(Token(None, "bob"), *EVER, QueryBudget())
    assert count == 8
    assert len(bodies(engine)) == 12
    delete(engine, Token(None, "bob"))
    assert engine.count_deletable(Token(None, "bob"), *EVER, QueryBudget()) == 0
    assert engine.deletions()[0].matched == 8


def test_a_bad_pattern_deletes_nothing(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, lines(12))
    with pytest.raises(BadInputError):
        delete(engine, Regex("body", "("))
    assert engine.deletions() == []
    assert len(bodies(engine)) == 12


def test_a_restart_before_the_erasure_hides_and_then_erases(
    open_engine: Open, directory: Path, tmp_path: Path
) -> None:
    engine = open_engine()
    write(engine, lines(60)[:30])
    engine.flush()
    write(engine, lines(60)[30:])
    matched = all_of_it(engine)
    # What a crash at this moment leaves is what is on disk now.
    shutil.copytree(directory, tmp_path / "crashed")
    crashed = LogEngine.open(
        tmp_path / "crashed", LogOptions(retention_ms=None, granule_rows=8), ManualClock(NOW_MS)
    )
    assert len(bodies(crashed)) == 60 - matched
    assert crashed.compact()  # Background work goes on with it.
    assert files_with(tmp_path / "crashed", SECRET) == []
    assert len(bodies(crashed)) == 60 - matched
    crashed.close()


def test_numbers_that_a_deletion_reaches_are_not_given_again(
    open_engine: Open, directory: Path, tmp_path: Path
) -> None:
    engine = open_engine()
    write(engine, [record(SECRET), record(SECRET)])
    delete(engine, Token(None, SECRET))
    (directory / filenames.DELETIONS).rename(tmp_path / "kept")
    engine.close()
    # The records were never durable, the deletion was.
    for name in (filenames.WAL_DIRECTORY, filenames.SEGMENTS_DIRECTORY):
        for path in (directory / name).iterdir():
            path.unlink()
    (tmp_path / "kept").rename(directory / filenames.DELETIONS)
    engine = open_engine()
    write(engine, [record(f"{SECRET} anew")])
    assert bodies(engine) == [f"{SECRET} anew"]


def test_the_quarantine_is_erased_from(open_engine: Open, directory: Path) -> None:
    engine = open_engine()
    write(engine, lines(16))
    write(engine, [record(f"other {n}", NOW_NS - 3 * DAY_NS) for n in range(16)])
    engine.close()
    secret, other = sorted((directory / "segments").glob("*.logs"), key=lambda p: p.name)[::-1]
    quarantine = directory / "quarantine"
    quarantine.mkdir()
    (quarantine / "0000000000000009-0000000000000009-0-1.logs").write_bytes(secret.read_bytes())
    (quarantine / "0000000000000008-0000000000000008-0-1.logs").write_bytes(other.read_bytes())
    (quarantine / "0000000000000007-0000000000000007-0-1.logs").write_bytes(
        secret.read_bytes()[:-9]
    )
    (quarantine / "1-0000000001.wal").write_bytes(b"OBSDLOG1 whatever")
    engine = open_engine()
    all_of_it(engine)
    engine.erase()
    assert files_with(directory, SECRET) == []
    left = [path.name for path in quarantine.iterdir()]
    assert left == ["0000000000000008-0000000000000008-0-1.logs"]
    assert len(bodies(engine)) == 26


def test_a_disk_that_refuses_keeps_the_deletion_hidden_and_pending(
    open_engine: Open, directory: Path
) -> None:
    engine = open_engine()
    write(engine, lines(30))
    engine.flush()
    matched = all_of_it(engine)
    segments = directory / "segments"
    # In the way of the file that is to be written.
    (name,) = [path.name for path in segments.glob("*.logs")]
    blocker = segments / name.replace("-0-", "-1-").replace(".logs", ".tmp")
    blocker.mkdir()
    with pytest.raises(StorageUnavailableError):
        engine.erase()
    (pending,) = engine.deletions()
    assert pending.done_ms is None
    assert pending.failure
    assert len(bodies(engine)) == 30 - matched
    blocker.rmdir()
    assert engine.erase()
    assert files_with(directory, SECRET) == []
    assert engine.deletions()[0].failure == ""


def test_there_is_a_limit(open_engine: Open) -> None:
    engine = open_engine()
    for n in range(100):
        delete(engine, Token(None, f"t{n}"))
    with pytest.raises(OverloadedError):
        delete(engine, Token(None, "more"))
    engine.erase()
    delete(engine, Token(None, "more"))


def test_a_damaged_list_is_set_aside(
    open_engine: Open, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine()
    write(engine, lines(3))
    engine.close()
    (directory / filenames.DELETIONS).write_bytes(b"{")
    engine = open_engine()
    assert "damaged list of deletions" in caplog.text
    assert engine.deletions() == []
    assert (directory / "quarantine" / filenames.DELETIONS).exists()


def test_writes_flushes_and_merges_go_on_meanwhile(open_engine: Open, directory: Path) -> None:
    engine = open_engine()
    stop = threading.Event()
    failures: list[BaseException] = []

    def maintain() -> None:
        try:
            while not stop.is_set():
                engine.flush()
                engine.compact()
        except BaseException as error:
            failures.append(error)
            raise

    maintenance = threading.Thread(target=maintain)
    maintenance.start()
    kept = deleted = 0
    try:
        for round_ in range(12):
            secret = f"{SECRET}{round_}"
            write(engine, [record(f"{secret} {n}", NOW_NS - n * DAY_NS // 4) for n in range(9)])
            write(engine, [record(f"keep {round_} {n}") for n in range(5)])
            kept += 5
            found = delete(engine, Substring("body", SECRET))
            deleted += found.matched
            assert len(bodies(engine)) == kept
    finally:
        stop.set()
        maintenance.join()
    assert not failures
    assert deleted == 12 * 9
    engine.erase()
    assert all(each.done_ms for each in engine.deletions())
    assert len(bodies(engine)) == kept
    assert files_with(directory, SECRET) == []


steps = st.one_of(
    st.tuples(st.just("write"), st.lists(st.integers(0, 5), min_size=1, max_size=9)),
    st.tuples(st.just("delete"), st.integers(0, 5)),
    st.tuples(st.sampled_from(["flush", "compact", "settle", "erase", "restart"]), st.none()),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(script=st.lists(steps, max_size=14))
def test_against_a_list(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, Any]]
) -> None:
    directory = tmp_path_factory.mktemp("deleted")
    options = LogOptions(retention_ms=None, granule_rows=4, merge_run=2)
    engine = LogEngine.open(directory, options, ManualClock(NOW_MS))
    stored: list[str] = []
    count = 0
    for action, what in script:
        if action == "write":
            sent = [f"word{kind}x {(count + n) * 7}" for n, kind in enumerate(what)]
            write(engine, [record(body, NOW_NS - len(body) % 3 * DAY_NS) for body in sent])
            stored += sent
            count += len(sent)
        elif action == "delete":
            gone = f"word{what}x"
            found = delete(engine, Token(None, gone))
            assert found.matched == sum(each.startswith(gone) for each in stored)
            stored = [each for each in stored if not each.startswith(gone)]
        elif action == "restart":
            engine.close()
            engine = LogEngine.open(directory, options, ManualClock(NOW_MS))
        else:
            getattr(engine, action)()
        arrived, last = engine.arrived(-1, 1000, ANY, QueryBudget())
        assert [each.body for each in arrived] == stored
        assert last == engine.last_row()
        assert sorted(map(str, bodies(engine))) == sorted(stored)
    engine.erase()
    for kind in range(6):
        held = any(each.startswith(f"word{kind}x") for each in stored)
        assert bool(files_with(directory, f"word{kind}x")) == held
    engine.close()
