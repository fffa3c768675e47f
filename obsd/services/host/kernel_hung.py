"""Tasks that the kernel found hung, since Linux 6.13."""

from __future__ import annotations

from obsd.services.host.family import Family, counter, gauge
from obsd.services.host.sources import AbsentSourceError, HostPaths, read_number


def collect(paths: HostPaths) -> list[Family]:
    tasks = read_number(paths.proc("sys/kernel/hung_task_detect_count"))
    if tasks is None:
        raise AbsentSourceError("this kernel does not count hung tasks")
    text = "Total number of tasks that have been detected as hung since the system booted."
    # The second is the name that the dashboard "Node Exporter Full" asks for.
    return [
        counter("node_kernel_hung_tasks_total", text, tasks),
        gauge("node_kernel_hung_tasks", text, tasks),
    ]
