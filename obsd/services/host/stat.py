"""Kernel totals of /proc/stat: interrupts, context switches, forks, boot time; and CPU times."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from obsd.services.host.family import Family, counter, gauge
from obsd.services.host.sources import HostPaths, MalformedSourceError, parser, read_text

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
CPU_MODES: Final = (
    "user",
    "nice",
    "system",
    "idle",
    "iowait",
    "irq",
    "softirq",
    "steal",
    "guest",
    "guest_nice",
)

_TOTALS: Final = (
    ("btime", gauge, "node_boot_time_seconds", "Node boot time, in unixtime."),
    ("ctxt", counter, "node_context_switches_total", "Total number of context switches."),
    ("processes", counter, "node_forks_total", "Total number of forks."),
    ("intr", counter, "node_intr_total", "Total number of interrupts serviced."),
    (
        "procs_blocked",
        gauge,
        "node_procs_blocked",
        "Number of processes blocked waiting for I/O to complete.",
    ),
    ("procs_running", gauge, "node_procs_running", "Number of processes in runnable state."),
)


@dataclass(frozen=True, slots=True)
class KernelStat:
    """/proc/stat.

    Attributes:
        cpus: CPU number -> seconds in each of CPU_MODES; modes that an old kernel lacks are 0.
        totals: first number of every other line, by the line's word.
    """

    cpus: dict[str, list[float]]
    totals: dict[str, int]


@parser
def parse_stat(text: str) -> KernelStat:
    cpus: dict[str, list[float]] = {}
    totals: dict[str, int] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "cpu" or not rest:
            continue
        if word.startswith("cpu"):
            ticks = [int(tick) / TICKS_PER_SECOND for tick in rest.split()[: len(CPU_MODES)]]
            cpus[str(int(word[3:]))] = ticks + [0.0] * (len(CPU_MODES) - len(ticks))
        else:
            totals[word] = int(rest.split(None, 1)[0])
    return KernelStat(cpus, totals)


def read_boot_time_s(paths: HostPaths) -> float:
    """Unix seconds.

    Raises:
        OSError: /proc/stat is not readable.
        MalformedSourceError: it does not have the time.
    """
    totals = parse_stat(read_text(paths.proc("stat"))).totals
    if "btime" not in totals:
        raise MalformedSourceError("parse_stat", "no line of btime")
    return totals["btime"]


def collect(paths: HostPaths) -> list[Family]:
    totals = parse_stat(read_text(paths.proc("stat"))).totals
    return [make(name, text, totals[word]) for word, make, name, text in _TOTALS if word in totals]
