"""Sends ready-made requests over a few connections, and does little else.

One blocking thread a connection, one request in flight on each: the sender shares the processor
with the server that it measures.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

RESPONSE_TIMEOUT_S = 60.0
MAX_RETRY_WAIT_S = 1.0
STATUSES_TO_RETRY = (429, 503)
REMOTE_WRITE_PATH = "/api/v1/write"
REMOTE_WRITE_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


class RefusedError(Exception):
    """The server refused a request for good."""


@dataclass(slots=True)
class Sent:
    """What one run of the sender did."""

    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    disconnected: bool = False

    def latency_ms(self, quantile: float) -> float:
        latencies: npt.NDArray[np.float64] = np.asarray(self.latencies_s)
        return float(np.quantile(latencies, quantile) * 1e3) if latencies.size else float("nan")


def http_request(
    body: bytes, path: str = REMOTE_WRITE_PATH, headers: Mapping[str, str] = REMOTE_WRITE_HEADERS
) -> bytes:
    """A whole HTTP request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "User-Agent: obsd-benchmark",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def send(port: int, requests: list[Iterable[bytes]], seconds: float) -> Sent:
    """Send each iterable's requests over a connection of its own, in order, until the time is up.

    A series must stay on one connection, so that its samples arrive in order. A connection that
    the server closes ends its share; `requests` counts those that were acknowledged.

    Raises:
        RefusedError: an answer that is neither success nor a wish to be asked again.
        OSError: no connection was to be had, or no answer came in time.
    """
    started = time.perf_counter()
    workers = [_Connection(port, share, started + seconds) for share in requests]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    total = Sent(seconds=time.perf_counter() - started)
    for worker in workers:
        if worker.error is not None:
            raise worker.error
        total.requests += worker.sent.requests
        total.retries += worker.sent.retries
        total.latencies_s += worker.sent.latencies_s
        total.disconnected |= worker.sent.disconnected
    return total


class _Connection(threading.Thread):
    def __init__(self, port: int, requests: Iterable[bytes], deadline: float) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._requests = requests
        self._deadline = deadline
        self.sent = Sent()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with socket.create_connection(
                ("127.0.0.1", self._port), RESPONSE_TIMEOUT_S
            ) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._send_all(connection)
        except (ConnectionResetError, BrokenPipeError):
            self.sent.disconnected = True
        except (OSError, RefusedError) as error:
            self.error = error

    def _send_all(self, connection: socket.socket) -> None:
        clock = time.perf_counter
        for request in self._requests:
            begun = clock()
            if begun >= self._deadline:
                return
            self._send_one(connection, request)
            self.sent.latencies_s.append(clock() - begun)
            self.sent.requests += 1

    def _send_one(self, connection: socket.socket, request: bytes) -> None:
        while True:
            connection.sendall(request)
            status, head, body = _read_response(connection)
            if 200 <= status < 300:
                return
            if status not in STATUSES_TO_RETRY:
                raise RefusedError(f"answer {status}: {body[:500].decode(errors='replace')}")
            self.sent.retries += 1
            time.sleep(min(_retry_after_s(head), MAX_RETRY_WAIT_S))


def _read_response(connection: socket.socket) -> tuple[int, bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    while len(body) < _content_length(status, head):
        body += _receive(connection)
    return status, head, body


def _receive(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise ConnectionResetError("the server closed the connection")
    return received


def _content_length(status: int, head: bytes) -> int:
    return 0 if status == 204 else int(_header(head, b"content-length") or 0)


def _retry_after_s(head: bytes) -> float:
    return float(_header(head, b"retry-after") or 0.1)


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""
