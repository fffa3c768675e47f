"""Whether SELinux is on, from /sys/fs/selinux."""

from __future__ import annotations

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, read_number


def collect(paths: HostPaths) -> list[Family]:
    enforcing = read_number(paths.sys("fs/selinux/enforce"))
    enabled = gauge(
        "node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false", enforcing is not None
    )
    if enforcing is None:
        return [enabled]
    mode = gauge("node_selinux_current_mode", "Current SELinux enforcement mode", enforcing)
    return [enabled, mode]
