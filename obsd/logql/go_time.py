"""Times in templates, and Go's layouts of them: `2006-01-02T15:04:05.000Z07:00`.

Layouts: https://pkg.go.dev/time#pkg-constants.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Longer names before those that they begin with.
_PART: Final = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|Z07:00:00|Z07:00|Z0700|Z07|-07:00:00|-07:00|-0700|-07"
    r"|__2|_2|002|01|02|03|04|05|06|15|PM|pm|[.,]0+(?!\d)|[.,]9+(?!\d)|1|2|3|4|5"
)
_NUMBERS: Final = {
    "2006": r"\d{4}",
    "06": r"\d\d",
    "01": r"\d\d",
    "1": r"\d{1,2}",
    "02": r"\d\d",
    "_2": r"[ \d]?\d",
    "2": r"\d{1,2}",
    "002": r"\d{3}",
    "__2": r"[ \d]{2}\d",
    "15": r"\d\d",
    "03": r"\d\d",
    "3": r"\d{1,2}",
    "04": r"\d\d",
    "4": r"\d{1,2}",
    "05": r"\d\d",
    "5": r"\d{1,2}",
}


@dataclass(frozen=True, slots=True)
class GoTime:
    """A moment, and the zone in which it is shown."""

    unix_ns: int
    zone: tzinfo = UTC

    def __str__(self) -> str:
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")

    def _local(self) -> datetime:
        try:
            moment = _EPOCH + timedelta(seconds=self.unix_ns // 1_000_000_000)
            return moment.astimezone(self.zone)
        except OverflowError:
            raise ValueError("time is out of range") from None

    def format(self, layout: str) -> str:
        """The time in a layout.

        Raises:
            ValueError: the year has more than four digits, or is none.
        """
        local = self._local()
        return _PART.sub(lambda part: self._part(part.group(), local), layout)

    def _part(self, part: str, local: datetime) -> str:
        if part[0] in ".,":
            digits = f"{self.unix_ns % 1_000_000_000:09}"[: len(part) - 1]
            if part[1] == "9":
                digits = digits.rstrip("0")
            return f"{part[0]}{digits}" if digits else ""
        if part[0] in "Z-":
            return _offset(part, local)
        hour12 = local.hour % 12 or 12
        return {
            "January": _MONTHS[local.month - 1],
            "Jan": _MONTHS[local.month - 1][:3],
            "Monday": _DAYS[local.weekday()],
            "Mon": _DAYS[local.weekday()][:3],
            "MST": local.tzname() or "",
            "2006": f"{local.year:04}",
            "06": f"{local.year % 100:02}",
            "01": f"{local.month:02}",
            "1": str(local.month),
            "02": f"{local.day:02}",
            "_2": f"{local.day:2}",
            "2": str(local.day),
            "002": f"{local.timetuple().tm_yday:03}",
            "__2": f"{local.timetuple().tm_yday:3}",
            "15": f"{local.hour:02}",
            "03": f"{hour12:02}",
            "3": str(hour12),
            "04": f"{local.minute:02}",
            "4": str(local.minute),
            "05": f"{local.second:02}",
            "5": str(local.second),
            "PM": "PM" if local.hour >= 12 else "AM",
            "pm": "pm" if local.hour >= 12 else "am",
        }[part]


ZERO: Final = GoTime(-62_135_596_800_000_000_000)
"""Go's time that is none: what its parser gives for what it does not understand."""


def zone_named(name: str) -> tzinfo:
    """A zone; UTC where there is none of this name."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def parse_go_time(layout: str, text: str, zone: tzinfo = UTC) -> GoTime:
    """The time that a text in this layout means; in `zone` where it names none.

    Raises:
        ValueError: it means none.
    """
    pattern, parts = _compiled(layout)
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse')
    year, month, day, hour, minute, second = 0, 1, 1, 0, 0, 0
    nanoseconds = 0
    year_day: int | None = None
    is_pm: bool | None = None
    for part, value in zip(parts, found.groups(), strict=True):
        match part:
            case "2006":
                year = int(value)
            case "06":
                year = int(value) + (1900 if int(value) >= 69 else 2000)
            case "January" | "Jan":
                names = [name[: len(value)].lower() for name in _MONTHS]
                month = names.index(value.lower()) + 1
            case "01" | "1":
                month = int(value)
            case "02" | "_2" | "2":
                day = int(value)
            case "002" | "__2":
                year_day = int(value)
            case "15":
                hour = int(value)
            case "03" | "3":
                hour = int(value) % 12
            case "PM" | "pm":
                is_pm = value.lower() == "pm"
            case "04" | "4":
                minute = int(value)
            case "05" | "5":
                second = int(value)
            case "fraction":
                nanoseconds = int((value or ".0")[1:].ljust(9, "0")[:9])
            case "offset":
                zone = _zone_of(value)
    if is_pm:
        hour += 12
    if not 1 <= year <= 9999:
        if year == 0:
            return ZERO  # Go has a year 0, of which nobody has logs.
        raise ValueError(f'parsing time "{text}": year out of range')
    moment = datetime(year, month, day, hour, minute, second, tzinfo=zone)
    if year_day is not None:
        moment = datetime(year, 1, 1, hour, minute, second, tzinfo=zone) + timedelta(year_day - 1)
    since = moment - _EPOCH
    return GoTime((since.days * 86_400 + since.seconds) * 1_000_000_000 + nanoseconds, zone)


@lru_cache(maxsize=256)
def _compiled(layout: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    out: list[str] = []
    parts: list[str] = []
    at = 0
    for found in _PART.finditer(layout):
        out.append(re.escape(layout[at : found.start()]))
        at = found.end()
        part = found.group()
        if part[0] in ".,":
            out.append(r"([.,]\d+)" if part[1] == "0" else r"([.,]\d+)?")
            parts.append("fraction")
            continue
        if part[0] in "Z-":
            out.append(r"(Z|[+-]\d\d(?::?\d\d){0,2})" if part[0] == "Z" else _SIGNED)
            parts.append("offset")
            continue
        match part:
            case "January" | "Monday":
                names = _MONTHS if part == "January" else _DAYS
                out.append(f"((?i:{'|'.join(names)}))")
            case "Jan" | "Mon":
                names = _MONTHS if part == "Jan" else _DAYS
                out.append(f"((?i:{'|'.join(name[:3] for name in names)}))")
            case "MST":
                out.append(r"([A-Z]{3,5}|[+-]\d\d)")
            case "PM" | "pm":
                out.append("([AP]M)" if part == "PM" else "([ap]m)")
            case _:
                out.append(f"({_NUMBERS[part]})")
                # A fraction behind seconds needs no place in the layout.
                if part in {"05", "5"} and layout[at : at + 2] not in {".0", ".9", ",0", ",9"}:
                    out.append(r"([.,]\d+)?")
                    parts += [part, "fraction"]
                    continue
        parts.append(part)
    out.append(re.escape(layout[at:]))
    return re.compile("".join(out)), tuple(parts)


_SIGNED: Final = r"([+-]\d\d(?::?\d\d){0,2})"


def _zone_of(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "").ljust(6, "0")
    away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:]))
    return timezone(-away if text[0] == "-" else away)


def _offset(part: str, local: datetime) -> str:
    away = local.utcoffset() or timedelta()
    if part[0] == "Z":
        if not away:
            return "Z"
        part = part[1:]
    else:
        part = part[1:]
    sign = "-" if away < timedelta() else "+"
    seconds = abs(int(away.total_seconds()))
    colon = ":" if ":" in part else ""
    out = f"{sign}{seconds // 3600:02}"
    if len(part) > 2:
        out += f"{colon}{seconds // 60 % 60:02}"
    if part.count(":") == 2:
        out += f":{seconds % 60:02}"
    return out
