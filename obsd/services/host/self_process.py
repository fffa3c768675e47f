"""The process that collects: obsd itself, under the names every Prometheus client library uses."""

from __future__ import annotations

import resource

from obsd.services.host.family import Family, counter, gauge
from obsd.services.host.process_table import parse_process_stat
from obsd.services.host.sockstat import PAGE_BYTES
from obsd.services.host.sources import HostPaths, list_directory, read_text
from obsd.services.host.stat import TICKS_PER_SECOND, read_boot_time_s


def collect(paths: HostPaths) -> list[Family]:
    own = parse_process_stat(read_text(paths.proc("self/stat")))
    boot_time_s = read_boot_time_s(paths)
    max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    max_bytes, _ = resource.getrlimit(resource.RLIMIT_AS)
    return [
        counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            own.user_s + own.system_s,
        ),
        gauge("process_max_fds", "Maximum number of open file descriptors.", _limit(max_files)),
        gauge(
            "process_open_fds",
            "Number of open file descriptors.",
            len(list_directory(paths.proc("self/fd"))),
        ),
        gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            own.resident_pages * PAGE_BYTES,
        ),
        gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            boot_time_s + own.start_ticks / TICKS_PER_SECOND,
        ),
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            own.virtual_bytes,
        ),
        gauge(
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            _limit(max_bytes),
        ),
    ]


def _limit(value: int) -> int:
    """No limit is the largest number that the kernel's type holds, as it is for a Go program."""
    return 2**64 - 1 if value == resource.RLIM_INFINITY else value
