"""Processors as people write them, in JSON, to the rules that native code runs.

Each has a `type`, options of its own, and perhaps `when`, a query of the search language.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from obsd._native import LogRule
from obsd.model.errors import BadInputError, QueryParseError

MAX_PROCESSORS: Final = 100
MAX_TEXT_BYTES: Final = 16 << 10
MASK_KINDS: Final = ("email", "ip", "credit_card", "bearer", "jwt")

_COMMON: Final = ("type", "when", "name")


class InvalidProcessorError(BadInputError):
    """A processor that is none."""

    def __init__(self, index: int, option: str, reason: str) -> None:
        super().__init__(f"processors[{index}].{option}: {reason}")
        self.index = index
        self.option = option


@dataclass(frozen=True, slots=True)
class _Option:
    """How an option must be; `default` of None makes it required."""

    kind: str
    default: Any = None


_TEXT: Final = _Option("text")
_TYPES: Final[Mapping[str, Mapping[str, _Option]]] = {
    "regex": {"pattern": _TEXT, "field": _Option("text", "body")},
    "grok": {
        "pattern": _TEXT,
        "field": _Option("text", "body"),
        "patterns": _Option("map", {}),
    },
    "rename": {"from": _TEXT, "to": _TEXT},
    "drop": {},
    "drop_field": {"fields": _Option("texts")},
    "keep": {"fields": _Option("texts")},
    "mask": {
        "kinds": _Option("texts", []),
        "patterns": _Option("texts", []),
        "fields": _Option("texts", []),
        "replacement": _Option("text", "***"),
        "hash": _Option("flag", default=False),
        "salt": _Option("text", ""),
    },
    "set": {"field": _TEXT, "value": _Option("value")},
}
_NATIVE: Final = {"regex": "extract", "drop_field": "drop_fields", "keep": "keep_fields"}
_EXPECTED: Final = {
    "text": "a text",
    "texts": "a list of texts",
    "map": "an object of texts",
    "flag": "true or false",
    "value": "a text, a number, true, false or null",
}


def compile_rules(processors: Sequence[Any]) -> list[LogRule]:
    """The rules of processors, in order.

    Raises:
        InvalidProcessorError: which one is wrong, and what about it.
        BadInputError: there are too many.
    """
    if len(processors) > MAX_PROCESSORS:
        raise BadInputError(f"processors: more than {MAX_PROCESSORS}")
    return [_compile(index, each) for index, each in enumerate(processors)]


def _compile(index: int, processor: Any) -> LogRule:  # noqa: ANN401 - any JSON
    if not isinstance(processor, dict):
        raise InvalidProcessorError(index, "type", "expected an object with a type")
    kind = processor.get("type")
    options = _TYPES.get(kind) if isinstance(kind, str) else None
    if options is None or not isinstance(kind, str):
        raise InvalidProcessorError(index, "type", f"expected one of {', '.join(_TYPES)}")
    if unknown := sorted(processor.keys() - options.keys() - {*_COMMON}):
        known = ", ".join((*options, *_COMMON[1:]))
        raise InvalidProcessorError(index, unknown[0], f"unknown; a {kind} has {known}")
    values = {name: _value(index, name, option, processor) for name, option in options.items()}
    if not isinstance(processor.get("name", ""), str):
        raise InvalidProcessorError(index, "name", "expected a text")
    when = _condition(index, processor.get("when"))
    if kind == "drop" and when is None:
        raise InvalidProcessorError(index, "when", "it is missing, and would drop every record")
    if kind == "mask":
        _check_mask(index, values)
    _name_fields(values)
    try:
        return LogRule(_NATIVE.get(kind, kind), when, values)
    except ValueError as error:
        option, reason = error.args
        raise InvalidProcessorError(index, option, reason) from None


def _value(index: int, name: str, option: _Option, processor: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    if name not in processor:
        if option.default is None:
            raise InvalidProcessorError(index, name, f"it is missing: {_EXPECTED[option.kind]}")
        return option.default
    value = processor[name]
    if not _fits(option.kind, value):
        raise InvalidProcessorError(index, name, f"expected {_EXPECTED[option.kind]}")
    if any(len(text) > MAX_TEXT_BYTES or not _is_unicode(text) for text in _texts(value)):
        raise InvalidProcessorError(index, name, "it is too long, or not Unicode")
    return value


def _fits(kind: str, value: Any) -> bool:  # noqa: ANN401 - any JSON
    match kind:
        case "text":
            return isinstance(value, str) and value != ""
        case "texts":
            return isinstance(value, list) and all(isinstance(v, str) and v for v in value)
        case "map":
            return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        case "flag":
            return isinstance(value, bool)
    return value is None or isinstance(value, str | int | float)


def _texts(value: Any) -> Iterable[str]:  # noqa: ANN401 - any JSON
    match value:
        case str():
            return [value]
        case dict():
            return [*value, *value.values()]
        case list():
            return value
    return []


def _is_unicode(text: str) -> bool:
    """Half a surrogate pair, which JSON can have, is none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _condition(index: int, when: Any) -> tuple[object, ...] | None:  # noqa: ANN401 - any JSON
    if when is None:
        return None
    if not isinstance(when, str):
        raise InvalidProcessorError(index, "when", "expected a query")
    from obsd.logindex.predicates import encode_predicate
    from obsd.logsearch import compile_query

    try:
        return encode_predicate(compile_query(when))
    except QueryParseError as error:
        raise InvalidProcessorError(index, "when", str(error)) from None


def _check_mask(index: int, values: dict[str, Any]) -> None:
    if not values["kinds"] and not values["patterns"]:
        raise InvalidProcessorError(index, "kinds", "expected kinds or patterns")
    for kind in values["kinds"]:
        if kind not in MASK_KINDS:
            expected = ", ".join(MASK_KINDS)
            raise InvalidProcessorError(
                index, "kinds", f"there is no kind {kind!r}: expected {expected}"
            )
    salt = values.pop("salt")
    if values.pop("hash"):
        if not salt:
            raise InvalidProcessorError(index, "salt", "a hash needs one, or it can be guessed")
        values["hash_salt"] = salt


def _name_fields(values: dict[str, Any]) -> None:
    """The record's own fields are called by their own names."""
    from obsd.logsearch import own_name

    for option in ("field", "from", "to"):
        if option in values:
            values[option] = own_name(values[option])
    if "fields" in values:
        values["fields"] = [own_name(name) for name in values["fields"]]
