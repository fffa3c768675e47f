"""LogQL text to a checked syntax tree, by recursive descent.

Grammar: https://grafana.com/docs/loki/latest/query/. Syntax errors tell the place and the token, in
the words of Loki's parser; an error of meaning is that of the whole query.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, cast

from obsd.logql import ast, lexer
from obsd.logql.ast import Span
from obsd.logql.check import check, checked_matcher
from obsd.logql.errors import LogqlParseError
from obsd.logql.filter_parser import FilterParser
from obsd.logql.lexer import (
    DURATION,
    END,
    FLAG,
    IDENTIFIER,
    NUMBER,
    RANGE,
    STRING,
)
from obsd.logql.token_stream import TokenStream
from obsd.model.matcher import Matcher, MatchOp

CACHED_QUERIES: Final = 4096
MAX_CACHED_LENGTH: Final = 10_000
MAX_QUERY_LENGTH: Final = 131_072  # As Loki has it.

_LINE_OPS: Final = frozenset({"|=", "!=", "|~", "!~", "|>", "!>"})
_MATCH_OPS: Final = {op.value: op for op in MatchOp}
_PRECEDENCE: Final = {
    "or": 1,
    "and": 2,
    "unless": 2,
    **dict.fromkeys(ast.COMPARISONS, 3),
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
    "^": 6,
}
_CONVERSIONS: Final = {f"{name.upper()}_CONV": name for name in lexer.CONVERSIONS}


def parse(text: str) -> ast.Expr:
    """The checked tree of a query; repeated queries cost a dictionary lookup.

    Raises:
        LogqlParseError: where and why the text is no LogQL.
    """
    return _parse(text) if len(text) > MAX_CACHED_LENGTH else _cached_parse(text)


def parse_log_query(text: str) -> ast.LogQuery:
    """A query that has to be one for lines, as those of a tail.

    Raises:
        LogqlParseError: it is something else.
    """
    expr = parse(text)
    if not isinstance(expr, ast.LogQuery):
        raise LogqlParseError("only log selector is supported")
    return expr


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """A selector alone, as `match[]` has it; `{}` means every stream.

    Raises:
        LogqlParseError: it is something else.
    """
    stream = _open(text)
    matchers = _Parser(stream).selector()
    if stream.peek().kind != END:
        raise stream.unexpected()
    return matchers


def _open(text: str) -> TokenStream:
    if len(text) > MAX_QUERY_LENGTH:
        raise LogqlParseError(f"input size too long ({len(text)} > {MAX_QUERY_LENGTH})")
    return TokenStream(text, lexer.tokens(text))


def _parse(text: str) -> ast.Expr:
    stream = _open(text)
    expr = _Parser(stream).expr()
    if stream.peek().kind != END:
        raise stream.unexpected()
    check(expr)
    return expr


_cached_parse = lru_cache(maxsize=CACHED_QUERIES)(_parse)


class _Parser:
    def __init__(self, stream: TokenStream) -> None:
        self._tokens = stream
        self._filters = FilterParser(stream)

    # Metrics

    def expr(self, minimum: int = 1) -> ast.Expr:
        """An expression of operators that bind at least so tightly."""
        start = self._tokens.peek().span.start
        with self._tokens.nested():
            left = self._primary()
            while (level := _PRECEDENCE.get(op := self._tokens.peek().kind, 0)) >= minimum:
                self._tokens.next()
                return_bool, matching = self._modifiers()
                # Of one level, the left operator is first; powers begin at the right.
                right = self.expr(level if op == "^" else level + 1)
                span = self._tokens.since(start)
                left = _binary(op, left, right, matching, span, return_bool=return_bool)
        return left

    def _primary(self) -> ast.Expr:
        token = self._tokens.peek()
        if token.kind == "(":
            self._tokens.next()
            inner = self.expr()
            self._tokens.expect(")")
            return inner
        if token.kind == "{":
            return self._log_query()
        if token.kind in {NUMBER, "+", "-"}:
            return ast.NumberLiteral(self._filters.number(), self._tokens.since(token.span.start))
        name = token.kind.lower()
        if token.kind.isupper() and name in ast.RANGE_OPERATIONS:
            return self._range_aggregation(name)
        if token.kind.isupper() and name in ast.VECTOR_OPERATIONS:
            return self._vector_aggregation(name)
        if token.kind == "VECTOR":
            return self._vector_literal()
        if token.kind == "LABEL_REPLACE":
            return self._label_replace()
        raise self._tokens.unexpected()

    def _modifiers(self) -> tuple[bool, ast.Matching]:
        return_bool = self._tokens.take("bool") is not None
        chosen = self._tokens.take("on", "ignoring")
        if chosen is None:
            return return_bool, ast.Matching()
        labels = self._labels()
        side = self._tokens.take("group_left", "group_right")
        card: ast.Card = "one-to-one"
        include: tuple[str, ...] = ()
        if side is not None:
            card = "many-to-one" if side.kind == "group_left" else "one-to-many"
            if self._tokens.peek().kind == "(" and self._is_label_list():
                include = self._labels()
        return return_bool, ast.Matching(card, chosen.kind == "on", labels, include)

    def _is_label_list(self) -> bool:
        """Whether a parenthesis holds labels, rather than the right side of an operator."""
        after = self._tokens.peek(1).kind
        return after == ")" or (after == IDENTIFIER and self._tokens.peek(2).kind in {",", ")"})

    def _labels(self) -> tuple[str, ...]:
        self._tokens.expect("(")
        labels: list[str] = []
        if self._tokens.take(")"):
            return ()
        while True:
            labels.append(self._tokens.expect(IDENTIFIER).text)
            if self._tokens.expect(",", ")").kind == ")":
                return tuple(labels)

    def _grouping(self) -> ast.Grouping | None:
        chosen = self._tokens.take("by", "without")
        return None if chosen is None else ast.Grouping(self._labels(), chosen.kind == "without")

    def _range_aggregation(self, op: str) -> ast.RangeAggregation:
        start = self._tokens.next().span.start
        self._tokens.expect("(")
        param = None
        if self._tokens.peek().kind == NUMBER:
            param = self._filters.unsigned()
            self._tokens.expect(",")
        window = self._log_range()
        self._tokens.expect(")")
        grouping = self._grouping()
        return ast.RangeAggregation(op, window, param, grouping, self._tokens.since(start))

    def _vector_aggregation(self, op: str) -> ast.VectorAggregation:
        start = self._tokens.next().span.start
        grouping = self._grouping()
        self._tokens.expect("(")
        param = None
        if self._tokens.peek().kind == NUMBER and self._tokens.peek(1).kind == ",":
            number = self._tokens.next()
            if not number.text.isdigit():
                raise LogqlParseError(f"invalid parameter {op}({number.text},")
            param = int(number.text)
            self._tokens.next()
        inner = self._metric()
        self._tokens.expect(")")
        if grouping is None:
            grouping = self._grouping()
        span = self._tokens.since(start)
        return ast.VectorAggregation(op, inner, param, grouping, span)

    def _metric(self) -> ast.MetricExpr:
        """An expression that has to be a metric."""
        at = self._tokens.peek()
        inner = self.expr()
        if isinstance(inner, ast.LogQuery):
            # Where Loki's parser sees that no window follows the lines.
            raise self._tokens.unexpected() if at.kind == "{" else self._tokens.unexpected(at)
        return inner

    def _vector_literal(self) -> ast.VectorLiteral:
        start = self._tokens.next().span.start
        self._tokens.expect("(")
        value = self._filters.unsigned()
        self._tokens.expect(")")
        return ast.VectorLiteral(value, self._tokens.since(start))

    def _label_replace(self) -> ast.LabelReplace:
        start = self._tokens.next().span.start
        self._tokens.expect("(")
        inner = self._metric()
        texts: list[str] = []
        for _ in range(4):
            self._tokens.expect(",")
            texts.append(self._tokens.expect(STRING).text)
        self._tokens.expect(")")
        target, replacement, source, regex = texts
        span = self._tokens.since(start)
        return ast.LabelReplace(inner, target, replacement, source, regex, span)

    # Lines

    def selector(self) -> tuple[Matcher, ...]:
        self._tokens.expect("{")
        matchers: list[Matcher] = []
        if self._tokens.take("}"):
            return ()
        while True:
            matchers.append(self._matcher())
            if self._tokens.expect(",", "}").kind == "}":
                return tuple(matchers)
            if matchers and self._tokens.take("}"):  # A comma may end the list.
                return tuple(matchers)

    def _matcher(self) -> Matcher:
        name = self._tokens.expect(IDENTIFIER, "}").text
        op = self._tokens.expect("=", "!=", "=~", "!~")
        value = self._tokens.expect(STRING)
        return checked_matcher(_MATCH_OPS[op.kind], name, value.text)

    def _log_query(self) -> ast.LogQuery:
        start = self._tokens.peek().span.start
        matchers = self.selector()
        stages = self._pipeline()
        return ast.LogQuery(matchers, stages, self._tokens.since(start))

    def _log_range(self) -> ast.LogRange:
        start = self._tokens.peek().span.start
        query, unwrap, window = self._partial_range()
        if window is None:
            raise self._tokens.unexpected()
        range_ns, offset_ns = window
        return ast.LogRange(query, range_ns, offset_ns, unwrap, self._tokens.since(start))

    def _partial_range(
        self,
    ) -> tuple[ast.LogQuery, ast.Unwrap | None, tuple[int, int] | None]:
        """A range in any of its orders; in parentheses, its window may be behind them."""
        start = self._tokens.peek().span.start
        if self._tokens.take("("):
            with self._tokens.nested():
                query, unwrap, window = self._partial_range()
            self._tokens.expect(")")
            if window is None and (window := self._window()) and not query.stages and not unwrap:
                unwrap = self._unwrap()
            return query, unwrap, window
        matchers = self.selector()
        window = self._window()
        stages = self._pipeline()
        span = self._tokens.since(start)
        unwrap = self._unwrap()
        return ast.LogQuery(matchers, stages, span), unwrap, window or self._window()

    def _window(self) -> tuple[int, int] | None:
        token = self._tokens.take(RANGE)
        if token is None:
            return None
        offset_ns = 0
        if self._tokens.take("offset"):
            offset_ns = self._tokens.expect(DURATION).number
        return token.number, offset_ns

    def _unwrap(self) -> ast.Unwrap | None:
        if self._tokens.peek().kind != "|" or self._tokens.peek(1).kind != "unwrap":
            return None
        start = self._tokens.next().span.start
        self._tokens.next()
        conversion: ast.Conversion = ""
        if name := _CONVERSIONS.get(self._tokens.peek().kind):
            conversion = cast(ast.Conversion, name)
            self._tokens.next()
            self._tokens.expect("(")
            label = self._tokens.expect(IDENTIFIER).text
            self._tokens.expect(")")
        else:
            label = self._tokens.expect(IDENTIFIER).text
        filters: list[ast.LabelTest] = []
        while self._tokens.take("|"):
            filters.append(self._filters.test())
        return ast.Unwrap(label, conversion, tuple(filters), self._tokens.since(start))

    def _pipeline(self) -> tuple[ast.Stage, ...]:
        stages: list[ast.Stage] = []
        while True:
            kind = self._tokens.peek().kind
            if kind in _LINE_OPS:
                stages.append(self._line_filter())
            elif kind == "|" and self._tokens.peek(1).kind != "unwrap":
                stages.append(self._stage())
            else:
                return tuple(stages)

    def _line_filter(self) -> ast.LineFilter:
        token = self._tokens.next()
        alternatives = [self._line_match()]
        while self._tokens.take("or"):
            alternatives.append(self._line_match())
        op = cast(ast.LineOp, token.kind)
        return ast.LineFilter(op, tuple(alternatives), self._tokens.since(token.span.start))

    def _line_match(self) -> ast.LineMatch:
        if self._tokens.expect(STRING, "IP", consume=False).kind == STRING:
            return ast.LineMatch(self._tokens.next().text)
        return ast.LineMatch(self._filters.ip(), is_ip=True)

    def _stage(self) -> ast.Stage:
        start = self._tokens.next().span.start
        token = self._tokens.peek()
        table: dict[str, Callable[[Span], ast.Stage]] = {
            "json": lambda s: ast.JsonParser(self._extractions(), self._to(s)),
            "logfmt": self._logfmt,
            "regexp": lambda s: ast.RegexpParser(self._text(), self._to(s)),
            "pattern": lambda s: ast.PatternParser(self._text(), self._to(s)),
            "unpack": lambda s: ast.UnpackParser(self._to(s)),
            "line_format": lambda s: ast.LineFormat(self._text(), self._to(s)),
            "label_format": self._label_format,
            "decolorize": lambda s: ast.Decolorize(self._to(s)),
            "drop": lambda s: ast.DropLabels(self._named(), self._to(s)),
            "keep": lambda s: ast.KeepLabels(self._named(), self._to(s)),
        }
        if read := table.get(token.kind):
            self._tokens.next()
            return read(Span(start, start))
        test = self._filters.test()
        return ast.LabelFilter(test, self._tokens.since(start))

    def _to(self, start: Span) -> Span:
        return self._tokens.since(start.start)

    def _text(self) -> str:
        return self._tokens.expect(STRING).text

    def _logfmt(self, start: Span) -> ast.LogfmtParser:
        flags: set[str] = set()
        while flag := self._tokens.take(FLAG):
            flags.add(flag.text)
        extractions = self._extractions()
        return ast.LogfmtParser(
            "--strict" in flags, "--keep-empty" in flags, extractions, self._to(start)
        )

    def _extractions(self) -> tuple[ast.Extraction, ...]:
        found: list[ast.Extraction] = []
        if self._tokens.peek().kind != IDENTIFIER:
            return ()
        while True:
            label = self._tokens.expect(IDENTIFIER).text
            expression = self._text() if self._tokens.take("=") else label
            found.append(ast.Extraction(label, expression))
            if not self._tokens.take(","):
                return tuple(found)

    def _label_format(self, start: Span) -> ast.LabelFormat:
        formats: list[ast.LabelRename | ast.LabelTemplate] = []
        while True:
            target = self._tokens.expect(IDENTIFIER).text
            self._tokens.expect("=")
            source = self._tokens.expect(IDENTIFIER, STRING)
            if source.kind == STRING:
                formats.append(ast.LabelTemplate(target, source.text))
            else:
                formats.append(ast.LabelRename(target, source.text))
            if not self._tokens.take(","):
                return ast.LabelFormat(tuple(formats), self._to(start))

    def _named(self) -> tuple[str | Matcher, ...]:
        items: list[str | Matcher] = []
        while True:
            name = self._tokens.expect(IDENTIFIER).text
            if op := self._tokens.take(*_MATCH_OPS):
                items.append(checked_matcher(_MATCH_OPS[op.kind], name, self._text()))
            else:
                items.append(name)
            if not self._tokens.take(","):
                return tuple(items)


def _binary(
    op: str,
    left: ast.Expr,
    right: ast.Expr,
    matching: ast.Matching,
    span: Span,
    *,
    return_bool: bool,
) -> ast.Binary:
    for side, expr in (("left", left), ("right", right)):
        if isinstance(expr, ast.LogQuery):
            kind = "*syntax.PipelineExpr" if expr.stages else "*syntax.MatchersExpr"
            raise LogqlParseError(
                f"unexpected type for {side} leg of binary operation ({op}): {kind}"
            )
        if op in ast.SET_OPERATORS and isinstance(expr, ast.NumberLiteral):
            raise LogqlParseError(
                f"unexpected literal for {side} leg of logical/set binary operation "
                f"({op}): {expr.value:f}"
            )
    assert not isinstance(left, ast.LogQuery)
    assert not isinstance(right, ast.LogQuery)
    return ast.Binary(op, left, right, matching, return_bool, span)
