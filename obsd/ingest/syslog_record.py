"""Syslog messages as log records: who sent them is the resource, all else is the record's."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

from obsd.ingest.syslog_message import FACILITIES, SEVERITIES, SyslogMessage, parse_syslog
from obsd.model.rfc3339 import format_rfc3339_ns
from obsd.services.log_encoding import (
    MAX_ATTRIBUTES,
    RecordGroup,
    bounded,
    key_values,
    request,
    resource,
)
from obsd.services.protobuf import bytes_field, varint

SEVERITY_NUMBERS: Final = (20, 19, 18, 17, 13, 10, 9, 5)
"""OpenTelemetry's, by syslog's: emerg to err are the levels of errors, notice and info of infos."""

_TIME: Final = b"\x09"
_OBSERVED: Final = b"\x59"
_BODY: Final = b"\x2a"
_TEXT: Final = b"\x0a"
_RECORD: Final = b"\x12"
_SEVERITIES: Final = tuple(
    b"\x10" + varint(number) + bytes_field(3, text.encode())
    for number, text in zip(SEVERITY_NUMBERS, SEVERITIES, strict=True)
)
_LENGTHS: Final = tuple(varint(length) for length in range(1024))
_MAX_DATA: Final = MAX_ATTRIBUTES - 3  # There are the ids, and a time that is not believed, too.
_pack_time: Final = struct.Struct("<Q").pack


class Received(NamedTuple):
    """One message as it came.

    Attributes:
        peer: the address that it came from.
    """

    raw: bytes
    peer: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """Messages as one request to the log engine."""

    request: bytes
    records: int
    malformed: int


@dataclass(frozen=True, slots=True)
class SyslogEncoder:
    """Reads messages and makes requests of them.

    Attributes:
        zone: of times that have none; None is the machine's.
        max_past_ns, max_future_ns: how far from its arrival a message's time may be. A device whose
            clock is wrong tells its story all the same: at the time of arrival, and with what the
            device said as the attribute `timestamp`.
    """

    zone: tzinfo | None
    max_past_ns: int | None
    max_future_ns: int

    def encode(self, received: Iterable[Received]) -> Encoded:
        """Any bytes are messages."""
        groups: dict[tuple[str, str, int], list[bytes]] = {}
        records = malformed = 0
        for raw, peer, at_ns in received:
            message = parse_syslog(raw, self.zone, at_ns)
            records += 1
            malformed += message.is_malformed
            key = (message.host or peer, message.app, message.facility)
            group = groups.get(key)
            if group is None:
                group = groups[key] = []
            group.append(self._record(message, at_ns))
        body = request(RecordGroup(_resource(*key), group) for key, group in groups.items())
        return Encoded(body, records, malformed)

    def _record(self, message: SyslogMessage, at_ns: int) -> bytes:
        """Spelled out for speed: `log_encoding.log_record` says the same with more steps."""
        time_ns = message.time_ns
        attributes = _attributes(message.procid, message.msgid)
        if message.data:
            attributes += key_values(bounded(message.data, limit=_MAX_DATA), 6)
        if time_ns is None:
            time_ns = at_ns
        elif not self._is_plausible(time_ns, at_ns):
            attributes += key_values({"timestamp": format_rfc3339_ns(time_ns)}, 6)
            time_ns = at_ns
        text = message.text.encode()
        size = _length(len(text))
        return b"".join(
            (
                _TIME,
                _pack_time(time_ns),
                _SEVERITIES[message.severity],
                _BODY,
                _length(1 + len(size) + len(text)),
                _TEXT,
                size,
                text,
                attributes,
                _OBSERVED,
                _pack_time(at_ns),
            )
        )

    def _is_plausible(self, time_ns: int, at_ns: int) -> bool:
        if time_ns > at_ns + self.max_future_ns:
            return False
        return self.max_past_ns is None or time_ns >= at_ns - self.max_past_ns


def _length(size: int) -> bytes:
    return _LENGTHS[size] if size < 1024 else varint(size)


@lru_cache(maxsize=8192)
def _resource(host: str, app: str, facility: int) -> bytes:
    labels: dict[str, str] = {}
    if host:
        labels["host"] = host
    if app:
        labels["app"] = app
        labels["service.name"] = app
    labels["facility"] = FACILITIES[facility]
    return resource(labels)


@lru_cache(maxsize=8192)
def _attributes(procid: str, msgid: str) -> bytes:
    named: Mapping[str, str] = {"procid": procid, "msgid": msgid}
    return key_values({name: text for name, text in named.items() if text}, 6)
