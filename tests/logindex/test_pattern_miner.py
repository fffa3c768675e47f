"""Lines in the styles of many programs, made for this test, and what they are grouped by."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd._native import PatternMiner

USERS = ("amelie", "bruno", "chandra", "dmitri", "elif", "farouk", "gita", "hugo", "ines", "jamal")
HOSTS = (
    "gateway.corp.example",
    "c-73-11-2-9.isp.example.net",
    "mail2.example.org",
    "10.44.3.1",
    "fe80::1c2a:77ff:fe01:3",
)


def ip(r: random.Random) -> str:
    return ".".join(str(r.randrange(1, 255)) for _ in range(4))


def block(r: random.Random) -> str:
    return f"blk_{r.choice(('', '-'))}{r.randrange(10**18)}"


STYLES: dict[str, Callable[[random.Random], str]] = {
    "remote shell, unknown user": lambda r: (
        f"Rejected login of unknown user {r.choice(USERS)} at {ip(r)} port {r.randrange(65536)} v2"
    ),
    "remote shell, reverse lookup": lambda r: (
        f"address of {r.choice(HOSTS)} [{ip(r)}] does not map back - POSSIBLE INTRUSION!"
    ),
    "file system, stored": lambda r: (
        f"STORE* table.addBlock: map updated: {ip(r)}:50010 got {block(r)} "
        f"size {r.randrange(10**8)}"
    ),
    "file system, sent": lambda r: f"{ip(r)}:50010 Served piece {block(r)} to /{ip(r)}",
    "proxy, little sent": lambda r: (
        f"{r.choice(HOSTS[:3])}:{r.choice((80, 443))} close, {r.randrange(999)} bytes sent, "
        f"{r.randrange(999)} bytes received, lifetime {r.choice(('<1 sec', '00:07', '01:12:40'))}"
    ),
    "proxy, much sent": lambda r: (
        f"{r.choice((*HOSTS[:3], 'localhost'))}:{r.choice((80, 443))} close, "
        f"{r.randrange(1024, 9999)} bytes ({r.random() * 9:.2f} {r.choice(('KB', 'MB'))}) sent, "
        f"{r.randrange(999)} bytes received, lifetime <1 sec"
    ),
    "jobs, progress": lambda r: (
        f"Progress of attempt_{r.randrange(10**12)}_0007_{r.choice('mr')}_{r.randrange(10**6):06}_0"
        f" is : {r.random():.4f}"
    ),
    "jobs, first change": lambda r: f"attempt_{r.randrange(10**12)}_m moved from QUEUED to PLACED",
    "jobs, next change": lambda r: f"attempt_{r.randrange(10**12)}_m moved from PLACED to ACTIVE",
    "coordination, closed": lambda r: (
        f"Closed connection of /{ip(r)}:{r.randrange(65536)} which had session "
        f"0x{r.getrandbits(60):x}"
    ),
    "coordination, nothing to close": lambda r: (
        f"Closed connection of /{ip(r)}:{r.randrange(65536)} (it had no session)"
    ),
    "phone, lock": lambda r: (
        f"take lock={r.getrandbits(28)}, flags=0x{r.randrange(9)}, "
        f"held={r.choice(('true', 'false'))}, ws={r.choice(('null', '12'))}, "
        f"uid={r.randrange(10**5)}"
    ),
    "phone, window": lambda r: (
        f"Skip Window{{{r.getrandbits(28) | 1 << 27:x} u0 token={r.randrange(99)}}} -- to hide"
    ),
    "daemon, lease": lambda r: (
        f"lease for 00:1b:{r.choice(('ab', '21'))}:{r.choice(('fe', '09'))}:cd:ef via eth"
        f"{r.randrange(4)}"
    ),
    "daemon, date": lambda r: (
        f"connect of {ip(r)} () at {r.choice(('Sat', 'Mon'))} {r.choice(('Jun', 'Jul'))} "
        f"{r.randrange(1, 31)} 02:08:{r.randrange(60):02} 2005"
    ),
}


def test_lines_of_many_styles_are_grouped() -> None:
    r = random.Random(5)
    lines = [(style, line(r)) for style, line in STYLES.items() for _ in range(60)]
    r.shuffle(lines)
    miner = PatternMiner()
    ids = miner.learn([line for _, line in lines]).tolist()
    styles: defaultdict[str, set[int]] = defaultdict(set)
    for (style, _), number in zip(lines, ids, strict=True):
        styles[style].add(number)
    several = {style: found for style, found in styles.items() if len(found) > 1}
    assert not several, [miner.resolve(n) for found in several.values() for n in found]
    assert len({min(found) for found in styles.values()}) == len(STYLES)


def test_ids_are_the_same_in_another_process_and_after_loading() -> None:
    r = random.Random(6)
    lines = [line(r) for line in STYLES.values() for _ in range(20)]
    miner = PatternMiner()
    ids = miner.learn(lines).tolist()
    assert PatternMiner().learn(lines).tolist() == ids
    loaded = PatternMiner.load(miner.dump())
    assert loaded.lookup(lines).tolist() == ids
    assert loaded.patterns() == miner.patterns()
    assert PatternMiner().lookup(lines).tolist() == [0] * len(lines)


def test_an_id_leads_to_what_its_pattern_has_become() -> None:
    miner = PatternMiner()
    (first,) = miner.learn(["quota of alice is used up"]).tolist()
    (last,) = set(miner.learn([f"quota of {user} is used up" for user in USERS]).tolist())
    assert miner.resolve(first) == (last, "quota of <_> is used up")
    assert miner.values(last, "quota of zoe is used up") == ["zoe"]
    assert miner.values(last, "quota of zoe is not used up") is None
    assert miner.resolve(1) is None


def test_the_miner_is_bounded() -> None:
    miner = PatternMiner(500)
    for first in range(0, 5000, 250):
        miner.learn([f"{'x' * (n % 37)} word{chr(97 + n % 23)} " * (n % 50) for n in
                     range(first, first + 250)])  # fmt: skip
        assert len(miner) <= 500
    long = "token " * 100_000
    miner.learn([long, "a" * 1_000_000])
    assert max(len(template) for _, template, _ in miner.patterns()) < 10_000


def test_damage_is_found() -> None:
    miner = PatternMiner()
    miner.learn(["a line of words", "a line of 3 words"])
    data = miner.dump()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(ValueError, match="bad patterns"):
            PatternMiner.load(bytes(damaged))
        with pytest.raises(ValueError, match="bad patterns"):
            PatternMiner.load(data[:place])


@given(st.lists(st.text(max_size=200), max_size=60))
def test_any_lines_are_grouped_and_always_alike(lines: list[str]) -> None:
    miner = PatternMiner(64)
    ids = miner.learn(lines).tolist()
    assert PatternMiner(64).learn(lines).tolist() == ids
    assert len(miner) <= 64
    counted = PatternMiner()
    counted.learn(lines, [3] * len(lines))
    assert sum(count for _, _, count in counted.patterns()) == 3 * len(lines)


@given(st.text(max_size=80), st.text(max_size=80))
def test_what_stands_in_the_holes_makes_the_line_again(line: str, other: str) -> None:
    miner = PatternMiner()
    ids = miner.learn([line, other]).tolist()
    for number, of in zip(ids, (line, other), strict=True):
        found = miner.resolve(number)
        assert found is not None
        values = miner.values(number, of)
        if values is not None:
            assert all(value in of for value in values)


def test_the_documented_example_is_what_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "format" / "log-patterns.md").read_text()
    example = page.split("```text\n")[-1].split("```")[0]
    data = bytes.fromhex("".join(re.findall(r"^(?:[0-9a-f]{2} ?)+", example, re.MULTILINE)))
    miner = PatternMiner()
    miner.learn(["retry 3 of job"])
    assert miner.dump() == data
    assert PatternMiner.load(data).patterns() == miner.patterns()


def test_files_of_earlier_versions_are_read() -> None:
    released = Path(__file__).parents[1] / "data" / "log-patterns" / "v1" / "released-0"
    miner = PatternMiner.load(released.read_bytes())
    (number,) = set(
        miner.learn([f"quota of {user} is used up" for user in ("zoe", "yan")]).tolist()
    )
    assert miner.resolve(number) == (number, "quota of <_> is used up")
