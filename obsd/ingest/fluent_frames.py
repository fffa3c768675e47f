"""Messages out of a stream of Fluent Forward: values of msgpack, or of JSON, one after the other.

Only their borders are found here, which costs little; what is in them is read elsewhere. What is
held is bounded by the limit of one message.
"""

from __future__ import annotations

import re
from typing import Final

import msgpack

from obsd.model.errors import TooLargeError, UndecodableError

MAX_MESSAGE_BYTES: Final = 32 << 20
NIL: Final = b"\xc0"

# As msgpack all of these are small numbers, and none of them a message.
_BLANK: Final = frozenset(b" \t\r\n")
_JSON_BEGIN: Final = frozenset(b"[{")
_JSON_SPECIAL: Final = re.compile(rb'[\[\]{}"]')
_JSON_STRING_END: Final = re.compile(rb'["\\]')


class MessageReader:
    """Cuts a stream into messages, however it comes in pieces."""

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._border = _new_border(max_bytes)
        self._fed_bytes = 0  # Of the buffer, to the search for borders.
        self._before_bytes = 0  # What it has seen of messages that are done with.
        self._is_inside = False
        self._json: _JsonBorder | None = None

    @property
    def buffered_bytes(self) -> int:
        """What is held of a message that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now, heartbeats (`NIL`) among them.

        Raises:
            UndecodableError: this is no msgpack, and nobody knows where the next message begins.
            TooLargeError: a message is over the limit.
        """
        self._buffer += data
        messages: list[bytes] = []
        while (message := self._next()) is not None:
            messages.append(message)
        if len(self._buffer) > self._max_bytes:
            raise TooLargeError("message", self._max_bytes)
        return messages

    def _next(self) -> bytes | None:
        if self._json is None and not self._is_inside:
            self._drop_blanks()
            if not self._buffer:
                return None
            if self._buffer[0] in _JSON_BEGIN:
                self._json = _JsonBorder()
                self._start_anew()
        end = self._find_border() if self._json is None else self._json.find(self._buffer)
        if end is None:
            self._is_inside = True
            return None
        self._is_inside = False
        message = bytes(memoryview(self._buffer)[:end])
        del self._buffer[:end]
        if self._json is None:
            self._fed_bytes -= end
        self._json = None
        return message

    def _drop_blanks(self) -> None:
        blanks = 0
        while blanks < len(self._buffer) and self._buffer[blanks] in _BLANK:
            blanks += 1
        if blanks:
            del self._buffer[:blanks]
            self._start_anew()

    def _start_anew(self) -> None:
        """The search for borders has seen what is not its own."""
        self._border = _new_border(self._max_bytes)
        self._before_bytes = self._fed_bytes = 0

    def _find_border(self) -> int | None:
        """Where the value of msgpack ends that the buffer begins with."""
        try:
            if self._fed_bytes < len(self._buffer):
                self._border.feed(memoryview(self._buffer)[self._fed_bytes :])
                self._fed_bytes = len(self._buffer)
            self._border.skip()
        except msgpack.OutOfData:
            return None
        except msgpack.BufferFull:
            raise TooLargeError("message", self._max_bytes) from None
        except (ValueError, msgpack.UnpackException) as error:
            raise UndecodableError(f"this is no msgpack: {error!r}") from None
        before, self._before_bytes = self._before_bytes, self._border.tell()
        return self._before_bytes - before


def _new_border(max_bytes: int) -> msgpack.Unpacker:
    return msgpack.Unpacker(max_buffer_size=max_bytes + 1, raw=True, strict_map_key=False)


class _JsonBorder:
    """Finds the end of an array or object of JSON; looks at each byte once."""

    def __init__(self) -> None:
        self._at = 0
        self._depth = 0
        self._in_string = False

    def find(self, buffer: bytearray) -> int | None:
        """Where it ends; None while it does not."""
        while True:
            pattern = _JSON_STRING_END if self._in_string else _JSON_SPECIAL
            found = pattern.search(buffer, self._at)
            if found is None:
                self._at = max(self._at, len(buffer))
                return None
            self._at = found.end()
            match found[0]:
                case b'"':
                    self._in_string = not self._in_string
                case b"\\":
                    self._at += 1  # Whatever follows does not end the string.
                case b"[" | b"{":
                    self._depth += 1
                case _:
                    self._depth -= 1
                    if self._depth == 0:
                        return self._at
