"""The kernel's name and version, and the host's, from /proc/sys/kernel."""

from __future__ import annotations

import os
from typing import Final

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, read_optional, read_text

_FILES: Final = {
    "sysname": "ostype",
    "release": "osrelease",
    "version": "version",
    "nodename": "hostname",
    "domainname": "domainname",
}


def collect(paths: HostPaths) -> list[Family]:
    labels = {
        label: read_text(paths.proc(f"sys/kernel/{file}")).strip() for label, file in _FILES.items()
    }
    # Since Linux 6.1 the kernel tells its architecture here too.
    labels["machine"] = read_optional(paths.proc("sys/kernel/arch")) or os.uname().machine
    info = gauge(
        "node_uname_info", "Labeled system information as provided by the uname system call."
    )
    info.add(1, **labels)
    return [info]
