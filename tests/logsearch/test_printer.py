import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.logsearch import format_query, parse
from obsd.logsearch.ast import (
    Between,
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Has,
    MatchAll,
    Negation,
    Pattern,
    Query,
    Text,
)

TEXTS = st.one_of(
    st.text(max_size=12),
    st.text(alphabet='ab \\"*?:/()[]{}<>=-+!&|\n', max_size=12),
    st.sampled_from(["AND", "OR", "NOT", "TO", "&&", "10", "-5", "1e9", "*", "/a/", "a:b", ">1"]),
)
FIELDS = st.one_of(
    st.sampled_from(["level", "http.status_code", "@t", "NOT", "größe", "a-b/c"]),
    st.text(min_size=1, max_size=8).filter(lambda name: name != "*"),
)
NUMBERS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False, allow_infinity=False)
)
LITERALS = st.one_of(NUMBERS, TEXTS)
EXPRESSIONS = st.one_of(
    st.text(alphabet="ab/.*+ (:", min_size=1, max_size=10).map(lambda text: text + "x"),
    st.sampled_from([r"\d+", r"a\\", r"\\/x", r"(?i)é", r"a\ ", r"[/]x", "a/"]),
)


def _pattern_text(parts: list[str]) -> str:
    return "".join(
        part
        if part in ("*", "?")
        else part.replace("\\", r"\\").replace("*", r"\*").replace("?", r"\?")
        for part in parts
    )


PATTERNS = (
    st.lists(st.one_of(st.just("*"), st.just("?"), TEXTS.filter(lambda t: t not in "*?")))
    .filter(lambda parts: "*" in parts or "?" in parts)
    .map(_pattern_text)
    .filter(lambda pattern: pattern.strip("*") != "")
)
LEAVES = st.one_of(
    st.just(MatchAll()),
    st.builds(Text, st.none() | FIELDS, TEXTS),
    st.builds(Pattern, st.none() | FIELDS, PATTERNS),
    st.builds(Expression, st.none() | FIELDS, EXPRESSIONS),
    st.builds(Comparison, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), LITERALS),
    st.builds(
        Between, FIELDS, st.none() | LITERALS, st.none() | LITERALS, st.booleans(), st.booleans()
    ),
    st.builds(Has, FIELDS),
)


def _flat(kind: type[Conjunction] | type[Disjunction], parts: list[Query]) -> Query:
    flat = [each for part in parts for each in (part.of if isinstance(part, kind) else (part,))]
    return kind(tuple(flat))


def _branches(children: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
    some = st.lists(children, min_size=2, max_size=4)
    return st.one_of(
        st.builds(Negation, children),
        some.map(lambda parts: _flat(Conjunction, parts)),
        some.map(lambda parts: _flat(Disjunction, parts)),
    )


QUERIES = st.recursive(LEAVES, _branches, max_leaves=12)


@given(QUERIES)
def test_parse_inverts_format(query: Query) -> None:
    assert parse(format_query(query)) == query


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (
            'level:error AND "connection refused" service:api* -path:/health duration:>100',
            'level:error AND "connection refused" AND service:api* AND -path:"/health" AND'
            " duration:>100",
        ),
        ("a b OR NOT c", "a AND b OR -c"),
        ("x:(a OR b) d", "(x:a OR x:b) AND d"),
        ("x:[1 TO 2}", "x:[1 TO 2}"),
        ("/a b/i", "/(?i)a b/"),
    ],
)
def test_format_is_canonical(text: str, canonical: str) -> None:
    assert format_query(parse(text)) == canonical
