"""Control groups as containers, under cAdvisor's names; at most MAX_GROUPS of them.

The label `id` is the group's path. `name` is the container's short id or, for lxc and nspawn, its
name; a group that is no container (a systemd service, a slice) has none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from obsd.services.host.cgroup import (
    CgroupUsage,
    Hierarchy,
    container_name,
    find_hierarchy,
    iter_groups,
)
from obsd.services.host.family import Family, counter, gauge
from obsd.services.host.sources import AbsentSourceError, HostPaths

MAX_GROUPS: Final = 64  # Ten files each: 5 ms of CPU.


def _or_zero(limit: int | None, used: int | None) -> int | None:
    """0 says "no limit", where there is something that could have one."""
    return None if used is None else limit or 0


_Value = Callable[[CgroupUsage], float | None]
_COUNTERS: Final[tuple[tuple[str, str, _Value], ...]] = (
    (
        "container_cpu_user_seconds_total",
        "Cumulative user cpu time consumed in seconds.",
        lambda usage: usage.cpu_user_s,
    ),
    (
        "container_cpu_system_seconds_total",
        "Cumulative system cpu time consumed in seconds.",
        lambda usage: usage.cpu_system_s,
    ),
    (
        "container_cpu_cfs_periods_total",
        "Number of elapsed enforcement period intervals.",
        lambda usage: usage.cfs_periods,
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        "Number of throttled period intervals.",
        lambda usage: usage.cfs_throttled_periods,
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        "Total time duration the container has been throttled.",
        lambda usage: usage.cfs_throttled_s,
    ),
    (
        "container_memory_failcnt",
        "Number of memory usage hits limits",
        lambda usage: usage.memory_limit_hits,
    ),
    (
        "container_oom_events_total",
        "Count of out of memory events observed for the container",
        lambda usage: usage.oom_kills,
    ),
)
_GAUGES: Final[tuple[tuple[str, str, _Value], ...]] = (
    (
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        lambda usage: usage.memory_bytes,
    ),
    (
        "container_memory_working_set_bytes",
        "Current working set in bytes.",
        lambda usage: usage.working_set_bytes,
    ),
    ("container_memory_rss", "Size of RSS in bytes.", lambda usage: usage.rss_bytes),
    (
        "container_memory_cache",
        "Number of bytes of page cache memory.",
        lambda usage: usage.cache_bytes,
    ),
    ("container_memory_swap", "Container swap usage in bytes.", lambda usage: usage.swap_bytes),
    (
        "container_memory_mapped_file",
        "Size of memory mapped files in bytes.",
        lambda usage: usage.mapped_file_bytes,
    ),
    (
        "container_spec_memory_limit_bytes",
        "Memory limit for the container.",
        lambda usage: _or_zero(usage.memory_limit_bytes, usage.memory_bytes),
    ),
    ("container_spec_cpu_quota", "CPU quota of the container.", lambda usage: usage.cpu_quota_us),
    (
        "container_spec_cpu_period",
        "CPU period of the container.",
        lambda usage: usage.cpu_period_us,
    ),
    (
        "container_threads",
        "Number of threads running inside the container",
        lambda usage: usage.threads,
    ),
    (
        "container_threads_max",
        "Maximum number of threads allowed inside the container, infinity if value is zero",
        lambda usage: _or_zero(usage.threads_max, usage.threads),
    ),
)


@dataclass(frozen=True, slots=True)
class _Found:
    labels: dict[str, str]
    usage: CgroupUsage
    created_s: float


class ContainerSubsystem:
    """Keeps the names of block devices."""

    def __init__(self, paths: HostPaths, now_s: Callable[[], float] = time.time) -> None:
        self._paths = paths
        self._now_s = now_s
        self._devices: dict[str, str] = {}

    def collect(self) -> list[Family]:
        hierarchy = find_hierarchy(self._paths)
        if hierarchy is None:
            raise AbsentSourceError("no control groups to be seen")
        groups = sorted(iter_groups(hierarchy), key=_importance)
        found = [one for one in (_read(hierarchy, g) for g in groups[:MAX_GROUPS]) if one]
        hidden = gauge(
            "obsd_host_cgroups_not_shown",
            "Control groups without series, since there are more than obsd shows.",
            len(groups) - min(len(groups), MAX_GROUPS),
        )
        return [*_of_usages(found), *self._of_devices(found), *self._of_times(found), hidden]

    def _of_devices(self, found: list[_Found]) -> list[Family]:
        read_bytes = counter("container_fs_reads_bytes_total", "Cumulative count of bytes read")
        reads = counter("container_fs_reads_total", "Cumulative count of reads completed")
        written_bytes = counter(
            "container_fs_writes_bytes_total", "Cumulative count of bytes written"
        )
        writes = counter("container_fs_writes_total", "Cumulative count of writes completed")
        for one in found:
            for device, io in one.usage.io.items():
                labels = one.labels | {"device": self._device(device)}
                read_bytes.add(io.read_bytes, **labels)
                reads.add(io.reads, **labels)
                written_bytes.add(io.write_bytes, **labels)
                writes.add(io.writes, **labels)
        return [read_bytes, reads, written_bytes, writes]

    def _device(self, number: str) -> str:
        """`/dev/vda` of `254:0`, as far as /sys knows it."""
        if number not in self._devices:
            try:
                link = os.readlink(self._paths.sys(f"dev/block/{number}"))  # noqa: PTH115
            except OSError:
                return number
            self._devices[number] = f"/dev/{link.rpartition('/')[2]}"
        return self._devices[number]

    def _of_times(self, found: list[_Found]) -> list[Family]:
        seen = gauge("container_last_seen", "Last time a container was seen by the exporter")
        start = gauge(
            "container_start_time_seconds",
            "Start time of the container since unix epoch in seconds.",
        )
        for one in found:
            seen.add(self._now_s(), **one.labels)
            start.add(one.created_s, **one.labels)
        return [seen, start]


def _importance(group: str) -> tuple[int, int, str]:
    """Order in which groups get series: the root, containers, services, then the others."""
    if group == "/":
        return (0, 0, group)
    if container_name(group):
        return (1, 0, group)
    return (2 if group.endswith(".service") else 3, group.count("/"), group)


def _read(hierarchy: Hierarchy, group: str) -> _Found | None:
    created_s = hierarchy.created_s(group)
    if created_s is None:
        return None
    name = container_name(group)
    labels = {"id": group, "name": name} if name else {"id": group}
    return _Found(labels, hierarchy.usage(group), created_s)


def _of_usages(found: list[_Found]) -> list[Family]:
    cpu = counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.")
    for one in found:
        if one.usage.cpu_s is not None:
            cpu.add(one.usage.cpu_s, **one.labels, cpu="total")
    families = [cpu]
    for make, table in ((counter, _COUNTERS), (gauge, _GAUGES)):
        for metric, text, value_of in table:
            family = make(metric, text)
            for one in found:
                value = value_of(one.usage)
                if value is not None:
                    family.add(value, **one.labels)
            families.append(family)
    return families
