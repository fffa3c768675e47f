"""Fluent Forward from the real clients of Python and Node.js, and by hand, into a real server."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from fluent import asyncsender, sender

from tests.e2e.certificates import Certificates, make_certificates
from tests.e2e.processes import Server, free_port, installed, obsd_server, running, wait_until

PATH = "/api/v1/monitoring/logs"
NODE_CLIENT = Path(__file__).parents[1] / "clients/fluent"
TIMEOUT_S = 20.0
KEY, USER, PASSWORD = "a shared key", "web", "pässword"
NOW = int(time.time())


@dataclass(frozen=True, slots=True)
class Fluent:
    """An obsd that takes Fluent Forward."""

    server: Server
    port: int
    tls_port: int
    certificates: Certificates | None

    def logs(self, query: str) -> list[dict[str, Any]]:
        answer = self.server.request(PATH, {"query": query, "limit": "1000", "order": "asc"})
        assert answer.status == 200, answer.text
        return answer.json()["logs"]

    def wait_for(self, query: str, count: int) -> list[dict[str, Any]]:
        """For senders that ask for no acknowledgements."""
        wait_until(lambda: len(self.logs(query)) >= count, f"{count} of {query}", TIMEOUT_S)
        found = self.logs(query)
        assert len(found) == count
        return found

    def connect(self) -> Peer:
        return Peer(socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S))


class Peer:
    """A sender made of a socket and msgpack alone."""

    def __init__(self, stream: socket.socket) -> None:
        self.socket = stream
        self._unpacker = msgpack.Unpacker()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *message: Any) -> None:
        self.socket.sendall(msgpack.packb(list(message)))

    def read(self) -> Any:
        """What the server says next; None once it has closed the connection."""
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                try:
                    data = self.socket.recv(65536)
                except ConnectionResetError:
                    return None
                if not data:
                    return None
                self._unpacker.feed(data)


def server_with(
    directory: Path, certificates: Certificates | None = None, **options: str
) -> Fluent:
    port, tls_port = free_port(), free_port()
    environment = {
        "OBSD_SERVER__FLUENT_LISTEN": f"127.0.0.1:{port}",
        "OBSD_SERVER__FLUENT_TLS_LISTEN": f"127.0.0.1:{tls_port}",
        **(certificates.environment() if certificates else {}),
        **{f"OBSD_SERVER__{name.upper()}": value for name, value in options.items()},
    }
    obsd = obsd_server(
        directory, "--receivers", "fluent,fluent-tls", "--no-self-monitoring",
        environment=environment,
    )  # fmt: skip
    return Fluent(obsd, port, tls_port, certificates)


@pytest.fixture(scope="module")
def fluent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fluent]:
    made = server_with(tmp_path_factory.mktemp("fluent"))
    with running(made.server):
        yield made


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fluent]:
    """With a certificate, a key and a user."""
    directory = tmp_path_factory.mktemp("guarded")
    made = server_with(
        directory,
        make_certificates(directory),
        fluent_shared_key=KEY,
        fluent_users=f"other:x,{USER}:{PASSWORD}",
    )
    with running(made.server):
        yield made


chunk_ids = (base64.b64encode(os.urandom(16)).decode() for _ in itertools.count())


def events(tag: str, count: int) -> list[list[Any]]:
    return [[NOW, {"message": f"line {n} of {tag}", "n": n}] for n in range(count)]


def packed(items: list[list[Any]]) -> bytes:
    return b"".join(msgpack.packb(item) for item in items)


def test_the_python_client_sends_every_type(fluent: Fluent) -> None:
    client = sender.FluentSender(
        "shop", host="127.0.0.1", port=fluent.port, nanosecond_precision=True
    )
    for number in range(100):
        fields = {
            "message": f"order {number} was {'refused' if number % 10 == 0 else 'taken'}",
            "level": "error" if number % 10 == 0 else "info",
            "number": number,
            "amount": number + 0.5,
            "ok": number % 10 != 0,
            "nested": {"tags": ["a", number], "nothing": None},
        }
        assert client.emit("orders", fields), client.last_error
    client.close()
    records = fluent.wait_for("fluent_tag:shop.orders", 100)
    for number, record in enumerate(records):
        assert record["message"].startswith(f"order {number} was ")
        assert record["service"] == "shop.orders"
        assert record["attributes"] == {
            "number": number,
            "amount": number + 0.5,
            "ok": number % 10 != 0,
            "nested": {"tags": ["a", number], "nothing": None},
            "fluent_tag": "shop.orders",
        }
    assert len(fluent.logs("fluent_tag:shop.orders level:error refused")) == 10
    assert len(fluent.logs("fluent_tag:shop.orders amount:>=90")) == 10
    # Nanoseconds: not all of them fall on a millisecond.
    assert any(len(record["timestamp"]) > len("2026-11-24T14:15:19.000Z") for record in records)


def test_the_python_clients_queue_sends_from_its_thread(fluent: Fluent) -> None:
    client = asyncsender.FluentSender("queued", host="127.0.0.1", port=fluent.port)
    for number in range(50):
        assert client.emit("q", {"log": f"line {number}\n", "container_name": "/web-1"})
    client.close()
    records = fluent.wait_for("fluent_tag:queued.q", 50)
    assert {record["message"] for record in records} == {f"line {n}" for n in range(50)}
    assert records[0]["service"] == "web-1"
    assert records[0]["resource"]["container_name"] == "web-1"


def run_node(**options: Any) -> subprocess.CompletedProcess[str]:
    if not (NODE_CLIENT / "node_modules").is_dir():
        pytest.fail("the clients of Node.js are not installed: make peers")
    return subprocess.run(
        [installed("node", "nodejs"), str(NODE_CLIENT / "send.js"), json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


NODE_MODES = [
    *(("fluent-org", m) for m in ("Message", "Forward", "PackedForward")),
    ("fluent-org", "CompressedPackedForward"),
    *(("fluent-logger", m) for m in ("Message", "PackedForward", "CompressedPackedForward")),
]


@pytest.mark.parametrize(("client", "mode"), NODE_MODES)
def test_the_node_clients_see_everything_acknowledged(
    fluent: Fluent, client: str, mode: str
) -> None:
    tag = f"{client}-{mode}".lower()
    done = run_node(client=client, mode=mode, port=fluent.port, tag=tag, count=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("acknowledged\n")
    records = fluent.logs(f"fluent_tag:{tag}.node")
    assert sorted(record["attributes"]["number"] for record in records) == list(range(60))
    assert len(fluent.logs(f"fluent_tag:{tag}.node level:error")) == 6


@pytest.mark.parametrize("client", ["fluent-org", "fluent-logger"])
def test_the_node_clients_shake_hands(guarded: Fluent, client: str) -> None:
    security = {
        "clientHostname": "client.example",
        "sharedKey": KEY,
        "username": USER,
        "password": PASSWORD,
    }
    options = {"client": client, "port": guarded.port, "count": 5, "mode": "PackedForward"}
    done = run_node(tag=f"{client}-known", security=security, **options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("acknowledged\n")
    assert len(guarded.logs(f"fluent_tag:{client}-known.node")) == 5


def test_a_node_client_sends_over_tls(guarded: Fluent) -> None:
    assert guarded.certificates is not None
    security = {"clientHostname": "c", "sharedKey": KEY, "username": USER, "password": PASSWORD}
    done = run_node(
        client="fluent-logger", port=guarded.tls_port, tag="tls", count=5, mode="Message",
        security=security, ca=str(guarded.certificates.authority),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("acknowledged\n")
    assert len(guarded.logs("fluent_tag:tls.node")) == 5


def test_every_mode_on_one_connection_is_acknowledged(fluent: Fluent) -> None:
    items = events("modes", 6)
    halves = gzip.compress(packed(items[:3])) + gzip.compress(packed(items[3:]))
    zstd = zstandard.ZstdCompressor().compress(packed(items))
    text = packed([[NOW, {"message": "as text", "n": 7}]])
    with fluent.connect() as peer:
        wanted = []

        def option(**more: Any) -> dict[str, Any]:
            wanted.append(next(chunk_ids))
            return {"chunk": wanted[-1], **more}

        peer.send("mode-message", NOW, items[0][1], option())
        peer.send("mode-forward", items, option(size=6))
        peer.socket.sendall(msgpack.packb(None))
        peer.send("mode-packed", packed(items), option())
        peer.send("mode-gzip", halves, option(compressed="gzip"))
        peer.send("mode-zstd", zstd, option(compressed="zstd"))
        peer.send("mode-plain", packed(items), option(compressed="text"))
        old = msgpack.packb(["mode-raw", text, option()], use_bin_type=False)
        peer.socket.sendall(old)
        peer.socket.sendall(
            json.dumps(["mode-json", NOW, {"message": "as JSON"}, option()]).encode()
        )
        peer.send("mode-metrics", items, option(fluent_signal=1))
        assert [peer.read() for _ in wanted] == [{"ack": chunk} for chunk in wanted]
    counts = {"message": 1, "forward": 6, "packed": 6, "gzip": 6, "zstd": 6, "plain": 6}
    counts |= {"raw": 1, "json": 1, "metrics": 0}
    for mode, count in counts.items():
        assert len(fluent.logs(f"fluent_tag:mode-{mode}")) == count, mode


def test_a_chunk_that_is_sent_again_is_stored_once(fluent: Fluent) -> None:
    message = ("again", packed(events("again", 10)), {"chunk": next(chunk_ids)})
    for _ in range(2):
        with fluent.connect() as peer:
            peer.send(*message)
            peer.send(*message)
            assert peer.read() == peer.read() == {"ack": message[2]["chunk"]}
    assert len(fluent.logs("fluent_tag:again")) == 10


def test_many_senders_of_one_chunk_store_it_once(fluent: Fluent) -> None:
    message = ("together", packed(events("together", 100)), {"chunk": next(chunk_ids)})
    peers = [fluent.connect() for _ in range(8)]
    answers: list[Any] = []

    def send(peer: Peer) -> None:
        with peer:
            peer.send(*message)
            answers.append(peer.read())

    threads = [threading.Thread(target=send, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert answers == [{"ack": message[2]["chunk"]}] * 8
    assert len(fluent.logs("fluent_tag:together")) == 100


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    made = server_with(tmp_path)
    with running(made.server):
        with made.connect() as peer:
            for number in range(20):
                peer.send("kept", NOW, {"n": number}, {"chunk": f"chunk {number}"})
                assert peer.read() == {"ack": f"chunk {number}"}
            made.server.kill()
        made.server.start()
        assert [r["attributes"]["n"] for r in made.logs("fluent_tag:kept")] == list(range(20))


def test_nothing_is_answered_without_a_chunk(fluent: Fluent) -> None:
    with fluent.connect() as peer:
        peer.send("silent", NOW, {"message": "hello"})
        peer.send("silent", NOW, {"message": "good bye"}, {"chunk": "c1"})
        assert peer.read() == {"ack": "c1"}
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.read() is None
    assert len(fluent.logs("fluent_tag:silent")) == 2


def test_acknowledgements_come_after_the_sender_has_ended(fluent: Fluent) -> None:
    with fluent.connect() as peer:
        peer.send("ended", packed(events("ended", 50)), {"chunk": "ended-1"})
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.read() == {"ack": "ended-1"}
        assert peer.read() is None


def test_bytes_of_any_kind_are_kept(fluent: Fluent) -> None:
    # A raw text that is no UTF-8, as old senders have them; and a binary, as new ones.
    raw = b"\x94\xa3odd\x00\x82\xa7message\xa5a\xff\xfeb!\xa3bin\xc4\x02\xff\x00\x81\xa5chunk\xa1x"
    with fluent.connect() as peer:
        peer.socket.sendall(raw)
        assert peer.read() == {"ack": "x"}
    [record] = fluent.logs("fluent_tag:odd")
    assert record["message"] == "a\ufffd\ufffdb!"
    assert time.time() - 60 < _seconds(record["timestamp"]) < time.time() + 60


def _seconds(timestamp: str) -> float:
    return time.mktime(time.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone


@pytest.mark.parametrize(
    "garbage",
    [b"\xc1", b"GET / HTTP/1.1\r\n\r\n", b"\x05", b"\x91\xa1t", b"\x93\xa1t\xc4\x02\x92\xc1\x80"],
)
def test_what_is_no_message_closes_the_connection(fluent: Fluent, garbage: bytes) -> None:
    with fluent.connect() as peer:
        peer.send("before", NOW, {"message": "hello"}, {"chunk": garbage.hex()})
        assert peer.read() == {"ack": garbage.hex()}
        peer.socket.sendall(garbage)
        assert peer.read() is None


def test_heartbeats_are_answered(fluent: Fluent) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.settimeout(TIMEOUT_S)
        probe.connect(("127.0.0.1", fluent.port))
        for payload in (b"\0", b"anything", b""):
            probe.send(payload)
            assert probe.recv(100) == b"\0"


def shake_hands(peer: Peer, key: str = KEY, user: str = USER, password: str = PASSWORD) -> Any:
    """Returns the PONG."""
    kind, options = peer.read()
    assert kind == "HELO"
    assert options["keepalive"] is True
    salt, host = b"salt", "client.example"

    def digest(*parts: str | bytes) -> str:
        joined = b"".join(p.encode() if isinstance(p, str) else p for p in parts)
        return hashlib.sha512(joined).hexdigest()

    peer.send(
        "PING", host, salt, digest(salt, host, options["nonce"], key),
        user, digest(options["auth"], user, password),
    )  # fmt: skip
    pong = peer.read()
    if pong[1]:
        assert pong[4] == digest(salt, pong[3], options["nonce"], key)
    return pong


def test_who_knows_the_key_and_a_password_may_send(guarded: Fluent) -> None:
    with guarded.connect() as peer:
        assert shake_hands(peer)[:3] == ["PONG", True, ""]
        peer.send("known", NOW, {"message": "hello"}, {"chunk": "k"})
        assert peer.read() == {"ack": "k"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "another"}, "shared_key mismatch"),
        ({"password": "another"}, "username/password mismatch"),
        ({"user": "nobody"}, "username/password mismatch"),
        ({"user": "nobody", "password": ""}, "username/password mismatch"),
    ],
)
def test_who_does_not_is_told_why_and_left(
    guarded: Fluent, change: dict[str, str], reason: str
) -> None:
    with guarded.connect() as peer:
        assert shake_hands(peer, **change)[:3] == ["PONG", False, reason]
        assert peer.read() is None
    with guarded.connect() as peer:
        assert peer.read()[0] == "HELO"
        peer.send("unknown", NOW, {"message": "hello"}, {"chunk": "u"})
        assert peer.read() is None
    assert guarded.logs("fluent_tag:unknown") == []


def test_a_sender_over_tls_is_asked_too(guarded: Fluent) -> None:
    assert guarded.certificates is not None
    context = ssl.create_default_context(cafile=str(guarded.certificates.authority))
    plain = socket.create_connection(("127.0.0.1", guarded.tls_port), TIMEOUT_S)
    with Peer(context.wrap_socket(plain, server_hostname="localhost")) as peer:
        assert shake_hands(peer)[1] is True
        peer.send("over-tls", packed(events("over-tls", 3)), {"chunk": "t"})
        assert peer.read() == {"ack": "t"}
    assert len(guarded.logs("fluent_tag:over-tls")) == 3


def test_what_has_come_is_stored_at_the_end(tmp_path: Path) -> None:
    made = server_with(tmp_path)
    with running(made.server):
        with made.connect() as peer:
            peer.send("ending", packed(events("ending", 2_000)), {"chunk": "e"})
            peer.socket.sendall(msgpack.packb(["ending", NOW, {}])[:-1])  # And one begun.
            assert peer.read() == {"ack": "e"}
            assert made.server.stop() == 0
            assert peer.read() is None
        made.server.start()
        assert len(made.logs("fluent_tag:ending")) == 1000
