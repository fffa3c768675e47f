"""Templates, policies and pipelines that agents set up before they send: kept, and shown again.

obsd makes nothing of them, but agents ask whether they are there. They are kept in memory, so after
a restart agents set them up anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from obsd.model.errors import BadInputError, TooLargeError

MAX_BYTES: Final = 16 << 20
MAX_ENTRIES: Final = 2000
MAX_NAME_BYTES: Final = 512
_ENTRY_BYTES: Final = 200

Key = tuple[str, str, str]
"""Project, kind and name."""


class Remembered:
    """JSON texts by key, within a limit; the ones that were set the longest ago give way."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_entries: int = MAX_ENTRIES) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._texts: dict[Key, bytes] = {}
        self._size_bytes = 0

    def get(self, project_id: str, kind: str, name: str) -> bytes | None:
        return self._texts.get((project_id, kind, name))

    def put(self, project_id: str, kind: str, name: str, text: bytes) -> None:
        """Keep a text.

        Raises:
            BadInputError: the name is too long.
            TooLargeError: it alone is over the limit.
        """
        if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
            raise BadInputError(f"a name has at most {MAX_NAME_BYTES} bytes")
        if len(text) + _ENTRY_BYTES > self._max_bytes:
            raise TooLargeError(f"the {kind} {name[:60]!r}", self._max_bytes)
        self.delete(project_id, kind, name)
        self._texts[(project_id, kind, name)] = text
        self._size_bytes += len(text) + _ENTRY_BYTES
        while self._size_bytes > self._max_bytes or len(self._texts) > self._max_entries:
            self.delete(*next(iter(self._texts)))

    def delete(self, project_id: str, kind: str, name: str) -> bool:
        """Forget a text; whether there was one."""
        text = self._texts.pop((project_id, kind, name), None)
        if text is None:
            return False
        self._size_bytes -= len(text) + _ENTRY_BYTES
        return True

    def names(self, project_id: str, kind: str) -> Iterator[tuple[str, bytes]]:
        """All of a kind, by name."""
        for (project, found, name), text in sorted(self._texts.items()):
            if (project, found) == (project_id, kind):
                yield name, text
