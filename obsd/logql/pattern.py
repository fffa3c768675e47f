"""Patterns: literal text with `<captures>` between, `<_>` for what has no name.

The parser's form gives values to names, and begins where the line begins. The line filter's form,
`|>`, has no names and only tells whether a line is like that: its literals occur one after the
other, with something between them, and the last one ends the line unless a capture does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

_CAPTURE: Final = re.compile(r"<([a-zA-Z_][a-zA-Z0-9_]*)>", re.ASCII)


class InvalidPatternError(ValueError):
    """A pattern that cannot be used."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that has to be there."""

    text: str


@dataclass(frozen=True, slots=True)
class Capture:
    """Anything, up to the literal behind it; `_` is thrown away."""

    name: str


Node = Literal | Capture


def split_pattern(pattern: str) -> tuple[Node, ...]:
    """A pattern's literals and captures, in order."""
    nodes: list[Node] = []
    at = 0
    for found in _CAPTURE.finditer(pattern):
        if found.start() > at:
            nodes.append(Literal(pattern[at : found.start()]))
        nodes.append(Capture(found[1]))
        at = found.end()
    if at < len(pattern):
        nodes.append(Literal(pattern[at:]))
    return tuple(nodes)


@lru_cache(maxsize=1024)
def compile_parser_pattern(pattern: str) -> Callable[[str], list[tuple[str, str]]]:
    """A function from a line to the names and values in it, as far as it is like the pattern.

    Raises:
        InvalidPatternError: there is no name in it, a name twice, or nothing between two captures.
    """
    nodes = split_pattern(pattern)
    _refuse_neighbours(nodes)
    names = [n.name for n in nodes if isinstance(n, Capture) and n.name != "_"]
    if not names:
        raise InvalidPatternError("at least one capture is required")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidPatternError(f"duplicate capture name ({twice})")

    def parse(line: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        at, index = 0, 0
        if isinstance(nodes[0], Literal):
            if not line.startswith(nodes[0].text):
                return found
            at = len(nodes[0].text)
            index = 1
        while index < len(nodes):
            capture = nodes[index]
            assert isinstance(capture, Capture), "literals and captures take turns"
            end, after = len(line), len(line)
            if index + 1 < len(nodes):
                literal = nodes[index + 1]
                assert isinstance(literal, Literal), "literals and captures take turns"
                end = line.find(literal.text, at)
                if end < 0:
                    # What is left goes to the capture that nothing ends.
                    if capture.name != "_":
                        found.append((capture.name, line[at:]))
                    return found
                after = end + len(literal.text)
            if capture.name != "_":
                found.append((capture.name, line[at:end]))
            at = after
            index += 2
        return found

    return parse


@lru_cache(maxsize=1024)
def compile_filter_pattern(pattern: str) -> Callable[[str], bool]:
    """Whether a line is like the pattern.

    Raises:
        InvalidPatternError: a capture has a name, or nothing is between two captures.
    """
    nodes = split_pattern(pattern)
    for node in nodes:
        if isinstance(node, Capture) and node.name != "_":
            raise InvalidPatternError(f"named captures are not allowed in line filters: {pattern}")
    _refuse_neighbours(nodes)
    if not nodes:
        return lambda line: not line
    literals = [(i, node.text) for i, node in enumerate(nodes) if isinstance(node, Literal)]
    ends_open = isinstance(nodes[-1], Capture)

    def test(line: str) -> bool:
        at = 0
        for index, literal in literals:
            found = line.find(literal, at)
            # A capture stands for one character at least.
            if found < 0 or (index > 0 and found == at):
                return False
            at = found + len(literal)
        return (at < len(line)) == ends_open and line != ""

    return test


def _refuse_neighbours(nodes: tuple[Node, ...]) -> None:
    for left, right in pairwise(nodes):
        if isinstance(left, Capture) and isinstance(right, Capture):
            raise InvalidPatternError(f"found consecutive capture '<{left.name}><{right.name}>'")
