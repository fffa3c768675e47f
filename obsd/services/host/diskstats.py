"""Block device statistics, from /proc/diskstats, and what the devices are, from udev."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from obsd.services.host.family import Family, Kind, gauge
from obsd.services.host.sources import HostPaths, parser, read_optional, read_text

IGNORED: Final = re.compile(r"(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+")
_SECTOR_BYTES: Final = 512  # The unit of /proc/diskstats, whatever the device's own sector size.

# In the order of the file's columns; `scale` turns a column into the metric's unit.
_COLUMNS: Final = (
    ("reads_completed_total", 1, "The total number of reads completed successfully."),
    ("reads_merged_total", 1, "The total number of reads merged."),
    ("read_bytes_total", _SECTOR_BYTES, "The total number of bytes read successfully."),
    ("read_time_seconds_total", 0.001, "The total number of seconds spent by all reads."),
    ("writes_completed_total", 1, "The total number of writes completed successfully."),
    ("writes_merged_total", 1, "The number of writes merged."),
    ("written_bytes_total", _SECTOR_BYTES, "The total number of bytes written successfully."),
    (
        "write_time_seconds_total",
        0.001,
        "This is the total number of seconds spent by all writes.",
    ),
    ("io_now", 1, "The number of I/Os currently in progress."),
    ("io_time_seconds_total", 0.001, "Total seconds spent doing I/Os."),
    ("io_time_weighted_seconds_total", 0.001, "The weighted # of seconds spent doing I/Os."),
    ("discards_completed_total", 1, "The total number of discards completed successfully."),
    ("discards_merged_total", 1, "The total number of discards merged."),
    ("discarded_sectors_total", 1, "The total number of sectors discarded successfully."),
    (
        "discard_time_seconds_total",
        0.001,
        "This is the total number of seconds spent by all discards.",
    ),
    (
        "flush_requests_total",
        1,
        "The total number of flush requests completed successfully",
    ),
    (
        "flush_requests_time_seconds_total",
        0.001,
        "This is the total number of seconds spent by all flush requests.",
    ),
)
_UDEV_LABELS: Final = (
    ("path", "ID_PATH"),
    ("wwn", "ID_WWN"),
    ("model", "ID_MODEL"),
    ("serial", "ID_SERIAL_SHORT"),
    ("revision", "ID_REVISION"),
)


@dataclass(frozen=True, slots=True)
class Disk:
    """A line of /proc/diskstats; older kernels give fewer values (11, 15, then 17)."""

    major: int
    minor: int
    name: str
    values: tuple[int, ...]


@parser
def parse_diskstats(text: str) -> list[Disk]:
    disks = []
    for line in text.splitlines():
        if not line.strip():
            continue
        major, minor, name, *values = line.split()
        if len(values) < 11:
            raise ValueError(f"expected 11 or more numbers, found {len(values)} for {name!r}")
        numbers = tuple(int(value) for value in values[: len(_COLUMNS)])
        disks.append(Disk(int(major), int(minor), name, numbers))
    return disks


@parser
def parse_udev_properties(text: str) -> dict[str, str]:
    """The `E:KEY=value` lines of a udev database entry."""
    lines = (line[2:].partition("=") for line in text.splitlines() if line.startswith("E:"))
    return {key: value for key, _, value in lines}


class DiskstatsSubsystem:
    """Keeps what udev told of each device, which stays true while the device does."""

    def __init__(self, paths: HostPaths) -> None:
        self._paths = paths
        self._properties: dict[tuple[int, int, str], dict[str, str]] = {}

    def collect(self) -> list[Family]:
        disks = [
            disk
            for disk in parse_diskstats(read_text(self._paths.proc("diskstats")))
            if not IGNORED.fullmatch(disk.name)
        ]
        info = gauge("node_disk_info", "Info of /sys/block/<block_device>.")
        families = [
            Family(f"node_disk_{name}", Kind.GAUGE if name == "io_now" else Kind.COUNTER, text)
            for name, _, text in _COLUMNS
        ]
        for disk in disks:
            udev = self._udev(disk)
            labels = {label: udev.get(key, "") for label, key in _UDEV_LABELS}
            info.add(1, device=disk.name, major=str(disk.major), minor=str(disk.minor), **labels)
            # Older kernels have fewer columns.
            for family, (_, scale, _), value in zip(families, _COLUMNS, disk.values, strict=False):
                family.add(value * scale, device=disk.name)
        return [info, *families]

    def _udev(self, disk: Disk) -> dict[str, str]:
        key = (disk.major, disk.minor, disk.name)
        if key not in self._properties:
            path = self._paths.root(f"run/udev/data/b{disk.major}:{disk.minor}")
            self._properties[key] = parse_udev_properties(read_optional(path) or "")
        return self._properties[key]
