"""A query's tokens while it is parsed, and what is said about one that should not be there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from obsd.logql.ast import Span
from obsd.logql.errors import LogqlParseError
from obsd.logql.lexer import Token, error_at

MAX_NESTING: Final = 100  # The parser recurses; Python's limit of 1,000 is to stay out of reach.
_MOST_EXPECTED: Final = 4  # More alternatives than that help nobody.


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

    def expect(self, *kinds: str, consume: bool = True) -> Token:
        """The next token.

        Raises:
            LogqlParseError: it is none of these.
        """
        token = self.peek()
        if token.kind not in kinds:
            raise self.unexpected(expected=kinds)
        return self.next() if consume else token

    def since(self, start: int) -> Span:
        """From an offset to the end of the last token."""
        return Span(start, self._tokens[max(self._at - 1, 0)].span.end)

    def unexpected(
        self, token: Token | None = None, expected: Sequence[str] = ()
    ) -> LogqlParseError:
        """What to raise about a token, the next one if none is named."""
        found = token or self.peek()
        message = f"syntax error: unexpected {found.kind}"
        if 0 < len(expected) <= _MOST_EXPECTED:
            message += f", expecting {' or '.join(expected)}"
        return error_at(self.text, found.span.start, message)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One level deeper in the query.

        Raises:
            LogqlParseError: that is too deep.
        """
        if self._depth >= MAX_NESTING:
            message = "expression is nested too deeply"
            raise error_at(self.text, self.peek().span.start, message)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
