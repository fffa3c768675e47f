"""Side files that are damaged: what they say is left out, and nothing else is lost."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from obsd.logindex.duplicates import Duplicates
from obsd.logindex.predicates import check_encoded
from obsd.model.deletion import Deletion
from obsd.segments.deletions import Deletions


def _stored(directory: Path) -> Path:
    path = directory / "DELETIONS"
    deletion = Deletion("", created_ms=1, start_ns=0, end_ns=10, through_row=41, matched=1)
    Deletions.open(path, directory / "quarantine").add(deletion, ("rows", 0, 41))
    return path


def test_deletions_are_as_they_were_written(tmp_path: Path) -> None:
    path = _stored(tmp_path)
    (pending,) = Deletions.open(path, tmp_path / "quarantine").pending
    assert pending.gone == ("rows", 0, 41)


def test_a_list_of_deletions_without_a_checksum_is_read(tmp_path: Path) -> None:
    path = _stored(tmp_path)
    path.write_bytes(path.read_bytes().partition(b"\n")[0])
    assert len(Deletions.open(path, tmp_path / "quarantine").pending) == 1


def test_a_deletion_that_became_another_deletes_nothing(tmp_path: Path) -> None:
    path = _stored(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"41]", b"91]"))
    assert Deletions.open(path, tmp_path / "quarantine").pending == ()
    assert (tmp_path / "quarantine" / "DELETIONS").exists()


@pytest.mark.parametrize("data", [b"", b"[" * 200_000, b"{}", b"\xff\xfe", b'{"version": 1}'])
def test_a_list_of_deletions_that_is_none_is_set_aside(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "DELETIONS"
    path.write_bytes(data)
    assert Deletions.open(path, tmp_path / "quarantine").list() == []
    assert (tmp_path / "quarantine" / "DELETIONS").read_bytes() == data


@pytest.mark.parametrize(
    ("of", "changed"),
    [
        ("through_row", '"41"'),
        ("start_ns", "[]"),
        ("done_ms", '"never"'),
        ("id", "7"),
        ("gone", '["rows", "a", 41]'),
        ("gone", '["regex", null, "("]'),
        ("gone", "{}"),
        ("gone", "[]"),
    ],
)
def test_a_deletion_of_other_types_is_set_aside(tmp_path: Path, of: str, changed: str) -> None:
    path = _stored(tmp_path)
    stored = json.loads(path.read_bytes().partition(b"\n")[0])
    pending = stored["pending"][0]
    target = pending if of == "gone" else pending["deletion"]
    target[of] = json.loads(changed)
    text = json.dumps(stored).encode()
    path.write_bytes(text + b"\n%08x\n" % zlib.crc32(text))
    deletions = Deletions.open(path, tmp_path / "quarantine", check_encoded)
    assert (deletions.list(), deletions.last_row) == ([], -1)
    assert (tmp_path / "quarantine" / "DELETIONS").exists()


def test_recent_records_that_cannot_be_read_are_not_known(tmp_path: Path) -> None:
    path = tmp_path / "SEEN"
    path.mkdir()
    Duplicates(path, now_ms=0).close()


def test_a_list_of_recent_records_that_cannot_go_stops_no_search(tmp_path: Path) -> None:
    path = tmp_path / "SEEN"
    recent = Duplicates(path, 0)
    path.mkdir()  # What cannot be unlinked.
    recent.notice_damage(1)
    recent.close()
