"""Control groups: where they are, and what each has used; version 2, or 1 where that is in use.

Interfaces: https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from obsd.services.host.sources import HostPaths, parser, read_optional
from obsd.services.host.stat import TICKS_PER_SECOND

# A walk stops here: a machine with more control groups than this would make it slow.
MAX_WALKED: Final = 2000
MAX_DEPTH: Final = 8
# Version 1 says "no limit" by the largest multiple of a page.
_V1_NO_LIMIT: Final = 1 << 62

_CONTAINER: Final = re.compile(r"(?:.*[-:])?([0-9a-f]{64})(?:\.scope)?")
_NAMED: Final = re.compile(r"(?:lxc\.payload\.|machine-)(.+?)(?:\.scope)?")


@dataclass(frozen=True, slots=True)
class DeviceIo:
    """What a control group read from and wrote to one block device, `major:minor`."""

    read_bytes: int = 0
    write_bytes: int = 0
    reads: int = 0
    writes: int = 0


@dataclass(frozen=True, slots=True)
class CgroupUsage:
    """One control group's numbers; None is what this kernel, or this group, does not tell."""

    cpu_s: float | None = None
    cpu_user_s: float | None = None
    cpu_system_s: float | None = None
    cfs_periods: int | None = None
    cfs_throttled_periods: int | None = None
    cfs_throttled_s: float | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int | None = None
    memory_bytes: int | None = None
    working_set_bytes: int | None = None
    rss_bytes: int | None = None
    cache_bytes: int | None = None
    swap_bytes: int | None = None
    mapped_file_bytes: int | None = None
    memory_limit_bytes: int | None = None
    memory_limit_hits: int | None = None
    oom_kills: int | None = None
    threads: int | None = None
    threads_max: int | None = None
    io: dict[str, DeviceIo] = field(default_factory=dict)


class Hierarchy(Protocol):
    """One version of control groups; a group is named by its path, `/` for the root."""

    def children(self, group: str) -> list[str]:
        """Paths of the groups directly below."""

    def usage(self, group: str) -> CgroupUsage:
        """What a group has used; all None when it has gone."""

    def created_s(self, group: str) -> float | None:
        """Unix seconds of the group's directory; None when it has gone."""


@parser
def parse_flat_keyed(text: str) -> dict[str, int]:
    """Lines of `key value`."""
    pairs = (line.split() for line in text.splitlines() if line.strip())
    return {key: int(value) for key, value in pairs}


@parser
def parse_io_stat(text: str) -> dict[str, DeviceIo]:
    """Version 2's io.stat: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`."""
    devices = {}
    for line in text.splitlines():
        device, *fields = line.split() or [""]
        values = dict(f.split("=") for f in fields)
        if device and values:
            devices[device] = DeviceIo(
                int(values.get("rbytes", 0)),
                int(values.get("wbytes", 0)),
                int(values.get("rios", 0)),
                int(values.get("wios", 0)),
            )
    return devices


@parser
def parse_blkio(text: str) -> dict[str, dict[str, int]]:
    """Version 1's blkio files: `8:0 Read 1`, with a `Total` at the end that names no device."""
    devices: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        match line.split():
            case [device, operation, number]:
                devices.setdefault(device, {})[operation] = int(number)
            case [] | [_, _]:
                continue
            case _:
                raise ValueError(f"expected a device, an operation and a number, found {line!r}")
    return devices


@parser
def parse_limit(text: str | None) -> int | None:
    """A number, or None for `max`, `-1`, nothing, and version 1's way to say no limit."""
    if text is None or text in ("", "max", "-1") or int(text) >= _V1_NO_LIMIT:
        return None
    return int(text)


class UnifiedHierarchy:
    """Version 2: one tree with every controller."""

    def __init__(self, root: str) -> None:
        self._root = root

    def children(self, group: str) -> list[str]:
        return _subdirectories(self._root, group)

    def created_s(self, group: str) -> float | None:
        return _modified_s(f"{self._root}{group}")

    def usage(self, group: str) -> CgroupUsage:
        base = f"{self._root}{group.rstrip('/')}"
        cpu = parse_flat_keyed(read_optional(f"{base}/cpu.stat") or "")
        memory = parse_flat_keyed(read_optional(f"{base}/memory.stat") or "")
        events = parse_flat_keyed(read_optional(f"{base}/memory.events") or "")
        current = parse_limit(read_optional(f"{base}/memory.current"))
        if current is None and memory:  # The root has no memory.current.
            current = memory.get("anon", 0) + memory.get("file", 0)
        quota, _, period = (read_optional(f"{base}/cpu.max") or "").partition(" ")
        return CgroupUsage(
            cpu_s=_scaled(cpu.get("usage_usec"), 1e-6),
            cpu_user_s=_scaled(cpu.get("user_usec"), 1e-6),
            cpu_system_s=_scaled(cpu.get("system_usec"), 1e-6),
            cfs_periods=cpu.get("nr_periods"),
            cfs_throttled_periods=cpu.get("nr_throttled"),
            cfs_throttled_s=_scaled(cpu.get("throttled_usec"), 1e-6),
            cpu_quota_us=parse_limit(quota),
            cpu_period_us=parse_limit(period),
            memory_bytes=current,
            working_set_bytes=_without(current, memory.get("inactive_file")),
            rss_bytes=memory.get("anon"),
            cache_bytes=memory.get("file"),
            swap_bytes=parse_limit(read_optional(f"{base}/memory.swap.current")),
            mapped_file_bytes=memory.get("file_mapped"),
            memory_limit_bytes=parse_limit(read_optional(f"{base}/memory.max")),
            memory_limit_hits=events.get("max"),
            oom_kills=events.get("oom_kill"),
            threads=parse_limit(read_optional(f"{base}/pids.current")),
            threads_max=parse_limit(read_optional(f"{base}/pids.max")),
            io=parse_io_stat(read_optional(f"{base}/io.stat") or ""),
        )


class SplitHierarchies:
    """Version 1: a tree for each controller; a group need not be in all of them."""

    def __init__(self, root: str) -> None:
        self._root = root
        # The two CPU controllers are often mounted together, with links by either name.
        self._trees = [f"{root}/{name}" for name in ("memory", "cpuacct", "cpu", "pids", "blkio")]

    def children(self, group: str) -> list[str]:
        found = [_subdirectories(tree, group) for tree in self._trees]
        return sorted({child for children in found for child in children})

    def created_s(self, group: str) -> float | None:
        times = [_modified_s(f"{tree}{group}") for tree in self._trees]
        return min((at for at in times if at is not None), default=None)

    def usage(self, group: str) -> CgroupUsage:
        below = group.rstrip("/")
        cpu = f"{self._root}/cpu{below}"
        cpuacct = f"{self._root}/cpuacct{below}"
        memory = f"{self._root}/memory{below}"
        pids = f"{self._root}/pids{below}"
        ticks = parse_flat_keyed(read_optional(f"{cpuacct}/cpuacct.stat") or "")
        cfs = parse_flat_keyed(read_optional(f"{cpu}/cpu.stat") or "")
        stat = parse_flat_keyed(read_optional(f"{memory}/memory.stat") or "")
        control = parse_flat_keyed(read_optional(f"{memory}/memory.oom_control") or "")
        current = parse_limit(read_optional(f"{memory}/memory.usage_in_bytes"))
        return CgroupUsage(
            cpu_s=_scaled(parse_limit(read_optional(f"{cpuacct}/cpuacct.usage")), 1e-9),
            cpu_user_s=_scaled(ticks.get("user"), 1 / TICKS_PER_SECOND),
            cpu_system_s=_scaled(ticks.get("system"), 1 / TICKS_PER_SECOND),
            cfs_periods=cfs.get("nr_periods"),
            cfs_throttled_periods=cfs.get("nr_throttled"),
            cfs_throttled_s=_scaled(cfs.get("throttled_time"), 1e-9),
            cpu_quota_us=parse_limit(read_optional(f"{cpu}/cpu.cfs_quota_us")),
            cpu_period_us=parse_limit(read_optional(f"{cpu}/cpu.cfs_period_us")),
            memory_bytes=current,
            working_set_bytes=_without(current, stat.get("total_inactive_file")),
            rss_bytes=stat.get("total_rss"),
            cache_bytes=stat.get("total_cache"),
            swap_bytes=stat.get("total_swap"),
            mapped_file_bytes=stat.get("total_mapped_file"),
            memory_limit_bytes=parse_limit(read_optional(f"{memory}/memory.limit_in_bytes")),
            memory_limit_hits=parse_limit(read_optional(f"{memory}/memory.failcnt")),
            oom_kills=control.get("oom_kill"),
            threads=parse_limit(read_optional(f"{pids}/pids.current")),
            threads_max=parse_limit(read_optional(f"{pids}/pids.max")),
            io=self._io(below),
        )

    def _io(self, below: str) -> dict[str, DeviceIo]:
        base = f"{self._root}/blkio{below}/blkio.throttle"
        sizes = parse_blkio(read_optional(f"{base}.io_service_bytes_recursive") or "")
        counts = parse_blkio(read_optional(f"{base}.io_serviced_recursive") or "")
        return {
            device: DeviceIo(
                size.get("Read", 0),
                size.get("Write", 0),
                counts.get(device, {}).get("Read", 0),
                counts.get(device, {}).get("Write", 0),
            )
            for device, size in sizes.items()
        }


def find_hierarchy(paths: HostPaths) -> Hierarchy | None:
    """The control groups of the host; None where the kernel, or this container, shows none."""
    root = paths.sys("fs/cgroup")
    if (read_optional(f"{root}/cgroup.controllers") or "") != "":
        return UnifiedHierarchy(root)
    # In the hybrid layout the unified tree has no controllers: the numbers are in version 1's.
    trees = SplitHierarchies(root)
    return trees if trees.created_s("") is not None else None


def iter_groups(hierarchy: Hierarchy) -> Iterator[str]:
    """Paths of groups, the root first, level by level, up to MAX_WALKED and MAX_DEPTH."""
    level = ["/"]
    walked = 0
    for _ in range(MAX_DEPTH + 1):
        below: list[str] = []
        for group in level:
            if walked == MAX_WALKED:
                return
            walked += 1
            yield group
            below += hierarchy.children(group)
        level = below


def container_name(group: str) -> str:
    """The short id, or the name, of the container that a group is; "" when it is none."""
    last = group.rpartition("/")[2]
    if found := _CONTAINER.fullmatch(last):
        return found[1][:12]
    if found := _NAMED.fullmatch(last):
        return found[1]
    return ""


def _subdirectories(tree: str, group: str) -> list[str]:
    prefix = group.rstrip("/")
    try:
        with os.scandir(f"{tree}{group}") as entries:
            return sorted(f"{prefix}/{e.name}" for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _modified_s(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime  # noqa: PTH116 - a string, like every path of /sys here
    except OSError:
        return None


def _scaled(value: int | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _without(total: int | None, part: int | None) -> int | None:
    """Memory in use less the file cache that can be dropped: what the OOM killer looks at."""
    return None if total is None else max(0, total - (part or 0))
