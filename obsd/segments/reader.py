"""What reads of every engine of segments have in common.

Segments and memtables are read alike. A read takes what is live at its beginning, leaves out what
is deleted or past retention, and sets a segment aside that turns out to be damaged.

Concurrency: every method may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from obsd import _native
from obsd.model.clock import Clock
from obsd.model.errors import BadInputError, CorruptDataError, QueryError
from obsd.segments.catalog import Catalog
from obsd.segments.deletions import Deletions
from obsd.segments.kind import M, S

T = TypeVar("T")

MS_NS: Final = 1_000_000
FOREVER_NS: Final = (1 << 63) - 1


class SegmentReader(Generic[S, M]):
    """Reads what a catalog has."""

    def __init__(
        self,
        catalog: Catalog[S, M],
        deletions: Deletions,
        clock: Clock,
        retention_ms: int | None,
    ) -> None:
        self._catalog = catalog
        self._deletions = deletions
        self._clock = clock
        self._retention_ms = retention_ms

    def _oldest_ns(self, now_ms: int) -> int:
        if self._retention_ms is None:
            return -FOREVER_NS
        return max((now_ms - self._retention_ms) * MS_NS, -FOREVER_NS)

    def _range(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """The range without what is past retention, as far as there are times."""
        oldest_ns = self._oldest_ns(self._clock.now_ms())
        return max(start_ns, oldest_ns, -FOREVER_NS), min(end_ns, FOREVER_NS)

    def _read(self, read: Callable[[list[S | M]], T]) -> T:
        """Call `read` with the sources; a segment that turns out to be damaged is set aside.

        Raises:
            CorruptDataError: damage that no segment is to blame for.
        """
        while True:
            try:
                return read(self._catalog.live.sources)
            except _native.CorruptError as error:
                self._set_aside(error)
            except OverflowError as error:
                raise QueryError(f"{error}: narrow the search, or choose another field") from error
            except ValueError as error:
                raise BadInputError(str(error)) from error

    def _set_aside(self, error: _native.CorruptError) -> None:
        """Go on without a damaged segment.

        One that is not live any more was set aside by another read, or has another in its place.

        Raises:
            CorruptDataError: it is no segment.
        """
        path, detail = Path(error.args[0]), error.args[1]
        if self._catalog.quarantine(path, detail):
            self._notice_damage()
        elif path.parent != self._catalog.directory:
            raise CorruptDataError(str(path), detail) from error

    def _notice_damage(self) -> None:
        """Called when a segment was set aside."""
