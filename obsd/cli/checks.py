"""What `obsd doctor` looks at. Each check yields findings, and changes nothing that stays."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import shutil
import socket
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Final

from obsd.config import Config
from obsd.config.option import Address
from obsd.config.receivers import open_receivers
from obsd.model.finding import Finding
from obsd.services.data_dir import LOCK_FILE

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
MIN_FREE_BYTES: Final = _GIB
SLOW_SYNC_S: Final = 0.1  # Each acknowledgement waits for one; senders then pile up requests.
SLOW_WRITE_BYTES_S: Final = 20 * _MIB
MIN_OPEN_FILES: Final = 4096
MAX_CLOCK_STEP_S: Final = 0.05
_OLDEST_SENSIBLE_S: Final = 1_700_000_000  # A clock that was never set shows 1970 or 2000.


class Level(IntEnum):
    """How bad it is; a problem makes the exit status 1."""

    OK = 0
    WARNING = 1
    PROBLEM = 2


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One line of the report."""

    level: Level
    subject: str
    message: str


def run_checks(config: Config) -> Iterator[CheckFinding]:
    """Every check, the cheap ones first."""
    yield from check_port(config.server.listen)
    for info, address in open_receivers(config.server):
        if address is not None:
            http = None if info.is_http else config.server.listen
            yield from check_receiver(info.name, address, http)
    yield from check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield from check_clock()
    yield from check_disk(config.storage.data_dir)
    yield from check_data(config.storage.data_dir)


def check_port(address: Address, http: Address | None = None) -> Iterator[CheckFinding]:
    """Free, or held by obsd: by one that answers there or, if it is no HTTP port, at `http`."""
    subject = f"port {address}"
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _is_obsd(http or address):
            yield CheckFinding(Level.OK, subject, "an obsd answers there")
        elif error.errno == errno.EADDRINUSE:
            yield CheckFinding(Level.PROBLEM, subject, "another program listens there")
        else:
            yield CheckFinding(Level.PROBLEM, subject, f"cannot be used: {error.strerror or error}")
    else:
        yield CheckFinding(Level.OK, subject, "free")


def check_receiver(
    name: str, address: Address, http: Address | None = None
) -> Iterator[CheckFinding]:
    """As a port; but obsd serves without a receiver's, so that it is a warning at most."""
    for found in check_port(address, http):
        if found.level is Level.OK:
            yield replace(found, message=f"{found.message} ({name})")
        else:
            message = f"{found.message}; obsd then starts without its receiver {name}"
            yield replace(found, level=Level.WARNING, message=message)


def _is_obsd(address: Address) -> bool:
    host = "127.0.0.1" if address.host == "0.0.0.0" else address.host  # noqa: S104 - compared only
    try:
        with urllib.request.urlopen(
            f"http://{Address(host, address.port)}/-/healthy", timeout=5
        ) as response:
            return b"obsd" in response.read(200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def check_open_files(hard_limit: int) -> Iterator[CheckFinding]:
    """`obsd serve` raises its limit to the hard one, so that is what counts."""
    if hard_limit == resource.RLIM_INFINITY or hard_limit >= MIN_OPEN_FILES:
        shown = "unlimited" if hard_limit == resource.RLIM_INFINITY else str(hard_limit)
        yield CheckFinding(Level.OK, "open files", f"limit {shown}")
        return
    message = (
        f"limit {hard_limit} is below {MIN_OPEN_FILES}; raise it with 'ulimit -Hn {MIN_OPEN_FILES}'"
        " as root, or LimitNOFILE= in systemd"
    )
    yield CheckFinding(Level.WARNING, "open files", message)


def check_clock(wait_s: float = 0.2) -> Iterator[CheckFinding]:
    """The wall clock runs as the monotonic one does, is set, and is kept in time."""
    wall_s, monotonic_s = time.time(), time.monotonic()
    time.sleep(wait_s)
    step_s = (time.time() - wall_s) - (time.monotonic() - monotonic_s)
    if wall_s < _OLDEST_SENSIBLE_S:
        yield CheckFinding(Level.PROBLEM, "clock", f"shows {time.ctime(wall_s)}; set it")
    elif abs(step_s) > MAX_CLOCK_STEP_S:
        yield CheckFinding(Level.WARNING, "clock", f"stepped by {step_s:.3f} s while watched")
    elif (synchronised := is_clock_synchronised()) is False:
        message = "steady, but the kernel says that nothing keeps it in time; run an NTP client"
        yield CheckFinding(Level.WARNING, "clock", message)
    else:
        known = "steady and kept in time" if synchronised else "steady"
        yield CheckFinding(Level.OK, "clock", known)


_TIMEX_BYTES: Final = 512  # struct timex is 208 bytes on 64-bit machines; the rest is room.
_TIME_ERROR: Final = 5  # adjtimex(2): "the system clock is not synchronized".


def is_clock_synchronised() -> bool | None:
    """What adjtimex says when asked to change nothing; None where it cannot be asked."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state: int = ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def check_disk(data_dir: Path) -> Iterator[CheckFinding]:
    """Room, and how fast it writes and syncs."""
    directory = _existing(data_dir)
    if not directory.is_dir():
        return  # check_data says what is wrong.
    usage = shutil.disk_usage(directory)
    room = f"{_show_bytes(usage.free)} of {_show_bytes(usage.total)} are free"
    if usage.free < MIN_FREE_BYTES:
        message = f"{room}; make room, at least 1 GiB"
        yield CheckFinding(Level.PROBLEM, f"disk of {data_dir}", message)
        return
    yield CheckFinding(Level.OK, f"disk of {data_dir}", room)
    try:
        write_bytes_s, sync_s = measure_disk(directory)
    except OSError as error:
        yield CheckFinding(
            Level.PROBLEM, f"disk of {data_dir}", f"cannot write to {directory}: {error.strerror}"
        )
        return
    message = f"writes {write_bytes_s / _MIB:.0f} MiB/s, syncs in {sync_s * 1000:.1f} ms"
    slow = write_bytes_s < SLOW_WRITE_BYTES_S or sync_s > SLOW_SYNC_S
    yield CheckFinding(Level.WARNING if slow else Level.OK, f"disk of {data_dir}", message)


def _existing(path: Path) -> Path:
    """The directory, or the nearest thing above it that exists: where it would be made."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _show_bytes(size_bytes: int) -> str:
    if size_bytes < _GIB:
        return f"{size_bytes / _MIB:.1f} MiB"
    return f"{size_bytes / _GIB:.1f} GiB"


def measure_disk(directory: Path, size_bytes: int = 32 * _MIB) -> tuple[float, float]:
    """Bytes a second of a synced write, and the median time to sync 4 KiB, in seconds."""
    path = directory / f".obsd-doctor-{os.getpid()}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        block = os.urandom(_MIB)
        begun_s = time.perf_counter()
        for _ in range(size_bytes // _MIB):
            os.write(descriptor, block)
        os.fdatasync(descriptor)
        written_s = time.perf_counter() - begun_s
        syncs_s = []
        for _ in range(9):
            begun_s = time.perf_counter()
            os.write(descriptor, block[:4096])
            os.fdatasync(descriptor)
            syncs_s.append(time.perf_counter() - begun_s)
    finally:
        os.close(descriptor)
        path.unlink()
    return size_bytes / written_s, statistics.median(syncs_s)


def check_data(data_dir: Path) -> Iterator[CheckFinding]:
    """The lock, and what the engines say about their files."""
    subject = f"data in {data_dir}"
    directory = _existing(data_dir)
    if not directory.is_dir():
        message = f"{directory} is not a directory; name another one with --data-dir"
        yield CheckFinding(Level.PROBLEM, subject, message)
        return
    if (refusal := _refusal(directory)) is not None:
        message = f"{refusal}; mend it, or name another one with --data-dir"
        yield CheckFinding(Level.PROBLEM, subject, message)
        return
    if directory != data_dir.absolute():
        yield CheckFinding(Level.OK, subject, "not there yet; 'obsd serve' makes it")
        return
    holder = lock_holder(data_dir)
    use = "not in use" if holder is None else f"in use by process {holder}"
    yield CheckFinding(Level.OK, subject, f"{_show_bytes(_size_bytes(data_dir))}, {use}")
    yield from _check_foreign(data_dir)
    yield from _inspect_engines(data_dir)


def _refusal(directory: Path) -> str | None:
    """Why obsd could not keep data there; None when it can."""
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return f"{directory} is on a read-only file system"
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return f"this user cannot read and write {directory}"
    return None


def _check_foreign(data_dir: Path) -> Iterator[CheckFinding]:
    """Files that obsd has not made: a mistyped directory, most likely."""
    from obsd.api.auth import TOKEN_FILE
    from obsd.services.projects import PROJECTS_DIRECTORY

    own = {LOCK_FILE, TOKEN_FILE, PROJECTS_DIRECTORY}
    foreign = sorted(path.name for path in data_dir.iterdir() if path.name not in own)
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        message = f"{', '.join(foreign[:3])}{more}: not of obsd; is it the right directory?"
        yield CheckFinding(Level.WARNING, f"data in {data_dir}", message)


def _size_bytes(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # A running server deletes files.
            total += path.stat().st_size if path.is_file() else 0
    return total


def lock_holder(data_dir: Path) -> str | None:
    """Which process has the directory locked; None when none has."""
    try:
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(descriptor)
    return None


def _inspect_engines(data_dir: Path) -> Iterator[CheckFinding]:
    """Scan the write-ahead logs, and verify the parts and segments, of every project."""
    from obsd.logindex import inspect as log_files
    from obsd.services.projects import (
        LOGS_DIRECTORY,
        METRICS_DIRECTORY,
        PROJECTS_DIRECTORY,
        TRACES_DIRECTORY,
    )
    from obsd.tracestore import inspect as span_files
    from obsd.tsdb import inspect as metric_files

    inspections: dict[str, Callable[[Path], list[Finding]]] = {
        METRICS_DIRECTORY: metric_files.inspect,
        LOGS_DIRECTORY: log_files.inspect,
        TRACES_DIRECTORY: span_files.inspect,
    }
    for project in sorted((data_dir / PROJECTS_DIRECTORY).glob("*")):
        findings: list[Finding] = []
        for name, inspect in inspections.items():
            if (directory := project / name).is_dir():
                findings += inspect(directory)
        for finding in findings:
            level = _LEVELS[finding.level.value]
            yield CheckFinding(level, f"project {project.name}, {finding.subject}", finding.message)


_LEVELS: Final = {"ok": Level.OK, "warning": Level.WARNING, "error": Level.PROBLEM}
