"""What of a query the engine can decide: predicates that rule out records before the stages.

The engine's texts ignore case but in regular expressions, so every text becomes one; an equality
beside it, which ignores case, lets the engine use what it knows of whole values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from obsd.logql import ast
from obsd.logql.engine_regex import engine_regex, escape
from obsd.logql.label_tests import compile_matcher
from obsd.logql.line import ERROR, ERROR_DETAILS
from obsd.logql.line_filters import compile_line_filter
from obsd.logql.pattern import Literal, split_pattern
from obsd.model.log_labels import (
    EXTRACTED,
    LEVEL_NAMES,
    SERVICE_NAME,
    UNKNOWN_LEVEL,
    UNKNOWN_SERVICE,
)
from obsd.model.log_predicate import And, Equals, Everything, Exists, Not, Or, Predicate, Regex
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.severity import LEVELS

_BODY: Final = "body"
_SERVICE: Final = "service"
_LEVEL: Final = "level"
# Metadata that is no field of the engine's.
_NO_FIELDS: Final = frozenset({"severity_number", "severity_text", ERROR, ERROR_DETAILS})


@dataclass(frozen=True, slots=True)
class Pushed:
    """A query, split between the engine and the stages.

    Attributes:
        predicate: true of every record that the whole query lets through.
        stages: what is still to be applied.
        matchers: those of the selector that are still to be tested.
    """

    predicate: Predicate
    stages: tuple[ast.Stage, ...]
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A predicate, and whether it is the condition itself rather than something weaker."""

    predicate: Predicate
    is_exact: bool


_UNKNOWN: Final = _Part(Everything(), False)


def label_field(name: str) -> str:
    """The engine's field that is a label of the stream."""
    return _SERVICE if name == SERVICE_NAME else f"label:{name}"


def matchers_predicate(matchers: Iterable[Matcher]) -> Predicate:
    """The records of the streams that a selector means.

    Where an expression is none for the engine, more records than these.
    """
    return _all([_label(matcher).predicate for matcher in matchers])


def stream_predicate(query: ast.LogQuery) -> Predicate:
    """The records that a query's stages have to look at: its streams, and more that is certain.

    No record is left out that the stages would let through; the stages are still to be applied.
    """
    return push_down(query).predicate


def push_down(query: ast.LogQuery) -> Pushed:
    """Split a query."""
    parts: list[Predicate] = []
    matchers: list[Matcher] = []
    for matcher in query.matchers:
        part = _label(matcher)
        parts.append(part.predicate)
        if not part.is_exact:
            matchers.append(matcher)
    stages: list[ast.Stage] = []
    has_line = has_labels = True  # As the record has them.
    has_only_parsed = True  # The labels that it has not are from its line.
    for stage in query.stages:
        part = _UNKNOWN
        match stage:
            case ast.LineFilter() if has_line:
                part = _line_filter(stage)
            case ast.LabelFilter(test) if has_labels:
                part = _test(test, of_line=False)
            case ast.LabelFilter(test) if has_only_parsed:
                part = _test(test, of_line=True)
            case ast.LineFormat() | ast.Decolorize():
                has_line = has_only_parsed = False
            case ast.UnpackParser():
                has_line = has_labels = has_only_parsed = False
            case ast.LineFilter() | ast.LabelFilter():
                pass
            case ast.LabelFormat():
                has_labels = has_only_parsed = False
            case _:
                has_labels = False
        parts.append(part.predicate)
        if not part.is_exact:
            stages.append(stage)
    return Pushed(_all(parts), tuple(stages), tuple(matchers))


def _all(parts: Sequence[Predicate]) -> Predicate:
    kept = tuple(part for part in parts if part != Everything())
    return kept[0] if len(kept) == 1 else And(kept) if kept else Everything()


def _any(parts: Sequence[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


# Labels


def _label(matcher: Matcher) -> _Part:
    """A condition on a label of the stream."""
    absent = UNKNOWN_SERVICE if matcher.name == SERVICE_NAME else ""
    return _value(label_field(matcher.name), matcher, absent)


def _value(field: str, matcher: Matcher, absent: str = "") -> _Part:
    """A condition on a field that is `absent` where a record has none."""
    passes_absent = compile_matcher(matcher)(absent)
    is_regex = matcher.op in {MatchOp.REGEX, MatchOp.NOT_REGEX}
    found = _matches(field, matcher.value) if is_regex else _equals(field, matcher.value)
    if found is None:
        return _UNKNOWN
    if matcher.op in {MatchOp.NOT_EQUAL, MatchOp.NOT_REGEX}:
        found = Not(found)
        return _Part(found if passes_absent else And((found, Exists(field))), True)
    return _Part(Or((found, Not(Exists(field)))) if passes_absent else found, True)


def _equals(field: str, value: str) -> Predicate:
    exactly = Regex(field, f"^{escape(value)}$")
    # Other letters have more than one way to small ones.
    if not value or not value.isascii():
        return exactly
    return And((Equals(field, value.lower()), exactly))


def _matches(field: str, expression: str) -> Predicate | None:
    written = engine_regex(expression)
    return None if written is None else Regex(field, f"^(?s:{written})$")


def _test(test: ast.LabelTest, *, of_line: bool) -> _Part:
    """A label filter in front of all that changes labels, or only behind what parses the line."""
    match test:
        case ast.StringFilter(matcher):
            return _of_line(matcher) if of_line else _string(matcher)
        case ast.AndFilter(left, right):
            first, second = _test(left, of_line=of_line), _test(right, of_line=of_line)
            predicate = _all([first.predicate, second.predicate])
            return _Part(predicate, first.is_exact and second.is_exact)
        case ast.OrFilter(left, right):
            first, second = _test(left, of_line=of_line), _test(right, of_line=of_line)
            # What is not known of one side is not known of both.
            if Everything() in {first.predicate, second.predicate}:
                return _UNKNOWN
            either = Or((first.predicate, second.predicate))
            return _Part(either, first.is_exact and second.is_exact)
        case _:
            return _UNKNOWN


def _of_line(matcher: Matcher) -> _Part:
    """A value that a parser finds stands in the line, unless something in it is escaped.

    U+FFFD is a space where it is parsed, so a value with a space says less.
    """
    wanted = matcher.value
    if matcher.op is not MatchOp.EQUAL or not wanted or " " in wanted:
        return _UNKNOWN
    of_record = _string(matcher)
    if of_record == _UNKNOWN:
        return _UNKNOWN
    in_line = Regex(_BODY, f"{escape(wanted)}|{escape(chr(92))}")
    return _Part(Or((of_record.predicate, in_line)), False)


def _string(matcher: Matcher) -> _Part:
    name = matcher.name
    if name == SERVICE_NAME:
        return _label(matcher)
    if name in LEVEL_NAMES:
        return _level(matcher)
    wanted = matcher.value
    is_plain = matcher.op is MatchOp.EQUAL and wanted and wanted[0] not in "[{"
    if not is_plain or name in _NO_FIELDS or name.endswith(EXTRACTED):
        return _UNKNOWN
    of_metadata = _equals(f"metadata:{name}", wanted)
    return _Part(Or((_equals(label_field(name), wanted), of_metadata)), False)


def _level(matcher: Matcher) -> _Part:
    """The stream's label where it has one, else what the record's level is."""
    of_stream = _value(label_field(matcher.name), matcher)
    if not of_stream.is_exact:
        return _UNKNOWN
    passes = compile_matcher(matcher)
    levels: list[Predicate] = [Equals(_LEVEL, name) for name in LEVELS if passes(name)]
    if passes(UNKNOWN_LEVEL):
        levels.append(Not(Exists(_LEVEL)))
    has_label = Exists(label_field(matcher.name))
    with_label = And((has_label, of_stream.predicate))
    return _Part(Or((with_label, And((Not(has_label), Or(tuple(levels)))))), True)


# Lines


def _line_filter(stage: ast.LineFilter) -> _Part:
    negated = stage.op.startswith("!")
    if stage.op in {"|=", "!="} and not any(match.is_ip for match in stage.alternatives):
        # One expression for all of them, since a line is then looked at once.
        texts = "|".join(escape(match.text) for match in stage.alternatives)
        parts = [_Part(Regex(_BODY, texts), True)]
    else:
        parts = [_line_match(stage.op, match) for match in stage.alternatives]
    is_exact = all(part.is_exact for part in parts)
    if not is_exact and (negated or _UNKNOWN in parts):
        return _UNKNOWN
    found = _any([part.predicate for part in parts])
    # A record without a body is an empty line, in which the engine finds nothing.
    passes_empty = compile_line_filter(stage)("")
    if negated:
        return _Part(Not(found) if passes_empty else And((Not(found), Exists(_BODY))), is_exact)
    return _Part(Or((found, Not(Exists(_BODY)))) if passes_empty else found, is_exact)


def _line_match(op: ast.LineOp, match: ast.LineMatch) -> _Part:
    if match.is_ip:
        return _UNKNOWN
    match op:
        case "|=" | "!=":
            return _Part(Regex(_BODY, escape(match.text)), True)
        case "|~" | "!~":
            written = engine_regex(match.text)
            if written is None:
                return _UNKNOWN
            return _Part(Regex(_BODY, f"(?-s:{written})"), True)
        case _:
            literals = [n.text for n in split_pattern(match.text) if isinstance(n, Literal)]
            if not literals:
                return _UNKNOWN
            return _Part(Regex(_BODY, "(?s:.+)".join(map(escape, literals))), False)
