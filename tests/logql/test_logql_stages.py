"""What stages make of lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.logql import LineProcessor, ProcessedLine, parse_log_query
from tests.logql.memory_storage import line, record

OWN = {"app": "api", "service_name": "unknown_service"}


def process(stages: str, text: str, **labels: str) -> ProcessedLine | None:
    return LineProcessor(parse_log_query(f'{{app="api"}} {stages}')).process(line(text, **labels))


def parsed(stages: str, text: str, **labels: str) -> dict[str, str]:
    found = process(stages, text, **labels)
    assert found is not None
    return dict(found.parsed)


@pytest.mark.parametrize(
    ("stages", "text", "passes"),
    [
        ('|= "b"', "abc", True),
        ('|= "B"', "abc", False),
        ('|= "x" or "b"', "abc", True),
        ('!= "x" or "b"', "abc", False),
        ('!= "x" or "y"', "abc", True),
        ('|~ "^a.c$"', "abc", True),
        ('|~ "^a.c$"', "a\nc", False),
        ('!~ "b"', "abc", False),
        ('|= "a" != "c" |= "b"', "ab", True),
        ('|= ip("10.0.0.0/8")', "from 10.1.2.3:80", True),
        ('|= ip("10.0.0.0/8")', "from 11.1.2.3", False),
        ('!= ip("10.0.0.1-10.0.0.9")', "from 10.0.0.10", True),
        ('|= ip("2001:db8::/32")', "[2001:db8::1]", True),
        ('|= ip("10.0.0.1")', "1110.0.0.1", False),
        ('|> "<_> took <_>"', "it took 5", True),
        ('|> "<_> took <_>"', "it took ", False),
        ('|> "took <_>"', "it took 5", True),
        ('|> "<_> 5"', "it took 5 ms", False),
        ('!> "<_>took<_>"', "it took 5", False),
        ('|> ""', "", True),
        ('| logfmt | a >= 5', "a=5", True),
        ('| logfmt | a > 5', "a=5", False),
        ('| logfmt | b > 5', "a=5", False),
        ('| logfmt | a > 5', "a=x", True),
        ('| logfmt | a > 5 | __error__=""', "a=x", False),
        ('| logfmt | a > 1s500ms', "a=1.6s", True),
        ('| logfmt | a > 2KB', "a=1.9KiB", False),
        ('| logfmt | a < 2KB or b="x"', "a=9MB b=x", True),
        ('| logfmt | a="1" and b="2"', "a=1 b=3", False),
        ('| logfmt | a=~"1.*"', "a=123", True),
        ('| logfmt | a=~"1"', "a=123", False),
        ('| logfmt | c!="x"', "a=1", True),
        ('| logfmt | a=ip("10.0.0.0/8")', "a=10.9.8.7", True),
        ('| logfmt | a!=ip("10.0.0.0/8")', "a=10.9.8.7", False),
        ('| json | __error__="JSONParserErr"', "no", True),
        ('| detected_level="unknown"', "x", True),
    ],
)  # fmt: skip
def test_filters(stages: str, text: str, passes: bool) -> None:
    assert (process(stages, text) is not None) == passes


@pytest.mark.parametrize(
    ("stages", "text", "labels"),
    [
        ("| json", '{"a":1.50,"b":{"c d":"x","e":[1]},"f":null,"g":true,"9":"n"}',
         {"a": "1.50", "b_c_d": "x", "g": "true", "_9": "n"}),
        ("| json", '{"app":"other","a":"1"} rest', {"app_extracted": "other", "a": "1"}),
        ("| json", '{"level":"WARNING"}', {"level": "WARNING"}),
        ("| json", '{"a":12345678901234567890123,"b":-0.0}',
         {"a": "12345678901234567890123", "b": "-0.0"}),
        ('| json x="b.c", y="l[1]", z="o", n="none", q="[\\"k y\\"]"',
         '{"b":{"c":"é"},"l":[1,2.50],"o":{"p": [1]},"k y":"s"}',
         {"x": "é", "y": "2.50", "z": '{"p": [1]}', "n": "", "q": "s"}),
        ("| json | a > 0", '{"a":1}', {"a": "1"}),
        ("| logfmt", 'a=1 b="x \\"y\\"" c= d e=2', {"a": "1", "b": 'x "y"', "e": "2"}),
        ("| logfmt --keep-empty", "a= b", {"a": "", "b": ""}),
        ("| logfmt", 'a=1 b=x"y c=3', {"a": "1", "c": "3"}),
        ('| logfmt x="b", a', "a=1 b=2 c=3", {"x": "2", "a": "1"}),
        ('| regexp "(?P<a>\\\\d+) (?P<b>\\\\w+)"', "on 12 cats", {"a": "12", "b": "cats"}),
        ('| regexp "(?P<a>x)|(?P<b>y)"', "y", {"a": "", "b": "y"}),
        ("| pattern `<ip> - <_> [<when>] \"<method> <_>\"`",
         '1.2.3.4 - u [now] "GET /"', {"ip": "1.2.3.4", "when": "now", "method": "GET"}),
        ("| pattern `<a>, <b>`", "only", {"a": "only"}),
        ("| pattern `x <a>`", "y 1", {}),
        ("| logfmt | label_format b=a, c=`{{.a}}-{{.b}}`", "a=1", {"b": "1", "c": "-1"}),
        ("| logfmt | label_format app=`x`", "a=1", {"a": "1", "app": "x"}),
        ("| logfmt | drop a, b=`2`", "a=1 b=2 c=3", {"c": "3"}),
        ("| logfmt | drop b=`3`", "b=2", {"b": "2"}),
        ("| logfmt | keep a, b=`3`", "a=1 b=2", {"a": "1"}),
        ("| json | logfmt", "a=1", {"a": "1", "__error__": "JSONParserErr"}),
        ("| json | drop __error__, __error_details__", "x", {}),
        ("| unpack", '{"a":"1","n":2,"_entry":"it"}', {"a": "1"}),
        ("| unpack", '{"a":"1"}', {}),
    ],
)  # fmt: skip
def test_parsers(stages: str, text: str, labels: dict[str, str]) -> None:
    found = parsed(stages, text)
    if "__error_details__" not in labels:
        found.pop("__error_details__", None)
    assert found == labels


def test_strict_logfmt_notes_what_is_wrong() -> None:
    found = parsed("| logfmt --strict", 'a=1 b=x"y c=3')
    assert found["a"] == "1"
    assert "c" not in found
    assert found["__error__"] == "LogfmtParserErr"
    assert found["__error_details__"] == "logfmt syntax error at pos 8 : unexpected '\"'"


def test_a_filter_says_why_it_could_not_compare() -> None:
    found = parsed("| logfmt | a > 5", "a=x")
    assert found["__error__"] == "LabelFilterErr"
    assert found["__error_details__"] == 'strconv.ParseFloat: parsing "x": invalid syntax'


def test_metadata_is_told_from_the_rest_and_hidden_by_what_is_parsed() -> None:
    each = record(
        "status=500 user=u x=1",
        service="api",
        severity_number=17,
        attributes={"status": 500, "user": "v"},
    )
    query = parse_log_query('{service_name="api"} | logfmt | level="error"')
    found = LineProcessor(query).process(each)
    assert found is not None
    assert found.labels == {"service_name": "api"}
    assert found.structured_metadata["status"] == "500"
    assert found.parsed == {"user_extracted": "u", "x": "1"}


def test_a_line_of_another_stream_is_none() -> None:
    query = parse_log_query('{app="web"}')
    assert LineProcessor(query).process(line("x")) is None


def test_unpacked_and_plain_lines() -> None:
    found = process("| unpack", '{"a":"1","_entry":"it"}')
    assert found is not None
    assert found.line == "it"
    colored = process("| decolorize", "\x1b[31mred\x1b[0m \x1b]0;title\x07end")
    assert colored is not None
    assert colored.line == "red end"


any_text: Any = st.text(max_size=60) | st.text(
    alphabet='{}[]":,=\\ abn1.\n\t\x00\ufffd"', max_size=60
)
STAGES = (
    "| json",
    '| json a="b[0].c"',
    "| logfmt",
    "| logfmt --strict --keep-empty",
    "| unpack",
    "| pattern `<a>=<b> <_>`",
    '| regexp "(?P<a>.)"',
    "| decolorize",
    '|> "<_>a<_>"',
    '|= ip("10.0.0.0/8")',
    "| logfmt | b > 1 or b > 1s or b > 1KB or b=ip(`::1`)",
)


@given(text=any_text, stage=st.sampled_from(STAGES))
def test_no_line_breaks_a_stage(text: str, stage: str) -> None:
    found = process(stage, text)
    assert found is None or isinstance(found.line, str)


@given(
    st.dictionaries(
        st.text(alphabet="abc", min_size=1, max_size=3),
        st.text(
            alphabet=st.characters(
                blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffd"
            ),
            min_size=1,
        ),
        max_size=4,
    )
)  # fmt: skip
def test_logfmt_reads_what_is_quoted(fields: dict[str, str]) -> None:
    escaped = {k: v.replace("\\", "\\\\").replace('"', '\\"') for k, v in fields.items()}
    text = " ".join(f'{key}="{value}"' for key, value in escaped.items())
    assert parsed("| logfmt", text) == fields
