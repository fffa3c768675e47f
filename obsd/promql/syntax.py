"""PromQL text to a checked syntax tree: Lark's LALR tables, `AstBuilder`, then `check`.

Imported by the first query, since Lark takes its time to load: `obsd.promql.parser` is the way in.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final, cast

from lark import Lark
from lark.exceptions import UnexpectedToken

from obsd.model.errors import QueryParseError
from obsd.promql import ast
from obsd.promql.ast import Span
from obsd.promql.ast_builder import AstBuilder
from obsd.promql.check import check
from obsd.promql.lexer import PromqlLexer, error_at, tokens
from obsd.promql.spanned_error import SpannedError
from obsd.promql.syntax_errors import unexpected

MAX_FRAMES: Final = 700  # Evaluation recurses; Python's own limit of 1,000 is to stay out of reach.


def read_expr(text: str) -> ast.Expr:
    """The checked tree of a text that is not blank.

    Raises:
        QueryParseError: where and why the text is no PromQL.
    """
    try:
        expr = cast(ast.Expr, _lark().parse(text))
        _check_depth(expr)
        return check(expr, text)
    except UnexpectedToken as error:
        raise _syntax_error(text, error) from None
    except SpannedError as error:
        raise error_at(text, error.span, error.message) from None


@cache
def _lark() -> Lark:
    grammar = resources.files("obsd.promql").joinpath("grammar.lark").read_text()
    return Lark(
        grammar,
        parser="lalr",
        lexer=PromqlLexer,
        transformer=AstBuilder(),
        maybe_placeholders=True,
    )


def _syntax_error(text: str, error: UnexpectedToken) -> QueryParseError:
    """In Prometheus' words; the tokens before the bad one tell what was being read."""
    token = None if error.token.type == "$END" else error.token
    if token is None and next(tokens(text), None) is None:
        return error_at(text, Span(len(text), len(text)), "no expression found in input")
    at = len(text) if token is None or token.start_pos is None else token.start_pos
    before = []
    for seen in tokens(text):
        if seen.start_pos is not None and seen.start_pos >= at:
            break
        before.append(seen)
    if token is not None and token.type == "RPAREN" and before[-1:] and before[-1].type == "COMMA":
        message = "trailing commas not allowed in function call args"
        return error_at(text, Span(at - 1, at), message)
    return error_at(text, Span(at, at + 1), unexpected(before, token))


_FRAMES: Final = {ast.Call: 5, ast.Aggregate: 3}
"""How deep the evaluation of a node goes before it comes to those below it; 2 for the others."""


def _check_depth(expr: ast.Expr) -> None:
    pending = [(expr, 0)]
    while pending:
        node, above = pending.pop()
        frames = above + _FRAMES.get(type(node), 2)
        if frames > MAX_FRAMES:
            raise SpannedError("expression is nested too deeply", node.span)
        pending.extend((child, frames) for child in ast.children(node))
