"""Parameters of Loki's HTTP API, from the URL and from a form: docs/api/loki.md."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

from aiohttp import web

from obsd.api.keys import LOGS
from obsd.api.params import Params, read_params
from obsd.api.prometheus_routes import Handler
from obsd.model.errors import BadInputError
from obsd.model.rfc3339 import parse_rfc3339_ns

PREFIX: Final = "/loki/api/v1"
MAX_POINTS: Final = 11_000
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = (1 << 32) - 1
_DEFAULT_SINCE_NS: Final = 3_600_000_000_000
_DEFAULT_STEPS: Final = 250
_SECOND_NS: Final = 1_000_000_000
_MS_NS: Final = 1_000_000
_MAX_NS: Final = (1 << 63) - 1
_SECONDS_DIGITS: Final = 10  # Loki's own rule: what is longer is nanoseconds.
_INTEGER: Final = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_FLOAT: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DURATION: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_UNITS_MS: Final = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)

Direction = Literal["forward", "backward"]


def parse_time_ns(text: str) -> int:
    """Nanoseconds since 1970.

    An integer of at most 10 digits is seconds, a longer one nanoseconds, one with a dot seconds to
    the millisecond; or RFC 3339.

    Raises:
        ValueError: it is none of these.
    """
    if "." in text and _FLOAT.fullmatch(text):
        seconds = float(text)
        if abs(seconds) * _SECOND_NS > _MAX_NS:
            raise ValueError(f"time {text!r} is out of range")
        fraction, whole = math.modf(seconds)
        return int(whole) * _SECOND_NS + round(fraction * 1000) * _MS_NS
    if _INTEGER.fullmatch(text):
        number = int(text)
        time_ns = number * _SECOND_NS if len(text) <= _SECONDS_DIGITS else number
    else:
        try:
            time_ns = parse_rfc3339_ns(text)
        except ValueError:
            raise ValueError(
                f"cannot parse {text[:100]!r}: expected Unix seconds, nanoseconds, or RFC 3339"
            ) from None
    if abs(time_ns) > _MAX_NS:
        raise ValueError(f"time {text!r} is out of range")
    return time_ns


def parse_duration_ns(text: str) -> int:
    """Seconds, with a fraction or none, or a duration such as `1500ms` or `1h30m`.

    Raises:
        ValueError: it is neither.
    """
    if _FLOAT.fullmatch(text):
        duration_ns = float(text) * _SECOND_NS
    elif text and (match := _DURATION.fullmatch(text)):
        counts = zip(match.groups(), _UNITS_MS, strict=True)
        duration_ns = float(sum(int(n[:20]) * unit for n, unit in counts if n) * _MS_NS)
    else:
        raise ValueError(f'cannot parse "{text[:100]}" to a valid duration')
    if abs(duration_ns) > _MAX_NS:
        raise ValueError(f'cannot parse "{text[:100]}" to a valid duration. It overflows int64')
    return int(duration_ns)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `start_ns` to before `end_ns`."""

    start_ns: int
    end_ns: int

    @property
    def is_empty(self) -> bool:
        return self.end_ns <= self.start_ns


@dataclass(frozen=True, slots=True)
class LokiParams:
    """A request's parameters, and when it came."""

    values: Params
    now_ns: int

    @property
    def query(self) -> str:
        return self.values.text("query")

    def time_ns(self, name: str, default_ns: int) -> int:
        if not (text := self.values.text(name)):
            return default_ns
        try:
            return parse_time_ns(text)
        except ValueError as error:
            raise BadInputError(f"could not parse '{name}' parameter: {error}") from error

    def range(self) -> TimeRange:
        """`start` and `end`; by default the hour before `end`, or as long as `since` says.

        Raises:
            BadInputError: they are no times, or the wrong way round.
        """
        since_ns = self._duration_ns("since")
        # The clock counts milliseconds, and what was written in this one has been.
        end_ns = self.time_ns("end", self.now_ns + _MS_NS)
        before_ns = _DEFAULT_SINCE_NS if since_ns is None else since_ns
        start_ns = self.time_ns("start", min(end_ns, self.now_ns) - before_ns)
        if end_ns < start_ns:
            raise BadInputError("end timestamp must not be before or equal to start time")
        return TimeRange(max(start_ns, -_MAX_NS), end_ns)

    def step_ns(self, of: TimeRange) -> int:
        """`step`, in whole milliseconds; by default a 250th of the range in whole seconds.

        Raises:
            BadInputError: it is no duration, or there would be too many steps.
        """
        step_ns = self._duration_ns("step")
        length_ns = of.end_ns - of.start_ns
        if step_ns is None:
            step_ns = max(length_ns // (_DEFAULT_STEPS * _SECOND_NS), 1) * _SECOND_NS
        step_ns -= step_ns % _MS_NS
        if step_ns <= 0:
            raise BadInputError(
                "zero or negative query resolution step widths are not accepted. "
                "Try a positive integer"
            )
        if length_ns // step_ns > MAX_POINTS:
            raise BadInputError(
                f"exceeded maximum resolution of {MAX_POINTS:,} points per time series. "
                "Try increasing the value of the step parameter"
            )
        return step_ns

    def interval_ns(self) -> int:
        interval_ns = self._duration_ns("interval") or 0
        if interval_ns < 0:
            raise BadInputError("interval must be >= 0")
        return interval_ns

    def _duration_ns(self, name: str) -> int | None:
        if not (text := self.values.text(name)):
            return None
        try:
            return parse_duration_ns(text)
        except ValueError as error:
            raise BadInputError(f"could not parse '{name}' parameter: {error}") from error

    def limit(self, name: str = "limit", default: int = DEFAULT_LIMIT) -> int:
        limit = self.integer(name, default)
        if limit <= 0:
            raise BadInputError("limit must be a positive value")
        if limit > MAX_LIMIT:
            raise BadInputError(f"{name} value {limit} is out of range [0, {MAX_LIMIT}]")
        return limit

    def integer(self, name: str, default: int) -> int:
        if not (text := self.values.text(name)):
            return default
        if not _INTEGER.fullmatch(text):
            raise BadInputError(f"could not parse '{name}' parameter: {text[:100]!r} is no integer")
        return int(text)

    def direction(self) -> Direction:
        match self.values.text("direction").lower():
            case "forward":
                return "forward"
            case "" | "backward":
                return "backward"
        raise BadInputError(f"invalid direction '{self.values.text('direction')[:100]}'")

    def names(self, name: str) -> tuple[str, ...]:
        """A list with commas."""
        return tuple(part for part in self.values.text(name).split(",") if part)


async def read_loki_params(request: web.Request) -> LokiParams:
    """The parameters of a GET, or of a POST with a form.

    Raises:
        BadInputError, TooLargeError: the form is none that is taken.
    """
    return LokiParams(await read_params(request), request.app[LOGS].now_ns())


def get_and_post(path: str, handler: Handler) -> list[web.RouteDef]:
    """GET, HEAD, and POST for queries that are too long for a URL."""
    return [web.get(PREFIX + path, handler), web.post(PREFIX + path, handler)]
