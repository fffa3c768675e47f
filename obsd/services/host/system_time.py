"""The time, its zone, and the clock sources that the kernel has."""

from __future__ import annotations

import time

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, list_directory, read_optional


def collect(paths: HostPaths) -> list[Family]:
    now_s = time.time()
    local = time.localtime(now_s)
    zone = gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.")
    zone.add(local.tm_gmtoff, time_zone=local.tm_zone)
    return [
        gauge("node_time_seconds", "System time in seconds since epoch (1970).", now_s),
        zone,
        *_clock_sources(paths),
    ]


def _clock_sources(paths: HostPaths) -> list[Family]:
    available = gauge(
        "node_time_clocksource_available_info",
        "Available clocksources read from '/sys/devices/system/clocksource'.",
    )
    current = gauge(
        "node_time_clocksource_current_info",
        "Current clocksource read from '/sys/devices/system/clocksource'.",
    )
    base = paths.sys("devices/system/clocksource")
    for name in list_directory(base):
        if not name.startswith("clocksource"):
            continue
        device = name.removeprefix("clocksource")
        for source in (read_optional(f"{base}/{name}/available_clocksource") or "").split():
            available.add(1, device=device, clocksource=source)
        in_use = read_optional(f"{base}/{name}/current_clocksource")
        if in_use:
            current.add(1, device=device, clocksource=in_use)
    return [available, current]
