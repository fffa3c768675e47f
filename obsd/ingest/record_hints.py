"""What senders' own field names say about a record: its level, its service, its trace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from obsd._native import log_field_names
from obsd.model.log_record import Value
from obsd.model.severity import severity_number

# One table for what receivers read and for what is found in texts.
_NAMES: Final = log_field_names()
LEVEL_NAMES: Final = _NAMES["level"]
TIME_NAMES: Final = _NAMES["time"]
MESSAGE_NAMES: Final = _NAMES["message"]
SERVICE_NAMES: Final = _NAMES["service"]
TRACE_NAMES: Final = _NAMES["trace"]
SPAN_NAMES: Final = _NAMES["span"]

_TRACE: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_SPAN: Final = re.compile(r"[0-9a-fA-F]{16}", re.ASCII)
# As pino and bunyan number them.
_NUMBERED: Final = {10: 1, 20: 5, 30: 9, 40: 13, 50: 17, 60: 21}


def find_level(fields: Mapping[str, Value]) -> tuple[str, int, str]:
    """The field's name, the severity number and its text; ("", 0, "") where none tells."""
    for name in LEVEL_NAMES:
        value = fields.get(name)
        if isinstance(value, str) and (number := severity_number(value)):
            return name, number, value
        if type(value) is int and value in _NUMBERED:
            return name, _NUMBERED[value], str(value)
    return "", 0, ""


def find_text(fields: Mapping[str, Value], names: tuple[str, ...]) -> str:
    """The first of these fields that holds a text; "" where none does."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return name
    return ""


def find_trace(fields: Mapping[str, Value]) -> tuple[str, bytes]:
    """The field's name and the trace id in it; ("", b"") without one."""
    return _find_id(fields, TRACE_NAMES, _TRACE)


def find_span(fields: Mapping[str, Value]) -> tuple[str, bytes]:
    """The same for the span id."""
    return _find_id(fields, SPAN_NAMES, _SPAN)


def _find_id(
    fields: Mapping[str, Value], names: tuple[str, ...], pattern: re.Pattern[str]
) -> tuple[str, bytes]:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and pattern.fullmatch(value):
            return name, bytes.fromhex(value)
    return "", b""
