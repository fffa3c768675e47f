"""Hardware sensors: temperatures, fans, voltages, currents and power, from /sys/class/hwmon.

The files' names tell kind, number and property (`temp1_crit_hyst`); the kernel's units are
documented in https://docs.kernel.org/hwmon/sysfs-interface.html.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from obsd.services.host.family import Family, counter, gauge
from obsd.services.host.sources import (
    AbsentSourceError,
    HostPaths,
    list_directory,
    read_number,
    read_optional,
)

_FILE: Final = re.compile(
    r"(cpu|curr|energy|fan|freq|humidity|in|intrusion|power|pwm|temp)(\d+)(?:_([a-z0-9_]+))?"
)
_NOT_IN_A_CHIP_NAME: Final = re.compile(r"[^a-z0-9:_]")
# Kind of sensor -> (suffix of the metric's name, factor from the kernel's unit to its)
_UNITS: Final = {
    "cpu": ("_volts", 1e-3),
    "curr": ("_amps", 1e-3),
    "energy": ("_joule_total", 1e-6),
    "fan": ("_rpm", 1.0),
    "freq": ("_freq_mhz", 1e-6),
    "humidity": ("", 1e-6),
    "in": ("_volts", 1e-3),
    "power": ("_watt", 1e-6),
    "temp": ("_celsius", 1e-3),
}
# Properties in another unit than their sensor's.
_SPECIAL_UNITS: Final = {
    ("power", "accuracy"): ("", 1e-6),
    ("power", "average_interval"): ("_seconds", 1e-3),
    ("power", "average_interval_max"): ("_seconds", 1e-3),
    ("power", "average_interval_min"): ("_seconds", 1e-3),
    ("temp", "type"): ("", 1.0),
}
_OF_ANY_SENSOR: Final = {"alarm": "", "beep": "_enabled", "fault": ""}
_FAN_SPEEDS: Final = frozenset({"input", "max", "min", "target"})


def collect(paths: HostPaths) -> list[Family]:
    base = paths.sys("class/hwmon")
    directories = list_directory(base)
    if not directories:
        raise AbsentSourceError("no hardware sensors on this machine")
    names = gauge("node_hwmon_chip_names", "Annotation metric for human-readable chip names")
    labels = gauge("node_hwmon_sensor_label", "Label for given chip and sensor")
    families: dict[str, Family] = {}
    for directory in directories:
        path = Path(base, directory)
        chip = chip_of(path)
        if human := read_optional(f"{path}/name"):
            names.add(1, chip=chip, chip_name=human)
        for file in list_directory(str(path)):
            if found := _FILE.fullmatch(file):
                _add(f"{path}/{file}", found, chip, labels, families)
    return [names, labels, *families.values()]


def _add(
    path: str, file: re.Match[str], chip: str, labels: Family, families: dict[str, Family]
) -> None:
    kind, number, property_name = file[1], file[2], file[3] or "input"
    sensor = f"{kind}{number}"
    if property_name == "label":
        labels.add(1, chip=chip, sensor=sensor, label=read_optional(path) or "")
        return
    value = read_number(path)
    if value is not None:
        family, factor = family_of(kind, property_name)
        families.setdefault(family.name, family).add(value * factor, chip=chip, sensor=sensor)


def family_of(kind: str, property_name: str) -> tuple[Family, float]:
    """The family for a property of a sensor, and the factor to its unit."""
    suffix, factor = _unit_of(kind, property_name)
    middle = "" if property_name == "input" else f"_{property_name}"
    name = f"node_hwmon_{kind}{middle}{suffix}"
    make = counter if name.endswith("_total") else gauge
    return make(name, f"Hardware monitor for {kind} ({property_name})"), factor


def _unit_of(kind: str, property_name: str) -> tuple[str, float]:
    if property_name in _OF_ANY_SENSOR:
        return _OF_ANY_SENSOR[property_name], 1.0
    if kind == "fan" and property_name not in _FAN_SPEEDS:
        return "", 1.0
    special = _SPECIAL_UNITS.get((kind, property_name))
    return special or _UNITS.get(kind, ("", 1.0))


def chip_of(path: Path) -> str:
    """A name for the chip that survives a reboot: its bus and its address there."""
    device = path / "device"
    if device.exists():
        real = device.resolve()
        bus, address = _clean(real.parent.name), _clean(real.name)
        return f"{bus}_{address}" if bus else address
    return _clean(read_optional(f"{path}/name") or "") or _clean(path.resolve().name)


def _clean(name: str) -> str:
    return _NOT_IN_A_CHIP_NAME.sub("_", name.lower()).strip("_")
