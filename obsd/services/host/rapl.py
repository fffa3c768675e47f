"""Energy that the processor's packages used, from the RAPL zones of /sys/class/powercap."""

from __future__ import annotations

import re
from typing import Final

from obsd.services.host.family import Family, counter
from obsd.services.host.sources import (
    AbsentSourceError,
    HostPaths,
    list_directory,
    read_number,
    read_optional,
)

_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")
_NUMBERED: Final = re.compile(r"(.*?)-(\d+)")


def collect(paths: HostPaths) -> list[Family]:
    base = paths.sys("class/powercap")
    zones = [name for name in list_directory(base) if ":" in name]
    if not zones:
        raise AbsentSourceError("no RAPL zones on this machine")
    families: dict[str, Family] = {}
    seen: dict[str, int] = {}
    for directory in zones:
        name = read_optional(f"{base}/{directory}/name")
        # Since Linux 5.10 only root may read it, against a side channel.
        microjoules = read_number(f"{base}/{directory}/energy_uj")
        if not name or microjoules is None:
            continue
        zone, index = _split_name(name, seen)
        metric = f"node_rapl_{_NOT_IN_A_NAME.sub('_', zone)}_joules_total"
        text = f"Current RAPL {zone} value in joules"
        family = families.setdefault(metric, counter(metric, text))
        family.add(microjoules / 1e6, index=index, path=f"{base}/{directory}")
    if not families:
        raise AbsentSourceError("RAPL zones are not readable for this user")
    return list(families.values())


def _split_name(name: str, seen: dict[str, int]) -> tuple[str, str]:
    """`package-0` has its number; for zones without one, such as `core`, they are counted."""
    if numbered := _NUMBERED.fullmatch(name):
        return numbered[1], numbered[2]
    index = seen.get(name, 0)
    seen[name] = index + 1
    return name, str(index)
