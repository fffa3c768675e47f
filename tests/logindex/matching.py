"""Which records match, told by a plain reading of `obsd.model.log_predicate`: the tests' oracle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from obsd.model.log_predicate import (
    And,
    Bound,
    Compare,
    Equals,
    Everything,
    Exists,
    Not,
    Or,
    Phrase,
    Predicate,
    Prefix,
    Range,
    Regex,
    Substring,
    Token,
    Wildcard,
)
from obsd.model.log_record import LogRecord, Value
from obsd.model.severity import level_of

INF = float("inf")


def text_of(value: Value) -> str | None:
    match value:
        case None | list() | dict():
            return None
        case bool():
            return "true" if value else "false"
        case bytes():
            return value.hex()
        case float():
            return str(value).replace("e+", "e")
        case _:
            return str(value)


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def leaves(value: Value) -> Iterator[Value]:
    match value:
        case list():
            for item in value:
                yield from leaves(item)
        case dict():
            for item in value.values():
                yield from leaves(item)
        case _:
            yield value


def body_text(body: Value) -> str | None:
    if isinstance(body, list | dict):
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        return text.replace("e+300", "e300")
    return text_of(body)


def lookup(entries: dict[str, Value], name: str) -> Value:
    if entries.get(name) is not None:
        return entries[name]
    for at, character in enumerate(name):
        inner = entries.get(name[:at]) if character == "." else None
        if isinstance(inner, dict) and (found := lookup(inner, name[at + 1 :])) is not None:
            return found
    return None


def field_value(record: LogRecord, field: str) -> Value:
    match field:
        case "level":
            return level_of(record.severity_number, record.severity_text)
        case "service" | "trace_id" | "span_id":
            own: str = getattr(record, field)
            return own or None
        case "time":
            return record.time_ns
    if field.startswith("body."):
        inside = record.body if isinstance(record.body, dict) else {}
        return lookup(inside, field.removeprefix("body."))
    places = (record.attributes, record.details, record.resource)
    found = (lookup(dict(place), field) for place in places)
    return next((value for value in found if value is not None), None)


def group_text(record: LogRecord, field: str) -> str:
    """The text of a field by which records are grouped."""
    value = record.body if field == "body" else field_value(record, field)
    return body_text(plain(value)) or ""


def plain(value: Value) -> Value:
    """The value, those inside lists and maps as JSON has them."""

    def inner(item: Value) -> Value:
        if isinstance(item, bytes) or (isinstance(item, float) and item in (INF, -INF)):
            return text_of(item)
        return plain(item)

    match value:
        case list():
            return [inner(item) for item in value]
        case dict():
            return {key: inner(item) for key, item in value.items()}
    return value


def number(text: str) -> int | float | None:
    if re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        return float(text)
    return None


def is_between(
    value: Value, low: Bound | None, high: Bound | None, ends: tuple[bool, bool]
) -> bool:
    def compares(bound: Bound, wanted: Callable[[int], bool]) -> bool:
        if isinstance(value, bool):
            return False
        left: str | int | float | None = value if isinstance(value, str | int | float) else None
        right = bound
        if isinstance(left, str):
            left = left.lower() if isinstance(bound, str) else number(left)
        elif isinstance(bound, str):
            return False
        if left is None or left != left:
            return False
        sign = (left > right) - (left < right)  # type: ignore[operator]
        return wanted(sign)

    above = low is None or compares(low, lambda s: s > 0 or (s == 0 and ends[0]))
    return above and (high is None or compares(high, lambda s: s < 0 or (s == 0 and ends[1])))


def like(pattern: str, text: str) -> bool:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    ways = {"*": ".*", "?": "."}
    expression = "".join(ways.get(part) or re.escape(part.removeprefix("\\")) for part in parts)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def text_passes(predicate: Predicate, text: str, *, prose: bool) -> bool:
    lowered = text.lower()
    match predicate:
        case Token(_, token):
            return token in tokens(text)
        case Phrase(_, phrase):
            own = tokens(text)
            runs = (own[at : at + len(phrase)] for at in range(len(own) - len(phrase) + 1))
            return list(phrase) in runs
        case Substring(_, part):
            return part in lowered
        case Prefix(_, start):
            return any(t.startswith(start) for t in (tokens(text) if prose else [lowered]))
        case Wildcard(_, pattern):
            return any(like(pattern, t) for t in (tokens(text) if prose else [lowered]))
        case Regex(_, pattern):
            return re.search(pattern, text, re.DOTALL) is not None
        case Equals(_, value):
            return lowered == value
    raise AssertionError(predicate)


def value_passes(predicate: Predicate, value: Value) -> bool:
    if value is None:
        return False
    if isinstance(predicate, Exists):
        return True
    if isinstance(value, list):
        return any(value_passes(predicate, item) for item in value)
    match predicate:
        case Range(_, low, high, low_included, high_included):
            return is_between(value, low, high, (low_included, high_included))
        case Compare(_, op, bound):
            included = "=" in op
            if op.startswith("<"):
                return is_between(value, None, bound, (False, included))
            return is_between(value, bound, None, (included, False))
        case Equals(_, wanted) if isinstance(value, int | float) and not isinstance(value, bool):
            if number(wanted) == value:
                return True
    text = text_of(value)
    return text is not None and text_passes(predicate, text, prose=False)


def matches(predicate: Predicate, record: LogRecord) -> bool:
    """Whether the record matches."""
    match predicate:
        case Everything():
            return True
        case And(of):
            return all(matches(part, record) for part in of)
        case Or(of):
            return any(matches(part, record) for part in of)
        case Not(of):
            return not matches(of, record)
    field = predicate.field
    if field in (None, "body"):
        texts = [body_text(record.body)]
        if field is None:
            own = [leaf for value in record.attributes.values() for leaf in leaves(value)]
            prose = (v for v in own if isinstance(v, str | int) and not isinstance(v, bool))
            texts += [text_of(value) for value in prose]
        found = [text for text in texts if text is not None]
        if isinstance(predicate, Exists):
            return bool(found)
        if isinstance(predicate, Range | Compare):
            return any(value_passes(predicate, text) for text in found)
        return any(text_passes(predicate, text, prose=True) for text in found)
    return value_passes(predicate, field_value(record, str(field)))
