"""Times as people write them: RFC 3339, Unix seconds, `now`, or `-1h`."""

from __future__ import annotations

from obsd.api.params import parse_duration_ms, parse_time_ms


def parse_time_or_relative_ms(text: str, now_ms: int) -> int:
    """Unix milliseconds. A minus and a duration with a unit is before now.

    Raises:
        ValueError: it is none of these.
    """
    if text == "now":
        return now_ms
    if text.startswith(("-", "now-")) and text[-1:].isalpha():
        return now_ms - int(parse_duration_ms(text.removeprefix("now").removeprefix("-")))
    return parse_time_ms(text)


def parse_time_or_relative_ns(text: str, now_ns: int) -> int:
    """The same in nanoseconds, none of which is lost.

    Raises:
        ValueError: it is none of these.
    """
    from obsd.logsearch.syntax import literal_of  # Late: it is not needed to start.
    from obsd.logsearch.times import parse_time_ns

    return parse_time_ns(literal_of(text), now_ns)
