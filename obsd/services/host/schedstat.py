"""How long tasks ran and waited on each CPU, from /proc/schedstat."""

from __future__ import annotations

from dataclasses import dataclass

from obsd.services.host.family import Family, counter
from obsd.services.host.sources import HostPaths, parser, read_text


@dataclass(frozen=True, slots=True)
class CpuSchedule:
    """One CPU's totals."""

    running_s: float
    waiting_s: float
    timeslices: int


@parser
def parse_schedstat(text: str) -> dict[str, CpuSchedule]:
    """CPU number -> totals: the last three of a `cpuN` line's nine numbers."""
    cpus = {}
    for line in text.splitlines():
        word, *numbers = line.split() or [""]
        if not word.startswith("cpu"):
            continue
        running, waiting, timeslices = (int(number) for number in numbers[6:9])
        cpus[str(int(word[3:]))] = CpuSchedule(running / 1e9, waiting / 1e9, timeslices)
    return cpus


def collect(paths: HostPaths) -> list[Family]:
    running = counter(
        "node_schedstat_running_seconds_total", "Number of seconds CPU spent running a process."
    )
    waiting = counter(
        "node_schedstat_waiting_seconds_total",
        "Number of seconds spent by processing waiting for this CPU.",
    )
    timeslices = counter("node_schedstat_timeslices_total", "Number of timeslices executed by CPU.")
    for cpu, schedule in parse_schedstat(read_text(paths.proc("schedstat"))).items():
        running.add(schedule.running_s, cpu=cpu)
        waiting.add(schedule.waiting_s, cpu=cpu)
        timeslices.add(schedule.timeslices, cpu=cpu)
    return [running, waiting, timeslices]
