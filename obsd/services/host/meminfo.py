"""Memory: every field of /proc/meminfo."""

from __future__ import annotations

import re

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import HostPaths, parser, read_text

_PARENTHESES = re.compile(r"\((.*?)\)")
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


@parser
def parse_meminfo(text: str) -> dict[str, int]:
    """Metric name part -> value; fields in kB become `<field>_bytes`."""
    fields: dict[str, int] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        key, _, rest = line.partition(":")
        words = rest.split()
        name = _NOT_IN_A_NAME.sub("_", _PARENTHESES.sub(r"_\1", key))
        match words:
            case [number, "kB"]:
                fields[f"{name}_bytes"] = int(number) * 1024
            case [number]:
                fields[name] = int(number)
            case _:
                raise ValueError(f"expected a number, found {line!r}")
    return fields


def collect(paths: HostPaths) -> list[Family]:
    fields = parse_meminfo(read_text(paths.proc("meminfo")))
    return [
        gauge(f"node_memory_{name}", f"Memory information field {name}.", value)
        for name, value in sorted(fields.items())
    ]
