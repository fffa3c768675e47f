"""Pressure stall information: how long tasks waited for CPU, memory, I/O and interrupts."""

from __future__ import annotations

from typing import Final

from obsd.services.host.family import Family, counter
from obsd.services.host.sources import AbsentSourceError, HostPaths, parser, read_optional

# (resource, line of its file, metric, help)
_SERIES: Final = (
    (
        "cpu",
        "some",
        "node_pressure_cpu_waiting_seconds_total",
        "Total time in seconds that processes have waited for CPU time",
    ),
    (
        "io",
        "some",
        "node_pressure_io_waiting_seconds_total",
        "Total time in seconds that processes have waited due to IO congestion",
    ),
    (
        "io",
        "full",
        "node_pressure_io_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IO congestion",
    ),
    (
        "memory",
        "some",
        "node_pressure_memory_waiting_seconds_total",
        "Total time in seconds that processes have waited for memory",
    ),
    (
        "memory",
        "full",
        "node_pressure_memory_stalled_seconds_total",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    (
        "irq",
        "full",
        "node_pressure_irq_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IRQ congestion",
    ),
)


@parser
def parse_pressure(text: str) -> dict[str, float]:
    """`some` and `full` -> seconds in total; the averages can be had from those by rate()."""
    totals = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        kind, *fields = line.split()
        totals[kind] = int(dict(field.split("=") for field in fields)["total"]) / 1e6
    return totals


def collect(paths: HostPaths) -> list[Family]:
    texts = {
        resource: read_optional(paths.proc(f"pressure/{resource}"))
        for resource in ("cpu", "io", "memory", "irq")
    }
    # Before Linux 6.1 there is no irq; built without PSI, or booted with psi=0, there is nothing.
    totals = {resource: parse_pressure(text) for resource, text in texts.items() if text}
    if not totals:
        raise AbsentSourceError("no pressure stall information in this kernel")
    return [
        counter(name, text, totals[resource][kind])
        for resource, kind, name, text in _SERIES
        if kind in totals.get(resource, {})
    ]
