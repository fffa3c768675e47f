"""The rules of `obsd.model.log_predicate` in the plainest form: one record at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import re2

from obsd.model import log_predicate as lp
from obsd.model.log_labels import DETAILS, is_index_attribute, label_name
from obsd.model.log_record import LogRecord
from obsd.model.severity import level_of

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def matches(predicate: lp.Predicate, record: LogRecord) -> bool:
    match predicate:
        case lp.Everything():
            return True
        case lp.And():
            return all(matches(each, record) for each in predicate.of)
        case lp.Or():
            return any(matches(each, record) for each in predicate.of)
        case lp.Not():
            return not matches(predicate.of, record)
        case lp.Exists():
            return found(record, predicate.field) is not None
        case lp.Equals():
            return any(_equals(value, predicate.value) for value in values(record, predicate.field))
        case lp.Compare():
            return any(
                _compares(v, predicate.op, predicate.value) for v in values(record, predicate.field)
            )
        case lp.Range():
            low = ">=" if predicate.low_included else ">"
            high = "<=" if predicate.high_included else "<"
            return any(
                (predicate.low is None or _compares(v, low, predicate.low))
                and (predicate.high is None or _compares(v, high, predicate.high))
                for v in values(record, predicate.field)
            )
    return any(_text_matches(predicate, text) for text in texts(record, predicate.field))


def _text_matches(predicate: Any, text: str) -> bool:
    lowered = text.lower()
    units = tokens(lowered) if predicate.field in (None, "body") else [lowered]
    match predicate:
        case lp.Regex():
            options = re2.Options()
            options.dot_nl = True
            return re2.compile(predicate.pattern, options).search(text) is not None
        case lp.Substring():
            return predicate.text in lowered
        case lp.Token():
            return predicate.text in tokens(lowered)
        case lp.Phrase():
            there, wanted = tokens(lowered), list(predicate.tokens)
            return any(there[i : i + len(wanted)] == wanted for i in range(len(there)))
        case lp.Prefix():
            return any(unit.startswith(predicate.text) for unit in units)
        case lp.Wildcard():
            return any(_wildcard(predicate.pattern).fullmatch(unit) for unit in units)
    raise AssertionError(predicate)


def tokens(lowered: str) -> list[str]:
    return "".join(c if c == "_" or c.isalnum() else " " for c in lowered).split()


def _wildcard(pattern: str) -> re.Pattern[str]:
    out, at = "", 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
            out += re.escape(pattern[at])
        else:
            out += {"*": ".*", "?": "."}.get(pattern[at], re.escape(pattern[at]))
        at += 1
    return re.compile(out, re.DOTALL)


def texts(record: LogRecord, field: str | None) -> Iterator[str]:
    if field in (None, "body"):
        body = text_of(record.body, of_body=True)
        if body is not None:
            yield body
    if field is None:
        for value in record.attributes.values():
            yield from _strings_and_integers(value)
    elif field != "body":
        for each in values(record, field):
            text = text_of(each)
            if text is not None:
                yield text


def _strings_and_integers(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case bool():
            return
        case int():
            yield str(value)
        case list():
            for each in value:
                yield from _strings_and_integers(each)
        case dict():
            for each in value.values():
                yield from _strings_and_integers(each)


def text_of(value: Any, *, of_body: bool = False) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value).removesuffix(".0")
        case bytes():
            return value.hex()
        case list() | dict() if of_body:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return None


def values(record: LogRecord, field: str) -> Iterator[Any]:
    """What the field has; elements of lists one by one."""
    value = found(record, field)
    yield from _elements(text_of(value, of_body=True) if field == "body" else value)


def _elements(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _elements(each)
    elif value is not None:
        yield value


def found(record: LogRecord, field: str) -> Any:
    match field:
        case "level":
            return level_of(record.severity_number, record.severity_text)
        case "service" | "trace_id" | "span_id":
            return getattr(record, field) or None
        case "severity_text" | "severity_number":
            return getattr(record, field) or None
        case "time":
            return record.time_ns
        case "body":
            return record.body
    if field.startswith("label:"):
        return _named(record.resource, field.removeprefix("label:"), of_labels=True)
    if field.startswith("metadata:"):
        return _metadata(record, field.removeprefix("metadata:"))
    value = _lookup(record.attributes, field)
    if value is None:
        value = _lookup(record.details, field)
    if value is None:
        value = _lookup(record.resource, field)
    if value is None and field.startswith("body."):
        value = _lookup(record.body, field.removeprefix("body."))
    return value


_EMPTY = (None, "", b"")


def _named(fields: Any, name: str, *, of_labels: bool) -> Any:
    for key, value in fields.items():
        is_label = is_index_attribute(key) and not isinstance(value, list | dict)
        if value not in _EMPTY and label_name(key) == name and is_label == of_labels:
            return value
    return None


def _metadata(record: LogRecord, name: str) -> Any:
    if name in ("trace_id", "span_id") and getattr(record, name):
        return getattr(record, name)
    for key, value in record.attributes.items():
        if value not in _EMPTY and label_name(key) == name:
            return value
    others = {k: v for k, v in record.resource.items() if k != "service.name"}
    value = _named(others, name, of_labels=False)
    for key, called in DETAILS.items():
        if value in _EMPTY and called == name:
            value = record.details.get(key)
    scope = record.details.get("scope")
    for key, of_scope in (scope if isinstance(scope, dict) else {}).items():
        if value in _EMPTY and label_name(key) == name:
            value = of_scope
    return value


def _lookup(fields: Any, name: str) -> Any:
    if not isinstance(fields, dict):
        return None
    if fields.get(name) is not None:
        return fields[name]
    for i, character in enumerate(name):
        if character == "." and (inner := _lookup(fields.get(name[:i]), name[i + 1 :])) is not None:
            return inner
    return None


def number_of(value: Any) -> float | int | None:
    match value:
        case bool():
            return None
        case int() | float():
            return value
        case str() if _NUMBER.fullmatch(value):
            return int(value) if value.lstrip("+-").isdigit() else float(value)
    return None


def _equals(value: Any, wanted: str) -> bool:
    text = text_of(value)
    if text is not None and text.lower() == wanted:
        return True
    number = number_of(wanted)
    return not isinstance(value, str) and number is not None and number_of(value) == number


def _compares(value: Any, op: str, bound: Any) -> bool:
    left: Any
    if isinstance(bound, str):
        left = value.lower() if isinstance(value, str) else None
    else:
        left = number_of(value)
    if left is None:
        return False
    return {
        "<": left < bound,
        "<=": left <= bound,
        ">": left > bound,
        ">=": left >= bound,
    }[op]
