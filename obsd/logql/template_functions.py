"""The functions that templates can call.

List: https://grafana.com/docs/loki/latest/query/template_functions/; those of Go's templates, too.
An argument that does not fit is a ValueError or TypeError, which the caller reports.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import math
import re
import time
import urllib.parse
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from obsd.logql.go_time import ZERO, GoTime, parse_go_time, zone_named
from obsd.logql.go_values import JsonMap, field_of, is_true, show, type_name
from obsd.logql.literals import parse_bytes, parse_go_duration_ns
from obsd.model.go_strings import quote
from obsd.model.regex import compile_unanchored

LINE_NAME: Final = "__line__"
TIME_NAME: Final = "__timestamp__"
LAZY: Final = frozenset({"and", "or"})
"""Functions that look at no more arguments than they need; `template` has them."""

MAX_TEXT: Final = 1 << 20

_REFERENCE: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)
_WHOLE: Final = re.compile(r"\s*[+-]?\d+", re.ASCII)
_VERB: Final = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<verb>.)")
_INT64: Final = 1 << 63


def _text(value: Any) -> str:  # noqa: ANN401 - so everywhere here: any value of a template
    if not isinstance(value, str):
        raise TypeError(f"wrong type for value; expected string; got {type_name(value)}")
    return value


def _int(value: Any) -> int:  # noqa: ANN401
    """Any number, or text of a whole one; 0 for what is none."""
    match value:
        case bool():
            return int(value)
        case int():
            return value
        case float():
            return int(value) if math.isfinite(value) else 0
        case str():
            try:
                number = int(value, 0)
            except ValueError:
                found = _WHOLE.match(value)
                number = int(found.group()) if found and len(value) < 40 else 0
            return number if -_INT64 <= number < _INT64 else 0
        case _:
            return 0


def _float(value: Any) -> float:  # noqa: ANN401
    match value:
        case bool() | int():
            return float(value)
        case float():
            return value
        case str():
            try:
                return float(value)
            except ValueError:
                return 0.0
        case _:
            return 0.0


def _wrapped(number: int) -> int:
    """As int64 wraps around."""
    return (number + _INT64) % (1 << 64) - _INT64


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError("the text is too long")
    return text


def _repeat(count: Any, text: Any) -> str:  # noqa: ANN401
    times = _int(count)
    if times < 0:
        raise ValueError("strings: negative Repeat count")
    if times * len(_text(text)) > MAX_TEXT:
        raise ValueError("the text is too long")
    return str(text * times)


def _replace(old: Any, new: Any, text: Any, count: int = -1) -> str:  # noqa: ANN401
    if not _text(old) and len(_text(text)) * len(_text(new)) > MAX_TEXT:
        raise ValueError("the text is too long")
    return _bounded(_text(text).replace(old, _text(new), count))


def _regex_replace(expression: Any, text: Any, replacement: Any) -> str:  # noqa: ANN401
    pattern = compile_unanchored(_text(expression))
    names: dict[str, int] = pattern.groupindex

    def expand(found: Any) -> str:  # noqa: ANN401 - a match of google-re2
        groups: tuple[str | None, ...] = (found.group(), *found.groups())

        def group(reference: re.Match[str]) -> str:
            name = reference[1] or reference[2]
            if name is None:
                return "$"
            index = int(name) if name.isdigit() and len(name) < 5 else names.get(name, len(groups))
            return (groups[index] or "") if index < len(groups) else ""

        return _REFERENCE.sub(group, _text(replacement))

    return _bounded(_substituted(pattern, _text(text), expand))


def _regex_replace_literal(expression: Any, text: Any, replacement: Any) -> str:  # noqa: ANN401
    pattern = compile_unanchored(_text(expression))
    return _bounded(_substituted(pattern, _text(text), lambda found: _text(replacement)))


def _substituted(pattern: Any, text: str, expand: Callable[[Any], str]) -> str:  # noqa: ANN401
    out: list[str] = []
    at = size = 0
    for found in pattern.finditer(text):
        out += (text[at : found.start()], expand(found))
        size += len(out[-1])
        if size > MAX_TEXT:
            raise ValueError("the text is too long")
        at = found.end()
    out.append(text[at:])
    return "".join(out)


def _count(expression: Any, text: Any) -> int:  # noqa: ANN401
    return sum(1 for _ in compile_unanchored(_text(expression)).finditer(_text(text)))


def _trunc(count: Any, text: Any) -> str:  # noqa: ANN401
    length = _int(count)
    if length < 0:
        return _text(text)[length:] if len(text) + length > 0 else _text(text)
    return _text(text)[:length]


def _substr(start: Any, end: Any, text: Any) -> str:  # noqa: ANN401
    first, last = _int(start), _int(end)
    if first < 0:
        return _text(text)[: max(last, 0)]
    return _text(text)[first:] if last < 0 or last > len(_text(text)) else _text(text)[first:last]


def _indent(count: Any, text: Any) -> str:  # noqa: ANN401
    pad = _repeat(count, " ")
    if (_text(text).count("\n") + 1) * len(pad) > MAX_TEXT:
        raise ValueError("the text is too long")
    return pad + _text(text).replace("\n", f"\n{pad}")


def _align_left(count: Any, text: Any) -> str:  # noqa: ANN401
    length = _int(count)
    if length < 0:
        return _text(text)
    return _text(text)[:length] + _repeat(max(length - len(text), 0), " ")


def _align_right(count: Any, text: Any) -> str:  # noqa: ANN401
    length = _int(count)
    if length < 0:
        return _text(text)
    pad = _repeat(max(length - len(_text(text)), 0), " ")
    return pad + _text(text)[max(len(text) - length, 0) :]


def _title(text: Any) -> str:  # noqa: ANN401
    return re.sub(r"(?:(?<=\s)|^)\S", lambda m: m.group().upper(), _text(text))


def _round(value: Any, places: Any, up_from: Any = 0.5) -> float:  # noqa: ANN401
    number = _float(value)
    if not math.isfinite(number):
        return number
    scaled = Decimal(number) * (Decimal(10) ** max(min(_int(places), 300), -300))
    whole = scaled.to_integral_value(ROUND_FLOOR)
    if scaled - whole >= Decimal(_float(up_from)):
        whole = scaled.to_integral_value(ROUND_CEILING)
    return float(whole / (Decimal(10) ** max(min(_int(places), 300), -300)))


def _divide(left: Any, right: Any) -> int:  # noqa: ANN401
    """As Go divides: towards zero."""
    a, b = _int(left), _int(right)
    if b == 0:
        raise ZeroDivisionError("runtime error: integer divide by zero")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _modulo(left: Any, right: Any) -> int:  # noqa: ANN401
    return _int(left) - _int(right) * _divide(left, right)


def _decimal(operation: Callable[[float, float], float]) -> Callable[..., float]:
    def call(*values: Any) -> float:  # noqa: ANN401
        total = _float(values[0]) if values else 0.0
        for value in values[1:]:
            total = operation(total, _float(value))
        return total

    return call


def _quotient(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left)
    return left / right


def _product(*values: Any) -> int:  # noqa: ANN401
    total = 1
    for value in values:
        total = _wrapped(total * _int(value))
    return total


def _from_json(text: Any) -> Any:  # noqa: ANN401
    try:
        return json.loads(_text(text), parse_int=float, object_hook=JsonMap)
    except RecursionError:
        raise ValueError("values are nested too deep") from None
    except ValueError:
        return None


def _b64dec(text: Any) -> str:  # noqa: ANN401
    padded = _text(text)
    if len(padded) % 4 > 1:
        padded += "=" * (4 - len(padded) % 4)
    try:
        return base64.b64decode(padded, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return "illegal base64 data"


def _url_decode(text: Any) -> str:  # noqa: ANN401
    bad = re.search(r"%(?![0-9a-fA-F]{2})", _text(text))
    if bad:
        raise ValueError(f"invalid URL escape {quote(text[bad.start() : bad.start() + 3])}")
    return urllib.parse.unquote_plus(text)


def _moment(value: Any) -> GoTime:  # noqa: ANN401
    match value:
        case GoTime():
            return value
        case bool():
            return GoTime(time.time_ns())
        case int():
            return GoTime(value * 1_000_000_000)
        case _:
            return GoTime(time.time_ns())


def _to_date(layout: Any, text: Any) -> GoTime:  # noqa: ANN401
    try:
        return parse_go_time(_text(layout), _text(text))
    except ValueError:
        return ZERO


def _to_date_in_zone(layout: Any, zone: Any, text: Any) -> GoTime:  # noqa: ANN401
    try:
        return parse_go_time(_text(layout), _text(text), zone_named(_text(zone)))
    except ValueError:
        return ZERO


def _unix_to_time(text: Any) -> GoTime:  # noqa: ANN401
    """Days, seconds, milliseconds, microseconds or nanoseconds, by the number of digits."""
    scale = {
        5: 86_400_000_000_000,
        10: 1_000_000_000,
        13: 1_000_000,
        16: 1_000,
        19: 1,
    }.get(len(_text(text)))
    if scale is None or not text.isdigit():
        raise ValueError(f"unable to parse time '{text}'")
    return GoTime(int(text) * scale)


def _equal_kinds(left: Any, right: Any) -> bool:  # noqa: ANN401
    """Whether two values can be compared.

    Raises:
        TypeError: they cannot.
    """
    kinds = []
    for value in (left, right):
        match value:
            case bool():
                kinds.append("bool")
            case int():
                kinds.append("int")
            case float():
                kinds.append("float")
            case str():
                kinds.append("string")
            case None:
                kinds.append("nil")
            case _:
                raise TypeError("non-comparable type in comparison")
    if kinds[0] != kinds[1] and "nil" not in kinds:
        raise TypeError("incompatible types for comparison")
    return kinds[0] == kinds[1]


def _eq(first: Any, *others: Any) -> bool:  # noqa: ANN401
    if not others:
        raise TypeError("missing argument for comparison")
    return any(_equal_kinds(first, other) and first == other for other in others)


def _lt(left: Any, right: Any) -> bool:  # noqa: ANN401
    if not _equal_kinds(left, right) or isinstance(left, bool) or left is None:
        raise TypeError("invalid type for comparison")
    return bool(left < right)


def _index(value: Any, *keys: Any) -> Any:  # noqa: ANN401
    for key in keys:
        match value:
            case dict():
                value = field_of(value, _text(key))
            case list() | str() if isinstance(key, int):
                if not 0 <= key < len(value):
                    raise IndexError(f"index out of range: {key}")
                value = ord(value[key]) if isinstance(value, str) else value[key]
            case _:
                raise TypeError(f"can't index item of type {type_name(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:  # noqa: ANN401
    if not isinstance(value, str | list):
        raise TypeError(f"can't slice item of type {type_name(value)}")
    first = _int(bounds[0]) if bounds else 0
    last = _int(bounds[1]) if len(bounds) > 1 else len(value)
    if not 0 <= first <= last <= len(value):
        raise IndexError("slice bounds out of range")
    return value[first:last]


def _len(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, list | dict):
        return len(value)
    raise TypeError(f"len of type {type_name(value)}")


def _print(*values: Any) -> str:  # noqa: ANN401
    """A space between two values of which neither is a text."""
    out = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out += " "
        out += show(value)
    return _bounded(out)


def _printf(layout: Any, *values: Any) -> str:  # noqa: ANN401
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        verb = found["verb"]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        width = int(found["width"] or 0)
        if width > MAX_TEXT:
            raise ValueError("the text is too long")
        precision = None if found["precision"] is None else int(found["precision"] or 0)
        text = _formatted(verb, rest.pop(0), found["flags"], precision)
        if "-" in found["flags"]:
            return text.ljust(width)
        if "0" in found["flags"] and verb in "dfeEgGxXob":
            sign = text[:1] if text[:1] in "+-" else ""
            return sign + text[len(sign) :].rjust(width - len(sign), "0")
        return text.rjust(width)

    out = _VERB.sub(one, _text(layout))
    if rest:
        extra = ", ".join(f"{type_name(value)}={show(value)}" for value in rest)
        out += f"%!(EXTRA {extra})"
    return _bounded(out)


def _formatted(verb: str, value: Any, flags: str, precision: int | None) -> str:  # noqa: ANN401
    number = isinstance(value, int | float) and not isinstance(value, bool)
    sign = "+" if "+" in flags and number and value >= 0 else ""
    digits = 6 if precision is None else min(precision, 1000)
    match verb:
        case "v":
            return sign + show(value)
        case "s" if not isinstance(value, bool | int | float):
            return show(value)[: len(show(value)) if precision is None else precision]
        case "q" if isinstance(value, str):
            return quote(value)
        case "d" if isinstance(value, int) and number:
            return f"{sign}{value}"
        case "x" | "X" | "o" | "b" if isinstance(value, int) and number:
            return sign + format(value, verb)
        case "x" | "X" if isinstance(value, str):
            hexadecimal = value.encode("utf-8", "replace").hex()
            return hexadecimal if verb == "x" else hexadecimal.upper()
        case "f" | "F" | "e" | "E" if isinstance(value, float):
            return f"{sign}{value:.{digits}{verb}}"
        case "g" | "G" if isinstance(value, float):
            return sign + (show(value) if precision is None else f"{value:.{digits or 1}g}")
        case "t" if isinstance(value, bool):
            return show(value)
        case "c" if isinstance(value, int) and number and 0 <= value < 0xD800:
            return chr(value)
        case "T":
            return type_name(value)
        case _:
            return f"%!{verb}({type_name(value)}={show(value)})"


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "Replace": lambda text, old, new, count: _replace(old, new, text, _int(count)),
    "ToLower": lambda text: _text(text).lower(),
    "ToUpper": lambda text: _text(text).upper(),
    "Trim": lambda text, cutset: _text(text).strip(_text(cutset)),
    "TrimLeft": lambda text, cutset: _text(text).lstrip(_text(cutset)),
    "TrimPrefix": lambda text, prefix: _text(text).removeprefix(_text(prefix)),
    "TrimRight": lambda text, cutset: _text(text).rstrip(_text(cutset)),
    "TrimSpace": lambda text: _text(text).strip(),
    "TrimSuffix": lambda text, suffix: _text(text).removesuffix(_text(suffix)),
    "add": lambda *values: _wrapped(sum(map(_int, values))),
    "addf": _decimal(lambda a, b: a + b),
    "alignLeft": _align_left,
    "alignRight": _align_right,
    "b64dec": _b64dec,
    "b64enc": lambda text: base64.b64encode(_text(text).encode("utf-8", "replace")).decode(),
    "bytes": lambda text: float(parse_bytes(_text(text))),
    "ceil": lambda value: float(math.ceil(_float(value))),
    "contains": lambda part, text: _text(part) in _text(text),
    "count": _count,
    "date": lambda layout, value: _moment(value).format(_text(layout)),
    "default": lambda fallback, value=None: value if is_true(value) else fallback,
    "div": _divide,
    "divf": _decimal(_quotient),
    "duration": lambda text: parse_go_duration_ns(_text(text)) / 1e9,
    "duration_seconds": lambda text: parse_go_duration_ns(_text(text)) / 1e9,
    "eq": _eq,
    "float64": _float,
    "floor": lambda value: float(math.floor(_float(value))),
    "fromJson": _from_json,
    "ge": lambda left, right: not _lt(left, right),
    "gt": lambda left, right: _lt(right, left),
    "hasPrefix": lambda prefix, text: _text(text).startswith(_text(prefix)),
    "hasSuffix": lambda suffix, text: _text(text).endswith(_text(suffix)),
    "html": lambda *values: html.escape(_print(*values)).replace("&quot;", "&#34;"),
    "indent": _indent,
    "index": _index,
    "int": _int,
    "js": lambda *values: json.dumps(_print(*values))[1:-1],
    "le": lambda left, right: not _lt(right, left),
    "len": _len,
    "lower": lambda text: _text(text).lower(),
    "lt": _lt,
    "max": lambda *values: max(map(_int, values)),
    "maxf": lambda *values: max(map(_float, values)),
    "min": lambda *values: min(map(_int, values)),
    "minf": lambda *values: min(map(_float, values)),
    "mod": _modulo,
    "mul": _product,
    "mulf": _decimal(lambda a, b: a * b),
    "ne": lambda left, right: not _eq(left, right),
    "nindent": lambda count, text: "\n" + _indent(count, text),
    "not": lambda value: not is_true(value),
    "now": lambda: GoTime(time.time_ns()),
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(map(show, values)) + "\n",
    "regexReplaceAll": _regex_replace,
    "regexReplaceAllLiteral": _regex_replace_literal,
    "repeat": _repeat,
    "replace": _replace,
    "round": _round,
    "slice": _slice,
    "sub": lambda left, right: _wrapped(_int(left) - _int(right)),
    "subf": _decimal(lambda a, b: a - b),
    "substr": _substr,
    "title": _title,
    "toDate": _to_date,
    "toDateInZone": _to_date_in_zone,
    "trim": lambda text: _text(text).strip(),
    "trimAll": lambda cutset, text: _text(text).strip(_text(cutset)),
    "trimPrefix": lambda prefix, text: _text(text).removeprefix(_text(prefix)),
    "trimSuffix": lambda suffix, text: _text(text).removesuffix(_text(suffix)),
    "trunc": _trunc,
    "unixEpoch": lambda value: str(_moment(value).unix_ns // 1_000_000_000),
    "unixEpochMillis": lambda value: str(_moment(value).unix_ns // 1_000_000),
    "unixEpochNanos": lambda value: str(_moment(value).unix_ns),
    "unixToTime": _unix_to_time,
    "upper": lambda text: _text(text).upper(),
    "urldecode": _url_decode,
    "urlencode": lambda text: urllib.parse.quote_plus(_text(text), safe="-_.~"),
    "urlquery": lambda *values: urllib.parse.quote_plus(_print(*values), safe="-_.~"),
}
