"""What makes two errors the same: the kinds of exception and where they come from.

With a stack trace those are the types of the chain and the innermost calls of the application,
without lines, so that an edit elsewhere in a file keeps errors together. Without one it is the
exception's type and the message without its variable parts; without a type, the message alone.
The service is no part of it: one fault that shows in several services is one issue.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from obsd.model.log_record import LogRecord, Value
from obsd.services.error_tracking.stack_trace import (
    Frame,
    Raised,
    read_stack_trace,
    stable_name,
    top_frames,
)

FRAMES: Final = 5
"""Calls that count; further out it is mostly the framework that differs."""

SHOWN_FRAMES: Final = 30

_MAX_LINE_CHARACTERS: Final = 1_000
_MAX_KEY_CHARACTERS: Final = 300

# In this order: what is in quotes may hold anything, and ids hold numbers.
_VARIABLE: Final = re.compile(
    r"""
      "[^"\n]{0,500}" | (?<![A-Za-z])'[^'\n]{0,500}'                          # quoted texts
    | \b[\w.+-]{1,100}@[\w-]{1,100}\.[\w.-]{1,100}                              # mail addresses
    | \b[a-z][a-z0-9+.-]{1,20}://[^\s"'<>]{1,1000}                              # URLs
    | (?<![\w.])(?:/[\w.@%+~-]{1,200}){2,50}/?                                   # paths
    | \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b                  # UUIDs
    | \b(?:0x)?(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{6,}\b                            # hexadecimal ids
    | (?<![A-Za-z_])[-+]?\d[\d.,:_TZ/-]*(?:[a-zµ]{1,2}\b|%)?                    # numbers and times
    | \b(?=\w*\d)\w{2,}\b                                                       # words with digits
    """,
    re.VERBOSE,
)
_SPACES: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class ErrorKey:
    """What a group is, as far as one record tells.

    Attributes:
        fingerprint: 32 hexadecimal digits.
        type: of the exception that was seen; "" without one.
        template: the message with `<_>` for its variable parts.
        culprit: where it happened, for people: function and file.
        frames: of the cause at the end of the chain, the innermost first.
    """

    fingerprint: str
    type: str
    template: str
    culprit: str
    frames: tuple[Frame, ...]


def message_template(text: str) -> str:
    """The first line that says something, with `<_>` for what varies."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    cut = line[:_MAX_LINE_CHARACTERS]
    return _SPACES.sub(" ", _VARIABLE.sub("<_>", cut)).strip()[:_MAX_KEY_CHARACTERS]


class ErrorKeys:
    """Finds the groups of records; a storm of the same error costs a look-up each. One thread."""

    MAX_KNOWN: Final = 2_000

    def __init__(self) -> None:
        self._known: dict[bytes, ErrorKey] = {}  # By a digest, since traces are long.

    def of(self, record: LogRecord) -> ErrorKey:
        """The group of a record that is an error."""
        attributes = record.attributes
        body = record.body if isinstance(record.body, str) else ""
        parts = (
            _text(attributes, "exception.type"),
            _text(attributes, "exception.message"),
            _text(attributes, "exception.stacktrace") or (body if "\n" in body else ""),
            body,
        )
        digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16)
        key = self._known.get(digest.digest())
        if key is None:
            if len(self._known) >= self.MAX_KNOWN:
                self._known.clear()
            key = self._known[digest.digest()] = key_of(*parts)
        return key


def key_of(kind: str, message: str, stack: str, body: str) -> ErrorKey:
    """The group of an error, by its parts, each of which may be empty."""
    chain = read_stack_trace(stack) if stack else ()
    first = chain[0] if chain else Raised("", "", ())
    kind = kind or first.type
    message = message or (first.message if first.type else "") or body
    template = message_template(message)
    cause = _cause_frames(chain)
    frames = top_frames(cause, FRAMES)
    if frames:
        types = dict.fromkeys((kind, *(raised.type for raised in chain)))
        parts = ["stack", *types, *(stable_name(frame.function) for frame in frames)]
    elif kind:
        parts = ["type", kind, template]
    else:
        parts = ["message", template]
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16)
    culprit = _place(frames[0]) if frames else ""
    return ErrorKey(digest.hexdigest(), kind, template, culprit, cause[:SHOWN_FRAMES])


def _cause_frames(chain: tuple[Raised, ...]) -> tuple[Frame, ...]:
    """Of the last one that has any: where it began."""
    return next((raised.frames for raised in reversed(chain) if raised.frames), ())


def _place(frame: Frame) -> str:
    if not frame.file:
        return frame.function
    line = f":{frame.line}" if frame.line else ""
    return f"{frame.function} ({frame.file}{line})"


def _text(attributes: Mapping[str, Value], name: str) -> str:
    value = attributes.get(name)
    if value is None and isinstance(nested := attributes.get("exception"), dict):
        value = nested.get(name.partition(".")[2])
    return value if isinstance(value, str) else ""
