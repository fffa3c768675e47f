"""Values of templates: how Go's `fmt` shows them, and which of them are true."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from obsd.logql.go_time import GoTime


class TemplateExecError(Exception):
    """A template that cannot be rendered for a line."""


class JsonMap(dict[str, Any]):
    """An object of JSON: a key that is not there has no value, while a label's is ""."""


def is_true(value: Any) -> bool:  # noqa: ANN401 - any value of a template
    """False for nothing, 0, and what is empty."""
    return True if isinstance(value, GoTime) else bool(value)


def field_of(value: Any, name: str) -> Any:  # noqa: ANN401
    """A field of a map; "" for a label that is not there.

    Raises:
        TemplateExecError: the value has no fields.
    """
    if isinstance(value, JsonMap):
        return value.get(name)
    if isinstance(value, dict):
        return value.get(name, "")
    if value is None:
        raise TemplateExecError(f"nil pointer evaluating interface {{}}.{name}")
    raise TemplateExecError(f"can't evaluate field {name} in type {type_name(value)}")


def type_name(value: Any) -> str:  # noqa: ANN401
    """Go's name for the type."""
    match value:
        case None:
            return "nil"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case GoTime():
            return "time.Time"
        case _:
            return "map[string]interface {}"


def show(value: Any) -> str:  # noqa: ANN401
    """As `fmt.Print` has it."""
    match value:
        case str():
            return value
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return show_float(value)
        case list():
            return f"[{' '.join(map(show, value))}]"
        case dict():
            return f"map[{' '.join(f'{k}:{show(v)}' for k, v in sorted(value.items()))}]"
        case _:
            return str(value)


def show_float(value: float) -> str:
    """The shortest text that reads back, with an exponent from 1e21 on and below 1e-4."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    digits = Decimal(repr(value)).normalize()
    if -4 <= digits.adjusted() < 21:
        return format(digits, "f")
    mantissa, _, exponent = f"{digits:e}".partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].zfill(2)}"
