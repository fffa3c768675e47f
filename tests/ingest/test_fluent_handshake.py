"""The handshake of Fluent Forward, with the sums done here once more."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.fluent_handshake import Handshake, Secrets
from obsd.model.errors import UndecodableError

KEY_ONLY = Secrets.parse("key", [])
WITH_USERS = Secrets.parse("key", ["web:pass:word", "db:"])


def digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


def ping(
    handshake: Handshake, user: bytes = b"", password: bytes = b"", key: bytes = b"key"
) -> Any:
    shared = digest(b"\xffsalt", b"client", handshake.nonce, key)
    proof = digest(handshake.salt, user, password)
    return ["PING", b"client", b"\xffsalt", shared, user, proof if user else b""]


def answer(handshake: Handshake, message: Any, *, use_bin_type: bool = True) -> list[Any]:
    pong, reason = handshake.answer(msgpack.packb(message, use_bin_type=use_bin_type))
    found = msgpack.unpackb(pong)
    assert found[0] == "PONG"
    assert (found[1], found[2]) == (reason == "", reason)
    return found


def test_helo_has_a_nonce_of_its_own_and_a_salt_for_passwords() -> None:
    kind, options = msgpack.unpackb(Handshake(KEY_ONLY).helo())
    assert (kind, options["auth"], options["keepalive"]) == ("HELO", b"", True)
    assert len(options["nonce"]) == 16
    kind, more = msgpack.unpackb(Handshake(WITH_USERS).helo())
    assert len(more["auth"]) == 16
    assert options["nonce"] != more["nonce"] != more["auth"]


@pytest.mark.parametrize("use_bin_type", [True, False])  # Nonce and salts as either.
def test_who_knows_the_key_is_let_in_and_shown_that_we_do(use_bin_type: bool) -> None:
    handshake = Handshake(KEY_ONLY, host="server")
    found = answer(handshake, ping(handshake), use_bin_type=use_bin_type)
    assert found[1:] == [
        True,
        "",
        "server",
        digest(b"\xffsalt", b"server", handshake.nonce, b"key"),
    ]


def test_passwords() -> None:
    handshake = Handshake(WITH_USERS)
    assert answer(handshake, ping(handshake, b"web", b"pass:word"))[1] is True
    assert answer(handshake, ping(handshake, b"db", b""))[1] is True
    for user, password in ((b"web", b"pass"), (b"other", b""), (b"", b""), (b"\xff", b"x")):
        found = answer(handshake, ping(handshake, user, password))
        assert found[1:] == [False, "username/password mismatch", "", ""]


def test_another_key_is_refused() -> None:
    handshake = Handshake(KEY_ONLY)
    found = answer(handshake, ping(handshake, key=b"other"))
    assert found[1:] == [False, "shared_key mismatch", "", ""]
    again = ping(Handshake(KEY_ONLY))  # Of another connection, with another nonce.
    assert answer(handshake, again)[1] is False


@pytest.mark.parametrize(
    "message",
    [["PONG", "a", "b", "c", "d", "e"], ["PING", "a", "b", "c", "d"], ["tag", 1, {}], None, {},
     ["PING", "a", "b", "c", "d", 5], ["PING", "x" * 20_000, "b", "c", "d", "e"]],
)  # fmt: skip
def test_anything_else_is_refused(message: Any) -> None:
    with pytest.raises(UndecodableError, match="expected PING"):
        Handshake(KEY_ONLY).answer(msgpack.packb(message))


@given(st.binary(max_size=100) | st.lists(st.binary(max_size=9)).map(msgpack.packb))
def test_any_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(UndecodableError, match="expected PING"):
        Handshake(WITH_USERS).answer(raw)
