"""Random queries: trees that `parse` could have made."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from obsd.model.matcher import Matcher, MatchOp
from obsd.promql import ast
from obsd.promql.functions import FUNCTIONS

ValueType = ast.ValueType

NAMES = st.one_of(
    st.sampled_from(["up", "sum", "by", "job:rate", "offset", "http_requests_total", "fill"]),
    st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,6}", fullmatch=True).filter(
        lambda name: name.lower() not in ast.AGGREGATIONS | RESERVED
    ),
)
RESERVED = {"inf", "nan", "bool", "on", "ignoring", "group_left", "group_right", "atan2"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
LABEL_NAMES = st.one_of(st.sampled_from(["job", "instance", "le", "on"]), TEXT.filter(bool))
REGEXES = st.sampled_from(["a.*", "b|c", "[0-9]+", "x?y", "(?i)z.+"])


@st.composite
def matchers(draw: st.DrawFn) -> Matcher:
    op = draw(st.sampled_from(MatchOp))
    is_regex = op in {MatchOp.REGEX, MatchOp.NOT_REGEX}
    name = draw(LABEL_NAMES.filter(lambda name: name != "__name__"))
    return Matcher(op, name, draw(REGEXES if is_regex else TEXT))


DURATIONS_MS = st.one_of(
    st.sampled_from([1, 1000, 15_000, 300_000, 3_600_000, 86_400_000, 604_800_000]),
    st.integers(1, 10**12),
)
NUMBERS = st.one_of(
    st.floats(), st.integers(0, 10).map(float), st.sampled_from([1e6, 1e21, 1e-7, -0.0, math.inf])
).map(ast.NumberLiteral)
DURATION_NUMBERS = DURATIONS_MS.map(lambda ms: ast.NumberLiteral(ms / 1000, is_duration=True))


def _wrap(node: ast.NumberLiteral | ast.DurationOp) -> ast.DurationOp:
    if isinstance(node, ast.NumberLiteral):
        return ast.DurationOp("+", None, node, wrapped=True)
    return ast.DurationOp(node.op, node.left, node.right, wrapped=True)


def _duration_parents(
    inner: st.SearchStrategy[ast.NumberLiteral | ast.DurationOp],
) -> st.SearchStrategy[ast.DurationOp]:
    wrapped = inner.map(_wrap)
    return st.one_of(
        st.builds(ast.DurationOp, st.sampled_from("+-*/%^"), wrapped, wrapped),
        st.builds(ast.DurationOp, st.sampled_from(["min_of", "max_of"]), inner, inner),
        st.builds(ast.DurationOp, st.just("-"), st.none(), wrapped),
    )


DURATION_OPS = st.recursive(
    st.one_of(DURATION_NUMBERS, st.sampled_from(["step", "range"]).map(ast.DurationOp)),
    _duration_parents,
    max_leaves=4,
).filter(lambda node: isinstance(node, ast.DurationOp))
RANGES = st.one_of(DURATIONS_MS, DURATION_OPS)
# After `offset` only a primary stands without parentheses.
OFFSETS = st.one_of(
    st.just(0), DURATIONS_MS, DURATIONS_MS.map(lambda ms: -ms), DURATION_OPS.map(_wrap)
)
AT = st.one_of(st.none(), st.integers(-(10**14), 10**14), st.sampled_from(ast.AtAnchor))


@st.composite
def selectors(draw: st.DrawFn, *, modified: bool = True) -> ast.VectorSelector:
    name = draw(NAMES)
    conditions = (*draw(st.lists(matchers(), max_size=3)), Matcher(MatchOp.EQUAL, "__name__", name))
    if draw(st.booleans()):
        name = ""
        conditions = (*conditions[:-1], Matcher(MatchOp.EQUAL, "__name__", draw(TEXT.filter(bool))))
    if not modified:
        return ast.VectorSelector(name, conditions)
    anchored, smoothed = draw(st.sampled_from([(False, False), (True, False), (False, True)]))
    return ast.VectorSelector(name, conditions, draw(OFFSETS), draw(AT), anchored, smoothed)


def parens(expr: ast.Expr) -> ast.Expr:
    """Parentheses around all but atoms, so that the tree is what its text says."""
    is_atom = isinstance(expr, ast.Paren | ast.Call | ast.Aggregate | ast.VectorSelector)
    return expr if is_atom else ast.Paren(expr)


@st.composite
def matchings(draw: st.DrawFn, op: str) -> ast.Matching:
    labels = tuple(draw(st.lists(LABEL_NAMES, max_size=2, unique=True)))
    on = draw(st.booleans())
    if op in ast.SET_OPERATORS:
        return ast.Matching(ast.Card.MANY_TO_MANY, on, labels)
    card = draw(st.sampled_from([ast.Card.ONE_TO_ONE, ast.Card.MANY_TO_ONE, ast.Card.ONE_TO_MANY]))
    include: tuple[str, ...] = ()
    if card is not ast.Card.ONE_TO_ONE:
        names = draw(st.lists(LABEL_NAMES, max_size=2, unique=True))
        include = tuple(name for name in names if name not in labels)
    fills = st.one_of(st.none(), st.floats(allow_nan=False))
    return ast.Matching(card, on, labels, include, draw(fills), draw(fills))


ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")


@st.composite
def scalars(draw: st.DrawFn, depth: int = 2) -> ast.Expr:
    kind = draw(st.integers(0, 4 if depth else 1))
    if kind == 0:
        return draw(NUMBERS)
    if kind == 1:
        return ast.Call(draw(st.sampled_from(["time", "pi", "start", "step"])), ())
    if kind == 2:
        return ast.Call("scalar", (draw(vectors(depth=depth - 1)),))
    left, right = parens(draw(scalars(depth=depth - 1))), parens(draw(scalars(depth=depth - 1)))
    if kind == 3:
        return ast.Binary(draw(st.sampled_from(ARITHMETIC)), left, right)
    op = draw(st.sampled_from(sorted(ast.COMPARISONS)))
    return ast.Binary(op, left, right, return_bool=True)


@st.composite
def range_vectors(draw: st.DrawFn, depth: int) -> ast.Expr:
    if depth == 0 or draw(st.booleans()):
        selector = draw(selectors())
        return ast.MatrixSelector(selector, draw(RANGES))
    inner = parens(draw(vectors(depth=depth - 1)))
    step = draw(st.one_of(st.none(), RANGES))
    return ast.Subquery(inner, draw(RANGES), step, draw(OFFSETS), draw(AT))


@st.composite
def calls(draw: st.DrawFn, depth: int) -> ast.Expr:
    names = [n for n, f in FUNCTIONS.items() if f.returns is ValueType.VECTOR and n != "info"]
    name = draw(st.sampled_from(names))
    function = FUNCTIONS[name]
    kinds = list(function.args)
    if function.variadic and draw(st.booleans()):
        kinds.pop()
    args = []
    for kind in kinds:
        match kind:
            case ValueType.VECTOR:
                args.append(draw(vectors(depth=depth - 1)))
            case ValueType.SCALAR:
                args.append(draw(scalars(depth=depth - 1)))
            case ValueType.STRING:
                args.append(ast.StringLiteral(draw(TEXT)))
            case ValueType.MATRIX:
                args.append(draw(range_vectors(depth=depth - 1)))
    return ast.Call(name, tuple(args))


@st.composite
def vectors(draw: st.DrawFn, depth: int = 3) -> ast.Expr:
    if depth <= 0:
        return draw(selectors())
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return draw(selectors())
    if kind == 1:
        return draw(calls(depth=depth))
    inner = draw(vectors(depth=depth - 1))
    if kind == 2:
        return ast.Unary(draw(st.sampled_from("+-")), parens(inner))
    if kind == 3:
        return ast.Paren(inner)
    if kind == 4:
        return draw(aggregates(inner, depth))
    op = draw(st.sampled_from([*ARITHMETIC, *sorted(ast.COMPARISONS | ast.SET_OPERATORS)]))
    other = draw(vectors(depth=depth - 1))
    return_bool = op in ast.COMPARISONS and draw(st.booleans())
    if op not in ast.SET_OPERATORS and draw(st.booleans()):
        return ast.Binary(op, parens(inner), parens(draw(scalars(0))), None, return_bool)
    return ast.Binary(op, parens(inner), parens(other), draw(matchings(op)), return_bool)


@st.composite
def aggregates(draw: st.DrawFn, inner: ast.Expr, depth: int) -> ast.Expr:
    op = draw(st.sampled_from(sorted(ast.AGGREGATIONS)))
    param: ast.Expr | None = None
    if op == "count_values":
        param = ast.StringLiteral(draw(TEXT))
    elif op in ast.AGGREGATIONS_WITH_PARAM:
        param = draw(scalars(depth=depth - 1))
    grouping = tuple(draw(st.lists(LABEL_NAMES, max_size=2)))
    return ast.Aggregate(op, inner, param, grouping, draw(st.booleans()))


def queries() -> st.SearchStrategy[ast.Expr]:
    """Any query: vectors most often, but scalars, strings and range vectors too."""
    return st.one_of(
        vectors(), vectors(), scalars(), range_vectors(depth=2), TEXT.map(ast.StringLiteral)
    )
