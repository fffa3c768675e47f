"""Mains and batteries, from /sys/class/power_supply."""

from __future__ import annotations

from typing import Final

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, list_directory, read_number, read_optional

_WHERE: Final = "/sys/class/power_supply/<power_supply>"
_MICRO: Final = 1e6
# (file, metric without its prefix, divisor); the kernel gives micro-units and tenths of degrees.
_PROPERTIES: Final = (
    ("capacity", "capacity", 1),
    ("charge_full", "charge_full", _MICRO),
    ("charge_full_design", "charge_full_design", _MICRO),
    ("charge_now", "charge_ampere", _MICRO),
    ("current_now", "current_ampere", _MICRO),
    ("cycle_count", "cyclecount", 1),
    ("energy_full", "energy_full", _MICRO),
    ("energy_full_design", "energy_full_design", _MICRO),
    ("energy_now", "energy_watthour", _MICRO),
    ("online", "online", 1),
    ("power_now", "power_watt", _MICRO),
    ("present", "present", 1),
    ("temp", "temp_celsius", 10),
    ("time_to_empty_now", "time_to_empty_seconds", 1),
    ("time_to_full_now", "time_to_full_seconds", 1),
    ("voltage_max_design", "voltage_max_design", _MICRO),
    ("voltage_min_design", "voltage_min_design", _MICRO),
    ("voltage_now", "voltage_volt", _MICRO),
)
_INFO: Final = (
    *("capacity_level", "charge_type", "health", "manufacturer", "model_name", "scope"),
    *("serial_number", "status", "technology", "type", "usb_type"),
)


def collect(paths: HostPaths) -> list[Family]:
    base = paths.sys("class/power_supply")
    supplies = list_directory(base)
    families = []
    for file, suffix, divisor in _PROPERTIES:
        family = gauge(f"node_power_supply_{suffix}", f"{suffix} value of {_WHERE}.")
        for supply in supplies:
            value = read_number(f"{base}/{supply}/{file}")
            if value is not None:
                family.add(value / divisor, power_supply=supply)
        families.append(family)
    info = gauge("node_power_supply_info", f"info of {_WHERE}.")
    for supply in supplies:
        values = {label: read_optional(f"{base}/{supply}/{label}") for label in _INFO}
        labels = {label: value for label, value in values.items() if value}
        info.add(1, power_supply=supply, **labels)
    return [*families, info]
