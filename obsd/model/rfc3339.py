"""Times as text, to the nanosecond."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_FRACTION: Final = re.compile(r"[.,](\d{1,9})\d*(?=\s*(?:$|[Zz+-]))", re.ASCII)
_NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_rfc3339_ns(text: str) -> int:
    """Nanoseconds since 1970; of ISO 8601's other forms, most are understood too.

    A time without a zone is UTC, a date its first moment.

    Raises:
        ValueError: it is no time.
    """
    fraction = _FRACTION.search(text)
    nanoseconds = int(fraction[1].ljust(9, "0")) if fraction else 0
    rest = text if fraction is None else text[: fraction.start()] + text[fraction.end() :]
    moment = datetime.fromisoformat(rest)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * _NS + nanoseconds


def format_rfc3339_ns(time_ns: int) -> str:
    """UTC, with three, six or nine digits of a second: as few as say it all."""
    seconds, nanoseconds = divmod(time_ns, _NS)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{nanoseconds:09d}"
    while len(digits) > 3 and digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z"
