"""The systemd subsystem against a message bus that says what a real one has said."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.services.host.dbus import (
    MAX_MESSAGE_BYTES,
    Call,
    Connection,
    decode_reply,
    encode_call,
    message_bytes,
)
from obsd.services.host.sources import AbsentSourceError, MalformedSourceError
from obsd.services.host.systemd import SystemdSubsystem, parse_units

RECORDED = Path(__file__).parent / "data" / "systemd_bus.hex"


def recorded_messages() -> list[bytes]:
    lines = [line for line in RECORDED.read_text().splitlines() if not line.startswith("#")]
    return [bytes.fromhex(entry) for entry in "".join(lines).split("message") if entry]


class RecordedBus:
    """Answers each call by what was recorded for its serial number, signals before replies."""

    def __init__(self, path: Path, messages: list[bytes], greeting: bytes = b"OK 1234\r\n") -> None:
        path.parent.mkdir(parents=True)
        self._messages = messages
        self._greeting = greeting
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(10)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        # A client that gives up leaves what was sent to it unread, which resets the connection.
        with (
            contextlib.suppress(ConnectionError),
            self._listener,
            self._listener.accept()[0] as client,
            client.makefile("rb") as stream,
        ):
            client.settimeout(10)
            assert stream.readline().startswith(b"\0AUTH EXTERNAL ")
            client.sendall(self._greeting)
            if stream.readline() != b"BEGIN\r\n":
                return
            while len(header := stream.read(16)) == 16:
                stream.read(message_bytes(header) - 16)
                (serial,) = struct.unpack_from("<I", header, 8)
                for message in self._messages:
                    reply = decode_reply(message)
                    # The one signal, that the client has a name now, comes after the hello.
                    if (1 if reply is None else reply.serial) == serial:
                        client.sendall(message)


@contextlib.contextmanager
def bus(root: Path, messages: list[bytes], **options: bytes) -> Iterator[str]:
    path = root / "run/dbus/system_bus_socket"
    server = RecordedBus(path, messages, **options)
    try:
        yield str(path)
    finally:
        server.thread.join(20)
    assert not server.thread.is_alive()


def test_units_and_sockets(tree, values) -> None:
    paths = tree({})
    with bus(paths.rootfs, recorded_messages()):
        found = values(SystemdSubsystem(paths).collect())
    assert found == {
        "node_systemd_units{state=activating}": 0,
        "node_systemd_units{state=active}": 3,
        "node_systemd_units{state=deactivating}": 0,
        "node_systemd_units{state=failed}": 1,
        "node_systemd_units{state=inactive}": 1,
        "node_systemd_unit_state{name=web.service,state=failed,type=}": 1,
        "node_systemd_socket_accepted_connections_total{name=dbus.socket}": 7,
        "node_systemd_socket_accepted_connections_total{name=old.socket}": 5,
        "node_systemd_socket_current_connections{name=dbus.socket}": 2,
        "node_systemd_socket_current_connections{name=old.socket}": 0,
        "node_systemd_socket_refused_connections_total{name=dbus.socket}": 1,
        "node_systemd_system_running": 0,
    }


def test_a_machine_without_a_bus_says_so(tree) -> None:
    with pytest.raises(AbsentSourceError):
        SystemdSubsystem(tree({})).collect()


def test_a_bus_that_refuses_the_user_is_an_error(tmp_path: Path) -> None:
    with (
        bus(tmp_path, [], greeting=b"REJECTED EXTERNAL\r\n") as path,
        pytest.raises(PermissionError),
    ):
        Connection(path)


def test_what_is_no_bus_is_an_error(tmp_path: Path) -> None:
    greeting = b"220 mail.example.org ESMTP " * 50
    with bus(tmp_path, [], greeting=greeting) as path, pytest.raises(MalformedSourceError):
        Connection(path)


def test_a_bus_that_does_not_answer_is_not_awaited_for_ever(tmp_path: Path) -> None:
    with bus(tmp_path, []) as path, pytest.raises(TimeoutError):
        Connection(path, timeout_s=0.05)


def test_a_call_is_encoded_as_the_specification_says() -> None:
    call = Call("a.b", "/c", "d.e", "F", ("xy",))
    message = encode_call(call, 7)
    assert message == bytes.fromhex(
        "6c 01 00 01 07 00 00 00 07 00 00 00 47 00 00 00"  # l, call, version; body, serial, fields
        "01 01 6f 00 02 00 00 00 2f 63 00 00 00 00 00 00"  # 1: o "/c", to a multiple of 8
        "02 01 73 00 03 00 00 00 64 2e 65 00 00 00 00 00"  # 2: s "d.e"
        "03 01 73 00 01 00 00 00 46 00 00 00 00 00 00 00"  # 3: s "F"
        "06 01 73 00 03 00 00 00 61 2e 62 00 00 00 00 00"  # 6: s "a.b"
        "08 01 67 00 01 73 00 00"  # 8: g "s"
        "02 00 00 00 78 79 00"  # "xy"
    )
    assert message_bytes(message[:16]) == len(message)


def test_a_message_that_is_too_large_is_refused_before_it_is_read() -> None:
    header = struct.pack("<4BIII", ord("l"), 2, 0, 1, MAX_MESSAGE_BYTES, 1, 0)
    with pytest.raises(MalformedSourceError):
        message_bytes(header)


@given(
    index=st.integers(0, 9),
    edits=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 900) | st.none(),
)
def test_a_damaged_message_decodes_or_is_reported(
    index: int, edits: list[tuple[int, int]], cut: int | None
) -> None:
    message = bytearray(recorded_messages()[index])
    for position, byte in edits:
        message[position % len(message)] = byte
    with contextlib.suppress(MalformedSourceError):
        reply = decode_reply(bytes(message[:cut]))
        if reply is not None:
            parse_units(reply)


@given(data=st.binary(max_size=300))
def test_any_bytes_decode_or_are_reported(data: bytes) -> None:
    with contextlib.suppress(MalformedSourceError):
        decode_reply(data)
    with contextlib.suppress(MalformedSourceError):
        message_bytes(data[:16].ljust(16, b"\0"))
