"""The handshake of Fluent Forward: both sides prove that they know the shared key.

HELO (ours) carries a nonce, PING (theirs) digests with it, PONG (ours) tells the outcome:
https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1#handshake-messages.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgpack

from obsd.ingest.fluent_values import new_unpacker, raw_bytes, text
from obsd.model.errors import BadInputError, UndecodableError

_RANDOM_BYTES: Final = 16
_MAX_PING_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class Secrets:
    """What senders must know.

    Attributes:
        users: passwords by name; empty where the key is enough.
    """

    shared_key: str
    users: Mapping[str, str]

    @staticmethod
    def parse(shared_key: str, users: Iterable[str]) -> Secrets:
        """`users` as `name:password`."""
        pairs = (each.partition(":") for each in users)
        return Secrets(shared_key, {name: password for name, _, password in pairs})


@dataclass(frozen=True, slots=True)
class Handshake:
    """One connection's; its random values are used once."""

    secrets: Secrets
    host: str = field(default_factory=socket.gethostname)
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(_RANDOM_BYTES))
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(_RANDOM_BYTES))

    def helo(self) -> bytes:
        """The first message on a connection."""
        auth = self.salt if self.secrets.users else b""
        return _pack(["HELO", {"nonce": self.nonce, "auth": auth, "keepalive": True}])

    def answer(self, raw: bytes) -> tuple[bytes, str]:
        """PONG to a PING, and why the sender is refused; "" where it is not.

        Raises:
            UndecodableError: it is no PING.
        """
        ping = _read_ping(raw)
        key = self.secrets.shared_key.encode()
        wanted = _hex(ping.salt, ping.host, self.nonce, key)
        if not hmac.compare_digest(wanted, ping.digest):
            return self._refuse("shared_key mismatch")
        if self.secrets.users and not self._knows_password(ping):
            return self._refuse("username/password mismatch")
        digest = _hex(ping.salt, self.host.encode(), self.nonce, key)
        return _pack(["PONG", True, "", self.host, digest.decode()]), ""

    def _knows_password(self, ping: _Ping) -> bool:
        name = ping.user.decode("utf-8", "replace")
        password = self.secrets.users.get(name, "")
        wanted = _hex(self.salt, ping.user, password.encode())
        return hmac.compare_digest(wanted, ping.password) and name in self.secrets.users

    def _refuse(self, reason: str) -> tuple[bytes, str]:
        return _pack(["PONG", False, reason, "", ""]), reason


@dataclass(frozen=True, slots=True)
class _Ping:
    host: bytes
    salt: bytes
    digest: bytes
    user: bytes
    password: bytes


def _read_ping(raw: bytes) -> _Ping:
    if len(raw) > _MAX_PING_BYTES or raw[:1] in (b"[", b"{"):
        raise UndecodableError("expected PING before anything else")
    try:
        match new_unpacker(raw).unpack():
            case [kind, host, salt, digest, user, password] if text(kind) == "PING":
                return _Ping(*(raw_bytes(each) for each in (host, salt, digest, user, password)))
    except (ValueError, TypeError, BadInputError, msgpack.UnpackException):
        raise UndecodableError("expected PING before anything else") from None
    raise UndecodableError("expected PING before anything else")


def _hex(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def _pack(value: list[object]) -> bytes:
    return bytes(msgpack.packb(value))
