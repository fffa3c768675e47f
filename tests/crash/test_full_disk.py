"""A full disk: writes are told to come again, reads go on, and it recovers when there is room."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.processes import Answer, Server, obsd_server, wait_until
from tests.e2e.wire import WRITE_HEADERS, WRITE_PATH, Sample, remote_read, write_body

DISK_MIB = 24
SAMPLES_PER_REQUEST = 2000
MAX_REQUESTS = 2000
WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A tmpfs that only one process tree sees, so that it goes away with it, whatever happens.

    Attributes:
        mounted_at: the directory, for programs that `enter` takes inside.
        outside: the same directory, for the test itself.
        enter: the beginning of a command that runs inside.
    """

    mounted_at: Path
    outside: Path
    enter: tuple[str, ...]


@contextmanager
def small_disk(directory: Path) -> Iterator[SmallDisk]:
    """Mount one, as root or in a user namespace, over a directory."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    script = f'mount -t tmpfs -o size={DISK_MIB}m tmpfs "$0" && echo mounted && exec cat'
    holder = subprocess.Popen(
        ["unshare", *user, "--mount", "--propagation", "private", "sh", "-c", script, directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != b"mounted\n":
            pytest.fail(
                "this test needs a small file system of its own, which takes root or user "
                f"namespaces: {holder.stderr.read().decode()}"
            )
        user_entry = ("--user", "--preserve-credentials") if user else ()
        yield SmallDisk(
            mounted_at=directory,
            outside=Path(f"/proc/{holder.pid}/root{directory}"),
            enter=("nsenter", "--target", str(holder.pid), *user_entry, "--mount", "--"),
        )
        holder.stdin.close()  # `cat` ends, and the last one to leave takes the mount along.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    directory = tmp_path / "disk"
    directory.mkdir()
    with small_disk(directory) as mounted:
        yield mounted


@pytest.fixture
def server(tmp_path: Path, disk: SmallDisk) -> Iterator[Server]:
    server = obsd_server(tmp_path, "--no-self-monitoring", data=disk.mounted_at / "obsd")
    server.command[:0] = disk.enter
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Sender:
    """Writes random values, which no codec makes small, and keeps what was acknowledged."""

    def __init__(self, server: Server) -> None:
        self.acknowledged: list[Sample] = []
        self.start_ms = int(time.time() * 1000) - 4 * 3_600_000
        self._server = server
        self._random = random.Random(1)
        self._next_ms = self.start_ms

    def send(self) -> Answer:
        samples = [(self._next_ms + i, self._random.random()) for i in range(SAMPLES_PER_REQUEST)]
        body = write_body([({"__name__": "full_disk"}, samples)])
        answer = self._server.request(WRITE_PATH, method="POST", body=body, headers=WRITE_HEADERS)
        if answer.status == 204:
            self.acknowledged += samples
        self._next_ms += SAMPLES_PER_REQUEST
        return answer

    def send_until(self, wanted: Callable[[Answer], bool]) -> Answer:
        for _ in range(MAX_REQUESTS):
            answer = self.send()
            if wanted(answer):
                return answer
            assert answer.status == 204, answer.text
        pytest.fail(f"{MAX_REQUESTS} requests did not fill the disk")

    def check(self) -> None:
        """Everything acknowledged is there; what was refused may be there too, but only once."""
        read = remote_read(self._server, {"__name__": "full_disk"}, self.start_ms, self._next_ms)
        (stored,) = read.values()
        times = [at for at, _ in stored.samples]
        assert times == sorted(set(times))
        missing = set(self.acknowledged) - set(stored.samples)
        assert not missing, f"{len(missing)} acknowledged samples are lost"


def fill(disk: SmallDisk, leave_bytes: int = 1 << 20) -> Path:
    """Take nearly all room, or what is left of it."""
    ballast = disk.outside / "ballast"
    with ballast.open("ab") as file:
        file.write(bytes(shutil.disk_usage(disk.outside).free - leave_bytes))
    return ballast


def test_writes_wait_and_reads_go_on_while_the_disk_is_full(
    server: Server, disk: SmallDisk
) -> None:
    sender = Sender(server)
    sender.send()
    server.request("/api/v1/admin/flush", method="POST")
    sender.send()
    ballast = fill(disk)

    refusal = sender.send_until(lambda answer: answer.status != 204)
    assert refusal.status == 503, refusal.text
    assert int(refusal.headers["retry-after"]) > 0
    assert [sender.send().status for _ in range(5)] == [503] * 5

    sender.check()
    assert server.request("/-/ready").status == 200
    assert server.request("/metrics").status == 200
    # A flush has no room either; that must cost nothing.
    server.request("/api/v1/admin/flush", method="POST")
    sender.check()

    ballast.unlink()
    wait_until(lambda: sender.send().status == 204, "writes are accepted again", WAIT_S)
    sender.check()
    flushed = server.request("/api/v1/admin/flush", method="POST")
    assert flushed.status < 300, flushed.text
    sender.check()
    server.kill()
    server.start()
    sender.check()


def test_a_server_killed_on_a_full_disk_starts_again(server: Server, disk: SmallDisk) -> None:
    sender = Sender(server)
    sender.send()
    ballast = fill(disk)
    sender.send_until(lambda answer: answer.status == 503)
    fill(disk, leave_bytes=0)  # Not a page is left, not even for a name.
    assert sender.send().status == 503
    server.kill()
    server.start()
    sender.check()
    assert sender.send().status == 503
    ballast.unlink()
    wait_until(lambda: sender.send().status == 204, "writes are accepted again", WAIT_S)
    sender.check()


def test_the_disk_of_these_tests_is_really_full(disk: SmallDisk) -> None:
    ballast = fill(disk)
    script = f"open({str(disk.mounted_at / 'more')!r}, 'wb').write(bytes({4 << 20}))"
    ended = subprocess.run(
        [*disk.enter, sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "No space left on device" in ended.stderr
    assert ballast.stat().st_size > 0
