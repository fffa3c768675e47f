"""The examples of docs/format/part.md and chunk.md are what is written and read."""

from __future__ import annotations

import re
from pathlib import Path

from obsd import _native
from tests.tsdb.part_files import read_part, write_part

FORMAT = Path(__file__).parents[2] / "docs" / "format"


def test_the_documented_part_is_what_is_written(tmp_path: Path) -> None:
    text = (FORMAT / "part.md").read_text()
    (example,) = re.findall(r"```text\n([0-9a-f\n]{100,})```", text)
    documented = bytes.fromhex(example)
    path = tmp_path / "documented.part"
    path.write_bytes(documented)
    assert read_part(_native.Part.open(path)) == {(5, 0): 1.0}
    write_part(tmp_path / "written.part", 1, {(5, 0): 1.0})
    assert (tmp_path / "written.part").read_bytes() == documented


def test_the_documented_chunk_is_what_a_final_merge_writes(tmp_path: Path) -> None:
    text = (FORMAT / "chunk.md").read_text()
    (example,) = re.findall(r"^([0-9a-f]{28}) ", text, re.MULTILINE)
    write_part(tmp_path / "a.part", 1, {(1, ts): 1.0 for ts in (1000, 1500, 2000)})
    merged = _native.merge_parts(
        [_native.Part.open(tmp_path / "a.part")], tmp_path / "m-", 2, 7_200_000, True
    )
    assert bytes.fromhex(example) in Path(merged[0][0]).read_bytes()
