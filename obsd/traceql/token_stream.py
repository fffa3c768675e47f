"""A query's tokens while it is parsed, and what is said about one that should not be there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from obsd.traceql.ast import Span
from obsd.traceql.errors import TraceqlParseError
from obsd.traceql.lexer import (
    ATTRIBUTE,
    DURATION,
    END,
    FLOAT,
    INTEGER,
    INTRINSIC,
    STRING,
    WORD,
    Token,
    error_at,
)

MAX_NESTING: Final = 100  # The parser recurses; Python's limit of 1,000 is to stay out of reach.
_MOST_EXPECTED: Final = 4  # More alternatives than that help nobody.
_SHOWN: Final = 40
_NAMED: Final = frozenset({WORD, STRING, INTEGER, FLOAT, DURATION, ATTRIBUTE, INTRINSIC})


class TokenStream:
    """Tokens, read from the left."""

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self.text: Final = text
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def peek(self, ahead: int = 0) -> Token:
        """A token to come; the end, behind it."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def next(self) -> Token:
        token = self.peek()
        self._at += 1
        return token

    def take(self, *kinds: str) -> Token | None:
        """The next token, if it is one of these."""
        return self.next() if self.peek().kind in kinds else None

    def take_word(self, *words: str) -> Token | None:
        """The next token, if it is one of these words."""
        token = self.peek()
        return self.next() if token.kind == WORD and token.text in words else None

    def is_call(self, words: Iterable[str]) -> bool:
        """Whether a call of one of these functions is next."""
        token = self.peek()
        return token.kind == WORD and token.text in words and self.peek(1).kind == "("

    def expect(self, *kinds: str) -> Token:
        """The next token.

        Raises:
            TraceqlParseError: it is none of these.
        """
        if self.peek().kind not in kinds:
            raise self.unexpected(expected=kinds)
        return self.next()

    def since(self, start: int) -> Span:
        """From an offset to the end of the last token."""
        return Span(start, self._tokens[max(self._at - 1, 0)].span.end)

    def error(self, at: Token | Span, message: str) -> TraceqlParseError:
        """The error that points at a token or a stretch of the query."""
        span = at.span if isinstance(at, Token) else at
        return error_at(self.text, span.start, message)

    def unexpected(
        self, token: Token | None = None, expected: Sequence[str] = ()
    ) -> TraceqlParseError:
        """What to raise about a token, the next one if none is named."""
        found = token or self.peek()
        message = f"syntax error: unexpected {self.describe(found)}"
        if 0 < len(expected) <= _MOST_EXPECTED:
            message += f", expecting {' or '.join(expected)}"
        return error_at(self.text, found.span.start, message)

    def describe(self, token: Token) -> str:
        """A token as messages name it."""
        if token.kind not in _NAMED:
            return token.kind if token.kind == END else f"`{token.kind}`"
        text = self.text[token.span.start : token.span.end]
        return f"{token.kind} {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One level deeper in the query.

        Raises:
            TraceqlParseError: that is too deep.
        """
        if self._depth >= MAX_NESTING:
            raise self.error(self.peek(), "the query is nested too deeply")
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question to put behind a message about a word that is not known, or ""."""
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word[:100].lower(), list(lowered), n=1, cutoff=0.7)
    return f"; did you mean {lowered[near[0]]}?" if near else ""
