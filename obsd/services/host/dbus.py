"""A caller of D-Bus methods over a Unix socket: no more of the protocol than systemd needs.

Invariant: whatever the other side sends, decoding ends, and fails only by MalformedSourceError.
Source: https://dbus.freedesktop.org/doc/dbus-specification.html, "Message Protocol".
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from obsd.services.host.sources import MalformedSourceError, parser

TIMEOUT_S: Final = 1.0
MAX_MESSAGE_BYTES: Final = (
    16 << 20
)  # A unit takes some 300 bytes of a list; the protocol has 128 MiB.
_MAX_DEPTH: Final = 32

_METHOD_CALL: Final = 1
_METHOD_RETURN: Final = 2
_ERROR: Final = 3
_FIXED_HEADER: Final = struct.Struct("<4BIII")  # With the length of the header fields.
# Type -> format and size, which is its alignment too.
_NUMBERS: Final = {
    "y": ("B", 1),
    "b": ("I", 4),
    "n": ("h", 2),
    "q": ("H", 2),
    "i": ("i", 4),
    "u": ("I", 4),
    "x": ("q", 8),
    "t": ("Q", 8),
    "d": ("d", 8),
    "h": ("I", 4),
}
_ALIGNMENTS: Final = {"s": 4, "o": 4, "g": 1, "a": 4, "(": 8, "{": 8, "v": 1}

Value = int | float | str | list["Value"] | tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A method call with strings as arguments."""

    destination: str
    path: str
    interface: str
    member: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for the call with a serial number; an error has no values."""

    serial: int
    values: tuple[Value, ...]
    is_error: bool


def encode_call(call: Call, serial: int) -> bytes:
    """A whole message, little-endian; `serial` is above 0."""
    fields = _Writer()
    for code, kind, text in (
        (1, "o", call.path),
        (2, "s", call.interface),
        (3, "s", call.member),
        (6, "s", call.destination),
    ):
        fields.align(8)
        fields.data += bytes((code, 1, ord(kind), 0))
        fields.string(text)
    if call.arguments:
        signature = b"s" * len(call.arguments)
        fields.align(8)
        fields.data += bytes((8, 1, ord("g"), 0, len(signature))) + signature + b"\0"
    body = _Writer()
    for argument in call.arguments:
        body.string(argument)
    header = _FIXED_HEADER.pack(
        ord("l"), _METHOD_CALL, 0, 1, len(body.data), serial, len(fields.data)
    )
    message = _Writer(bytearray(header + fields.data))
    message.align(8)
    return bytes(message.data + body.data)


@dataclass(slots=True)
class _Writer:
    data: bytearray = field(default_factory=bytearray)

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def string(self, text: str) -> None:
        self.align(4)
        encoded = text.encode()
        self.data += struct.pack("<I", len(encoded)) + encoded + b"\0"


def message_bytes(header: bytes) -> int:
    """The length of a whole message, from its first 16 bytes.

    Raises:
        MalformedSourceError: this is no message, or one of more than MAX_MESSAGE_BYTES.
    """
    order, _, _, version, body, _, fields = _FIXED_HEADER.unpack(header)
    if order != ord("l") or version != 1:
        raise MalformedSourceError("dbus", f"expected a little-endian message, found {header!r}")
    length = 16 + fields + -fields % 8 + body
    if length > MAX_MESSAGE_BYTES:
        raise MalformedSourceError("dbus", f"a message of {length} bytes")
    return int(length)


@parser
def decode_reply(message: bytes) -> Reply | None:
    """The reply that a whole message is; None for a signal, or a call to us."""
    _, kind, _, _, body_bytes, _, _ = _FIXED_HEADER.unpack_from(message)
    if kind not in (_METHOD_RETURN, _ERROR):
        return None
    fields = dict(_pair(one) for one in _sequence(_Reader(message, 12).read("a(yv)")[0]))
    serial = fields.get(5)
    if not isinstance(serial, int):
        raise ValueError("a reply to no call")
    signature = fields.get(8, "")
    if kind == _ERROR or not isinstance(signature, str):
        return Reply(serial, (), is_error=True)
    body = _Reader(message[len(message) - body_bytes :], 0)
    return Reply(serial, body.read(signature), is_error=False)


def _sequence(value: Value) -> Sequence[Value]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected several values, found {value!r}")
    return value


def _pair(value: Value) -> tuple[Value, Value]:
    first, second = _sequence(value)
    return first, second


class _Reader:
    """Values of a message, by their signature; offsets count from the message's or body's begin."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def read(self, signature: str) -> tuple[Value, ...]:
        values, at = [], 0
        while at < len(signature):
            end = _end_of_type(signature, at)
            values.append(self._value(signature[at:end], 0))
            at = end
        return tuple(values)

    def _value(self, kind: str, depth: int) -> Value:
        if depth > _MAX_DEPTH:
            raise ValueError("values too deep within others")
        first = kind[0]
        if first in _NUMBERS:
            form, size = _NUMBERS[first]
            return self._number(form, size)
        self._align(_ALIGNMENTS[first])
        match first:
            case "s" | "o":
                return self._text(self._number("I", 4))
            case "g":
                return self._text(self._number("B", 1))
            case "v":
                inner = self._text(self._number("B", 1))
                if _end_of_type(inner, 0) != len(inner):
                    raise ValueError(f"expected one type, found {inner!r}")
                return self._value(inner, depth + 1)
            case "a":
                return self._array(kind[1:], depth)
        return self._structure(kind[1:-1], depth)

    def _array(self, kind: str, depth: int) -> Value:
        size = self._number("I", 4)
        self._align(_ALIGNMENTS.get(kind[0]) or _NUMBERS[kind[0]][1])
        end = self._position + size
        if end > len(self._data):
            raise ValueError("an array longer than its message")
        values: list[Value] = []
        while self._position < end:
            before = self._position
            values.append(self._value(kind, depth + 1))
            if self._position == before:
                raise ValueError("an array of nothing")
        return values

    def _structure(self, kinds: str, depth: int) -> Value:
        values: list[Value] = []
        at = 0
        while at < len(kinds):
            end = _end_of_type(kinds, at)
            values.append(self._value(kinds[at:end], depth + 1))
            at = end
        return tuple(values)

    def _align(self, size: int) -> None:
        self._position += -self._position % size

    def _number(self, form: str, size: int) -> int:
        self._align(size)
        part = self._take(size)
        (number,) = struct.unpack(f"<{form}", part)
        return number  # type: ignore[no-any-return]

    def _text(self, size: int) -> str:
        text = self._take(size)
        self._take(1)  # Its zero byte.
        return text.decode("utf-8", "replace")

    def _take(self, size: int) -> bytes:
        part = self._data[self._position : self._position + size]
        if len(part) < size:
            raise ValueError("the message ends early")
        self._position += size
        return part


def _end_of_type(signature: str, at: int) -> int:
    """Where the one complete type that begins at `at` ends."""
    while signature[at] == "a":
        at += 1
    closing = {"(": ")", "{": "}"}.get(signature[at])
    if closing is None:
        return at + 1
    at += 1
    while signature[at] != closing:
        at = _end_of_type(signature, at)
    return at + 1


class Connection:
    """A connection to a message bus; close it by leaving the `with` block."""

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S) -> None:
        """Connect and say hello.

        Raises:
            OSError: there is no bus, it refuses this user, or it does not answer in time.
            MalformedSourceError: what listens there is no bus.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._serial = 0
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(address)
            self._authenticate()
            self.call([Call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "Hello")])
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, calls: Sequence[Call]) -> list[Reply]:
        """Replies to calls, in the calls' order; all are sent before the first is awaited.

        Raises:
            OSError: the bus is gone, or does not answer in time.
            MalformedSourceError: it sent what is no message.
        """
        serials = range(self._serial + 1, self._serial + 1 + len(calls))
        self._serial += len(calls)
        pairs = zip(calls, serials, strict=True)
        self._socket.sendall(b"".join(encode_call(call, serial) for call, serial in pairs))
        replies: dict[int, Reply] = {}
        while len(replies) < len(calls):
            reply = decode_reply(self._receive_message())
            if reply is not None and reply.serial in serials:
                replies[reply.serial] = reply
        return [replies[serial] for serial in serials]

    def _authenticate(self) -> None:
        user = str(os.getuid()).encode().hex()
        self._socket.sendall(f"\0AUTH EXTERNAL {user}\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n"):
            answer += self._receive(1)
            if len(answer) > 1024:
                raise MalformedSourceError("dbus", f"expected a line, found {answer[:40]!r}")
        if not answer.startswith(b"OK "):
            raise PermissionError(f"the message bus refuses user {os.getuid()}: {answer!r}")
        self._socket.sendall(b"BEGIN\r\n")

    def _receive_message(self) -> bytes:
        header = self._receive(16)
        return header + self._receive(message_bytes(header) - 16)

    def _receive(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._socket.recv(size - len(parts))
            if not part:
                raise ConnectionResetError("the message bus closed the connection")
            parts += part
        return bytes(parts)
