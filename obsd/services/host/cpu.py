"""CPU time by mode, throttling, and what the CPUs are."""

from __future__ import annotations

from typing import Final

from obsd.services.host.family import Family, counter, gauge
from obsd.services.host.sources import (
    HostPaths,
    list_directory,
    parser,
    read_number,
    read_optional,
    read_text,
)
from obsd.services.host.stat import CPU_MODES, parse_stat

# A CPU that was taken offline and back starts again from 0; a smaller step back of idle or iowait
# is the kernel's imprecision, and shown as a counter reset it would make a burst of false time.
_HOTPLUG_DROP_S: Final = 3.0
_INFO_LABELS: Final = {
    "vendor_id": "vendor",
    "cpu family": "family",
    "model": "model",
    "model name": "model_name",
    "microcode": "microcode",
    "stepping": "stepping",
    "cache size": "cachesize",
    "core id": "core",
    "physical id": "package",
}


@parser
def parse_cpuinfo(text: str) -> dict[str, dict[str, str]]:
    """CPU number -> labels of node_cpu_info that this architecture tells."""
    cpus: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if not separator:
            continue
        key, value = key.strip(), value.strip()
        if key == "processor":
            current = cpus.setdefault(value, {})
        elif key in _INFO_LABELS:
            current[_INFO_LABELS[key]] = value
    return cpus


class CpuSubsystem:
    """Keeps the last times of every CPU, so that they never step back by rounding."""

    def __init__(self, paths: HostPaths) -> None:
        self._paths = paths
        self._last: dict[str, list[float]] = {}
        self._info: Family | None = None

    def collect(self) -> list[Family]:
        families = self._times(parse_stat(read_text(self._paths.proc("stat"))).cpus)
        families += self._throttles()
        if self._info is None:
            self._info = self._read_info()
        return [*families, self._info]

    def _times(self, cpus: dict[str, list[float]]) -> list[Family]:
        seconds = counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.")
        guest = counter(
            "node_cpu_guest_seconds_total",
            "Seconds the CPUs spent in guests (VMs) for each mode.",
        )
        for cpu, now in cpus.items():
            times = self._last[cpu] = monotonic_times(self._last.get(cpu), now)
            *modes, in_guest, in_nice_guest = zip(CPU_MODES, times, strict=True)
            for mode, value in modes:
                seconds.add(value, cpu=cpu, mode=mode)
            guest.add(in_nice_guest[1], cpu=cpu, mode="nice")
            guest.add(in_guest[1], cpu=cpu, mode="user")
        return [guest, seconds]

    def _throttles(self) -> list[Family]:
        core = counter(
            "node_cpu_core_throttles_total", "Number of times this CPU core has been throttled."
        )
        package = counter(
            "node_cpu_package_throttles_total",
            "Number of times this CPU package has been throttled.",
        )
        seen_cores: set[tuple[int, int]] = set()
        seen_packages: set[int] = set()
        for cpu in self._last:
            base = self._paths.sys(f"devices/system/cpu/cpu{cpu}")
            core_count = read_number(f"{base}/thermal_throttle/core_throttle_count")
            if core_count is None:
                continue
            package_id = read_number(f"{base}/topology/physical_package_id") or 0
            core_id = read_number(f"{base}/topology/core_id") or 0
            if (package_id, core_id) not in seen_cores:
                seen_cores.add((package_id, core_id))
                core.add(core_count, package=str(package_id), core=str(core_id))
            package_count = read_number(f"{base}/thermal_throttle/package_throttle_count")
            if package_count is not None and package_id not in seen_packages:
                seen_packages.add(package_id)
                package.add(package_count, package=str(package_id))
        return [core, package]

    def _read_info(self) -> Family:
        info = gauge("node_cpu_info", "CPU information from /proc/cpuinfo.")
        text = read_optional(self._paths.proc("cpuinfo"))
        for cpu, labels in parse_cpuinfo(text or "").items():
            info.add(1, cpu=cpu, **{name: labels.get(name, "") for name in _INFO_LABELS.values()})
        return info


def monotonic_times(last: list[float] | None, now: list[float]) -> list[float]:
    """Times that do not step back, unless they fell so far that the CPU must have restarted."""
    idle = CPU_MODES.index("idle")
    if last is None or last[idle] - now[idle] >= _HOTPLUG_DROP_S:
        return now
    return [max(before, after) for before, after in zip(last, now, strict=True)]


def collect_cpufreq(paths: HostPaths) -> list[Family]:
    """Frequencies, where the kernel drives them (most virtual machines do not)."""
    kinds = (
        ("cpuinfo_cur_freq", "frequency_hertz", "Current CPU thread frequency in hertz."),
        ("cpuinfo_max_freq", "frequency_max_hertz", "Maximum CPU thread frequency in hertz."),
        ("cpuinfo_min_freq", "frequency_min_hertz", "Minimum CPU thread frequency in hertz."),
        (
            "scaling_cur_freq",
            "scaling_frequency_hertz",
            "Current scaled CPU thread frequency in hertz.",
        ),
        (
            "scaling_max_freq",
            "scaling_frequency_max_hertz",
            "Maximum scaled CPU thread frequency in hertz.",
        ),
        (
            "scaling_min_freq",
            "scaling_frequency_min_hertz",
            "Minimum scaled CPU thread frequency in hertz.",
        ),
    )
    base = paths.sys("devices/system/cpu")
    cpus = [name[3:] for name in list_directory(base) if name[:3] == "cpu" and name[3:].isdigit()]
    families = []
    for file, suffix, text in kinds:
        family = gauge(f"node_cpu_{suffix}", text)
        for cpu in cpus:
            khz = read_number(f"{base}/cpu{cpu}/cpufreq/{file}")
            if khz is not None:
                family.add(khz * 1000, cpu=cpu)
        families.append(family)
    return families
