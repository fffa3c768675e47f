"""The host collector: runs every subsystem and renders what they found.

A subsystem fails alone: it is reported by `node_scrape_collector_success` 0, as node_exporter
does, and the others go on.
"""

from __future__ import annotations

import functools
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path

from obsd import __version__
from obsd.services.host import (
    arp,
    conntrack,
    edac,
    entropy,
    filefd,
    hwmon,
    kernel_hung,
    loadavg,
    meminfo,
    netclass,
    netdev,
    netstat,
    power_supply,
    pressure,
    processes,
    rapl,
    schedstat,
    self_process,
    selinux,
    sockstat,
    softnet,
    stat,
    system_time,
    thermal_zone,
    udp_queues,
    uname,
    vmstat,
)
from obsd.services.host.containers import ContainerSubsystem
from obsd.services.host.cpu import CpuSubsystem, collect_cpufreq
from obsd.services.host.diskstats import DiskstatsSubsystem
from obsd.services.host.dmi import DmiSubsystem
from obsd.services.host.family import Family, gauge, render
from obsd.services.host.filesystem import FilesystemSubsystem
from obsd.services.host.os_release import OsSubsystem
from obsd.services.host.process_groups import ProcessGroups
from obsd.services.host.process_table import ProcessTable
from obsd.services.host.sources import AbsentSourceError, HostPaths
from obsd.services.host.systemd import SystemdSubsystem
from obsd.services.host.timex import TimexSubsystem

Collect = Callable[[], list[Family]]
log = logging.getLogger(__name__)


def subsystems_of(paths: HostPaths) -> dict[str, Collect]:
    """Every subsystem by its name, which is node_exporter's where it has the same one."""
    stateless: dict[str, Callable[[HostPaths], list[Family]]] = {
        "arp": arp.collect,
        "conntrack": conntrack.collect,
        "cpufreq": collect_cpufreq,
        "edac": edac.collect,
        "entropy": entropy.collect,
        "filefd": filefd.collect,
        "hwmon": hwmon.collect,
        "kernel_hung": kernel_hung.collect,
        "loadavg": loadavg.collect,
        "meminfo": meminfo.collect,
        "netclass": netclass.collect,
        "netdev": netdev.collect,
        "netstat": netstat.collect,
        "powersupplyclass": power_supply.collect,
        "pressure": pressure.collect,
        "process": self_process.collect,
        "rapl": rapl.collect,
        "schedstat": schedstat.collect,
        "selinux": selinux.collect,
        "sockstat": sockstat.collect,
        "softnet": softnet.collect,
        "stat": stat.collect,
        "thermal_zone": thermal_zone.collect,
        "time": system_time.collect,
        "udp_queues": udp_queues.collect,
        "uname": uname.collect,
        "vmstat": vmstat.collect,
    }
    table = ProcessTable(paths)
    stateful: dict[str, Collect] = {
        "containers": ContainerSubsystem(paths).collect,
        "cpu": CpuSubsystem(paths).collect,
        "diskstats": DiskstatsSubsystem(paths).collect,
        "dmi": DmiSubsystem(paths).collect,
        "filesystem": FilesystemSubsystem(paths).collect,
        "os": OsSubsystem(paths).collect,
        "process_groups": ProcessGroups(
            functools.partial(table.read_for, "process_groups"),
            functools.partial(stat.read_boot_time_s, paths),
        ).collect,
        "processes": functools.partial(
            processes.collect, paths, functools.partial(table.read_for, "processes")
        ),
        "systemd": SystemdSubsystem(paths).collect,
        "timex": TimexSubsystem().collect,
    }
    bound = {name: functools.partial(collect, paths) for name, collect in stateless.items()}
    return dict(sorted((bound | stateful).items()))


class HostCollector:
    """Reads the host's state; for one thread at a time, and reusable for as long as obsd runs."""

    def __init__(
        self,
        *,
        procfs: Path = Path("/proc"),
        sysfs: Path = Path("/sys"),
        rootfs: Path = Path("/"),
    ) -> None:
        self._subsystems = subsystems_of(HostPaths(procfs, sysfs, rootfs))
        self._reported: dict[str, str] = {}

    def collect(self) -> bytes:
        """Everything as exposition text 0.0.4, with HELP and TYPE. Blocks; takes milliseconds."""
        duration = gauge(
            "node_scrape_collector_duration_seconds",
            "node_exporter: Duration of a collector scrape.",
        )
        success = gauge(
            "node_scrape_collector_success", "node_exporter: Whether a collector succeeded."
        )
        families: list[Family] = []
        for name, collect in self._subsystems.items():
            start_s = time.perf_counter()
            found = self._run(name, collect)
            duration.add(time.perf_counter() - start_s, collector=name)
            success.add(found is not None, collector=name)
            families += found or []
        return render([*_constant_families(), *families, duration, success])

    def _run(self, name: str, collect: Collect) -> list[Family] | None:
        try:
            found = collect()
        except Exception as error:  # noqa: BLE001 - one subsystem's edge: no kernel may stop the rest
            self._report(name, error)
            return None
        self._reported.pop(name, None)
        return found

    def _report(self, name: str, error: Exception) -> None:
        """Log a failure once, not every 15 s; an interface that is not there is no warning."""
        text = f"{type(error).__name__}: {error}"
        if self._reported.get(name) == text:
            return
        self._reported[name] = text
        level = (
            logging.DEBUG if isinstance(error, (OSError, AbsentSourceError)) else logging.WARNING
        )
        log.log(level, "host subsystem failed", extra={"subsystem": name, "error": text})


def _constant_families() -> list[Family]:
    """What node_exporter says of itself, and dashboards ask for."""
    build = gauge(
        "node_exporter_build_info",
        "A metric with a constant '1' value labeled by the version of obsd, which collects in"
        " node_exporter's place.",
    )
    build.add(1, version=__version__, branch="obsd", goos="linux", goarch=platform.machine())
    textfile = gauge(
        "node_textfile_scrape_error",
        "1 if there was an error opening or reading a file, 0 otherwise",
        0,
    )
    return [build, textfile]
