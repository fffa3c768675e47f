"""`filter_path`: which parts of an answer a client wants, such as `errors,items.*.status`.

Names are joined by dots. `*` stands for any characters within a name, `**` for any names; lists are
passed through. What is left empty is left out. Exclusions (`-took`) are not understood, and then
nothing is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_MAX_PATTERNS: Final = 64
_ANY_DEPTH: Final = "**"

Pattern = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FilterPath:
    """Patterns, of which one must lead to a value; an empty pattern leads to everything below."""

    patterns: tuple[Pattern, ...]

    @staticmethod
    def parse(text: str) -> FilterPath:
        names = [name.strip() for name in text.split(",", _MAX_PATTERNS)[:_MAX_PATTERNS]]
        patterns = tuple(tuple(name.split(".")) for name in names if name)
        if not patterns or any(name.startswith("-") for name in names):
            return EVERYTHING
        return FilterPath(patterns)

    @property
    def takes_all(self) -> bool:
        return any(all(name == _ANY_DEPTH for name in pattern) for pattern in self.patterns)

    def within(self, key: str) -> FilterPath:
        """What is wanted of the value of a key."""
        if self.takes_all:
            return EVERYTHING
        found: list[Pattern] = []
        for pattern in self.patterns:
            head, rest = pattern[0], pattern[1:]
            if head == _ANY_DEPTH:
                found.append(pattern)
                if rest and matches_name(rest[0], key):
                    found.append(rest[1:])
            elif matches_name(head, key):
                found.append(rest)
        return FilterPath(tuple(dict.fromkeys(found)))

    def apply(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """What is wanted of a value; None for nothing."""
        if self.takes_all:
            return value
        if not self.patterns:
            return None
        if isinstance(value, dict):
            pairs = ((key, self.within(key).apply(each)) for key, each in value.items())
            return {key: each for key, each in pairs if each is not None} or None
        if isinstance(value, list):
            return [each for each in map(self.apply, value) if each is not None] or None
        return None


EVERYTHING: Final = FilterPath(((),))


def matches_name(pattern: str, name: str) -> bool:
    """Whether a name is like a pattern in which `*` stands for any characters."""
    first, *others = pattern.split("*")
    if not others:
        return name == first
    *middle, last = others
    if not name.startswith(first) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return name.endswith(last)
