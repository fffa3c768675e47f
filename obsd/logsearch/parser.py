"""Text of a log search to its syntax tree: a recursive descent over characters.

    query  := either?
    either := both (("OR" | "||") both)*
    both   := not (("AND" | "&&")? not)*
    not    := ("NOT" | "-" | "!" | "+") not | one
    one    := "(" either ")" | field ":" value | word | "quoted" | /regex/
    value  := "(" either ")" | word | "quoted" | /regex/ | ("<" | "<=" | ">" | ">=") bound
            | ("[" | "{") bound "TO" bound ("]" | "}")

Within the parentheses after `field:` every value is of that field. Keywords are upper case; `+`
is taken for the sake of habits, since everything is required unless OR says otherwise.
"""

from __future__ import annotations

import re
from typing import Final

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
from obsd.logsearch.syntax import FIELD, KEYWORDS, error_at, literal_of
from obsd.model.errors import QueryParseError
from obsd.model.log_predicate import Op

MAX_LENGTH: Final = 64 << 10  # What fits into a URL.
MAX_DEPTH: Final = 64  # Parentheses and negations; the engine recurses too.
MAX_CLAUSES: Final = 2_000

_OPERATORS: Final[tuple[Op, ...]] = (">=", "<=", ">", "<")
_PREFIXES: Final = "-!+"
_LONE: Final = re.compile(r"[\s)]|$")
_END: Final = re.compile(r"[\s()]|$")
_WORD_END: Final = re.compile(r"""[\s()"]""")
_BOUND_END: Final = re.compile(r"""[\s()"\[\]{}]""")
_WORD: Final = re.compile(r"""(?:\\.|[^\s()"\\])+""", re.DOTALL)
_REGEX: Final = re.compile(r"/((?:\\.|[^/\\])*(?:\\.|[^/\\\s:]))/(i?)(?=[\s()]|$)", re.DOTALL)


def parse(text: str) -> Query:
    """The tree of a query; an empty one asks for everything.

    Raises:
        QueryParseError: where and why the text is no query.
    """
    if len(text) > MAX_LENGTH:
        raise QueryParseError(f"the query is longer than {MAX_LENGTH} characters", 1, 1)
    return _Parser(text).query()


class _Parser:
    """A position in the text; each method reads one construct there and moves behind it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._clauses = 0

    def query(self) -> Query:
        self._skip_space()
        if self._is_over():
            return MatchAll()
        tree = self._either(None, 0)
        if not self._is_over():
            raise self._error(f"unexpected {self._found()}, expected another term or the end")
        return tree

    # Operators

    def _either(self, field: str | None, depth: int) -> Query:
        parts = [self._both(field, depth)]
        while self._take_keyword("OR", "||"):
            parts.append(self._both(field, depth))
        return _joined(Disjunction, parts)

    def _both(self, field: str | None, depth: int) -> Query:
        parts = [self._not(field, depth)]
        while True:
            if not self._take_keyword("AND", "&&") and (
                self._is_over() or self._peek() == ")" or self._keyword() in ("OR", "||")
            ):
                return _joined(Conjunction, parts)
            parts.append(self._not(field, depth))

    def _not(self, field: str | None, depth: int) -> Query:
        if depth > MAX_DEPTH:
            raise self._error(f"the query is nested more than {MAX_DEPTH} deep")
        if self._take_keyword("NOT"):
            return Negation(self._not(field, depth + 1))
        prefix = self._peek()
        if prefix in _PREFIXES and prefix and not _LONE.match(self._text, self._at + 1):
            self._at += 1
            inner = self._not(field, depth + 1)
            return inner if prefix == "+" else Negation(inner)
        return self._one(field, depth)

    # Terms

    def _one(self, field: str | None, depth: int) -> Query:
        self._clauses += 1
        if self._clauses > MAX_CLAUSES:
            raise self._error(f"the query has more than {MAX_CLAUSES} terms")
        if self._is_over():
            raise self._error("unexpected end of the query, expected a term")
        if self._peek() == "(":
            return self._group(field, depth)
        if (keyword := self._keyword()) is not None:
            raise self._error(
                f'unexpected {keyword}, expected a term; write "{keyword}" in quotes to find it'
            )
        if field is None and (name := self._field_name()) is not None:
            return self._value(name, depth)
        return self._finish(self._text_value(field))

    def _group(self, field: str | None, depth: int) -> Query:
        opened = self._at
        self._at += 1
        self._skip_space()
        if self._peek() == ")":
            raise self._error('unexpected ")", expected a term after "("')
        tree = self._either(field, depth + 1)
        if self._peek() != ")":
            raise error_at(self._text, opened, 'this "(" is not closed, expected ")"')
        self._at += 1
        return self._finish(tree)

    def _field_name(self) -> str | None:
        """The name before a colon, if that is what stands here."""
        if self._peek() == '"':
            begun = self._at
            name = self._quoted()
            if self._peek() == ":":
                if not name:
                    raise error_at(self._text, begun, "expected a field's name in the quotes")
                self._at += 1
                return name
            self._at = begun
            return None
        found = FIELD.match(self._text, self._at)
        if found is None or self._text[found.end() : found.end() + 1] != ":":
            return self._any_field()
        self._at = found.end() + 1
        return found.group()

    def _any_field(self) -> str | None:
        """`*:` stands for every field, so `*:word` is `word`."""
        if self._text.startswith("*:", self._at):
            self._at += 2
            return "*"
        return None

    def _value(self, name: str, depth: int) -> Query:
        if name == "*":
            return self._finish(self._text_value(None))
        begun = self._at
        if self._is_over() or self._text[begun].isspace() or self._text[begun] == ")":
            raise self._error(
                f'expected a value right after "{name}:"; to find the text itself, put it in quotes'
            )
        character = self._peek()
        if character == "(":
            return self._group(name, depth)
        if character in "[{":
            return self._finish(self._between(name))
        return self._finish(self._text_value(name))

    def _text_value(self, field: str | None) -> Query:
        """A word with or without wildcards, a quoted text, a regular expression, a comparison."""
        begun = self._at
        if self._peek() == '"':
            return Text(field, self._quoted(), begun)
        if (found := _REGEX.match(self._text, begun)) is not None:
            self._at = found.end()
            flag = "(?i)" if found[2] else ""
            return Expression(field, flag + found[1].replace("\\/", "/"), begun)
        if field is not None:
            for op in _OPERATORS:
                if self._text.startswith(op, begun):
                    self._at += len(op)
                    return Comparison(field, op, self._bound(f'"{op}"', _WORD_END), begun)
        return self._word(field)

    def _word(self, field: str | None) -> Query:
        begun = self._at
        found = _WORD.match(self._text, begun)
        if found is None:
            if self._peek() == "\\":
                raise self._error("nothing follows the backslash, expected a character")
            raise self._error(f"unexpected {self._found()}, expected a term")
        self._at = found.end()
        if self._peek() == "\\":
            raise self._error("nothing follows the backslash, expected a character")
        word = found.group()
        pattern, is_pattern = _unescape(word, keep_wildcards=True)
        if not is_pattern:
            return Text(field, _unescape(word, keep_wildcards=False)[0], begun)
        if pattern.strip("*") == "":
            return MatchAll() if field is None else Has(field, begun)
        return Pattern(field, pattern, begun)

    def _between(self, name: str) -> Query:
        begun = self._at
        opening = self._peek()
        self._at += 1
        self._skip_space()
        low = self._range_bound(f'"{opening}"')
        self._skip_space()
        if self._text[self._at : self._at + 2].upper() != "TO" or not _END.match(
            self._text, self._at + 2
        ):
            raise self._error(f'unexpected {self._found()}, expected "TO" and the upper bound')
        self._at += 2
        self._skip_space()
        high = self._range_bound('"TO"')
        self._skip_space()
        closing = self._peek()
        if not closing or closing not in "]}":
            raise self._error(f'unexpected {self._found()}, expected "]" or "}}" after the range')
        self._at += 1
        return Between(name, low, high, opening == "[", closing == "]", begun)

    def _range_bound(self, after: str) -> Literal | None:
        bound = self._bound(after, _BOUND_END)
        return None if bound == "*" and self._text[self._at - 1] == "*" else bound

    def _bound(self, after: str, end: re.Pattern[str]) -> Literal:
        """A number or a text to compare with."""
        if self._peek() == '"':
            return self._quoted()
        found = end.search(self._text, self._at)
        stop = len(self._text) if found is None else found.start()
        word = self._text[self._at : stop]
        if not word:
            raise self._error(
                f"unexpected {self._found()}, expected a number or text after {after}"
            )
        self._at = stop
        return literal_of(word)

    def _quoted(self) -> str:
        begun = self._at
        out: list[str] = []
        at = begun + 1
        while at < len(self._text):
            character = self._text[at]
            if character == '"':
                self._at = at + 1
                return "".join(out)
            if character == "\\":
                at += 1
                character = self._text[at : at + 1]
            out.append(character)
            at += 1
        raise error_at(self._text, begun, "this quoted text does not end, expected a second '\"'")

    # Characters

    def _finish(self, tree: Query) -> Query:
        self._skip_space()
        return tree

    def _skip_space(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _is_over(self) -> bool:
        return self._at >= len(self._text)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _keyword(self) -> str | None:
        found = _END.search(self._text, self._at)
        assert found is not None, "it finds the end, if nothing else"
        word = self._text[self._at : found.start()]
        return word if word in KEYWORDS else None

    def _take_keyword(self, *words: str) -> bool:
        keyword = self._keyword()
        if keyword is None or keyword not in words:
            return False
        self._at += len(keyword)
        self._skip_space()
        return True

    def _found(self) -> str:
        """What stands here, for an error."""
        return f'"{self._peek()}"' if not self._is_over() else "end of the query"

    def _error(self, message: str) -> QueryParseError:
        return error_at(self._text, self._at, message)


def _joined(kind: type[Conjunction] | type[Disjunction], parts: list[Query]) -> Query:
    """One node of its kind, however the parentheses stood."""
    if len(parts) == 1:
        return parts[0]
    flat: list[Query] = []
    for part in parts:
        if isinstance(part, kind):
            flat.extend(part.of)
        else:
            flat.append(part)
    return kind(tuple(flat))


def _unescape(word: str, *, keep_wildcards: bool) -> tuple[str, bool]:
    """Without the backslashes that are not needed, and whether it has wildcards."""
    out = []
    has_wildcards = False
    at = 0
    while at < len(word):
        character = word[at]
        if character == "\\":
            at += 1
            character = word[at]
            if keep_wildcards and character in "*?\\":
                out.append("\\")
        elif character in "*?":
            has_wildcards = True
        out.append(character)
        at += 1
    return "".join(out), has_wildcards
