"""Queries as texts, by the grammar; every one of them means something."""

from __future__ import annotations

from hypothesis import strategies as st

Text = st.SearchStrategy[str]

ATTRIBUTES = (
    ".a", ".b", "span.a", "span.b", "resource.a", "resource.service.name", 'span."a b"', "parent.a",
    "event.e", "link.l", "instrumentation.i", "span.http.status-code", '."q\\"uo\\\\te"',
)  # fmt: skip
STRINGS = ('"x"', '"y"', '"cart"', "`GET /`", '""', '"a\\"\\n\\u00e4"')
NUMBERS = ("0", "1", "2", "3", "2.5", "1e3", "-1")
DURATIONS = ("1ms", "1s", "1.5s", "2m", "1h30m", "1d")
REGEXES = ('".*"', '"x|y"', '"c.*t"', '"(?i)GET.+"')
TEXT_INTRINSICS = (
    "name", "span:name", "statusMessage", "span:statusMessage", "rootName", "trace:rootName",
    "rootServiceName", "trace:rootService", "trace:id", "span:id", "span:parentID", "event:name",
    "link:traceID", "link:spanID", "instrumentation:name", "instrumentation:version",
)  # fmt: skip
DURATION_INTRINSICS = (
    "duration", "span:duration", "traceDuration", "trace:duration", "event:timeSinceStart",
)  # fmt: skip
INT_INTRINSICS = ("nestedSetParent", "nestedSetLeft", "nestedSetRight", "span:childCount")
ORDER = ("=", "!=", "<", "<=", ">", ">=")
ARITHMETIC = ("+", "-", "*", "/", "%", "^")


def one_of(*texts: str) -> Text:
    return st.sampled_from(texts)


def spaced(*parts: Text | str) -> Text:
    """The parts one behind the other, with white space or a comment between them."""
    strategies = [st.just(part) if isinstance(part, str) else part for part in parts]
    space = st.sampled_from((" ", " ", "  ", "\n", " /* … */ ", " // …\n"))
    return st.builds(lambda gap, texts: gap.join(texts), space, st.tuples(*strategies))


def numbers() -> Text:
    leaves = one_of(*ATTRIBUTES, *NUMBERS, *DURATIONS, *DURATION_INTRINSICS, *INT_INTRINSICS)

    def deeper(inner: Text) -> Text:
        return spaced("(", inner, one_of(*ARITHMETIC), inner, ")") | spaced("(-", inner, ")")

    return st.recursive(leaves, deeper, max_leaves=3)


def comparisons() -> Text:
    attribute = one_of(*ATTRIBUTES)
    texts = attribute | one_of(*TEXT_INTRINSICS)
    return st.one_of(
        spaced(texts, one_of(*ORDER), one_of(*STRINGS)),
        spaced(one_of(*STRINGS), one_of(*ORDER), texts),
        spaced(texts, one_of("=~", "!~"), one_of(*REGEXES)),
        spaced(numbers(), one_of(*ORDER), numbers()),
        spaced(one_of("status", "span:status"), one_of("=", "!="), one_of("ok", "error", "unset")),
        spaced(one_of("kind", "span:kind"), one_of("=", "!="), one_of("server", "client")),
        spaced(attribute, one_of("=", "!="), one_of("true", "false", "nil", "error")),
        attribute,
    )


def conditions(leaves: Text | None = None) -> Text:
    def deeper(inner: Text) -> Text:
        return st.one_of(
            spaced("(", inner, one_of("&&", "||"), inner, ")"),
            spaced("(", inner, "&&", inner, "&&", inner, ")"),
            spaced("!(", inner, ")"),
        )

    return st.recursive(comparisons() if leaves is None else leaves, deeper, max_leaves=4)


def filters(leaves: Text | None = None) -> Text:
    return st.just("{ }") | spaced("{", conditions(leaves), "}")


RELATIONS = (
    "&&", "||", ">", ">>", "<", "<<", "~", "!>", "!>>", "!<", "!<<", "!~", "&>", "&>>", "&<",
    "&<<", "&~",
)  # fmt: skip


def spansets(leaves: Text | None = None) -> Text:
    def deeper(inner: Text) -> Text:
        return spaced("(", inner, one_of(*RELATIONS), inner, ")")

    return st.recursive(filters(leaves), deeper, max_leaves=3)


def aggregates() -> Text:
    return st.just("count()") | st.builds(
        lambda op, of: f"{op}({of})",
        one_of("avg", "min", "max", "sum"),
        one_of(*ATTRIBUTES, "duration", "span:childCount", "(duration * 2)"),
    )


def scalar_filters() -> Text:
    return st.one_of(
        spaced(aggregates(), one_of(*ORDER), one_of(*NUMBERS, *DURATIONS)),
        spaced(one_of(*NUMBERS), one_of(*ORDER), aggregates()),
        spaced(aggregates(), one_of(*ORDER), aggregates()),
        spaced("(", aggregates(), one_of(*ARITHMETIC), aggregates(), ")", ">", one_of(*NUMBERS)),
    )


def stages(leaves: Text | None = None) -> Text:
    grouped = one_of(*ATTRIBUTES, "name", "status", "kind", "(duration / 1s)", "(.a = 1)")
    selected = st.lists(one_of(*ATTRIBUTES, "status", "kind", "span:childCount"), min_size=1)
    return st.one_of(
        spansets(leaves),
        scalar_filters(),
        grouped.map(lambda each: f"by({each})"),
        selected.map(lambda each: f"select({', '.join(each)})"),
        st.just("coalesce()"),
    )


def pipelines(leaves: Text | None = None) -> Text:
    rest = st.lists(stages(leaves), max_size=2)
    return st.builds(lambda head, tail: " | ".join([head, *tail]), spansets(leaves), rest)


def metric_functions() -> Text:
    by = st.lists(one_of(*ATTRIBUTES, "name", "status", "rootName"), max_size=3)
    of = one_of(*ATTRIBUTES, "duration", "span:childCount", "traceDuration")

    def grouped(function: str, fields: list[str]) -> str:
        return f"{function} by({', '.join(fields)})" if fields else function

    functions = st.one_of(
        one_of("rate()", "count_over_time()"),
        st.builds(
            lambda op, field: f"{op}_over_time({field})",
            one_of("min", "max", "sum", "avg", "histogram"),
            of,
        ),
        st.builds(lambda field: f"quantile_over_time({field}, 0.5, .99, 1)", of),
    )
    return st.builds(grouped, functions, by)


def metrics(leaves: Text | None = None) -> Text:
    second = one_of(
        " | topk(2)", " | bottomk(1)", " > 1", " <= 2.5", " != 0", " >= 1s", " > -2 * 3"
    )
    plain = st.builds(lambda p, f: f"{p} | {f}", pipelines(leaves), metric_functions())
    staged = st.builds(lambda p, s: p + "".join(s), plain, st.lists(second, max_size=2))

    def deeper(inner: Text) -> Text:
        wrapped = inner.map(lambda each: f"({each})")
        return st.one_of(
            spaced(wrapped, one_of("+", "-", "*", "/"), wrapped),
            spaced(wrapped, one_of("+", "-", "*", "/"), one_of("2", "-1.5", "3 * 2")),
            spaced(one_of("100", "1"), one_of("+", "-", "*", "/"), wrapped),
        )

    selection = filters(leaves)
    compared = st.one_of(
        st.builds(lambda p, f: f"{p} | compare({f})", pipelines(leaves), selection),
        st.builds(lambda p, f: f"{p} | compare({f}, 3, 5, 90)", pipelines(leaves), selection),
    )
    return st.recursive(staged, deeper, max_leaves=3) | compared


def queries() -> Text:
    hints = one_of("", "", " with(most_recent=true)", ' with(sample=0.1, x="y")')
    return st.builds(lambda query, with_: query + with_, pipelines() | metrics(), hints)
