"""Memory errors that the controllers corrected, or could not, from /sys/devices/system/edac."""

from __future__ import annotations

from obsd.services.host.family import Family, counter
from obsd.services.host.sources import HostPaths, list_directory, read_number


def collect(paths: HostPaths) -> list[Family]:
    families = {
        "ce_count": counter(
            "node_edac_correctable_errors_total", "Total correctable memory errors."
        ),
        "ue_count": counter(
            "node_edac_uncorrectable_errors_total", "Total uncorrectable memory errors."
        ),
    }
    rows = {
        "ce_count": counter(
            "node_edac_csrow_correctable_errors_total",
            "Total correctable memory errors for this csrow.",
        ),
        "ue_count": counter(
            "node_edac_csrow_uncorrectable_errors_total",
            "Total uncorrectable memory errors for this csrow.",
        ),
    }
    base = paths.sys("devices/system/edac/mc")
    for name in _numbered(base, "mc"):
        controller = name.removeprefix("mc")
        for file, family in families.items():
            errors = read_number(f"{base}/{name}/{file}")
            if errors is not None:
                family.add(errors, controller=controller)
            noinfo = read_number(f"{base}/{name}/{file.replace('_', '_noinfo_')}")
            if noinfo is not None:
                rows[file].add(noinfo, controller=controller, csrow="unknown")
        for row in _numbered(f"{base}/{name}", "csrow"):
            for file, family in rows.items():
                errors = read_number(f"{base}/{name}/{row}/{file}")
                if errors is not None:
                    family.add(errors, controller=controller, csrow=row.removeprefix("csrow"))
    return [*families.values(), *rows.values()]


def _numbered(directory: str, prefix: str) -> list[str]:
    names = list_directory(directory)
    return [name for name in names if name.removeprefix(prefix).isdigit() and name != prefix]
