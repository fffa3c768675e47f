"""Connection tracking: entries, their limit, and what happened to packets."""

from __future__ import annotations

from collections import Counter
from typing import Final

from obsd.services.host.family import Family, gauge
from obsd.services.host.sources import AbsentSourceError, HostPaths, parser, read_number, read_text

_STATISTICS: Final = {
    "found": "Number of searched entries which were successful.",
    "invalid": "Number of packets seen which can not be tracked.",
    "ignore": "Number of packets seen which are already connected to a conntrack entry.",
    "insert": "Number of entries inserted into the list.",
    "insert_failed": "Number of entries for which list insertion was attempted but failed.",
    "drop": "Number of packets dropped due to conntrack failure.",
    "early_drop": "Number of dropped conntrack entries to make room for new ones,"
    " if maximum table size was reached.",
    "search_restart": "Number of conntrack table lookups which had to be restarted"
    " due to hashtable resizes.",
}


@parser
def parse_conntrack_stat(text: str) -> Counter[str]:
    """Statistic -> its sum over all CPUs; the file is hexadecimal, with one line a CPU."""
    header, *rows = [line.split() for line in text.splitlines() if line.strip()]
    totals: Counter[str] = Counter()
    for row in rows:
        for name, value in zip(header, row, strict=True):
            totals[name] += int(value, 16)
    return totals


def collect(paths: HostPaths) -> list[Family]:
    entries = read_number(paths.proc("sys/net/netfilter/nf_conntrack_count"))
    limit = read_number(paths.proc("sys/net/netfilter/nf_conntrack_max"))
    if entries is None or limit is None:
        raise AbsentSourceError("no connection tracking in this kernel")
    families = [
        gauge(
            "node_nf_conntrack_entries",
            "Number of currently allocated flow entries for connection tracking.",
            entries,
        ),
        gauge(
            "node_nf_conntrack_entries_limit",
            "Maximum size of connection tracking table.",
            limit,
        ),
    ]
    totals = parse_conntrack_stat(read_text(paths.proc("net/stat/nf_conntrack")))
    return families + [
        gauge(f"node_nf_conntrack_stat_{name}", text, totals[name])
        for name, text in _STATISTICS.items()
        if name in totals
    ]
