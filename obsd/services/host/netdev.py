"""Traffic of network interfaces, from /proc/net/dev."""

from __future__ import annotations

from typing import Final

from obsd.services.host.family import Family, counter
from obsd.services.host.sources import HostPaths, list_directory, parser, read_number, read_text

_RECEIVE: Final = (
    "receive_bytes",
    "receive_packets",
    "receive_errs",
    "receive_drop",
    "receive_fifo",
    "receive_frame",
    "receive_compressed",
    "receive_multicast",
)
_TRANSMIT: Final = (
    "transmit_bytes",
    "transmit_packets",
    "transmit_errs",
    "transmit_drop",
    "transmit_fifo",
    "transmit_colls",
    "transmit_carrier",
    "transmit_compressed",
)
STATISTICS: Final = _RECEIVE + _TRANSMIT


@parser
def parse_net_dev(text: str) -> dict[str, dict[str, int]]:
    """Device -> statistic -> value."""
    devices = {}
    for line in text.splitlines()[2:]:  # Two header lines.
        if not line.strip():
            continue
        device, _, rest = line.rpartition(":")
        numbers = [int(number) for number in rest.split()]
        devices[device.strip()] = dict(zip(STATISTICS, numbers, strict=True))
    return devices


def collect(paths: HostPaths) -> list[Family]:
    devices = parse_net_dev(read_text(paths.proc("net/dev")))
    families = []
    for statistic in STATISTICS:
        family = _family(statistic)
        for device, values in devices.items():
            family.add(values[statistic], device=device)
        families.append(family)
    # The file folds packets without a handler into its drops; /sys tells them apart.
    nohandler = _family("receive_nohandler")
    known = set(list_directory(paths.sys("class/net")))
    for device in devices:
        value = (
            read_number(paths.sys(f"class/net/{device}/statistics/rx_nohandler"))
            if device in known
            else None
        )
        if value is not None:
            nohandler.add(value, device=device)
    return [*families, nohandler]


def _family(statistic: str) -> Family:
    return counter(f"node_network_{statistic}_total", f"Network device statistic {statistic}.")
