"""One pass over /proc/<pid>/stat, shared by all that speaks of processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from obsd.services.host.sources import HostPaths, MalformedSourceError, parser, read_text
from obsd.services.host.stat import TICKS_PER_SECOND

KERNEL_GROUP: Final = "[kernel]"
_KTHREADD: Final = 2  # The parent of every kernel thread.


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as its stat file tells it; `start_ticks` with `pid` names it uniquely."""

    pid: int
    name: str
    state: str
    threads: int
    start_ticks: int
    user_s: float
    system_s: float
    major_faults: int
    minor_faults: int
    virtual_bytes: int
    resident_pages: int
    is_kernel_thread: bool

    @property
    def group(self) -> str:
        """Kernel threads come and go by the hundred, and are one group."""
        return KERNEL_GROUP if self.is_kernel_thread else self.name


@parser
def parse_process_stat(text: str) -> Process:
    """proc_pid_stat(5); the name is in parentheses and may itself hold any character."""
    start, end = text.index("("), text.rindex(")")
    pid, fields = int(text[:start]), text[end + 1 :].split()
    return Process(
        pid=pid,
        name=text[start + 1 : end],
        state=fields[0],
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        user_s=int(fields[11]) / TICKS_PER_SECOND,
        system_s=int(fields[12]) / TICKS_PER_SECOND,
        major_faults=int(fields[9]),
        minor_faults=int(fields[7]),
        virtual_bytes=int(fields[20]),
        resident_pages=int(fields[21]),
        is_kernel_thread=pid == _KTHREADD or int(fields[1]) == _KTHREADD,
    )


class ProcessTable:
    """The processes, read once a collection for all that speak of them."""

    def __init__(self, paths: HostPaths) -> None:
        self._paths = paths
        self._readers: set[str] = set()
        self._table: list[Process] = []

    def read_for(self, reader: str) -> list[Process]:
        """The table, anew when `reader` has had the last one already.

        Raises:
            OSError: /proc itself cannot be listed.
            MalformedSourceError: not one process is readable.
        """
        if reader in self._readers or not self._table:
            self._table = read_process_table(self._paths)
            self._readers.clear()
        self._readers.add(reader)
        return self._table


def read_process_table(paths: HostPaths) -> list[Process]:
    """Every process; those that end meanwhile, or are hidden from this user, are left out.

    Raises:
        OSError: /proc itself cannot be listed.
        MalformedSourceError: not one process is readable.
    """
    with os.scandir(paths.procfs) as entries:
        pids = [entry.name for entry in entries if entry.name.isdecimal()]
    processes = []
    for pid in pids:
        try:
            processes.append(parse_process_stat(read_text(paths.proc(f"{pid}/stat"))))
        except (OSError, MalformedSourceError):
            continue  # Ended between the listing and the reading.
    if not processes:
        raise MalformedSourceError("read_process_table", f"no process of {len(pids)} is readable")
    return processes
