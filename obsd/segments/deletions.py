"""What has been deleted by query: hidden from searches at once, then erased from every file.

`DELETIONS` is durable before a deletion is answered (docs/format/deletions.md). It has the
predicate of a deletion for as long as some file may hold its rows; then the predicate is erased
too, since it names what nobody is to find any more.

Concurrency: every method may be called from any thread.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from obsd.durable.files import make_directory, replace_file
from obsd.model.deletion import Deletion
from obsd.model.errors import OverloadedError, StorageUnavailableError

log = logging.getLogger(__name__)

Encoded = tuple[object, ...]
Check = Callable[[Encoded], object]

MAX_PENDING: Final = 100
"""Each is looked at by every search."""

MAX_DONE: Final = 1_000
"""Of those that are done only the last ones are remembered."""

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Pending:
    """A deletion whose rows may still be in files; `gone` finds them."""

    deletion: Deletion
    gone: Encoded


def _take_any(gone: Encoded) -> None:
    """Of predicates that nobody has a look at."""


class Deletions:
    """The deletions of one engine."""

    def __init__(self, path: Path, check: Check = _take_any) -> None:
        """Use `open`."""
        self._path = path
        self._check = check
        self._lock = threading.Lock()
        # Replaced under the lock; read without.
        self._pending: tuple[Pending, ...] = ()
        self._done: tuple[Deletion, ...] = ()

    @staticmethod
    def open(path: Path, quarantine: Path, check: Check = _take_any) -> Deletions:
        """Read the file, if it is there. One that cannot be read is set aside.

        `check` raises a ValueError or TypeError for a predicate that cannot be evaluated, which
        would be part of every search.
        """
        deletions = Deletions(path, check)
        try:
            deletions._load(_checked(path.read_bytes()))
        except FileNotFoundError:
            pass
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            deletions = Deletions(path, check)
            extra = {"path": str(path), "error": str(error)}
            log.error("damaged list of deletions; what was deleted may be back", extra=extra)
            make_directory(quarantine)
            path.rename(quarantine / path.name)
        return deletions

    def _load(self, stored: Any) -> None:  # noqa: ANN401 - any JSON
        if stored["version"] != _VERSION:
            raise ValueError(f"unknown version {stored['version']}")
        self._pending = tuple(
            Pending(_deletion(each["deletion"]), self._predicate(each["gone"]))
            for each in stored["pending"]
        )
        self._done = tuple(map(_deletion, stored["done"]))

    def _predicate(self, stored: Any) -> Encoded:  # noqa: ANN401 - any JSON
        gone = cast("Encoded", _tuples(stored))
        if not isinstance(gone, tuple):
            raise TypeError("a predicate is a list")
        self._check(gone)
        return gone

    @property
    def pending(self) -> tuple[Pending, ...]:
        """Those whose rows are hidden, oldest first."""
        return self._pending

    @property
    def last_row(self) -> int:
        """No deletion reaches rows numbered above this."""
        of_pending = (each.deletion.through_row for each in self._pending)
        return max([-1, *of_pending, *(each.through_row for each in self._done)])

    def list(self) -> list[Deletion]:
        """All that are remembered, oldest first."""
        with self._lock:
            return [*self._done, *(each.deletion for each in self._pending)]

    def check_room(self) -> None:
        """See whether there may be one more.

        Raises:
            OverloadedError: too many are not done yet.
        """
        if len(self._pending) >= MAX_PENDING:
            raise OverloadedError(f"{MAX_PENDING} deletions are not done yet", retry_after_s=60)

    def add(self, deletion: Deletion, gone: Encoded) -> Deletion:
        """Take in a deletion, with an id of its own; durable, and hiding, when this returns.

        Raises:
            OverloadedError: too many are not done yet.
            StorageUnavailableError: the disk refuses; nothing is deleted.
        """
        with self._lock:
            self.check_room()
            deletion = replace(deletion, id=secrets.token_hex(8))
            self._store((*self._pending, Pending(deletion, gone)), self._done)
            return deletion

    def end(self, done: Collection[Pending], done_ms: int, files: int) -> None:
        """No file has the rows of these any more.

        Raises:
            StorageUnavailableError: the disk refuses; they are still pending.
        """
        ids = {each.deletion.id for each in done}
        with self._lock:
            ended = [
                replace(each.deletion, done_ms=done_ms, files=files, failure="")
                for each in self._pending
                if each.deletion.id in ids
            ]
            kept = tuple(each for each in self._pending if each.deletion.id not in ids)
            self._store(kept, (*self._done, *ended)[-MAX_DONE:])

    def note_failure(self, failure: str) -> None:
        """Remember, in memory, why those that are pending are so."""
        with self._lock:
            self._pending = tuple(
                replace(each, deletion=replace(each.deletion, failure=failure))
                for each in self._pending
            )

    def _store(self, pending: tuple[Pending, ...], done: Sequence[Deletion]) -> None:
        """Under the lock."""
        stored = {
            "version": _VERSION,
            "pending": [{"deletion": asdict(p.deletion), "gone": p.gone} for p in pending],
            "done": [asdict(each) for each in done],
        }
        try:
            text = json.dumps(stored).encode()
            replace_file(self._path, [text, b"\n%08x\n" % zlib.crc32(text)])
        except OSError as error:
            raise StorageUnavailableError(f"cannot write {self._path.name}: {error}") from error
        self._pending, self._done = pending, tuple(done)


def _checked(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    """The JSON of a file; one of an earlier release has no checksum after it."""
    text, _, checksum = data.partition(b"\n")
    if checksum and checksum != b"%08x\n" % zlib.crc32(text):
        raise ValueError("the checksum is another")
    return json.loads(text)


def _deletion(stored: Any) -> Deletion:  # noqa: ANN401 - any JSON
    """A deletion, each of its fields of its type; a msgspec.ValidationError is a ValueError."""
    return msgspec.convert(stored, Deletion)


def _tuples(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON's lists as the tuples of a predicate."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
