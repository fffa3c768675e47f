"""The real programs that end-to-end tests run: started on free loopback ports, stopped by pid."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 30.0
POLL_S = 0.02

Parameters = Mapping[str, str] | Sequence[tuple[str, str]]

RUNNING: list[Server] = []
"""Every server that is up; the end of their logs is shown when a test fails."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A program that listens on one HTTP port."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        log: Path,
        ready_path: str = "/-/ready",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._ready_path = ready_path
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self) -> float:
        """Start the program, wait until it is ready, and return the seconds that this took."""
        started = time.perf_counter()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=os.environ | self._environment
            )
        RUNNING.append(self)
        wait_until(self._is_ready, f"{self.name} is ready", START_TIMEOUT_S)
        return time.perf_counter() - started

    def stop(self) -> int:
        """Ask the program to end, and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def request(
        self,
        path: str,
        parameters: Parameters = (),
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask, whatever the status of the answer. A POST without a body carries a form."""
        query = urllib.parse.urlencode(parameters)
        if method == "POST" and body is None:
            body, query = query.encode(), ""
        request = urllib.request.Request(
            f"{self.url}{path}{'?' if query else ''}{query}",
            data=body,
            headers=dict(headers or {}),
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
                return _answer(response.status, response)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error)

    def data(self, path: str, parameters: Parameters = ()) -> Any:
        """What a Prometheus API gives as `data`; anything but success fails the test."""
        answer = self.request(path, parameters)
        assert answer.status == 200, f"{self.name}{path} {parameters}: {answer.text}"
        envelope = answer.json()
        assert envelope["status"] == "success", envelope
        return envelope["data"]

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"{self.name} ended with {self._process.returncode}:\n{self.log_tail()}")
        try:
            return self.request(self._ready_path).status == 200
        except OSError:
            return False

    def _end(self, with_signal: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        RUNNING.remove(self)
        process.send_signal(with_signal)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"{self.name} did not end within {STOP_TIMEOUT_S} s:\n{self.log_tail()}")


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start the server, and end it whatever happens."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def obsd_server(
    directory: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    data: Path | None = None,
) -> Server:
    """`obsd serve` of the interpreter that runs the tests, with its HTTP port alone."""
    port = free_port()
    return Server(
        "obsd",
        [
            *(sys.executable, "-m", "obsd.cli.main", "serve"),
            *("--data-dir", str(data or directory / "obsd"), "--listen", f"127.0.0.1:{port}"),
            *("--receivers", "http", *arguments),
        ],
        port=port,
        log=directory / "obsd.log",
        environment=environment,
    )


def prometheus_server(
    directory: Path, configuration: str, *arguments: str, name: str = "prometheus"
) -> Server:
    """Debian's Prometheus; `{own}` in the configuration becomes its own address."""
    port = free_port()
    file = directory / f"{name}.yml"
    file.write_text(configuration.replace("{own}", f"127.0.0.1:{port}"))
    return Server(
        name,
        [
            installed("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / name}",
            f"--web.listen-address=127.0.0.1:{port}",
            *arguments,
        ],
        port=port,
        log=directory / f"{name}.log",
    )


def node_exporter_server(directory: Path) -> Server:
    port = free_port()
    return Server(
        "node_exporter",
        [
            installed("prometheus-node-exporter"),
            f"--web.listen-address=127.0.0.1:{port}",
            "--no-collector.systemd",  # Complains at every scrape where there is none.
        ],
        port=port,
        log=directory / "node_exporter.log",
        ready_path="/",
    )


def installed(program: str, package: str | None = None) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.fail(
            f"{program} is not installed, and this test runs the real one: "
            f"apt-get install {package or program}"
        )
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], object], what: str, timeout_s: float) -> None:
    """Ask again and again; fail when the answer is still no at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s in vain until {what}")
        time.sleep(POLL_S)


def _answer(status: int, response: Any) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status, headers, response.read())
