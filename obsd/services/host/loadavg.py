"""Load averages, from /proc/loadavg."""

from __future__ import annotations

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, parser, read_text


@parser
def parse_loadavg(text: str) -> tuple[float, float, float]:
    one, five, fifteen = text.split()[:3]
    return float(one), float(five), float(fifteen)


def collect(paths: HostPaths) -> list[Family]:
    one, five, fifteen = parse_loadavg(read_text(paths.proc("loadavg")))
    return [
        gauge("node_load1", "1m load average.", one),
        gauge("node_load15", "15m load average.", fifteen),
        gauge("node_load5", "5m load average.", five),
    ]
