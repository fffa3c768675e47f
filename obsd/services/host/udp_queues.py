"""Bytes that wait in UDP sockets, from /proc/net/udp and udp6."""

from __future__ import annotations

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import AbsentSourceError, HostPaths, parser, read_optional


@parser
def parse_udp(text: str) -> tuple[int, int]:
    """Bytes in all send and all receive queues."""
    sent = received = 0
    for line in text.splitlines()[1:]:
        if not line.strip():
            continue
        tx, rx = line.split()[4].split(":")
        sent += int(tx, 16)
        received += int(rx, 16)
    return sent, received


def collect(paths: HostPaths) -> list[Family]:
    family = gauge(
        "node_udp_queues", "Number of allocated memory in the kernel for UDP datagrams in bytes."
    )
    for file, version in (("udp", "v4"), ("udp6", "v6")):
        text = read_optional(paths.proc(f"net/{file}"))
        if text is None:
            continue
        sent, received = parse_udp(text)
        family.add(sent, queue="tx", ip=version)
        family.add(received, queue="rx", ip=version)
    if not family.samples:
        raise AbsentSourceError("no UDP in this kernel")
    return [family]
