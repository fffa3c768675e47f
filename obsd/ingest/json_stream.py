"""JSON objects one after the other, with or without anything between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from obsd.model.errors import UndecodableError

# A string as a whole, so that its braces do not count; or one bracket.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_BETWEEN: Final = re.compile(rb"[\s,]*")
_OPENING: Final = frozenset({b"{", b"["})
_MAX_DEPTH: Final = 1000


def iter_objects(body: bytes) -> Iterator[bytes]:
    """The text of each object; commas and an array around them all are let pass.

    What stands between the outermost brackets is the decoder's business.

    Raises:
        UndecodableError: there is something else between objects, or one does not end; those before
            it were given.
    """
    at = _skip(body, 0)
    is_array = body[at : at + 1] == b"["
    if is_array:
        at = _skip(body, at + 1)
    while at < len(body):
        if is_array and body[at : at + 1] == b"]":
            is_array = False
            at = _skip(body, at + 1)
            continue
        if body[at : at + 1] != b"{":
            raise UndecodableError(f"expected an object at byte {at}")
        end = _end_of(body, at)
        yield body[at:end]
        at = _skip(body, end)
    if is_array:
        raise UndecodableError("the array does not end")


def _skip(body: bytes, at: int) -> int:
    found = _BETWEEN.match(body, at)
    assert found is not None  # It matches nothing, too.
    return found.end()


def _end_of(body: bytes, start: int) -> int:
    depth = 0
    for token in _TOKEN.finditer(body, start):
        text = token[0]
        if text in _OPENING:
            depth += 1
            if depth > _MAX_DEPTH:
                raise UndecodableError("an object is nested too deeply")
        elif len(text) == 1:
            depth -= 1
            if depth == 0:
                return token.end()
    raise UndecodableError(f"the object at byte {start} does not end")
