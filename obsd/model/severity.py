"""Levels of log records: OTLP's severity numbers, and the words that senders use for them.

Numbers: https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber. A record's
level is that of its number; without one (0) that of its severity text; else it has none.
"""

from __future__ import annotations

from typing import Final

LEVELS: Final = ("trace", "debug", "info", "warn", "error", "fatal")
"""From the least severe; the n-th has the severity numbers 4n+1 to 4n+4."""

_NUMBERS: Final = {
    **{
        f"{name}{'' if step == 0 else step + 1}": 4 * index + step + 1
        for index, name in enumerate(LEVELS)
        for step in range(4)
    },
    "trc": 1,
    "finest": 1,
    "verbose": 1,
    "dbg": 5,
    "fine": 5,
    "finer": 3,
    "information": 9,
    "informational": 9,
    "inf": 9,
    "notice": 10,
    "warning": 13,
    "wrn": 13,
    "err": 17,
    "eror": 17,
    "severe": 17,
    "critical": 21,
    "crit": 21,
    "panic": 21,
    "dpanic": 21,
    "alert": 22,
    "emergency": 23,
    "emerg": 23,
    "ftl": 21,
}


def severity_number(text: str) -> int:
    """The number of a word such as `WARN`, `warning` or `Error`; 0 for an unknown one."""
    return _NUMBERS.get(text.strip().lower(), 0)


def level_name(number: int) -> str | None:
    """One of `LEVELS`; None for 0 and what is no severity number."""
    return LEVELS[(number - 1) // 4] if 1 <= number <= 24 else None


def level_of(number: int, text: str) -> str | None:
    """A record's level."""
    return level_name(number) or level_name(severity_number(text))
