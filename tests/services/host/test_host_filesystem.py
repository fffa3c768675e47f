import os
import threading

import pytest

from obsd.services.host.filesystem import FilesystemSubsystem, Mount, is_of_interest, may_hang

ANSWER = os.statvfs_result((4096, 4096, 100, 40, 30, 1000, 900, 900, 0, 255))
MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
tmpfs /run tmpfs ro 0 0
server:/export /srv/nfs nfs4 rw 0 0
/dev/sdb1 /srv/nfs/below ext4 rw 0 0
overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0
"""


def mount(mountpoint: str, fstype: str) -> Mount:
    return Mount("device", mountpoint, fstype, frozenset())


@pytest.mark.parametrize(
    ("mountpoint", "fstype", "expected"),
    [
        ("/", "ext4", True),
        ("/", "overlay", True),
        ("/data", "xfs", True),
        ("/device", "xfs", True),
        ("/srv", "nfs", True),
        ("/dev/shm", "tmpfs", False),
        ("/proc", "proc", False),
        ("/snap/core", "squashfs", False),
        ("/var/lib/docker/overlay2/x/merged", "ext4", False),
        ("/run", "tmpfs", True),
        ("/run/credentials/a.service", "ramfs", False),
    ],
)
def test_choice_of_mounts(mountpoint: str, fstype: str, expected: bool) -> None:
    assert is_of_interest(mount(mountpoint, fstype)) is expected


def test_a_local_mount_below_a_remote_one_may_hang_too() -> None:
    mounts = [mount("/", "ext4"), mount("/srv", "nfs4"), mount("/srv/a", "ext4")]
    assert [may_hang(one, mounts) for one in mounts] == [False, True, True]
    assert not may_hang(mount("/srv2", "ext4"), mounts)


class HungServer:
    """A statvfs that does not return for what lies on the dead server until it is let go."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.entered = threading.Semaphore(0)
        self.back = threading.Event()

    def statvfs(self, path: str) -> os.statvfs_result:
        self.calls.append(path)
        if "/srv/" in path:
            self.entered.release()
            assert self.back.wait(30)
        return ANSWER


def test_a_hung_network_filesystem_does_not_hang_the_collection(tree, values) -> None:
    server = HungServer()
    paths = tree({"proc/1/mounts": MOUNTS})
    subsystem = FilesystemSubsystem(paths, server.statvfs, answer_within_s=0.05)
    nfs = "{device=server:/export,fstype=nfs4,mountpoint=/srv/nfs}"
    root = "{device=/dev/sda1,fstype=ext4,mountpoint=/}"
    for _ in range(3):
        found = values(subsystem.collect())
        assert found[f"node_filesystem_size_bytes{root}"] == 409600
        assert found[f"node_filesystem_avail_bytes{root}"] == 30 * 4096
        assert found[f"node_filesystem_device_error{root}"] == 0
        assert found[f"node_filesystem_device_error{nfs}"] == 1
        assert f"node_filesystem_size_bytes{nfs}" not in found
    assert server.entered.acquire(timeout=10)
    assert len([call for call in server.calls if call.endswith("/srv/nfs")]) == 1, "asked once"

    waiting = [t for t in threading.enumerate() if t.name.startswith("statvfs ")]
    server.back.set()
    for thread in waiting:
        thread.join(10)
    found = values(subsystem.collect())
    assert found[f"node_filesystem_device_error{nfs}"] == 0
    assert found[f"node_filesystem_files_free{nfs}"] == 900


def test_read_only_and_failing_mounts(tree, values) -> None:
    def refuse(path: str) -> os.statvfs_result:
        if path.endswith("/run"):
            return ANSWER
        raise PermissionError(13, "denied", path)

    paths = tree({"proc/self/mounts": MOUNTS.replace("nfs4", "ext4")})
    found = values(FilesystemSubsystem(paths, refuse).collect())
    run = "{device=tmpfs,fstype=tmpfs,mountpoint=/run}"
    assert found[f"node_filesystem_readonly{run}"] == 1
    assert found["node_filesystem_device_error{device=/dev/sda1,fstype=ext4,mountpoint=/}"] == 1
    assert found["node_filesystem_readonly{device=/dev/sda1,fstype=ext4,mountpoint=/}"] == 0


def test_paths_are_below_the_root_that_was_given(tree) -> None:
    asked: list[str] = []

    def note(path: str) -> os.statvfs_result:
        asked.append(path)
        return ANSWER

    paths = tree({"proc/1/mounts": "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /a\\040b xfs rw 0 0\n"})
    FilesystemSubsystem(paths, note).collect()
    assert asked == [f"{paths.rootfs}/", f"{paths.rootfs}/a b"]
