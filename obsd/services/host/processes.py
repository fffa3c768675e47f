"""How many processes and threads there are, in which states, and how many there may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from obsd.services.host.family import Family, gauge
from obsd.services.host.process_table import Process
from obsd.services.host.sources import HostPaths, read_number


def collect(paths: HostPaths, read_table: Callable[[], list[Process]]) -> list[Family]:
    table = read_table()
    states = gauge("node_processes_state", "Number of processes in each state.")
    for state, processes in sorted(Counter(process.state for process in table).items()):
        states.add(processes, state=state)
    threads = sum(process.threads for process in table)
    families = [
        states,
        gauge("node_processes_pids", "Number of PIDs", len(table)),
        gauge("node_processes_threads", "Allocated threads in system", threads),
    ]
    for file, name, text in (
        ("pid_max", "node_processes_max_processes", "Number of max PIDs limit"),
        ("threads-max", "node_processes_max_threads", "Limit of threads in the system"),
    ):
        limit = read_number(paths.proc(f"sys/kernel/{file}"))
        if limit is not None:
            families.append(gauge(name, text, limit))
    return families
