"""Templates give what Go's would."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.logql.go_time import GoTime, parse_go_time
from obsd.logql.template import TemplateExecError, compile_template

LABELS: Final = {
    "a": "Hello",
    "n": "12",
    "pi": "3.14159",
    "empty": "",
    "json": '{"x": {"y": [1, 2.5, "z"]}, "t": true}',
    "url": "a b&c=d",
    "dur": "1m30s",
    "size": "2KiB",
    "when": "2026-01-31T12:30:05Z",
}
TIME_NS: Final = 1_769_862_605_123_456_789  # 2026-01-31T12:30:05.123456789Z


def render(text: str) -> str:
    return compile_template(text).render(LABELS, "the line", TIME_NS)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.a}}", "Hello"),
        ("{{ .none }}!", "!"),
        ("{{.a}} {{.n}}", "Hello 12"),
        ("x {{- .a -}} y", "xHelloy"),
        ("{{/* note */}}{{.a}}", "Hello"),
        ("{{ `raw` }}{{ \"q\\n\" }}{{ 'a' }}", "rawq\n97"),
        ("{{ .a | ToUpper }}", "HELLO"),
        ("{{ .a | lower | printf \"<%s>\" }}", "<hello>"),
        ("{{ printf \"%5s|%-5s|%05d|%.2f|%v|%q\" .n .n (int .n) (float64 .pi) true .a }}",
         '   12|12   |00012|3.14|true|"Hello"'),
        ("{{ Replace .a \"l\" \"L\" 1 }} {{ replace \"l\" \"L\" .a }}", "HeLlo HeLLo"),
        ("{{ trunc 2 .a }} {{ trunc -2 .a }} {{ substr 1 3 .a }}", "He lo el"),
        ("{{ TrimPrefix .a \"He\" }} {{ trimSuffix \"lo\" .a }} {{ trim \"  x \" }}", "llo Hel x"),
        ("{{ Trim .a \"Ho\" }} {{ trimAll \"H\" .a }}", "ell ello"),
        ("{{ regexReplaceAll \"(l+)\" .a \"<$1>\" }}", "He<ll>o"),
        ("{{ regexReplaceAllLiteral \"l+\" .a \"$1\" }}", "He$1o"),
        ("{{ .a | count \"l\" }}", "2"),
        ("{{ default \"d\" .empty }} {{ .a | default \"d\" }}", "d Hello"),
        ("{{ add 1 2 3 }} {{ sub 5 2 }} {{ mul 2 .n }} {{ div 7 2 }} {{ mod -7 2 }}",
         "6 3 24 3 -1"),
        ("{{ addf 1.5 2 }} {{ divf 1 4 }} {{ mulf 2 1.5 }} {{ subf 1 0.5 }}", "3.5 0.25 3 0.5"),
        ("{{ round .pi 2 }} {{ ceil 1.2 }} {{ floor 1.8 }} {{ max 1 3 2 }} {{ min 3 1 }}",
         "3.14 2 1 3 1"),
        ("{{ int .n }} {{ float64 .n }} {{ int \"x\" }}", "12 12 0"),
        ("{{ contains \"ell\" .a }} {{ hasPrefix \"He\" .a }} {{ hasSuffix \"x\" .a }}",
         "true true false"),
        ("{{ if eq .n \"12\" }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if .empty }}1{{ else if .a }}2{{ else }}3{{ end }}", "2"),
        ("{{ if and .a (not .empty) }}both{{ end }}{{ or .empty .n }}", "both12"),
        ("{{ if gt (int .n) 5 }}big{{ end }} {{ lt 1 2 }} {{ ne .a .n }} {{ eq 1 2 1 }}",
         "big true true true"),
        ("{{ with .a }}<{{.}}>{{ end }}{{ with .empty }}x{{ else }}none{{ end }}", "<Hello>none"),
        ("{{ $x := .a }}{{ $x }}{{ $.n }}", "Hello12"),
        ("{{ range $i, $v := (fromJson .json).x.y }}{{ $i }}={{ $v }};{{ end }}", "0=1;1=2.5;2=z;"),
        ("{{ range (fromJson .json).none }}x{{ else }}nothing{{ end }}", "nothing"),
        ("{{ range 5 }}{{ if eq . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}", "012"),
        ("{{ (fromJson .json).x }}", "map[y:[1 2.5 z]]"),
        ("{{ index . \"a\" }} {{ len .a }} {{ slice .a 1 3 }}", "Hello 5 el"),
        ("{{ urlencode .url }} {{ .url | urlencode | urldecode }}", "a+b%26c%3Dd a b&c=d"),
        ("{{ b64enc .a }} {{ .a | b64enc | b64dec }}", "SGVsbG8= Hello"),
        ("{{ duration .dur }} {{ duration_seconds .dur }} {{ bytes .size }}", "90 90 2048"),
        ("{{ alignLeft 7 .a }}|{{ alignRight 7 .a }}|{{ alignRight 2 .a }}", "Hello  |  Hello|lo"),
        ("{{ repeat 3 \"ab\" }} {{ title \"a b\" }} {{ indent 2 \"x\\ny\" }}",
         "ababab A B   x\n  y"),
        ("{{ __line__ }}", "the line"),
        ("{{ __timestamp__ | unixEpoch }} {{ __timestamp__ | unixEpochMillis }}",
         "1769862605 1769862605123"),
        ("{{ __timestamp__ | date \"2006-01-02T15:04:05.000Z07:00\" }}",
         "2026-01-31T12:30:05.123Z"),
        ("{{ date \"Jan _2 3:04PM\" (toDate \"2006-01-02T15:04:05Z07:00\" .when) }}",
         "Jan 31 12:30PM"),
        ("{{ unixToTime \"1769862605\" | date \"15:04\" }}", "12:30"),
        ("{{ toDateInZone \"2006-01-02 15:04\" \"Europe/Berlin\" \"2026-01-31 13:30\" "
         "| unixEpoch }}",
         "1769862600"),
        ("{{ print 1 2 \"x\" }}{{ println 1 }}", "1 2x1\n"),
        ("{{ html \"<a>\" }}", "&lt;a&gt;"),
    ],
)  # fmt: skip
def test_templates(template: str, text: str) -> None:
    assert render(template) == text


@pytest.mark.parametrize(
    "template",
    ["{{ div 1 0 }}", "{{ eq .n 12 }}", "{{ .a.b }}", "{{ index .a 99 }}", "{{ ToUpper 5 }}",
     "{{ repeat 99999999 .a }}", "{{ printf \"%9999999d\" 1 }}", "{{ add }}{{ ToLower }}",
     "{{ range 100000000 }}{{ end }}", "{{ range 900 }}{{ range 900 }}{{ end }}{{ end }}",
     "{{ regexReplaceAll \"(\" .a \"\" }}"],
)  # fmt: skip
def test_what_cannot_be_rendered_is_an_error_of_the_line(template: str) -> None:
    with pytest.raises(TemplateExecError):
        render(template)


@pytest.mark.parametrize(
    "template",
    ["{{", "{{ end }}", "{{ if .a }}", "{{ else }}", "{{ .a | }}", "{{ foo }}", "{{ $x }}",
     "{{ (.a }}", "{{ break }}", "{{ .a .b }}", "{{ define \"x\" }}{{ end }}", "{{ \"x }}",
     "{{ if }}{{ end }}", "{{ " + "(" * 500, "{{ if .a }}" * 500],
)  # fmt: skip
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="template"):
        compile_template(template)


@given(st.text(alphabet='{}.()|"$ a:=-if end range', max_size=40))
def test_any_text_is_a_template_or_an_error_of_ours(text: str) -> None:
    try:
        template = compile_template("{{" + text)
        template.render(LABELS, "x", 0)
    except (ValueError, TemplateExecError):
        return


@given(st.integers(0, 4_000_000_000), st.integers(0, 999_999_999))
def test_times_are_read_back(seconds: int, nanoseconds: int) -> None:
    layout = "2006-01-02T15:04:05.999999999Z07:00"
    moment = GoTime(seconds * 1_000_000_000 + nanoseconds)
    assert parse_go_time(layout, moment.format(layout)).unix_ns == moment.unix_ns
