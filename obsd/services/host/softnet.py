"""Packets that each CPU's network backlog processed and dropped, from /proc/net/softnet_stat."""

from __future__ import annotations

from typing import Final

from obsd.services.host.family import Family, counter
from obsd.services.host.sources import HostPaths, parser, read_text

_CPU_COLUMN: Final = 12  # Since Linux 5.10; before, and with every CPU online, it is the row.
_COLUMNS: Final = (
    (0, "node_softnet_processed_total", "Number of processed packets"),
    (1, "node_softnet_dropped_total", "Number of dropped packets"),
    (
        2,
        "node_softnet_times_squeezed_total",
        "Number of times processing packets ran out of quota",
    ),
    (
        8,
        "node_softnet_cpu_collision_total",
        "Number of collision occur while obtaining device lock while transmitting",
    ),
    (
        9,
        "node_softnet_received_rps_total",
        "Number of times cpu woken up received_rps",
    ),
    (
        10,
        "node_softnet_flow_limit_count_total",
        "Number of times flow limit has been reached",
    ),
)


@parser
def parse_softnet(text: str) -> dict[str, list[int]]:
    """CPU number -> the columns, which are hexadecimal."""
    rows = [[int(field, 16) for field in line.split()] for line in text.splitlines()]
    return {
        str(row[_CPU_COLUMN] if len(row) > _CPU_COLUMN else index): row
        for index, row in enumerate(rows)
        if row
    }


def collect(paths: HostPaths) -> list[Family]:
    cpus = parse_softnet(read_text(paths.proc("net/softnet_stat")))
    families = []
    for column, name, text in _COLUMNS:
        family = counter(name, text)
        for cpu, row in cpus.items():
            if column < len(row):
                family.add(row[column], cpu=cpu)
        families.append(family)
    return families
