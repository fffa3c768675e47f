"""The distribution and its version, from os-release(5)."""

from __future__ import annotations

import re
import shlex
from typing import Final

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import AbsentSourceError, HostPaths, parser, read_optional

_LABELS: Final = (
    *("build_id", "id", "id_like", "image_id", "image_version", "name", "pretty_name"),
    *("variant", "variant_id", "version", "version_codename", "version_id"),
)
_MAJOR_MINOR: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


@parser
def parse_os_release(text: str) -> dict[str, str]:
    """Lower-case key -> value, with the shell's quoting taken off."""
    values = {}
    for line in text.splitlines():
        key, separator, quoted = line.partition("=")
        if separator and not line.startswith("#"):
            values[key.strip().lower()] = "".join(shlex.split(quoted))
    return values


class OsSubsystem:
    """Reads the file once: it changes with an upgrade, not every 15 s."""

    def __init__(self, paths: HostPaths) -> None:
        self._paths = paths
        self._families: list[Family] | None = None

    def collect(self) -> list[Family]:
        if self._families is None:
            self._families = to_families(parse_os_release(self._read()))
        return self._families

    def _read(self) -> str:
        for name in ("etc/os-release", "usr/lib/os-release"):
            if text := read_optional(self._paths.root(name)):
                return text
        raise AbsentSourceError("no os-release")


def to_families(release: dict[str, str]) -> list[Family]:
    info = gauge(
        "node_os_info",
        "A metric with a constant '1' value labeled by build_id, id, id_like, image_id,"
        " image_version, name, pretty_name, variant, variant_id, version, version_codename,"
        " version_id.",
    )
    info.add(1, **{label: release.get(label, "") for label in _LABELS})
    version = gauge("node_os_version", "Metric containing the major.minor part of the OS version.")
    if found := _MAJOR_MINOR.match(release.get("version", release.get("version_id", ""))):
        labels = {label: release.get(label, "") for label in ("id", "id_like", "name")}
        version.add(float(found[0]), **labels)
    return [info, version]
