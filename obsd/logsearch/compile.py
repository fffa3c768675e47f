"""What a query means: its syntax tree to the predicate that the log engine evaluates.

This is where names that people use become the record's own fields, where `level` and `time` get
their order, and where it shows whether a text is one word or several. The rules for people are in
docs/logs.md.
"""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import Final, assert_never

from obsd.logsearch.ast import (
    Between,
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Has,
    Literal,
    MatchAll,
    Negation,
    Pattern,
    Query,
    Text,
)
from obsd.logsearch.parser import parse
from obsd.logsearch.syntax import error_at
from obsd.logsearch.times import parse_time_ns
from obsd.logsearch.words import has_marks, is_id, prose_pattern, split_pattern, tokens_of
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
from obsd.model.severity import LEVELS, level_name, severity_number

ALIASES: Final = {
    "message": "body",
    "msg": "body",
    "severity": "level",
    "service.name": "service",
    "service_name": "service",
    "timestamp": "time",
    "@timestamp": "time",
}
"""Other names for the record's own fields."""


def compile_query(text: str, now_ns: int | None = None) -> Predicate:
    """What a query asks for; times like `-1h` are before `now_ns`.

    Raises:
        QueryParseError: where and why the text is no query.
    """
    return to_predicate(parse(text), text, now_ns)


def to_predicate(query: Query, text: str, now_ns: int | None = None) -> Predicate:
    """The same, of a tree; `text` is what it was parsed from.

    Raises:
        QueryParseError: a value does not fit its field, or a regular expression is none.
    """
    return _Compiler(text, time.time_ns() if now_ns is None else now_ns).predicate(query)


def own_name(field: str) -> str:
    """The record's own name for a field that people call otherwise."""
    return ALIASES.get(field, field)


class _Compiler:
    def __init__(self, text: str, now_ns: int) -> None:
        self._text = text
        self._now_ns = now_ns

    def predicate(self, query: Query) -> Predicate:
        match query:
            case MatchAll():
                return Everything()
            case Negation():
                return Not(self.predicate(query.of))
            case Conjunction():
                return And(tuple(self.predicate(each) for each in query.of))
            case Disjunction():
                return Or(tuple(self.predicate(each) for each in query.of))
            case Has():
                return Exists(own_name(query.field))
            case Text():
                return self._of_text(query)
            case Pattern():
                return self._of_pattern(query)
            case Expression():
                return self._of_expression(query)
            case Comparison():
                return self._of_comparison(query)
            case Between():
                return self._of_range(query)
        assert_never(query)

    def _of_text(self, query: Text) -> Predicate:
        field = query.field and own_name(query.field)
        lowered = query.text.lower()
        match field:
            case "_exists_" if query.text:
                return Exists(own_name(query.text))
            case None | "body":
                if field is None and not lowered:
                    raise error_at(self._text, query.at, "there is nothing in these quotes to find")
                return _prose(field, lowered) if lowered else Equals("body", "")
            case "level":
                return Equals("level", self._level(lowered, query.at))
            case "time":
                raise error_at(
                    self._text, query.at, "time is compared: write time:>-1h or time:[A TO B]"
                )
        return Equals(field, lowered)

    def _of_pattern(self, query: Pattern) -> Predicate:
        field = query.field and own_name(query.field)
        lowered = query.pattern.lower()
        self._refuse_time(field, "wildcards", query.at)
        if field is None or field == "body":
            return prose_pattern(field, lowered)
        if field == "level":
            names = [name for name in LEVELS if fnmatchcase(name, lowered)]
            return self._one_level_of(names, query.at)
        match split_pattern(lowered):
            case [text, "*"] if text[0] == "\\":
                return Prefix(field, text[1:])
            case ["*", text, "*"] if text[0] == "\\":
                return Substring(field, text[1:])
        return Wildcard(field, lowered)

    def _of_expression(self, query: Expression) -> Predicate:
        field = query.field and own_name(query.field)
        self._refuse_time(field, "regular expressions", query.at)
        import re2  # type: ignore[import-untyped]  # A millisecond, for the few that need it.

        options = re2.Options()
        options.log_errors = False
        options.dot_nl = True
        try:
            compiled = re2.compile(query.pattern, options)
        except re2.error as error:
            detail = error.args[0] if error.args else error
            reason = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
            message = f"invalid regular expression: {reason}"
            raise error_at(self._text, query.at, message) from None
        if field == "level":
            return self._one_level_of([n for n in LEVELS if compiled.search(n)], query.at)
        return Regex(field, query.pattern)

    def _of_comparison(self, query: Comparison) -> Predicate:
        field = own_name(query.field)
        if field == "level":
            index = LEVELS.index(self._level(str(query.value), query.at))
            match query.op:
                case "<":
                    return _one_of_levels(LEVELS[:index])
                case "<=":
                    return _one_of_levels(LEVELS[: index + 1])
                case ">":
                    return _one_of_levels(LEVELS[index + 1 :])
                case ">=":
                    return _one_of_levels(LEVELS[index:])
        return Compare(field, query.op, self._comparable(field, query.value, query.at))

    def _of_range(self, query: Between) -> Predicate:
        field = own_name(query.field)
        if field == "level":
            return self._levels_between(query)
        low = None if query.low is None else self._comparable(field, query.low, query.at)
        high = None if query.high is None else self._comparable(field, query.high, query.at)
        if low is None and high is None:
            return Exists(field)
        if low is not None and high is not None and isinstance(low, str) != isinstance(high, str):
            message = "a range needs two numbers or two texts, and here is one of each"
            raise error_at(self._text, query.at, message)
        return Range(field, low, high, query.low_included, query.high_included)

    def _levels_between(self, query: Between) -> Predicate:
        first, last = 0, len(LEVELS) - 1
        if query.low is not None:
            first = LEVELS.index(self._level(str(query.low), query.at)) + (not query.low_included)
        if query.high is not None:
            last = LEVELS.index(self._level(str(query.high), query.at)) - (not query.high_included)
        return _one_of_levels(LEVELS[first : last + 1])

    def _comparable(self, field: str, value: Literal, at: int) -> Bound:
        if field != "time":
            return value.lower() if isinstance(value, str) else value
        try:
            return parse_time_ns(value, self._now_ns)
        except ValueError as error:
            raise error_at(self._text, at, str(error)) from None

    def _refuse_time(self, field: str | None, what: str, at: int) -> None:
        if field == "time":
            message = f"time has no {what}: write time:>-1h or time:[A TO B]"
            raise error_at(self._text, at, message)

    def _level(self, word: str, at: int) -> str:
        name = level_name(severity_number(word))
        if name is None:
            raise self._no_level(f'there is no level "{word}"', at)
        return name

    def _one_level_of(self, names: list[str], at: int) -> Predicate:
        if not names:
            raise self._no_level("no level is like that", at)
        return _one_of_levels(names)

    def _no_level(self, problem: str, at: int) -> Exception:
        expected = ", ".join(LEVELS)
        return error_at(self._text, at, f"{problem}, expected one of {expected}")


def _one_of_levels(names: list[str] | tuple[str, ...]) -> Predicate:
    each = tuple(Equals("level", name) for name in names)
    return each[0] if len(each) == 1 else Or(each)


def _prose(field: str | None, lowered: str) -> Predicate:
    """Words to find in the record's text."""
    tokens = tokens_of(lowered)
    if not tokens or has_marks(lowered):
        return Substring(field, lowered)
    found: Predicate = Token(field, tokens[0]) if len(tokens) == 1 else Phrase(field, tokens)
    if field is None and is_id(lowered):
        # Somebody who pastes an id wants what belongs to that trace or span.
        return Or((found, Equals("trace_id" if len(lowered) == 32 else "span_id", lowered)))
    return found
