"""Tokens of a text, as `obsd.model.log_predicate` defines them, and wildcards over prose."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from obsd.model.log_predicate import Predicate, Prefix, Regex, Substring, Wildcard

_TOKEN: Final = re.compile(r"\w+")
_CIRCLED: Final = re.compile("[\u24b6-\u24e9\U0001f130-\U0001f189]")
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}", re.ASCII)
_RE2_SPECIAL: Final = re.compile(r"[^\w\s]", re.ASCII)
_EDGE: Final = r"[^\pL\pN_]"


def tokens_of(text: str) -> tuple[str, ...]:
    """The tokens of a text that is in lower case and has no marks."""
    return tuple(_TOKEN.findall(text))


def has_marks(text: str) -> bool:
    """Whether some characters are letters for some versions of Unicode's tables and not for others.

    Such are the vowel signs of Indic scripts, accents on their own, and letters in circles. Where
    a word ends is better not asked of a text that has them.
    """
    return not text.isascii() and any(
        unicodedata.category(c)[0] == "M" or _CIRCLED.match(c) for c in text
    )


def is_id(text: str) -> bool:
    """Whether this could be a trace's or a span's id."""
    return _HEXADECIMAL.fullmatch(text) is not None


def split_pattern(pattern: str) -> list[str]:
    r"""Texts with `*` and `?` between them, each an element: "a*" is ["a", "*"].

    Texts that look like a wildcard are marked by a backslash in front: `\*` is ["\*"].
    """
    parts: list[str] = []
    text = ""
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character in "*?":
            parts += [f"\\{text}", character] if text else [character]
            text = ""
        else:
            at += character == "\\"
            text += pattern[at]
        at += 1
    return [*parts, f"\\{text}"] if text else parts


def prose_pattern(field: str | None, pattern: str) -> Predicate:
    """A wildcard over words: `*` and `?` stand for anything but white space.

    Where the pattern is of one word, it is of one token. With other characters in it, as in
    `10.0.*`, it becomes a regular expression that begins and ends where words do.
    """
    parts = split_pattern(pattern)
    texts = [part[1:] for part in parts if part[0] == "\\"]
    if all(tokens_of(text) == (text,) and not has_marks(text) for text in texts):
        match parts:
            case [text, "*"] if text[0] == "\\":
                return Prefix(field, text[1:])
            case ["*", text, "*"] if text[0] == "\\":
                return Substring(field, text[1:])
        return Wildcard(field, pattern)
    body = "".join(_RE2_PARTS.get(part) or _escaped(part[1:]) for part in parts)
    before = "" if parts[0] == "*" else f"(?:^|{_EDGE})"
    after = "" if parts[-1] == "*" else f"(?:$|{_EDGE})"
    return Regex(field, f"(?i){before}{body}{after}")


_RE2_PARTS: Final = {"*": r"\S*", "?": r"\S"}


def _escaped(text: str) -> str:
    return _RE2_SPECIAL.sub(lambda found: "\\" + found.group(), text)
