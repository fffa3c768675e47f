"""The host collector: runs every subsystem and renders what they found.

A subsystem fails alone: it is reported by `node_scrape_collector_success` 0, as node_exporter
does, and the others go on.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path

from obsd.services.host import loadavg, meminfo, netdev, stat
from obsd.services.host.cpu import CpuSubsystem, collect_cpufreq
from obsd.services.host.diskstats import DiskstatsSubsystem
from obsd.services.host.family import Family, gauge, render
from obsd.services.host.filesystem import FilesystemSubsystem
from obsd.services.host.sources import AbsentSourceError, HostPaths

Collect = Callable[[], list[Family]]
log = logging.getLogger(__name__)


def subsystems_of(paths: HostPaths) -> dict[str, Collect]:
    """Every subsystem by its name, which is node_exporter's where it has the same one."""
    stateless: dict[str, Callable[[HostPaths], list[Family]]] = {
        "cpufreq": collect_cpufreq,
        "loadavg": loadavg.collect,
        "meminfo": meminfo.collect,
        "netdev": netdev.collect,
        "stat": stat.collect,
    }
    stateful: dict[str, Collect] = {
        "cpu": CpuSubsystem(paths).collect,
        "diskstats": DiskstatsSubsystem(paths).collect,
        "filesystem": FilesystemSubsystem(paths).collect,
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
        return render([*families, duration, success])

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
