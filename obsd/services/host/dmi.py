"""What the firmware says of the machine, from /sys/class/dmi."""

from __future__ import annotations

from typing import Final

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import AbsentSourceError, HostPaths, list_directory, read_optional

# File of /sys/class/dmi/id -> label. Serial numbers and the UUID are for root alone.
_LABELS: Final = {
    "bios_date": "bios_date",
    "bios_release": "bios_release",
    "bios_vendor": "bios_vendor",
    "bios_version": "bios_version",
    "board_asset_tag": "board_asset_tag",
    "board_name": "board_name",
    "board_serial": "board_serial",
    "board_vendor": "board_vendor",
    "board_version": "board_version",
    "chassis_asset_tag": "chassis_asset_tag",
    "chassis_serial": "chassis_serial",
    "chassis_vendor": "chassis_vendor",
    "chassis_version": "chassis_version",
    "product_family": "product_family",
    "product_name": "product_name",
    "product_serial": "product_serial",
    "product_sku": "product_sku",
    "product_uuid": "product_uuid",
    "product_version": "product_version",
    "sys_vendor": "system_vendor",
}


class DmiSubsystem:
    """Reads the firmware's tables once: they change with a reboot."""

    def __init__(self, paths: HostPaths) -> None:
        self._base = paths.sys("class/dmi/id")
        self._families: list[Family] | None = None

    def collect(self) -> list[Family]:
        if self._families is None:
            self._families = [self._read()]
        return self._families

    def _read(self) -> Family:
        found = set(list_directory(self._base))
        if not found:
            raise AbsentSourceError("no DMI tables on this machine")
        values = {
            label: read_optional(f"{self._base}/{file}")
            for file, label in _LABELS.items()
            if file in found
        }
        info = gauge(
            "node_dmi_info",
            "A metric with a constant '1' value labeled by what the machine's DMI tables say of"
            " its firmware, board, chassis and product.",
        )
        info.add(1, **{label: value for label, value in values.items() if value is not None})
        return info
