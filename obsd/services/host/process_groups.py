"""Processes of note: the groups, by name, that use most CPU or memory.

Names and labels are process-exporter's (`namedprocess_namegroup_*`), one group a process name.
Invariants: at most MAX_GROUPS groups have series; a group's counters never step back while it is
shown, though its processes end, since each process adds only what it used since the last look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from obsd.services.host.family import Family, counter, gauge
from obsd.services.host.process_table import Process
from obsd.services.host.sockstat import PAGE_BYTES
from obsd.services.host.stat import TICKS_PER_SECOND

TOP_BY_CPU: Final = 10
TOP_BY_MEMORY: Final = 10
MAX_GROUPS: Final = 30
# A group stays for ten minutes after it was last of note: series that flicker make broken graphs.
STAY_COLLECTIONS: Final = 40


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it began; the fields are counters."""

    user_s: float = 0.0
    system_s: float = 0.0
    major_faults: int = 0
    minor_faults: int = 0

    @classmethod
    def of(cls, process: Process) -> Usage:
        return cls(process.user_s, process.system_s, process.major_faults, process.minor_faults)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.user_s + other.user_s,
            self.system_s + other.system_s,
            self.major_faults + other.major_faults,
            self.minor_faults + other.minor_faults,
        )

    def since(self, earlier: Usage) -> Usage:
        return Usage(
            max(0.0, self.user_s - earlier.user_s),
            max(0.0, self.system_s - earlier.system_s),
            max(0, self.major_faults - earlier.major_faults),
            max(0, self.minor_faults - earlier.minor_faults),
        )

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s


@dataclass(slots=True)
class Group:
    """All processes of one name, now and, in its counters, before."""

    used: Usage = field(default_factory=Usage)
    cpu_lately_s: float = 0.0
    processes: int = 0
    threads: int = 0
    resident_bytes: int = 0
    virtual_bytes: int = 0
    oldest_start_ticks: int = 0

    def begin(self) -> None:
        """Forget what is told anew at every look."""
        self.cpu_lately_s = 0.0
        self.processes = self.threads = self.resident_bytes = self.virtual_bytes = 0
        self.oldest_start_ticks = 0

    def add(self, process: Process, used: Usage) -> None:
        self.used += used
        self.cpu_lately_s += used.cpu_s
        self.processes += 1
        self.threads += process.threads
        self.resident_bytes += process.resident_pages * PAGE_BYTES
        self.virtual_bytes += process.virtual_bytes
        oldest = self.oldest_start_ticks or process.start_ticks
        self.oldest_start_ticks = min(oldest, process.start_ticks)


class ProcessGroups:
    """Keeps each living process' usage, and the groups that are or were of note."""

    def __init__(
        self, read_table: Callable[[], list[Process]], boot_time_s: Callable[[], float]
    ) -> None:
        self._read_table = read_table
        self._boot_time_s = boot_time_s
        self._usages: dict[tuple[int, int], Usage] = {}
        self._groups: defaultdict[str, Group] = defaultdict(Group)
        self._shown: dict[str, int] = {}  # Group -> collections for which it stays.

    def collect(self) -> list[Family]:
        self._look(self._read_table())
        self._choose()
        return self._families()

    def _look(self, table: list[Process]) -> None:
        for group in self._groups.values():
            group.begin()
        usages = {}
        for process in table:
            key = (process.pid, process.start_ticks)
            usage = usages[key] = Usage.of(process)
            self._groups[process.group].add(process, usage.since(self._usages.get(key, Usage())))
        self._usages = usages

    def _choose(self) -> None:
        alive = [name for name, group in self._groups.items() if group.processes]
        by_cpu = sorted(alive, key=lambda name: (-self._groups[name].cpu_lately_s, name))
        by_memory = sorted(alive, key=lambda name: (-self._groups[name].resident_bytes, name))
        stay = {name: left - 1 for name, left in self._shown.items() if left > 1}
        stay |= dict.fromkeys(by_cpu[:TOP_BY_CPU] + by_memory[:TOP_BY_MEMORY], STAY_COLLECTIONS)
        longest = sorted(stay, key=lambda name: (-stay[name], name))[:MAX_GROUPS]
        self._shown = {name: stay[name] for name in longest}
        for name in [n for n, g in self._groups.items() if not g.processes and n not in stay]:
            del self._groups[name]

    def _families(self) -> list[Family]:
        cpu = counter("namedprocess_namegroup_cpu_seconds_total", "Cpu user usage in seconds")
        major = counter("namedprocess_namegroup_major_page_faults_total", "Major page faults")
        minor = counter("namedprocess_namegroup_minor_page_faults_total", "Minor page faults")
        memory = gauge("namedprocess_namegroup_memory_bytes", "number of bytes of memory in use")
        processes = gauge("namedprocess_namegroup_num_procs", "number of processes in this group")
        threads = gauge("namedprocess_namegroup_num_threads", "Number of threads")
        oldest = gauge(
            "namedprocess_namegroup_oldest_start_time_seconds",
            "start time in seconds since 1970/01/01 of oldest process in group",
        )
        boot_time_s = self._boot_time_s()
        for name in sorted(self._shown):
            group = self._groups[name]
            cpu.add(group.used.system_s, groupname=name, mode="system")
            cpu.add(group.used.user_s, groupname=name, mode="user")
            major.add(group.used.major_faults, groupname=name)
            minor.add(group.used.minor_faults, groupname=name)
            memory.add(group.resident_bytes, groupname=name, memtype="resident")
            memory.add(group.virtual_bytes, groupname=name, memtype="virtual")
            processes.add(group.processes, groupname=name)
            threads.add(group.threads, groupname=name)
            if group.processes:
                start_s = boot_time_s + group.oldest_start_ticks / TICKS_PER_SECOND
                oldest.add(start_s, groupname=name)
        return [cpu, major, minor, memory, processes, threads, oldest]
