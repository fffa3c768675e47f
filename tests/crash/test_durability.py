"""An acknowledgement waits for the disk: seen from outside, through a shim before fdatasync.

`kill -9` alone cannot show this, since the kernel keeps what a dead process wrote.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.processes import Answer, Server, installed, obsd_server, running, wait_until
from tests.e2e.wire import WRITE_HEADERS, WRITE_PATH, remote_read, write_body

WAIT_S = 20.0
WRITERS = 20


@dataclass(frozen=True, slots=True)
class Disk:
    """What the shim does and has seen."""

    control: Path

    def hold(self) -> None:
        (self.control / "hold").touch()

    def release(self) -> None:
        (self.control / "hold").unlink(missing_ok=True)

    def fail(self) -> None:
        (self.control / "fail").touch()

    def heal(self) -> None:
        (self.control / "fail").unlink()

    @property
    def begun(self) -> int:
        path = self.control / "begun"
        return path.stat().st_size if path.exists() else 0

    @property
    def ended(self) -> int:
        path = self.control / "ended"
        return path.stat().st_size if path.exists() else 0


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "fdatasync_shim.so"
    source = Path(__file__).with_name("fdatasync_shim.c")
    command = [installed("gcc"), "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
    subprocess.run([*command, "-ldl"], check=True)
    return library


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    control = tmp_path / "control"
    control.mkdir()
    disk = Disk(control)
    yield disk
    disk.release()


@pytest.fixture
def server(tmp_path: Path, shim: Path, disk: Disk) -> Iterator[Server]:
    environment = {"LD_PRELOAD": str(shim), "SYNC_CONTROL": str(disk.control)}
    with running(obsd_server(tmp_path, "--no-self-monitoring", environment=environment)) as server:
        yield server
        disk.release()


@pytest.fixture
def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(WRITERS) as pool:
        yield pool


def write(server: Server, name: str, now_ms: int) -> Answer:
    body = write_body([({"__name__": name}, [(now_ms, 1.0)])])
    return server.request(WRITE_PATH, method="POST", body=body, headers=WRITE_HEADERS)


def read(server: Server, name: str, now_ms: int) -> list[tuple[int, float]]:
    found = remote_read(server, {"__name__": name}, now_ms, now_ms)
    return [sample for stored in found.values() for sample in stored.samples]


def test_a_write_is_answered_after_the_disk_has_it(
    server: Server, disk: Disk, pool: ThreadPoolExecutor, now_ms: int
) -> None:
    assert write(server, "first", now_ms).status == 204
    assert disk.ended > 0
    disk.hold()
    begun = disk.begun
    waiting = pool.submit(write, server, "held", now_ms)
    wait_until(lambda: disk.begun > begun, "the sync has begun", WAIT_S)
    # The server is idle but for the sync, and answers others: this one it keeps waiting.
    assert server.request("/-/ready").status == 200
    assert read(server, "first", now_ms) == [(now_ms, 1.0)]
    assert not waiting.done()
    disk.release()
    assert waiting.result(WAIT_S).status == 204
    assert read(server, "held", now_ms) == [(now_ms, 1.0)]


def test_one_sync_answers_all_who_wait(
    server: Server, disk: Disk, pool: ThreadPoolExecutor, now_ms: int
) -> None:
    assert write(server, "first", now_ms).status == 204
    disk.hold()
    begun = disk.begun
    waiting: list[Future[Answer]] = [
        pool.submit(write, server, f"group_{number}", now_ms) for number in range(WRITERS)
    ]
    stored = "count({__name__=~'group_.+'})"
    wait_until(lambda: value(server, stored) == WRITERS, "all writes are in the log", WAIT_S)
    disk.release()
    assert [future.result(WAIT_S).status for future in waiting] == [204] * WRITERS
    assert disk.begun - begun <= 3, "writes were not synced together"


def value(server: Server, query: str) -> float:
    result = server.data("/api/v1/query", {"query": query})["result"]
    return float(result[0]["value"][1]) if result else 0.0


def test_a_failed_sync_is_no_acknowledgement(server: Server, disk: Disk, now_ms: int) -> None:
    assert write(server, "before", now_ms).status == 204
    disk.fail()
    refused = write(server, "refused", now_ms)
    assert refused.status == 503, refused.text
    assert int(refused.headers["retry-after"]) > 0
    assert read(server, "before", now_ms) == [(now_ms, 1.0)]
    disk.heal()
    wait_until(lambda: write(server, "after", now_ms).status == 204, "the disk is back", WAIT_S)
    # What was refused is sent again, and is there once.
    assert write(server, "refused", now_ms).status == 204
    server.kill()
    server.start()
    for name in ("before", "after", "refused"):
        assert read(server, name, now_ms) == [(now_ms, 1.0)], name
