"""Open file handles of the whole system, from /proc/sys/fs/file-nr."""

from __future__ import annotations

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, parser, read_text


@parser
def parse_file_nr(text: str) -> tuple[int, int]:
    """Allocated and maximum handles; the number between them is 0 since Linux 2.6."""
    allocated, _, maximum = text.split()
    return int(allocated), int(maximum)


def collect(paths: HostPaths) -> list[Family]:
    allocated, maximum = parse_file_nr(read_text(paths.proc("sys/fs/file-nr")))
    return [
        gauge("node_filefd_allocated", "File descriptor statistics: allocated.", allocated),
        gauge("node_filefd_maximum", "File descriptor statistics: maximum.", maximum),
    ]
