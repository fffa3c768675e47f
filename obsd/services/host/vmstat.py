"""Paging and out-of-memory kills, from /proc/vmstat."""

from __future__ import annotations

import re
from typing import Final

from obsd.services.host.family import Family, untyped
from obsd.services.host.sources import HostPaths, parser, read_text

CHOSEN: Final = re.compile(r"(oom_kill|pgpg|pswp|pg.*fault)\w*")


@parser
def parse_vmstat(text: str) -> dict[str, int]:
    """The chosen fields: a file of some hundred lines, of which a few matter."""
    pairs = (line.split(" ") for line in text.splitlines() if CHOSEN.match(line))
    return {name: int(value) for name, value in pairs if CHOSEN.fullmatch(name)}


def collect(paths: HostPaths) -> list[Family]:
    return [
        untyped(f"node_vmstat_{name}", f"/proc/vmstat information field {name}.", value)
        for name, value in sorted(parse_vmstat(read_text(paths.proc("vmstat"))).items())
    ]
