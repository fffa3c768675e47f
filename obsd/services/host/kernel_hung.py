"""Tasks that the kernel found hung, since Linux 6.13."""

from __future__ import annotations

from obsd.services.host.family import Family, counter
from obsd.services.host.sources import AbsentSourceError, HostPaths, read_number


def collect(paths: HostPaths) -> list[Family]:
    tasks = read_number(paths.proc("sys/kernel/hung_task_detect_count"))
    if tasks is None:
        raise AbsentSourceError("this kernel does not count hung tasks")
    text = "Number of tasks that have been detected as hung since the system boot."
    return [counter("node_kernel_hung_tasks", text, tasks)]
