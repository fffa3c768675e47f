"""Protocol counters of /proc/net/netstat, snmp and snmp6: node_exporter's choice of fields."""

from __future__ import annotations

import functools
import re
from typing import Final

from obsd.services.host.family import Family, untyped
from obsd.services.host.sources import HostPaths, parser, read_optional, read_text

# node_exporter's, with the three more TCP fields that its dashboards ask for.
CHOSEN: Final = re.compile(
    r".*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
    r"|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)"
    r"|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab|MaxConn)"
    r"|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors)"
)
_SNMP6: Final = re.compile(r"(Ip6|Icmp6|Udp6|UdpLite6)(\w+)")


@functools.cache
def _is_chosen(key: str) -> bool:
    return CHOSEN.fullmatch(key) is not None


@parser
def parse_netstat(text: str) -> dict[str, int]:
    """`Protocol_Field` -> value, from pairs of a line of names and one of values."""
    values: dict[str, int] = {}
    lines = [line for line in text.splitlines() if line.strip()]
    for names, numbers in zip(lines[::2], lines[1::2], strict=True):
        protocol, *fields = names.split()
        same_protocol, *found = numbers.split()
        if protocol != same_protocol:
            raise ValueError(f"expected a line of {protocol!r}, found {same_protocol!r}")
        for field, number in zip(fields, found, strict=True):
            values[f"{protocol.rstrip(':')}_{field}"] = int(number)
    return values


@parser
def parse_snmp6(text: str) -> dict[str, int]:
    """`Protocol_Field` -> value, from lines such as `Ip6InReceives 7`."""
    values = {}
    for line in text.splitlines():
        match line.split():
            case [key, number]:
                if found := _SNMP6.fullmatch(key):
                    values[f"{found[1]}_{found[2]}"] = int(number)
            case []:
                continue
            case _:
                raise ValueError(f"expected a name and a number, found {line!r}")
    return values


def collect(paths: HostPaths) -> list[Family]:
    values = parse_netstat(read_text(paths.proc("net/netstat")))
    values |= parse_netstat(read_text(paths.proc("net/snmp")))
    # Without IPv6 in the kernel there is no such file.
    values |= parse_snmp6(read_optional(paths.proc("net/snmp6")) or "")
    return [
        untyped(f"node_netstat_{key}", f"Statistic {key.replace('_', '')}.", value)
        for key, value in sorted(values.items())
        if _is_chosen(key)
    ]
