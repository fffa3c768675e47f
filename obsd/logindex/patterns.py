"""The template miner of one project: what its lines' templates are, for as long as it has logs.

A miner that has seen many values in a place knows that the place varies; so that a line's pattern
is the same tomorrow, in another search and after a restart, there is one miner for all searches of
a project, and it is kept in a file. Losing the file loses no records: the miner learns again.

Format: docs/format/log-patterns.md. Concurrency: thread-safe.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from obsd import _native
from obsd.durable.files import replace_file
from obsd.model.log_pattern import LogPattern, PatternValues
from obsd.model.log_record import LogRecord
from obsd.model.log_text import text_of
from obsd.segments.deletions import Encoded

log = logging.getLogger(__name__)

MAX_PATTERNS: Final = 20_000
"""Patterns, and the forms of lines that they were found in; at most 50 MB. The oldest go."""

MAX_LINES: Final = 10_000
"""Lines that are learnt at one time: others wait for so long."""

Sources = Sequence[_native.LogSegment | _native.LogMemtable]


def pattern_id(number: int) -> str:
    """The id as it is told to others."""
    return f"{number:016x}"


def parse_pattern_id(text: str) -> int | None:
    """The id's number; None for what is no id."""
    try:
        return int(text, 16) if len(text) == 16 else None
    except ValueError:
        return None


class PatternIndex:
    """The patterns of a project's lines; read from `path` when they are first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._miner: _native.PatternMiner | None = None
        self._saved = b""  # Under the lock: what the file has.

    def search(
        self,
        sources: Sources,
        predicate: Encoded,
        span: tuple[int, int],
        step_ns: int,
        samples: int,
        check: Callable[[], None],
    ) -> list[LogPattern]:
        """The patterns of what matches, the most frequent first; the first ones with samples."""
        miner = self._open()
        found = _native.log_patterns(miner, list(sources), predicate, span, step_ns, samples, check)
        patterns = []
        for number, template, counts, (first_ns, last_ns), levels, services, row in found:
            sample = None if row is None else LogRecord(*row)
            values = () if sample is None else self._values(miner, number, sample)
            patterns.append(
                LogPattern(
                    pattern_id(number),
                    template,
                    counts.astype(np.int64),
                    first_ns,
                    last_ns,
                    levels,
                    services,
                    sample,
                    values,
                )
            )
        return patterns

    @staticmethod
    def _values(miner: _native.PatternMiner, number: int, sample: LogRecord) -> Sequence[str]:
        return miner.values(number, text_of(sample.body)) or ()

    def values(
        self,
        asked: str,
        sources: Sources,
        predicate: Encoded,
        span: tuple[int, int],
        limit: int,
        check: Callable[[], None],
    ) -> PatternValues | None:
        """What stands in the holes of a pattern; None where the pattern is not known."""
        miner, number = self._open(), parse_pattern_id(asked)
        known = None if number is None else miner.resolve(number)
        if known is None:
            return None
        number, template = known
        examined, values = _native.log_pattern_values(
            miner, number, list(sources), predicate, span, limit, check
        )
        return PatternValues(pattern_id(number), template, examined, values)

    def ids_of(self, bodies: Sequence[str]) -> list[str]:
        """The id of each line's pattern; lines of no known pattern are learnt."""
        miner = self._open()
        ids: list[str] = []
        for first in range(0, len(bodies), MAX_LINES):
            ids += map(pattern_id, miner.learn(list(bodies[first : first + MAX_LINES])).tolist())
        return ids

    def template_of(self, asked: str) -> tuple[str, str] | None:
        """What a pattern has become: its id and its template; None where it is not known."""
        number = parse_pattern_id(asked)
        known = None if number is None else self._open().resolve(number)
        return known and (pattern_id(known[0]), known[1])

    def _open(self) -> _native.PatternMiner:
        with self._lock:
            if self._miner is None:
                self._miner = self._load()
            return self._miner

    def _load(self) -> _native.PatternMiner:
        try:
            data = self._path.read_bytes()
            miner = _native.PatternMiner.load(data, MAX_PATTERNS)
        except FileNotFoundError:
            return _native.PatternMiner(MAX_PATTERNS)
        except (OSError, ValueError) as error:
            log.warning("patterns are learnt anew", extra={"error": f"{self._path}: {error}"})
            return _native.PatternMiner(MAX_PATTERNS)
        self._saved = data
        return miner

    def forget(self) -> None:
        """Lose what was learnt: some of the lines that it was learnt of must be nowhere any more.

        Raises:
            OSError: the disk refuses.
        """
        with self._lock:
            self._miner, self._saved = None, b""
            self._path.unlink(missing_ok=True)

    def save(self) -> None:
        """Keep what was learnt since the last time."""
        with self._lock:
            if self._miner is None:
                return
            data = self._miner.dump()
            if data == self._saved:
                return
            try:
                replace_file(self._path, [data])
            except OSError as error:
                # They are only names: those that are not kept are found again.
                log.warning("cannot keep patterns", extra={"error": str(error)})
                return
            self._saved = data
