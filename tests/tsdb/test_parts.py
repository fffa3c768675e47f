from __future__ import annotations

import json
from pathlib import Path

import pytest

from obsd import _native
from obsd.tsdb import filenames
from obsd.tsdb.parts import PartSet
from obsd.tsdb.retention import apply_retention
from tests.tsdb.part_files import flush, read_all, read_part, write_part

RELEASED = Path(__file__).parents[1] / "data" / "part" / "v1"


def open_parts(directory: Path) -> PartSet:
    return PartSet.open(directory / "parts", directory / "quarantine")


def part_names(parts: PartSet) -> set[str]:
    return {path.name for path in parts.directory.glob("*.part*")}


def test_published_parts_are_there_after_reopening(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    flush(parts, {(1, 1000): 1.0, (2, 1000): 2.0})
    flush(parts, {(1, 1000): 3.0})
    again = open_parts(tmp_path)
    assert read_all(again.files) == {(1, 1000): 3.0, (2, 1000): 2.0}
    assert again.next_sequence() == 3


def test_sequences_are_not_used_again_after_retention(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    flush(parts, {(1, 1000): 1.0})
    assert apply_retention(parts, now_ms=5000, retention_ms=None) == 0
    assert apply_retention(parts, now_ms=5000, retention_ms=4000) == 0
    assert apply_retention(parts, now_ms=5001, retention_ms=4000) == 1
    assert not part_names(parts)
    assert open_parts(tmp_path).next_sequence() == 2


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    kept = flush(parts, {(1, 1000): 1.0})
    write_part(parts.directory / filenames.flushed_part(9), 9, {(1, 1000): 9.0})
    (parts.directory / "x.part.tmp").write_bytes(b"half")
    (parts.directory / "MANIFEST.tmp").write_bytes(b"half")
    again = open_parts(tmp_path)
    assert read_all(again.files) == {(1, 1000): 1.0}
    assert {path.name for path in again.directory.iterdir()} == {kept.name, "MANIFEST"}


def test_a_replaced_part_stays_readable_for_who_holds_it(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    held = flush(parts, {(1, 1000): 1.0})
    parts.remove([held])
    assert not held.path.exists()
    assert read_part(held.part) == {(1, 1000): 1.0}
    with pytest.raises(ValueError, match="not live"):
        parts.remove([held])


@pytest.mark.parametrize("manifest", [None, b"{", b"[]", b'{"parts": ["x"]}'])
def test_without_a_manifest_every_part_counts(tmp_path: Path, manifest: bytes | None) -> None:
    parts = open_parts(tmp_path)
    flush(parts, {(1, 1000): 1.0})
    flush(parts, {(1, 2000): 2.0})
    path = parts.directory / filenames.MANIFEST
    path.unlink()
    if manifest is not None:
        path.write_bytes(manifest)
    again = open_parts(tmp_path)
    assert read_all(again.files) == {(1, 1000): 1.0, (1, 2000): 2.0}
    assert again.next_sequence() == 3


def test_a_damaged_part_is_set_aside_at_open(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    damaged = flush(parts, {(1, 1000): 1.0})
    flush(parts, {(1, 2000): 2.0})
    content = bytearray(damaged.path.read_bytes())
    content[-20] ^= 1
    damaged.path.write_bytes(content)
    again = open_parts(tmp_path)
    assert read_all(again.files) == {(1, 2000): 2.0}
    assert again.quarantined == 1
    assert (tmp_path / "quarantine" / damaged.name).read_bytes() == content
    assert open_parts(tmp_path).quarantined == 1  # It is still there to be dealt with.


def test_a_part_found_damaged_by_a_read_is_set_aside(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    damaged = flush(parts, {(1, 1000): 1.0})
    content = bytearray(damaged.path.read_bytes())
    content[20] ^= 1
    damaged.path.write_bytes(content)
    again = open_parts(tmp_path)
    with pytest.raises(_native.CorruptError) as caught:
        read_all(again.files)
    path, detail = caught.value.args
    assert "checksum" in detail
    assert again.quarantine(Path(path), detail)
    assert not again.quarantine(Path(path), detail)
    assert again.files == ()
    assert not again.directory.joinpath(damaged.name).exists()


def test_a_missing_part_is_reported_and_the_rest_serves(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    flush(parts, {(1, 1000): 1.0}).path.unlink()
    flush(parts, {(1, 2000): 2.0})
    again = open_parts(tmp_path)
    assert read_all(again.files) == {(1, 2000): 2.0}
    assert again.quarantined == 1


def test_a_released_part_is_read_for_ever() -> None:
    expected = json.loads((RELEASED / "samples.json").read_text())
    part = _native.Part.open(RELEASED / "released.part")
    part.verify()
    samples = read_part(part)
    assert [[i, ts, value] for (i, ts), value in sorted(samples.items())] == expected
    assert part.stats.partition == (1_699_999_200_000, 7_200_000)
