"""Properties of network interfaces, from /sys/class/net."""

from __future__ import annotations

from typing import Final

from obsd.services.host.family import Family, counter, gauge
from obsd.services.host.sources import HostPaths, list_directory, read_number, read_optional

# (file of /sys/class/net/<device>, metric without its prefix)
_GAUGES: Final = (
    ("addr_assign_type", "address_assign_type"),
    ("carrier", "carrier"),
    ("dev_id", "device_id"),
    ("dormant", "dormant"),
    ("flags", "flags"),
    ("ifindex", "iface_id"),
    ("iflink", "iface_link"),
    ("link_mode", "iface_link_mode"),
    ("mtu", "mtu_bytes"),
    ("name_assign_type", "name_assign_type"),
    ("netdev_group", "net_dev_group"),
    ("type", "protocol_type"),
    ("tx_queue_len", "transmit_queue_length"),
)
_COUNTERS: Final = (
    ("carrier_changes", "carrier_changes_total"),
    ("carrier_up_count", "carrier_up_changes_total"),
    ("carrier_down_count", "carrier_down_changes_total"),
)
_INFO: Final = ("address", "broadcast", "duplex", "operstate", "ifalias")
_BYTES_PER_MEGABIT: Final = 1_000_000 // 8


def collect(paths: HostPaths) -> list[Family]:
    base = paths.sys("class/net")
    # The directory also holds files, such as bonding_masters.
    devices = [name for name in list_directory(base) if list_directory(f"{base}/{name}")]
    families = []
    for make, properties in ((gauge, _GAUGES), (counter, _COUNTERS)):
        for file, suffix in properties:
            family = make(f"node_network_{suffix}", f"Network device property: {suffix}")
            for device in devices:
                # An interface that is down answers some of these with an error.
                value = read_number(f"{base}/{device}/{file}")
                if value is not None:
                    family.add(value, device=device)
            families.append(family)
    return [*families, *_speed_and_state(base, devices)]


def _speed_and_state(base: str, devices: list[str]) -> list[Family]:
    speed = gauge("node_network_speed_bytes", "Network device property: speed_bytes")
    up = gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.")
    info = gauge(
        "node_network_info",
        "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
    )
    for device in devices:
        megabits = read_number(f"{base}/{device}/speed")
        if megabits is not None:
            speed.add(megabits * _BYTES_PER_MEGABIT, device=device)
        labels = {name: read_optional(f"{base}/{device}/{name}") or "" for name in _INFO}
        up.add(labels["operstate"] == "up", device=device)
        info.add(1, device=device, **labels)
    return [info, speed, up]
