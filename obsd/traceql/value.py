"""Values of spans and of queries, and how two of them compare and combine.

A value is a text, a whole number, a float, a boolean, a duration, a status, a kind, a list of
these (an attribute's), or nothing: `None`. What cannot be compared does not match, whatever the
operator; nothing compares with nothing. Of a list one element that matches is enough, but `!=` and
`!~` want that none of them is the other side.

https://grafana.com/docs/tempo/latest/traceql/construct-traceql-queries/
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, Final

from obsd.model.go_strings import quote
from obsd.model.log_record import Value as Attribute
from obsd.model.regex import compile_anchored
from obsd.model.span import SpanKind, StatusCode
from obsd.traceql.duration import format_duration

_INT64: Final = 1 << 64
_HALF: Final = 1 << 63


class Duration(int):
    """Nanoseconds; another type than a number, though the two compare."""

    __slots__ = ()


class Opaque:
    """An attribute that is bytes or a map: it is there, and no operator takes it."""

    __slots__ = ()


OPAQUE: Final = Opaque()

Scalar = str | int | float | bool | Duration | StatusCode | SpanKind
Value = Scalar | tuple[Scalar, ...] | Opaque | None

_NUMERIC: Final = frozenset({int, float, Duration})
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITY: Final = frozenset({"=", "!="})

STATUS_NAMES: Final = {
    StatusCode.UNSET: "unset",
    StatusCode.OK: "ok",
    StatusCode.ERROR: "error",
}
KIND_NAMES: Final = {kind: kind.name.lower() for kind in SpanKind}


def of_attribute(value: Attribute) -> Value:
    """An attribute as it was sent; lists in lists are one list."""
    if value is None or type(value) in {str, int, float, bool}:
        return value  # type: ignore[return-value]
    if isinstance(value, list):
        return tuple(_flat(value))
    return OPAQUE


def _flat(values: list[Attribute]) -> Iterable[Scalar]:
    # A stack, since a sender decides how deep lists go.
    rest: list[Attribute] = [*reversed(values)]
    while rest:
        value = rest.pop()
        if isinstance(value, list):
            rest += reversed(value)
        elif isinstance(value, str | int | float):
            yield value


def is_numeric(value: Value) -> bool:
    """Whether it is a number or a duration."""
    return type(value) in _NUMERIC


def compares(op: str, left: Value, right: Value) -> bool:
    """Whether two values compare so; `right` of a regular expression is its text."""
    if type(left) is tuple:
        return _of_list(op, left, right, flipped=False)
    if type(right) is tuple:
        return _of_list(op, right, left, flipped=True)
    return _compares(op, left, right)


def _of_list(op: str, elements: tuple[Scalar, ...], other: Value, *, flipped: bool) -> bool:
    def test(which: str, element: Scalar) -> bool:
        return _compares(which, other, element) if flipped else _compares(which, element, other)

    if op in {"!=", "!~"}:
        opposite = "=" if op == "!=" else "=~"
        return any(test(op, each) for each in elements) and not any(
            test(opposite, each) for each in elements
        )
    return any(test(op, each) for each in elements)


def _compares(op: str, left: Value, right: Value) -> bool:
    kind = type(left)
    if op in {"=~", "!~"}:
        if kind is not str or type(right) is not str:
            return False
        assert isinstance(left, str)
        assert isinstance(right, str)
        return compile_anchored(right).matches(left) == (op == "=~")
    if kind in _NUMERIC:
        return type(right) in _NUMERIC and _ORDER[op](left, right)
    if kind is not type(right) or kind in {tuple, Opaque, type(None)}:
        return False
    if kind is not str and op not in _EQUALITY:
        return False
    return _ORDER[op](left, right)


def _wrapped(value: int) -> int:
    """As a signed number of 64 bits has it."""
    return (value + _HALF) % _INT64 - _HALF


def combine(op: str, left: Value, right: Value) -> Value:
    """Arithmetic: of whole numbers a whole one, of anything else a float; else nothing.

    A division by zero and a power that is no real number are nothing, of whole numbers; floats
    have infinities and NaN for these.
    """
    if type(left) not in _NUMERIC or type(right) not in _NUMERIC:
        return None
    if type(left) is int and type(right) is int:
        return _whole(op, left, right)
    assert isinstance(left, int | float)
    assert isinstance(right, int | float)
    result = _float(op, float(left), float(right))
    # A duration that is only scaled, or added to one, stays a duration.
    if type(left) is Duration or type(right) is Duration:
        return _as_duration(op, left, right, result)
    return result


def _as_duration(op: str, left: float, right: float, result: float) -> Value:
    both = type(left) is Duration and type(right) is Duration
    keeps = both if op in {"+", "-", "%"} else (not both and op in {"*", "/"})
    if op == "/" and type(left) is not Duration:
        keeps = False
    if keeps and math.isfinite(result) and abs(result) < _HALF:
        return Duration(int(result))
    return result


def _whole(op: str, left: int, right: int) -> Value:
    match op:
        case "+":
            return _wrapped(left + right)
        case "-":
            return _wrapped(left - right)
        case "*":
            return _wrapped(left * right)
        case "/":
            return None if right == 0 else _wrapped(_truncated(left, right))
        case "%":
            return None if right == 0 else left - right * _truncated(left, right)
    power = _float("^", float(left), float(right))
    return _wrapped(int(power)) if math.isfinite(power) and abs(power) < _HALF else None


def _truncated(left: int, right: int) -> int:
    """A quotient without its fraction, towards zero."""
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _float(op: str, left: float, right: float) -> float:
    try:
        match op:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return left / right
            case "%":
                return math.fmod(left, right)
        return math.pow(left, right)
    except ZeroDivisionError:
        if left == 0 or math.isnan(left):
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def negated(value: Value) -> Value:
    """A number with the other sign; else nothing."""
    match value:
        case Duration():
            return Duration(-value)
        case bool():
            return None
        case int() if type(value) is int:
            return _wrapped(-value)
        case float():
            return -value
    return None


def shown(value: Value) -> str:
    """As a query has it."""
    match value:
        case None | Opaque():
            return "nil"
        case tuple():
            return f"[{', '.join(map(shown, value))}]"
        case str():
            return quote(value)
        case bool():
            return "true" if value else "false"
        case float():
            return _float_text(value)
    return plain_text(value)


def plain_text(value: Scalar) -> str:
    """As Tempo prints a single value: without quotes."""
    match value:
        case bool():
            return "true" if value else "false"
        case StatusCode():
            return STATUS_NAMES[value]
        case SpanKind():
            return KIND_NAMES[value]
        case Duration():
            return format_duration(value)
        case float():
            return _float_text(value)
    return str(value)


def _float_text(value: float) -> str:
    text = repr(value)
    return text.replace("inf", "Inf").replace("nan", "NaN")


def answer(value: Value) -> Attribute:
    """As it is answered in JSON and protobuf: durations, statuses and kinds are texts there."""
    match value:
        case None | Opaque():
            return "nil"
        case tuple():
            return [answer(each) for each in value]
        case StatusCode() | SpanKind() | Duration():
            return plain_text(value)
    return value
