"""Temperatures of thermal zones and states of cooling devices, from /sys/class/thermal."""

from __future__ import annotations

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, list_directory, read_number, read_optional


def collect(paths: HostPaths) -> list[Family]:
    temperature = gauge("node_thermal_zone_temp", "Zone temperature in Celsius")
    current = gauge("node_cooling_device_cur_state", "Current throttle state of the cooling device")
    maximum = gauge("node_cooling_device_max_state", "Maximum throttle state of the cooling device")
    base = paths.sys("class/thermal")
    for name in list_directory(base):
        kind = read_optional(f"{base}/{name}/type") or ""
        if name.startswith("thermal_zone"):
            # A zone whose sensor sleeps answers with an error.
            millidegrees = read_number(f"{base}/{name}/temp")
            if millidegrees is not None:
                zone = name.removeprefix("thermal_zone")
                temperature.add(millidegrees / 1000, zone=zone, type=kind)
        elif name.startswith("cooling_device"):
            device = name.removeprefix("cooling_device")
            for family, file in ((current, "cur_state"), (maximum, "max_state")):
                state = read_number(f"{base}/{name}/{file}")
                if state is not None:
                    family.add(state, name=device, type=kind)
    return [current, maximum, temperature]
