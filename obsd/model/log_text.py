"""The text of a body or an attribute, character for character as the log engine has it."""

from __future__ import annotations

import math
from typing import Final

from obsd.model.log_record import Value

_JSON_ESCAPES: Final = {
    **{code: f"\\u{code:04x}" for code in range(0x20)},
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}


def text_of(value: Value) -> str:
    """A string as it is, a list or a map as compact JSON, nothing for a null."""
    if type(value) is str:
        return value
    match value:
        case None:
            return ""
        case list() | dict():
            return _json(value)
        case _:
            return _scalar(value)


def double_text(value: float) -> str:
    """The shortest text that reads back as the number: `500.0`, `1e16`, `NaN`, `inf`."""
    if math.isnan(value):
        return "NaN"
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    if exponent == "-05":  # Where Python already has an exponent, and the engine not yet.
        sign = "-" if mantissa.startswith("-") else ""
        return f"{sign}0.0000{mantissa.removeprefix('-').replace('.', '')}"
    return f"{mantissa}e{int(exponent)}"


def _scalar(value: str | float | bool | bytes | list[Value] | dict[str, Value]) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return double_text(value)
        case bytes():
            return value.hex()
        case _:
            return str(value)


def _json(value: Value) -> str:
    match value:
        case None:
            return "null"
        case list():
            return f"[{','.join(map(_json, value))}]"
        case dict():
            return f"{{{','.join(f'{_quoted(k)}:{_json(v)}' for k, v in value.items())}}}"
        case bool() | int():
            return _scalar(value)
        case float() if math.isfinite(value):
            return double_text(value)
        case _:
            return _quoted(text_of(value))


def _quoted(text: str) -> str:
    return f'"{text.translate(_JSON_ESCAPES)}"'
