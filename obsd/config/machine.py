"""What this machine has, where a default depends on it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes(cgroup_limits: tuple[Path, ...] = _CGROUP_LIMITS) -> int:
    """Memory that this process may use: the machine's, or its container's where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in cgroup_limits:
        # "max", no such file, or no right to read it: that cgroup sets no limit that we know of.
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(path.read_text(encoding="ascii")))
    return total
