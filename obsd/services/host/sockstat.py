"""Sockets in use by protocol, from /proc/net/sockstat and sockstat6."""

from __future__ import annotations

import os
import re
from typing import Final

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, parser, read_optional, read_text

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_WORD: Final = re.compile(r"[A-Za-z0-9_]+")


@parser
def parse_sockstat(text: str) -> dict[tuple[str, str], int]:
    """(protocol, state) -> number of sockets; `mem` counts pages."""
    values = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        protocol, _, rest = line.partition(":")
        words = rest.split()
        for state, number in zip(words[::2], words[1::2], strict=True):
            if not (_WORD.fullmatch(protocol) and _WORD.fullmatch(state)):
                raise ValueError(f"expected words, found {line!r}")
            values[protocol, state] = int(number)
    return values


def collect(paths: HostPaths) -> list[Family]:
    values = parse_sockstat(read_text(paths.proc("net/sockstat")))
    values |= parse_sockstat(read_optional(paths.proc("net/sockstat6")) or "")
    families = []
    for (protocol, state), value in sorted(values.items()):
        families.append(_family(protocol, state, value))
        if state == "mem":
            families.append(_family(protocol, "mem_bytes", value * PAGE_BYTES))
    return families


def _family(protocol: str, state: str, value: int) -> Family:
    if (protocol, state) == ("sockets", "used"):
        return gauge("node_sockstat_sockets_used", "Number of IPv4 sockets in use.", value)
    text = f"Number of {protocol} sockets in state {state}."
    return gauge(f"node_sockstat_{protocol}_{state}", text, value)
