"""A line on its way through the stages, with its labels and the error that it may have had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from obsd.model.log_labels import EXTRACTED

ERROR: Final = "__error__"
ERROR_DETAILS: Final = "__error_details__"
LEVEL: Final = "level"


class Line:
    """One line.

    Labels are in three maps, by where they came from; a name is in one of them. The maps of the
    stream and of the metadata belong to whoever made the line, and are copied before a change.

    Attributes:
        base: the stream's labels as they were, whose names parsers do not take.
        error: the kind of the first thing that went wrong; "" without one.
        error_details: what exactly.
    """

    __slots__ = (
        "_own_metadata",
        "_own_stream",
        "base",
        "error",
        "error_details",
        "metadata",
        "parsed",
        "stream",
        "text",
        "time_ns",
    )

    def __init__(
        self, time_ns: int, text: str, stream: Mapping[str, str], metadata: Mapping[str, str]
    ) -> None:
        self.time_ns = time_ns
        self.text = text
        self.base = stream
        self.stream = stream
        self.metadata = metadata
        self.parsed: dict[str, str] = {}
        self.error = ""
        self.error_details = ""
        self._own_stream: dict[str, str] | None = None
        self._own_metadata: dict[str, str] | None = None

    def get(self, name: str) -> str | None:
        """A label's value; None where the line has no such label."""
        value = self.parsed.get(name)
        if value is None:
            value = self.metadata.get(name)
            if value is None:
                value = self.stream.get(name)
                if value is None and name.startswith("__error"):
                    return self._error(name)
        return value

    def _error(self, name: str) -> str | None:
        if name == ERROR:
            return self.error or None
        return (self.error_details or None) if name == ERROR_DETAILS else None

    def fail(self, error: str, details: str) -> None:
        """Note that something went wrong."""
        self.error = error
        self.error_details = details

    def extract(self, name: str, value: str) -> None:
        """What a parser found."""
        placed = self.place(name, value)
        if placed is not None:
            self.parsed.setdefault(placed, value)

    def place(self, name: str, value: str) -> str | None:
        """The label's name for what a parser found; None where it tells nothing new.

        It gets another name where the stream has this one, or the metadata with another value. The
        level that a record has in any case gives way to the one in its line.
        """
        if name in self.base:
            return f"{name}{EXTRACTED}"
        known = self.metadata.get(name)
        if known is None or name == LEVEL:
            return name
        return None if known == value else f"{name}{EXTRACTED}"

    def set(self, name: str, value: str) -> None:
        """What the query's author sets replaces what was there."""
        self.delete(name)
        self.parsed[name] = value

    def delete(self, name: str) -> None:
        if name in self.parsed:
            del self.parsed[name]
        if name in self.metadata:
            del self.own_metadata()[name]
        if name in self.stream:
            del self.own_stream()[name]

    def own_stream(self) -> dict[str, str]:
        """The stream's labels, to be changed."""
        if self._own_stream is None:
            self.stream = self._own_stream = dict(self.stream)
        return self._own_stream

    def own_metadata(self) -> dict[str, str]:
        """The metadata, to be changed."""
        if self._own_metadata is None:
            self.metadata = self._own_metadata = dict(self.metadata)
        return self._own_metadata

    def labels(self) -> dict[str, str]:
        """All labels, with the error where there is one."""
        found = {**self.stream, **self.metadata, **self.parsed}
        if self.error:
            found[ERROR] = self.error
        if self.error_details:
            found[ERROR_DETAILS] = self.error_details
        return found
