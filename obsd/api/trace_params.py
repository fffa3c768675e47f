"""Parameters of the product's trace API: docs/api/traces.md."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from obsd.api.params import InvalidParameterError, Params
from obsd.api.relative_time import parse_time_or_relative_ns
from obsd.model.go_duration import MAX_NS, parse_go_duration_ns
from obsd.model.span import SpanKind, StatusCode
from obsd.model.span_predicate import AllOf, AllSpans, AnyOf, CompareField, Field, SpanPredicate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from obsd.model.span_predicate import CompareOp, Constant

DEFAULT_RANGE_NS: Final = 3_600_000_000_000
MAX_TAGS: Final = 64

SERVICE: Final = Field("intrinsic", "service")
NAME: Final = Field("intrinsic", "name")
DURATION: Final = Field("intrinsic", "duration")
STATUS: Final = Field("intrinsic", "status")
KIND: Final = Field("intrinsic", "kind")

_SECOND_NS: Final = 1_000_000_000
_SECONDS: Final = re.compile(r"\d{1,10}(?:\.\d{1,9})?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_FLOAT: Final = re.compile(r"[+-]?\d{1,18}\.\d{1,18}(?:[eE][+-]?\d{1,3})?", re.ASCII)
_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"", "0", "false", "no"})


@dataclass(frozen=True, slots=True)
class NanoRange:
    """From `start_ns` to before `end_ns`."""

    start_ns: int
    end_ns: int


def time_range(params: Params, now_ns: int, default_ns: int = DEFAULT_RANGE_NS) -> NanoRange:
    """`from` and `to`, or `start` and `end`; by default the last hour.

    Raises:
        InvalidParameterError: they are no times, or the wrong way round.
    """
    # Spans of the current moment may be stamped a little ahead of this machine's clock.
    end_ns = _time(params, ("to", "end"), now_ns, now_ns + _SECOND_NS)
    start_ns = _time(params, ("from", "start"), now_ns, min(end_ns, now_ns) - default_ns)
    if end_ns < start_ns:
        raise InvalidParameterError("to", "it is before from")
    return NanoRange(start_ns, end_ns)


def _time(params: Params, names: tuple[str, str], now_ns: int, default_ns: int) -> int:
    name = next((name for name in names if params.text(name)), None)
    if name is None:
        return max(default_ns, 0)
    try:
        time_ns = parse_time_or_relative_ns(params.text(name), now_ns)
    except ValueError as error:
        raise InvalidParameterError(name, error) from error
    return min(max(time_ns, 0), MAX_NS)


def duration_ns(params: Params, name: str) -> int | None:
    """A duration such as `100ms`, or seconds; None where there is none.

    Raises:
        InvalidParameterError: it is no duration, or a negative one.
    """
    if not (text := params.text(name)):
        return None
    try:
        parsed = parse_go_duration_ns(text + "s" if _SECONDS.fullmatch(text) else text)
    except ValueError as error:
        raise InvalidParameterError(name, error) from error
    if parsed < 0:
        raise InvalidParameterError(name, "expected no negative duration")
    return parsed


def flag(params: Params, name: str) -> bool | None:
    """True, false, or None where there is no such parameter.

    Raises:
        InvalidParameterError: it is neither.
    """
    text = params.text(name).lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False if text else None
    raise InvalidParameterError(name, "expected true or false")


def span_conditions(params: Params) -> SpanPredicate:
    """What a span has to be: service, operation, kind, error, tags, and its own duration.

    Raises:
        InvalidParameterError: one of them cannot be read.
    """
    conditions: list[SpanPredicate] = []
    for name, field in (("service", SERVICE), ("operation", NAME)):
        values = [v for v in (*params.all(f"{name}[]"), *params.all(name)) if v]
        if values:
            conditions.append(one_of(field, values))
    if kind := params.text("kind"):
        conditions.append(CompareField(KIND, "=", int(_kind(kind))))
    if (error := flag(params, "error")) is not None:
        conditions.append(CompareField(STATUS, "=" if error else "!=", int(StatusCode.ERROR)))
    for name, op in (("min_span_duration", ">="), ("max_span_duration", "<=")):
        if (limit_ns := duration_ns(params, name)) is not None:
            conditions.append(CompareField(DURATION, _compare_op(op), limit_ns))
    conditions += tag_conditions(params)
    return all_of(conditions)


def _compare_op(text: str) -> CompareOp:
    return ">=" if text == ">=" else "<="


def _kind(text: str) -> SpanKind:
    try:
        return SpanKind[text.upper()]
    except KeyError as error:
        names = ", ".join(kind.name.lower() for kind in SpanKind)
        raise InvalidParameterError("kind", f"expected one of {names}") from error


def all_of(conditions: Iterable[SpanPredicate]) -> SpanPredicate:
    """All of these, as plainly as can be."""
    of = tuple(conditions)
    if not of:
        return AllSpans()
    return of[0] if len(of) == 1 else AllOf(of)


def one_of(field: Field, values: Iterable[str]) -> SpanPredicate:
    """The field is one of these texts."""
    of = tuple(CompareField(field, "=", value) for value in dict.fromkeys(values))
    return of[0] if len(of) == 1 else AnyOf(of)


def tag_conditions(params: Params) -> list[SpanPredicate]:
    """`tag=key:value`, repeated, and `tags` as a JSON object.

    Raises:
        InvalidParameterError: there are too many, or one cannot be read.
    """
    tags: list[tuple[str, object]] = []
    for text in params.all("tag"):
        key, colon, value = text.partition(":")
        if not colon or not key:
            raise InvalidParameterError("tag", f"expected key:value, found {text[:100]!r}")
        tags.append((key, value))
    if text := params.text("tags"):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidParameterError("tags", f"expected a JSON object: {error}") from error
        if not isinstance(document, dict):
            raise InvalidParameterError("tags", "expected a JSON object")
        tags += document.items()
    if len(tags) > MAX_TAGS:
        raise InvalidParameterError("tags", f"expected at most {MAX_TAGS}, found {len(tags)}")
    return [tag_condition(key, value) for key, value in tags]


def tag_condition(key: str, value: object) -> SpanPredicate:
    """The attribute of a span or its resource that has this value, whatever its type.

    Tags come as texts, while attributes may be numbers and booleans: a text is taken for these,
    too. `error` is the status.

    Raises:
        InvalidParameterError: the value is neither a text, a number nor a boolean.
    """
    if not isinstance(value, str | int | float | bool):
        raise InvalidParameterError("tags", f"{key}: expected a text, a number or a boolean")
    if key == "error" and (value is True or str(value).lower() == "true"):
        return CompareField(STATUS, "=", int(StatusCode.ERROR))
    field = Field("any", key)
    return any_of_constants(field, _readings(value))


def any_of_constants(field: Field, constants: Iterable[Constant]) -> SpanPredicate:
    """The field is one of these."""
    of = tuple(CompareField(field, "=", constant) for constant in constants)
    return of[0] if len(of) == 1 else AnyOf(of)


def _readings(value: Constant) -> list[Constant]:
    """The constants that a tag's value may stand for."""
    if not isinstance(value, str):
        return [value]
    readings: list[Constant] = [value]
    if value in ("true", "false"):
        readings.append(value == "true")
    elif _INTEGER.fullmatch(value):
        readings.append(int(value))
    elif _FLOAT.fullmatch(value):
        readings.append(float(value))
    return readings
