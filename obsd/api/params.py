"""Parameters of Prometheus' HTTP API, read from the URL and from a form, with its error texts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from obsd.api.compression import ANY_CODING, read_body
from obsd.ingest.media_type import parse_media_type
from obsd.model.errors import BadInputError, UndecodableError
from obsd.model.matcher import Matcher
from obsd.promql import parse_selector

T = TypeVar("T")

MAX_FORM_BYTES: Final = 4 << 20
MIN_TIME_MS: Final = -(1 << 62)
MAX_TIME_MS: Final = 1 << 62

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:[.,](\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_UNITS_MS = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_INT64_MAX_NS: Final = (1 << 63) - 1


class InvalidParameterError(BadInputError):
    """A parameter that does not say what it should."""

    def __init__(self, name: str, reason: object) -> None:
        super().__init__(f'invalid parameter "{name}": {reason}')


def parse_time_ms(text: str) -> int:
    """Unix seconds with a fraction, or RFC 3339, as Unix milliseconds.

    Raises:
        ValueError: it is neither.
    """
    if _FLOAT.fullmatch(text):
        seconds = float(text)
        if not math.isinf(seconds) and abs(seconds) * 1000 < MAX_TIME_MS:
            return round(seconds * 1000)
    elif match := _RFC3339.fullmatch(text):
        date, clock, fraction, zone = match.groups()
        try:
            moment = datetime.fromisoformat(f"{date}T{clock}{zone.upper().replace('Z', '+00:00')}")
        except ValueError as error:
            raise ValueError(f'cannot parse "{text}" to a valid timestamp') from error
        whole_ms = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1000
        return whole_ms + int(((fraction or "") + "000")[:3])
    elif text in _FAR_TIMES:
        return _FAR_TIMES[text]
    raise ValueError(f'cannot parse "{text}" to a valid timestamp')


_FAR_TIMES: Final = {
    "-292273086-05-16T16:47:06Z": MIN_TIME_MS,
    "292277025-08-18T07:12:54.999999999Z": MAX_TIME_MS,
}
"""What Prometheus' own clients write for the first and the last time there is."""


def parse_duration_ms(text: str) -> float:
    """Seconds with a fraction, or `1h30m`, as milliseconds.

    Raises:
        ValueError: it is neither.
    """
    if _FLOAT.fullmatch(text):
        duration_ms = float(text) * 1000
    elif text and (match := _DURATION.fullmatch(text)):
        duration_ms = float(
            sum(
                int(count) * unit
                for count, unit in zip(match.groups(), _UNITS_MS, strict=True)
                if count
            )
        )
    else:
        raise ValueError(f'cannot parse "{text}" to a valid duration')
    if abs(duration_ms) * 1e6 > _INT64_MAX_NS:
        raise ValueError(f'cannot parse "{text}" to a valid duration. It overflows int64')
    return duration_ms


@dataclass(frozen=True, slots=True)
class Params:
    """Form values before URL values, as Prometheus reads them."""

    values: MultiDictProxy[str]

    def text(self, name: str) -> str:
        """The first value, or "" where there is none."""
        return self.values.get(name, "")

    def all(self, name: str) -> list[str]:
        return self.values.getall(name, [])

    def time_ms(self, name: str, default_ms: int) -> int:
        return self._parsed(name, parse_time_ms) if self.text(name) else default_ms

    def required_time_ms(self, name: str) -> int:
        return self._parsed(name, parse_time_ms)

    def duration_ms(self, name: str) -> float | None:
        return self._parsed(name, parse_duration_ms) if self.text(name) else None

    def required_duration_ms(self, name: str) -> float:
        return self._parsed(name, parse_duration_ms)

    def count(self, name: str) -> int | None:
        """A whole number, or None where there is none."""
        text = self.text(name)
        if not text:
            return None
        if not _INTEGER.fullmatch(text) or len(text) > 18:
            raise InvalidParameterError(name, f'cannot parse "{text}" to a valid number')
        return int(text)

    def limit(self) -> int | None:
        """How many at most; 0 or no value means no limit."""
        limit = self.count("limit")
        if limit is not None and limit < 0:
            raise InvalidParameterError("limit", "limit must be non-negative")
        return limit or None

    def matcher_sets(self, name: str = "match[]") -> list[tuple[Matcher, ...]]:
        """The selectors of a repeated parameter."""
        return [self._matchers(name, text) for text in self.all(name)]

    def _matchers(self, name: str, text: str) -> tuple[Matcher, ...]:
        try:
            return parse_selector(text).matchers
        except BadInputError as error:
            raise InvalidParameterError(name, error) from error

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T:
        try:
            return parse(self.text(name))
        except ValueError as error:
            raise InvalidParameterError(name, error) from error


async def read_params(request: web.Request) -> Params:
    """The parameters of a GET, or of a POST with or without a form.

    Raises:
        UnsupportedEncodingError: the form is in a coding that obsd does not know.
        TooLargeError: the form is.
        UndecodableError: the form is not one.
    """
    if request.method != "POST":
        return Params(MultiDictProxy(MultiDict(request.query)))
    body = await read_body(
        request,
        max_compressed=MAX_FORM_BYTES,
        max_decompressed=MAX_FORM_BYTES,
        allowed=ANY_CODING,
    )
    values: MultiDict[str] = MultiDict()
    media_type, _ = parse_media_type(request.headers.get("Content-Type", ""))
    if media_type == "application/x-www-form-urlencoded":
        values.extend(_parse_form(body))
    values.extend(request.query)
    return Params(MultiDictProxy(values))


def _parse_form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=10_000, errors="strict"
        )
    except ValueError as error:
        raise UndecodableError(f"error parsing form values: {error}") from error
