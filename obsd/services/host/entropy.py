"""The kernel's pool of entropy."""

from __future__ import annotations

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, parser, read_text


@parser
def parse_bits(text: str) -> int:
    return int(text)


def collect(paths: HostPaths) -> list[Family]:
    available = parse_bits(read_text(paths.proc("sys/kernel/random/entropy_avail")))
    pool = parse_bits(read_text(paths.proc("sys/kernel/random/poolsize")))
    return [
        gauge("node_entropy_available_bits", "Bits of available entropy.", available),
        gauge("node_entropy_pool_size_bits", "Bits of entropy pool.", pool),
    ]
