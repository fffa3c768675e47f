"""`| logfmt`: `key=value` and `key="quoted value"` pairs as labels.

What is no pair is skipped up to the next white space; with `--strict` it ends the line, which is
then in error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from obsd.logql import ast
from obsd.logql.json_parser import sanitized
from obsd.logql.line import Line

LOGFMT_ERROR: Final = "LogfmtParserErr"

_PAIR: Final = re.compile(
    r'[\x00-\x20]*(?P<key>[^\x00-\x20="]+)'
    r'(?:=(?:"(?P<quoted>[^"\\]*(?:\\.[^"\\]*)*)"|(?P<value>[^\x00-\x20="]*)))?',
    re.DOTALL,
)
_SPACE: Final = re.compile(r"[\x00-\x20]*")
_NO_SPACE: Final = re.compile(r"[^\x00-\x20]*")
_NAME: Final = re.compile(r'\s*(?:[^\s="]+|"[^"]*")\s*')
_REPLACEMENT: Final = "\ufffd"


def pairs(text: str, *, strict: bool, fail: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Keys with their values; `fail` is told of what is no pair.

    Args:
        text: the line.
        strict: end at the first thing that is no pair.
        fail: called with what is wrong.
    """
    at, end = 0, len(text)
    while at < end:
        pair = _PAIR.match(text, at)
        if pair is None:
            space = _SPACE.match(text, at)
            at = space.end() if space else at
            if at == end:
                return
            problem = f"unexpected {text[at]!r}"
        else:
            at = pair.end()
            key, quoted, value = pair.groups()
            if quoted is not None:
                if "\\" not in quoted:
                    yield key, quoted
                    continue
                unescaped = _unescape(quoted)
                if unescaped is not None:
                    yield key, unescaped
                    continue
                problem = "invalid quoted value"
            elif at == end or text[at] <= " ":
                yield key, value or ""
                continue
            elif text[at] == '"' and value == "" and text[at - 1] == "=":
                problem = "unterminated quoted value"
                at = end
            else:
                problem = f"unexpected {text[at]!r}"
        fail(f"logfmt syntax error at pos {at + 1} : {problem}")
        if strict:
            return
        if problem != "invalid quoted value":
            rest = _NO_SPACE.match(text, at)
            at = rest.end() if rest else end


def compile_logfmt(
    stage: ast.LogfmtParser, wanted: frozenset[str] | None = None
) -> Callable[[Line], bool]:
    """The function of the stage; it lets every line through.

    Args:
        stage: what to extract.
        wanted: names that somebody asks for later; None for all.

    Raises:
        ValueError: an expression is no key.
    """
    if stage.extractions:
        return _expressions(stage)
    strict, keep_empty = stage.strict, stage.keep_empty

    def parse(line: Line) -> bool:
        problems: list[str] = []
        base, metadata, parsed = line.base, line.metadata, line.parsed
        for key, value in pairs(line.text, strict=strict, fail=problems.append):
            name = sanitized(key)
            if not name or not (value or keep_empty):
                continue
            if _REPLACEMENT in value:
                value = value.replace(_REPLACEMENT, " ")
            if name in base or name in metadata:
                placed = line.place(name, value)
                if placed is None:
                    continue
                name = placed
            if name not in parsed and (wanted is None or name in wanted):
                parsed[name] = value
        if strict and problems:
            line.fail(LOGFMT_ERROR, problems[0])
        return True

    return parse


def _expressions(stage: ast.LogfmtParser) -> Callable[[Line], bool]:
    labels_of: dict[str, list[str]] = {}
    for extraction in stage.extractions:
        if _NAME.fullmatch(extraction.expression) is None:
            problem = "syntax error: expected the name of a field"
            raise ValueError(f"cannot parse expression [{extraction.expression}]: {problem}")
        key = extraction.expression.strip().strip('"')
        labels_of.setdefault(sanitized(key), []).append(extraction.label)
    labels = [extraction.label for extraction in stage.extractions]
    strict = stage.strict

    def parse(line: Line) -> bool:
        problems: list[str] = []
        found = dict.fromkeys(labels, "")
        for key, value in pairs(line.text, strict=strict, fail=problems.append):
            for label in labels_of.get(sanitized(key), ()):
                found[label] = value
        for label, value in found.items():
            if value or line.place(label, value) == label:
                line.extract(label, value)
        if strict and problems:
            line.fail(LOGFMT_ERROR, problems[0])
        return True

    return parse


def _unescape(quoted: str) -> str | None:
    """The text of a quoted value, whose escapes are JSON's; None where they are none."""
    try:
        return str(msgspec.json.decode(f'"{quoted}"'))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
