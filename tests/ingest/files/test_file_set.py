"""Files that grow, are rotated, truncated, copied and compressed, as they are on real machines."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from obsd._native import LineJoiner
from obsd.ingest.files import followed, follower
from obsd.ingest.files.checkpoint import FILE, HEAD_BYTES, Checkpoint
from obsd.ingest.files.follower import FileSet
from obsd.ingest.files.paths import parse_spec
from obsd.services.log_encoding import request

FIRST = "".join(f"line {number:04} of the first file\n" for number in range(60))


RUNNING: list[Following] = []


@pytest.fixture(autouse=True)
def _end_what_runs() -> Iterator[None]:
    yield
    while RUNNING:
        RUNNING.pop().end()


class Following:
    """Follows a directory as the receiver does, with time moved by hand."""

    def __init__(self, directory: Path, pattern: str = "*.log*", *, from_end: bool = False) -> None:
        self.directory = directory / "logs"
        self.directory.mkdir(exist_ok=True)
        self.now_s = 1_800_000_000.0
        self._checkpoint = directory / FILE
        self.files: FileSet | None = None
        RUNNING.append(self)
        self._spec = parse_spec(f"{self.directory}/{pattern}")
        self.start(from_end=from_end)

    def end(self) -> None:
        """As a crash does: nothing is noted."""
        for entry in self.files._entries.values() if self.files else ():
            if entry.file is not None:
                entry.file.close()

    def start(self, *, from_end: bool = False) -> None:
        self.end()
        self.files = FileSet(
            [self._spec],
            [],
            Checkpoint.open(self._checkpoint),
            LineJoiner,
            from_end=from_end,
            clock=lambda: self.now_s,
        )

    def path(self, name: str) -> Path:
        return self.directory / name

    def append(self, name: str, text: str) -> None:
        with self.path(name).open("a") as file:
            file.write(text)

    def take(self, *, seconds: float = 2.0) -> list[str]:
        """What is stored after some time has gone by."""
        taken = self.read()
        for _ in range(2):  # A file may be found by the first, whose last line waits till the next.
            self.now_s += seconds
            taken += self.read()
        return taken

    def read(self) -> list[str]:
        taken = []
        while True:
            self.files.discover()
            batch = self.files.read()
            if not batch.ends:
                return taken
            taken += bodies(request(batch.groups))
            self.files.stored(batch)

    def restart(self) -> None:
        self.files.close()
        self.start()


def bodies(body: bytes) -> list[str]:
    decoded = ExportLogsServiceRequest.FromString(body)
    return [
        record.body.string_value
        for group in decoded.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]


def lines(text: str) -> list[str]:
    return text.splitlines()


@pytest.fixture
def following(tmp_path: Path) -> Following:
    return Following(tmp_path)


def test_lines_are_taken_as_they_come(following: Following) -> None:
    following.append("a.log", "one\ntwo\nthr")
    assert following.take() == ["one", "two"]
    assert following.take() == []
    following.append("a.log", "ee\n\n  \nfour\r\n")
    assert following.take() == ["three", "four"]


def test_a_restart_goes_on_where_the_last_run_ended(following: Following) -> None:
    following.append("a.log", FIRST + "half")
    assert following.take() == lines(FIRST)
    following.restart()
    assert following.take() == []
    following.append("a.log", " of it\nmore\n")
    assert following.take() == ["half of it", "more"]


def test_what_was_not_stored_is_read_again_after_a_crash(following: Following) -> None:
    following.append("a.log", "one\ntwo\n")
    following.files.discover()
    assert following.files.read().records == 1  # The last line waits for more.
    following.append("a.log", "three\n")
    assert following.files.read().records == 1
    following.start()
    assert following.take() == ["one", "two", "three"]


def test_what_could_not_be_encoded_is_read_again(following: Following) -> None:
    following.append("a.log", "one\ntwo\nthree\n")
    following.files.discover()
    assert following.files.read().records == 2
    following.files.rewind()
    assert following.take() == ["one", "two", "three"]


def test_a_renamed_file_is_read_to_its_end(following: Following) -> None:
    following.append("a.log", FIRST)
    assert following.take() == lines(FIRST)
    following.append("a.log", "last words\n")
    following.path("a.log").rename(following.path("a.log.1"))
    following.append("a.log", "new file\n")
    assert sorted(following.take()) == ["last words", "new file"]
    following.append("a.log.1", "very last words\n")
    assert following.take() == ["very last words"]


def test_a_file_that_is_moved_out_of_sight_is_read_to_its_end(tmp_path: Path) -> None:
    following = Following(tmp_path, "*.log")
    following.append("a.log", "one\n")
    assert following.take() == ["one"]
    following.append("a.log", "two\nno line feed")
    following.path("a.log").rename(following.path("a.old"))
    assert following.take(seconds=0.6) == ["two"]
    following.append("a.old", "\nlate")
    assert following.take(seconds=0.6) == ["no line feed"]
    assert following.take(seconds=follower.ROTATED_S + 1) == ["late"]
    assert following.take() == []
    assert following.files.open_files == 0


def test_a_deleted_file_is_read_to_its_end(following: Following) -> None:
    following.append("a.log", "one\n")
    assert following.take() == ["one"]
    following.append("a.log", "two\n")
    following.path("a.log").unlink()
    assert following.take() == ["two"]


def test_a_rename_while_obsd_is_down_is_noticed(following: Following) -> None:
    following.append("a.log", FIRST)
    assert following.take() == lines(FIRST)
    following.files.close()
    following.append("a.log", "before\n")
    following.path("a.log").rename(following.path("a.log.1"))
    following.append("a.log", "after\n")
    following.start()
    assert sorted(following.take()) == ["after", "before"]


def test_a_truncated_file_is_read_from_its_beginning(following: Following) -> None:
    following.append("a.log", FIRST)
    assert following.take() == lines(FIRST)
    following.path("a.log").write_text("fresh\n")
    assert following.take() == ["fresh"]


def test_a_rewritten_file_that_is_longer_is_read_from_its_beginning(following: Following) -> None:
    following.append("a.log", "old\n")
    assert following.take() == ["old"]
    following.path("a.log").write_text("brand new\nand longer\n")
    assert following.take() == ["brand new", "and longer"]


def test_a_truncation_while_obsd_is_down_is_noticed(following: Following) -> None:
    following.append("a.log", FIRST)
    assert following.take() == lines(FIRST)
    following.files.close()
    following.path("a.log").write_text("fresh\n")
    following.start()
    assert following.take() == ["fresh"]


def test_copytruncate_takes_each_line_once(following: Following) -> None:
    following.append("a.log", FIRST)
    assert following.take() == lines(FIRST)
    shutil.copy(following.path("a.log"), following.path("a.log.1"))
    following.path("a.log").write_text("")
    following.append("a.log", "fresh\n")
    assert following.take() == ["fresh"]
    following.append("a.log", FIRST.replace("first", "second"))
    assert following.take() == lines(FIRST.replace("first", "second"))


def test_copytruncate_of_a_file_that_is_busy_takes_each_line_once(following: Following) -> None:
    following.append("a.log", FIRST)
    taken = following.take()
    for burst in range(4):  # Of the last of these, the places are not on disk yet.
        following.append("a.log", "".join(f"line {number} of {burst}\n" for number in range(9)))
        following.now_s += 0.3
        taken += following.read()
    shutil.copy(following.path("a.log"), following.path("a.log.1"))
    written = lines(following.path("a.log.1").read_text())
    following.path("a.log").write_text("")
    following.append("a.log", "fresh\n")
    taken += following.read()
    taken += following.take()
    assert sorted(taken) == sorted([*written, "fresh"])


def test_a_place_is_one_of_the_content_that_it_was_read_from(following: Following) -> None:
    following.append("a.log", FIRST)
    following.files.discover()
    batch = following.files.read()
    following.path("a.log").write_text("")
    following.append("a.log", "fresh\n" * 2)
    following.files.read()  # Before the lines of the old content are stored.
    following.files.stored(batch)
    following.append("a.log", FIRST.replace("first", "second"))
    following.start()  # As after a crash.
    assert following.take() == ["fresh", "fresh", *lines(FIRST.replace("first", "second"))]


def test_more_files_than_can_be_open_are_read_in_turn(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "MAX_OPEN", 3)
    names = [f"{number}.log" for number in range(10)]
    for turn in range(3):
        written = [f"line {turn} of {name}" for name in names]
        for name, line in zip(names, written, strict=True):
            following.append(name, f"{line}\n")
        taken = following.take()
        for _ in range(8):
            if len(taken) < len(written):
                taken += following.take()
            assert following.files.open_files <= 3
        assert sorted(taken) == sorted(written)
    for name in names:
        following.path(name).unlink()
    following.now_s += follower.ROTATED_S
    following.take(seconds=2 * follower.ROTATED_S)
    assert following.files.open_files == 0


def test_compressing_a_rotated_file_repeats_nothing(following: Following) -> None:
    following.append("a.log", FIRST)
    assert following.take() == lines(FIRST)
    following.append("a.log", "unseen\n")
    with gzip.open(following.path("a.log.1.gz"), "wb") as file:
        file.write(following.path("a.log").read_bytes())
    following.path("a.log").unlink()
    following.append("a.log", "new\n")
    taken = following.take()
    assert sorted(taken) in (["new", "unseen"], ["new", "unseen", "unseen"])
    assert following.take() == []


def test_compressed_files_are_read_once(following: Following) -> None:
    with gzip.open(following.path("old.log.gz"), "wb") as file:
        file.write(FIRST.encode())
    with gzip.open(following.path("old.log.gz"), "ab") as file:
        file.write(b"a second member\nno line feed")
    expected = [*lines(FIRST), "a second member", "no line feed"]
    assert following.take() == expected
    assert following.take() == []
    following.restart()
    assert following.take() == []


def test_a_file_that_is_still_being_compressed_is_read_when_it_is_whole(
    following: Following,
) -> None:
    whole = gzip.compress(FIRST.encode() * 50)
    path = following.path("old.log.gz")
    path.write_bytes(whole[: len(whole) // 2])
    begun = following.take()
    path.write_bytes(whole)
    assert begun + following.take() == lines(FIRST) * 50


def test_what_is_no_gzip_is_left_alone(following: Following) -> None:
    following.path("bad.log.gz").write_bytes(b"plain text")
    following.append("a.log", "good\n")
    assert following.take() == ["good"]


def test_from_the_end_only_news_are_taken(tmp_path: Path) -> None:
    following = Following(tmp_path)
    following.append("a.log", FIRST)
    following.path("b.log.gz").write_bytes(gzip.compress(FIRST.encode()))
    following.start(from_end=True)
    assert following.take() == []
    following.append("a.log", "news\n")
    following.append("c.log", "a new file\n")
    assert sorted(following.take()) == ["a new file", "news"]


def test_stack_traces_are_one_record_also_when_they_come_in_pieces(following: Following) -> None:
    trace = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    x\nValueError: y\n'
    )
    following.append("a.log", "before\n" + trace[:40])
    first = following.take(seconds=0.1)
    following.append("a.log", trace[40:] + "after\n")
    assert first + following.take() == ["before", trace.rstrip("\n"), "after"]


def test_a_record_that_waits_for_lines_is_read_again_after_a_restart(following: Following) -> None:
    following.append("a.log", "one\ntwo\n")
    assert following.take(seconds=0.1) == ["one"]
    following.restart()
    assert following.take() == ["two"]


def test_long_lines_become_several_records(following: Following) -> None:
    text = "x" * (2 * followed.MAX_LINE_BYTES + 10)
    following.append("a.log", f"{text}\nshort\n{text}")
    taken = following.take()
    assert "".join(taken) == text + "short" + text[: 2 * followed.MAX_LINE_BYTES]
    assert max(map(len, taken)) == followed.MAX_LINE_BYTES
    following.restart()
    following.append("a.log", "\n")
    assert following.take() == ["x" * 10]


def test_a_file_without_news_is_closed_until_it_has_some(following: Following) -> None:
    following.append("a.log", "one\n")
    assert following.take() == ["one"]
    following.take(seconds=follower.PARKED_S + 1)
    following.take(seconds=2)
    assert following.files.open_files == 0
    following.append("a.log", "two\n")
    assert following.take() == ["two"]


def test_bytes_that_are_no_text_are_kept_as_far_as_they_are(following: Following) -> None:
    following.path("a.log").write_bytes(b"caf\xe9 \x00 ok\n")
    assert following.take() == ["caf\ufffd \x00 ok"]


def test_unreadable_files_do_not_hold_up_others(following: Following) -> None:
    following.path("dir.log").mkdir()
    following.path("gone.log").symlink_to(following.path("nowhere"))
    following.append("z.log", "good\n")
    assert following.take() == ["good"]


def test_a_damaged_checkpoint_begins_anew(tmp_path: Path) -> None:
    following = Following(tmp_path)
    following.append("a.log", "one\n")
    assert following.take() == ["one"]
    following.files.close()
    (tmp_path / FILE).write_bytes(b'{"version": 1, "pla')
    following.start()
    assert following.take() == ["one"]


def test_another_file_with_the_same_short_beginning_is_another(following: Following) -> None:
    assert len("same\n") < HEAD_BYTES
    following.append("a.log", "same\n")
    assert following.take() == ["same"]
    following.append("b.log", "same\nother\n")
    assert following.take() == ["same", "other"]


def test_a_file_that_is_rotated_while_it_is_opened_is_followed_once(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.append("a.log", "one\n")
    opened = follower.FollowedFile

    def rotate_and_open(*arguments: Any) -> followed.FollowedFile:
        monkeypatch.setattr(follower, "FollowedFile", opened)
        following.path("a.log").rename(following.path("a.log.1"))
        following.append("a.log", "two\n")
        return opened(*arguments)

    monkeypatch.setattr(follower, "FollowedFile", rotate_and_open)
    assert sorted(following.take()) == ["one", "two"]
    assert following.files.open_files == 2


def test_places_are_noted_soon_after_the_last_line(following: Following) -> None:
    following.append("a.log", FIRST)
    assert following.take() == lines(FIRST)
    following.append("a.log", "last\n")
    assert following.take(seconds=0.6) == ["last"]
    following.now_s += 1.1
    following.files.save_due()
    following.start()  # As after a crash.
    assert following.take() == []


ACTIONS = st.sampled_from(["append", "half", "rotate", "restart", "take", "crash"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(ACTIONS, max_size=25))
def test_no_line_is_lost_whatever_happens(
    actions: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    following = Following(tmp_path_factory.mktemp("following"))
    RUNNING.pop()
    written: list[str] = []
    taken: list[str] = []
    crashed = False
    steps: dict[str, Callable[[], None]] = {
        "rotate": lambda: rotate(following),
        "restart": following.restart,
        "crash": following.start,
    }
    for number, action in enumerate([*actions, "append", "take"]):
        if action == "append":
            written.append(f"line {number}")
            following.append("a.log", f"line {number}\n")
        elif action == "half":
            written.append(f"line {number} in two")
            following.append("a.log", f"line {number}")
            taken += following.take(seconds=0.5)
            following.append("a.log", " in two\n")
        elif action == "take":
            taken += following.take()
        else:
            crashed |= action == "crash"
            steps[action]()
    taken += following.take()
    following.end()
    assert set(taken) == set(written)
    if not crashed:
        assert len(taken) == len(written)


def rotate(following: Following) -> None:
    for number in range(30, 0, -1):
        older = following.path(f"a.log.{number}")
        if older.exists():
            older.rename(following.path(f"a.log.{number + 1}"))
    if following.path("a.log").exists():
        following.path("a.log").rename(following.path("a.log.1"))
