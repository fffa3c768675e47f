"""`ip("…")`: one address, a range `A-B`, or a network `A/B`; of either version."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

# What could be an address in a text: digits before a dot, or hexadecimal digits before a colon.
_CANDIDATE: Final = re.compile(
    r"\d{1,3}\.[\d.]*|(?:::[\da-fA-F]|[\da-fA-F]{1,4}:)[\da-fA-F:.]*", re.ASCII
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class InvalidIpPatternError(ValueError):
    """A pattern that is no address, range or network."""

    def __init__(self, pattern: str) -> None:
        super().__init__(f"ip: invalid pattern: {pattern!r}")


@lru_cache(maxsize=1024)
def compile_ip(pattern: str) -> Callable[[str], bool]:
    """Whether an address within the pattern stands anywhere in a text.

    Raises:
        InvalidIpPatternError: the pattern is none.
    """
    first, last = _bounds(pattern)
    low, high, version = int(first), int(last), first.version

    def is_within(text: str) -> bool:
        address = _address(text)
        return address is not None and address[0] == version and low <= address[1] <= high

    def search(text: str) -> bool:
        return any(is_within(found) for found in _CANDIDATE.findall(text))

    return search


def _bounds(pattern: str) -> tuple[Address, Address]:
    try:
        if "/" in pattern:
            network = ipaddress.ip_network(pattern, strict=False)
            return network.network_address, network.broadcast_address
        if "-" in pattern:
            low, _, high = pattern.partition("-")
            first, last = ipaddress.ip_address(low.strip()), ipaddress.ip_address(high.strip())
            if first.version != last.version or int(first) > int(last):
                raise InvalidIpPatternError(pattern)
            return first, last
        address = ipaddress.ip_address(pattern)
    except ValueError:
        raise InvalidIpPatternError(pattern) from None
    return address, address


@lru_cache(maxsize=65_536)
def _address(text: str) -> tuple[int, int] | None:
    """Version and number; None where the text is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.version, int(address)
