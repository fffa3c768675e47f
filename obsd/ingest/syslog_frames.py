"""Messages out of a stream of syslog: RFC 6587 (https://www.rfc-editor.org/rfc/rfc6587).

Each frame says for itself what it is: `LENGTH SP MESSAGE` where it begins with a digit of 1 to 9,
else text that ends with a line feed (a carriage return before it is dropped) or a NUL.
"""

from __future__ import annotations

from typing import Final

from obsd.model.errors import BadInputError

MAX_MESSAGE_BYTES: Final = 256 << 10
_MAX_LENGTH_DIGITS: Final = 9
_LF, _NUL, _SPACE = 0x0A, 0x00, 0x20
_DIGITS: Final = frozenset(b"0123456789")


class FrameError(BadInputError):
    """A stream that cannot be read any further: nobody knows where its next message begins."""


class FrameReader:
    """Cuts a stream into messages, however it comes in pieces. What it holds is bounded.

    Attributes:
        too_large: messages that were over `max_bytes`, and were skipped.
    """

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rest = b""
        self._skip_bytes = 0
        self._skips_line = False
        self.too_large = 0

    def feed(self, data: bytes, messages: list[bytes]) -> None:
        """Append the messages that are whole now, without their frames; empty ones are left out.

        Raises:
            FrameError: what should be a length is none. What came before it is appended.
        """
        buffer = self._rest + data if self._rest else data
        self._rest = b""
        at = self._skip(buffer)
        size = len(buffer)
        has_nul = _NUL in buffer
        while at < size:
            if 0x31 <= buffer[at] <= 0x39:
                space = buffer.find(b" ", at, at + _MAX_LENGTH_DIGITS + 1)
                if space < 0:
                    self._check_length(buffer[at:])
                    break
                start = space + 1
                length = self._length(buffer[at:space])
                if length > self._max_bytes:
                    self.too_large += 1
                    self._skip_bytes = length
                    at = start + self._skip(buffer[start:])
                    continue
                if start + length > size:
                    break
                at = start + length
                message = buffer[start:at].rstrip(b"\r\n\0")
            else:
                end = buffer.find(b"\n", at)
                if has_nul:
                    nul = buffer.find(b"\0", at, end if end >= 0 else size)
                    end = nul if nul >= 0 else end
                if end < 0:
                    if size - at > self._max_bytes:
                        self.too_large += 1
                        self._skips_line = True
                        return
                    break
                message = buffer[at:end].removesuffix(b"\r")
                at = end + 1
                if len(message) > self._max_bytes:
                    self.too_large += 1
                    continue
            if message:
                messages.append(message)
        self._rest = buffer[at:]

    def finish(self) -> list[bytes]:
        """What is left at the stream's end: a last line without its line feed is a message."""
        rest, self._rest = self._rest, b""
        if not rest or 0x31 <= rest[0] <= 0x39:  # A counted message that is cut off is none.
            return []
        message = rest.rstrip(b"\r")
        return [message] if message else []

    def _skip(self, buffer: bytes) -> int:
        """Where, after what is to be skipped of a message that is too large, the rest begins."""
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(buffer))
            self._skip_bytes -= skipped
            return skipped
        if self._skips_line:
            ends = [end for end in (buffer.find(b"\n"), buffer.find(b"\0")) if end >= 0]
            if not ends:
                return len(buffer)
            self._skips_line = False
            return min(ends) + 1
        return 0

    def _check_length(self, head: bytes) -> None:
        """What may still become a length, once more of it has come."""
        if len(head) > _MAX_LENGTH_DIGITS or not _DIGITS.issuperset(head):
            raise FrameError(f"expected the length of a message, found {head[:20]!r}")

    def _length(self, digits: bytes) -> int:
        if not _DIGITS.issuperset(digits):
            raise FrameError(f"expected the length of a message, found {digits[:20]!r}")
        return int(digits)
