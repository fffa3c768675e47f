"""Neighbours known by each interface, from /proc/net/arp."""

from __future__ import annotations

from collections import Counter

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, parser, read_text


@parser
def parse_arp(text: str) -> Counter[str]:
    """Device -> number of entries; the device is the last column."""
    rows = [line.split() for line in text.splitlines()[1:] if line.strip()]
    return Counter(row[5] for row in rows)


def collect(paths: HostPaths) -> list[Family]:
    family = gauge("node_arp_entries", "ARP entries by device")
    for device, entries in sorted(parse_arp(read_text(paths.proc("net/arp"))).items()):
        family.add(entries, device=device)
    return [family]
