"""Regular expressions of queries, which are RE2's, for the engine, which has Rust's.

The two agree on most; where they do not, the expression is written anew, or is none for the engine:
then lines are tested here. https://github.com/google/re2/wiki/Syntax, https://docs.rs/regex/#syntax.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

# RE2's are of ASCII alone.
_CLASSES: Final = {
    "d": "0-9",
    "w": "0-9A-Za-z_",
    "s": r"\t\n\f\r ",
}
_SAME: Final = frozenset("afnrtvAzpPx")
_META: Final = frozenset(r"\.+*?()|[]{}^$#&-~")
_REPEAT: Final = re.compile(r"\{\d+(?:,\d*)?\}", re.ASCII)
_CODE: Final = re.compile(r"x[0-9a-fA-F]{2}|x\{[0-9a-fA-F]+\}|[pP](?:\{\^?\w+\}|[A-Z])")
_POSIX: Final = re.compile(r"\[:\^?[a-z]+:\]")


def escape(text: str) -> str:
    """An expression that matches this text alone."""
    return "".join(f"\\{c}" if c in _META else c for c in text)


@lru_cache(maxsize=1024)
def engine_regex(expression: str) -> str | None:
    """The same expression for the engine; None where it cannot be."""
    out: list[str] = []
    at = 0
    while at < len(expression):
        character = expression[at]
        if character == "\\":
            piece = _escaped(expression, at + 1)
        elif character == "[":
            piece = _character_class(expression, at)
        elif character == "{":
            repeat = _REPEAT.match(expression, at)
            piece = (repeat.group(), repeat.end()) if repeat else (r"\{", at + 1)
        else:
            piece = character, at + 1
        if piece is None:
            return None
        out.append(piece[0])
        at = piece[1]
    return "".join(out)


def _escaped(expression: str, at: int) -> tuple[str, int] | None:
    """What stands for an escape, whose letter is at `at`, and where the expression goes on."""
    letter = expression[at : at + 1]
    if letter.lower() in _CLASSES:
        inverted = "^" if letter.isupper() else ""
        return f"[{inverted}{_CLASSES[letter.lower()]}]", at + 1
    if letter == "b":
        return r"(?-u:\b)", at + 1
    return _literal_escape(expression, at)


def _literal_escape(expression: str, at: int) -> tuple[str, int] | None:
    letter = expression[at : at + 1]
    if letter in _SAME and letter:
        if letter not in "pPx":
            return f"\\{letter}", at + 1
        code = _CODE.match(expression, at)
        return None if code is None else (f"\\{code.group()}", code.end())
    if letter and letter.isascii() and not letter.isalnum():
        return f"\\{letter}" if letter in _META else letter, at + 1
    return None


def _character_class(expression: str, start: int) -> tuple[str, int] | None:
    out = ["["]
    at = start + 1
    if expression[at : at + 1] == "^":
        out.append("^")
        at += 1
    first = True
    while at < len(expression):
        character = expression[at]
        if character == "]" and not first:
            out.append("]")
            return "".join(out), at + 1
        first = False
        if character == "[":
            posix = _POSIX.match(expression, at)
            out.append(posix.group() if posix else r"\[")
            at = posix.end() if posix else at + 1
        elif character == "\\":
            letter = expression[at + 1 : at + 2]
            if letter in _CLASSES:
                out.append(_CLASSES[letter])
                at += 2
                continue
            piece = _literal_escape(expression, at + 1)
            if piece is None:
                return None
            out.append(piece[0])
            at = piece[1]
        elif character in "&~]":
            out.append(f"\\{character}")
            at += 1
        elif expression.startswith("--", at):
            return None
        else:
            out.append(character)
            at += 1
    return None
