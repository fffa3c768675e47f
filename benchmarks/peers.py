"""The servers under comparison: started on free loopback ports with directories of their own."""

from __future__ import annotations

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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bodies import METRICS, Shape, metric_name

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0
REQUEST_TIMEOUT_S: Final = 120.0
MAX_SERIES: Final = 2_000_000
MAX_SAMPLES_COUNTED: Final = 5_000_000
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has taken so far."""

    cpu_seconds: float
    rss_bytes: int
    peak_rss_bytes: int
    anonymous_bytes: int  # RSS without mapped files, which the kernel can take back.


class Peer:
    """One server process; a context manager that starts and stops it."""

    name = ""
    ready_path = "/-/ready"
    flush_paths: tuple[str, ...] = ()
    samples_path = ""  # Where below the data directory the samples are, without the index.

    def __init__(self, directory: Path) -> None:
        self.directory = directory / self.name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.port = free_port()
        self.log = self.directory / "log"
        self.start_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(f"--- end of {self.log}\n{self.log_tail()}", file=sys.stderr)
        self.stop()

    def start(self) -> float:
        """Start the process, wait until it is ready, and return the seconds that this took."""
        started = time.perf_counter()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, env=os.environ | self.environment()
            )
        while not self._is_ready():
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start:\n{self.log_tail()}")
            if time.perf_counter() - started > START_TIMEOUT_S:
                raise TimeoutError(f"{self.name} is not ready:\n{self.log_tail()}")
            time.sleep(0.01)
        self.start_seconds = time.perf_counter() - started
        return self.start_seconds

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the process as `kill -9` does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def usage(self) -> Usage:
        assert self._process is not None
        return process_usage(self._process.pid)

    def get(self, path: str, method: str = "GET", **parameters: str) -> bytes:
        query = urllib.parse.urlencode(parameters)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}{'?' if query else ''}{query}", method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
                answer: bytes = response.read()
        except urllib.error.HTTPError as error:
            error.add_note(error.read(500).decode(errors="replace"))
            raise
        return answer

    def query_number(self, expression: str, time_s: float) -> float:
        """The value of an instant query with one result; 0 without any."""
        answer = json.loads(self.get("/api/v1/query", query=expression, time=f"{time_s:.3f}"))
        result = answer["data"]["result"]
        assert len(result) <= 1
        return float(result[0]["value"][1]) if result else 0.0

    def count_samples(self, shape: Shape, rounds: int) -> int:
        """The number of samples that queries find in the first rounds of a shape.

        Counted in pieces of at most MAX_SAMPLES_COUNTED, within every server's query limits.
        """
        step = min(rounds, max(1, MAX_SAMPLES_COUNTED * METRICS // shape.series))
        window_ms = step * shape.interval_ms
        count = 0.0
        for metric in range(METRICS):
            for last in range(step - 1, rounds - 1 + step, step):
                # Between samples, since servers differ on whether a window's left end is in it.
                end_ms = shape.timestamp_ms(last) + shape.interval_ms // 2
                count += self.query_number(
                    f"sum(count_over_time({metric_name(metric)}[{window_ms}ms]))", end_ms / 1000
                )
        return int(count)

    def flush(self) -> None:
        """Bring what is in memory to disk."""
        for path in self.flush_paths:
            self.get(path, "POST")

    def disk_bytes(self) -> int:
        return tree_bytes(self.data)

    def sample_disk_bytes(self) -> int:
        return sum(tree_bytes(directory) for directory in self.data.glob(self.samples_path))

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _is_ready(self) -> bool:
        try:
            self.get(self.ready_path)
        except (urllib.error.URLError, OSError):
            return False
        return True


class Obsd(Peer):
    name = "obsd"
    flush_paths = ("/api/v1/admin/flush",)
    samples_path = "projects/*/metrics/parts"

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "obsd.cli.main", "serve"),
            *("--data-dir", str(self.data), "--listen", f"127.0.0.1:{self.port}"),
            *("--receivers", "http", "--no-self-monitoring"),
        ]


class VictoriaMetrics(Peer):
    name = "victoria-metrics"
    ready_path = "/health"
    flush_paths = ("/internal/force_flush", "/internal/force_merge")
    samples_path = "data"

    def command(self) -> list[str]:
        return [
            installed("victoria-metrics"),
            f"-storageDataPath={self.data}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=10y",
            "-search.latencyOffset=1ms",
            f"-search.maxUniqueTimeseries={MAX_SERIES}",
        ]


class Prometheus(Peer):
    name = "prometheus"
    samples_path = "*"

    def command(self) -> list[str]:
        configuration = self.directory / "prometheus.yml"
        configuration.write_text("scrape_configs: []\n")
        return [
            installed("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self.data}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-remote-write-receiver",
        ]


def installed(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise SystemExit(f"{program} is not installed; on Debian: apt-get install {program}")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def process_usage(pid: int) -> Usage:
    """Read from /proc; the times of ended threads are in it, those of child processes are not."""
    # The command's name is in parentheses and may hold spaces: count the fields behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime, stime
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return Usage(
        cpu_seconds=ticks / _TICKS_PER_SECOND,
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        peak_rss_bytes=int(status["VmHWM"].split()[0]) * 1024,
        anonymous_bytes=int(status["RssAnon"].split()[0]) * 1024,
    )


def tree_bytes(directory: Path) -> int:
    """The bytes of all files below a directory that a running server may change meanwhile."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(parent) / name).stat().st_size
            except FileNotFoundError:
                continue  # Merged away since it was listed.
    return total
