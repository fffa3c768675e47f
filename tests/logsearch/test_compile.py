import pytest

from obsd.logsearch import compile_query
from obsd.model.errors import QueryParseError
from obsd.model.log_predicate import (
    And,
    Compare,
    Equals,
    Everything,
    Exists,
    Not,
    Or,
    Phrase,
    Predicate,
    Prefix,
    Range,
    Regex,
    Substring,
    Token,
    Wildcard,
)

NOW_NS = 1_800_000_000_000_000_000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def levels(*names: str) -> Predicate:
    each = tuple(Equals("level", name) for name in names)
    return each[0] if len(each) == 1 else Or(each)


@pytest.mark.parametrize(
    ("text", "predicate"),
    [
        ("", Everything()),
        ("Refused", Token(None, "refused")),
        ('"Connection refused"', Phrase(None, ("connection", "refused"))),
        ("10.0.0.1", Phrase(None, ("10", "0", "0", "1"))),
        ("user_id", Token(None, "user_id")),
        ("नमस्ते", Substring(None, "नमस्ते")),
        ("中文,é²", Phrase(None, ("中文", "é²"))),
        ('"=>"', Substring(None, "=>")),
        ("message:Refused", Token("body", "refused")),
        ('body:""', Equals("body", "")),
        ("body:*", Exists("body")),
        ("conn*", Prefix(None, "conn")),
        ("*conn*", Substring(None, "conn")),
        ("c?nn*d", Wildcard(None, "c?nn*d")),
        (r"*a\*b*", Regex(None, r"(?i)\S*a\*b\S*")),
        ("10.0.*", Regex(None, r"(?i)(?:^|[^\pL\pN_])10\.0\.\S*")),
        ("/x?.y", Regex(None, r"(?i)(?:^|[^\pL\pN_])\/x\S\.y(?:$|[^\pL\pN_])")),
        ("/Conn.*/", Regex(None, "Conn.*")),
        ("body:/a/i", Regex("body", "(?i)a")),
        (TRACE, Or((Token(None, TRACE), Equals("trace_id", TRACE)))),
        ("00F067AA0BA902B7", Or((
            Token(None, "00f067aa0ba902b7"), Equals("span_id", "00f067aa0ba902b7")))),
        ("path:/Health", Equals("path", "/health")),
        ("status:500", Equals("status", "500")),
        ("service.name:API", Equals("service", "api")),
        ("service:api*", Prefix("service", "api")),
        ("path:*.php", Wildcard("path", "*.php")),
        ("path:*admin*", Substring("path", "admin")),
        (r"path:*a\?*", Substring("path", "a?")),
        ("x:>=1.5", Compare("x", ">=", 1.5)),
        ("x:>B", Compare("x", ">", "b")),
        ("x:[1 TO *}", Range("x", 1, None, True, False)),
        ("x:[* TO *]", Exists("x")),
        ("_exists_:Path", Exists("Path")),
        ("-_exists_:severity", Not(Exists("level"))),
        ("level:Warning", levels("warn")),
        ("severity:crit", levels("fatal")),
        ("level:*", Exists("level")),
        ("level:>=warn", levels("warn", "error", "fatal")),
        ("level:>warn", levels("error", "fatal")),
        ("level:<debug", levels("trace")),
        ("level:<trace", Or(())),
        ("level:<=debug", levels("trace", "debug")),
        ("level:[debug TO warn}", levels("debug", "info")),
        ("level:{error TO *]", levels("fatal")),
        ("level:(error OR fatal)", levels("error", "fatal")),
        ("level:err*", levels("error")),
        ("level:/^(t|d)/", levels("trace", "debug")),
        ("time:>now", Compare("time", ">", NOW_NS)),
        ("time:>=-1h30m", Compare("time", ">=", NOW_NS - 5_400_000_000_000)),
        ("@timestamp:[2026-01-31 TO 2026-01-31T12:00:00.123456789+01:00}", Range(
            "time", 1769817600_000000000, 1769857200_123456789, True, False)),
        ("time:<1769817600", Compare("time", "<", 1769817600_000000000)),
        ("a -b", And((Token(None, "a"), Not(Token(None, "b"))))),
    ],
)  # fmt: skip
def test_query_asks_for(text: str, predicate: Predicate) -> None:
    assert compile_query(text, NOW_NS) == predicate


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("a level:urgent", 9, 'there is no level "urgent", expected one of trace, debug, info'),
        ("level:x*", 7, "no level is like that"),
        ("level:>5", 7, 'there is no level "5"'),
        ("a /(/", 3, "invalid regular expression: missing )"),
        (r"/(a)\1/", 1, "invalid regular expression"),
        ("time:yesterday", 6, "time is compared"),
        ("time:2026*", 6, "time has no wildcards"),
        ("time:/2026/", 6, "time has no regular expressions"),
        ("time:>yesterday", 6, "expected a time: RFC 3339"),
        ("time:>1e15", 6, "out of range"),
        ('x:[1 TO "b"]', 3, "two numbers or two texts"),
        ('a ""', 3, "there is nothing in these quotes to find"),
    ],
)
def test_error_points_at_the_value(text: str, column: int, message: str) -> None:
    with pytest.raises(QueryParseError) as raised:
        compile_query(text, NOW_NS)
    assert (raised.value.line, raised.value.column) == (1, column)
    assert message in str(raised.value)
