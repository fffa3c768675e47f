"""Space and inodes of mounted filesystems.

A network filesystem whose server is gone blocks statvfs for as long as it likes. Only mounts that
cannot block that way are asked directly; every other one is asked by a thread of its own, and
while one hangs, its mount is shown with `node_filesystem_device_error` 1 and not asked again.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, parser, read_text

ANSWER_WITHIN_S: Final = (
    1.0  # For all remote mounts together; then the others are not kept waiting.
)
IGNORED_TYPES: Final = re.compile(
    r"autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660"
    r"|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs"
    r"|tracefs|erofs"
)
IGNORED_MOUNTS: Final = re.compile(
    r"/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/.*)"
)
LOCAL_TYPES: Final = frozenset(
    (
        *("bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfsplus", "jfs", "msdos"),
        *("nilfs2", "ntfs3", "ramfs", "reiserfs", "rootfs", "tmpfs", "udf", "ufs", "vfat", "xfs"),
        "zfs",
    )
)

_OCTAL: Final = re.compile(r"\\([0-7]{3})")
Stat = Callable[[str], os.statvfs_result]


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/mounts."""

    device: str
    mountpoint: str
    fstype: str
    options: frozenset[str]


@parser
def parse_mounts(text: str) -> list[Mount]:
    mounts = []
    for line in text.splitlines():
        if not line.strip():
            continue
        device, mountpoint, fstype, options, *_ = line.split(" ")
        mounts.append(
            Mount(_unescape(device), _unescape(mountpoint), fstype, frozenset(options.split(",")))
        )
    return mounts


def _unescape(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def is_of_interest(mount: Mount) -> bool:
    """node_exporter's choice, and the root of a container, which is an overlay."""
    if IGNORED_MOUNTS.fullmatch(mount.mountpoint):
        return False
    return mount.mountpoint == "/" or not IGNORED_TYPES.fullmatch(mount.fstype)


def may_hang(mount: Mount, mounts: Iterable[Mount]) -> bool:
    """Whether a mount, or one that the path to it leads through, is not known to be local."""
    return any(
        other.fstype not in LOCAL_TYPES and not IGNORED_TYPES.fullmatch(other.fstype)
        for other in mounts
        if mount.mountpoint == other.mountpoint
        or mount.mountpoint.startswith(f"{other.mountpoint.rstrip('/')}/")
    )


class FilesystemSubsystem:
    """Keeps the threads that still wait for an answer, so that a hung mount has one at most."""

    def __init__(
        self,
        paths: HostPaths,
        statvfs: Stat = os.statvfs,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._paths = paths
        self._statvfs = statvfs
        self._answer_within_s = answer_within_s
        self._waiting: dict[str, threading.Thread] = {}

    def collect(self) -> list[Family]:
        mounts = parse_mounts(self._read_mounts())
        unique = {(m.device, m.mountpoint): m for m in mounts if is_of_interest(m)}
        chosen = list(unique.values())
        remote = {m.mountpoint for m in chosen if may_hang(m, mounts)}
        results = self._ask_remote(remote)
        for mount in chosen:
            if mount.mountpoint not in remote:
                results[mount.mountpoint] = self._ask(mount.mountpoint)
        return to_families((mount, results.get(mount.mountpoint)) for mount in chosen)

    def _read_mounts(self) -> str:
        """Those of pid 1, since obsd itself may run in a mount namespace of its own."""
        try:
            return read_text(self._paths.proc("1/mounts"))
        except OSError:
            return read_text(self._paths.proc("self/mounts"))

    def _ask(self, mountpoint: str) -> os.statvfs_result | None:
        try:
            return self._statvfs(self._paths.root(mountpoint.lstrip("/")))
        except OSError:
            return None

    def _ask_remote(self, mountpoints: set[str]) -> dict[str, os.statvfs_result | None]:
        answers: dict[str, os.statvfs_result | None] = {}
        self._waiting = {m: t for m, t in self._waiting.items() if t.is_alive()}
        asked = []
        for mountpoint in sorted(mountpoints - self._waiting.keys()):

            def ask(mountpoint: str = mountpoint) -> None:
                answers[mountpoint] = self._ask(mountpoint)

            thread = threading.Thread(target=ask, name=f"statvfs {mountpoint}", daemon=True)
            self._waiting[mountpoint] = thread
            thread.start()
            asked.append(thread)
        deadline_s = time.monotonic() + self._answer_within_s
        for thread in asked:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return dict(answers)


def to_families(results: Iterable[tuple[Mount, os.statvfs_result | None]]) -> list[Family]:
    """Families of mounts with their answers; None is a mount that gave none."""
    avail = gauge(
        "node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes."
    )
    error = gauge(
        "node_filesystem_device_error",
        "Whether an error occurred while getting statistics for the given device.",
    )
    files = gauge("node_filesystem_files", "Filesystem total file nodes.")
    files_free = gauge("node_filesystem_files_free", "Filesystem total free file nodes.")
    free = gauge("node_filesystem_free_bytes", "Filesystem free space in bytes.")
    readonly = gauge("node_filesystem_readonly", "Filesystem read-only status.")
    size = gauge("node_filesystem_size_bytes", "Filesystem size in bytes.")
    for mount, stat in results:
        labels = {"device": mount.device, "fstype": mount.fstype, "mountpoint": mount.mountpoint}
        error.add(stat is None, **labels)
        readonly.add("ro" in mount.options, **labels)
        if stat is None:
            continue
        avail.add(stat.f_bavail * stat.f_frsize, **labels)
        files.add(stat.f_files, **labels)
        files_free.add(stat.f_ffree, **labels)
        free.add(stat.f_bfree * stat.f_frsize, **labels)
        size.add(stat.f_blocks * stat.f_frsize, **labels)
    return [avail, error, files, files_free, free, readonly, size]
