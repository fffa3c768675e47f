"""Time zones by name, for times that say none themselves."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Final

LOCAL: Final = "local"

_OFFSET: Final = re.compile(r"([+-])(\d\d):?([0-5]\d)", re.ASCII)


def parse_time_zone(text: str) -> tzinfo | None:
    """`local` (None: the machine's), `UTC`, an offset such as `+02:00`, or `Europe/Berlin`.

    Raises:
        ValueError: there is no such zone, or this machine does not know it.
    """
    if text.lower() == LOCAL:
        return None
    if text.upper() in ("UTC", "Z", "GMT"):
        return UTC
    if (offset := _OFFSET.fullmatch(text)) and int(offset[2]) < 24:
        away = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-away if offset[1] == "-" else away)
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {text!r}; expected local, UTC, an offset such as +02:00, or a"
            " name such as Europe/Berlin"
        ) from None
