"""Scraped text to remote-write requests: what the text says, and text that says nothing."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd import _native
from tests.wire.protobuf_fields import WriteRequest, decode_write_request

NOW_MS = 1_700_000_000_000


def convert(
    text: str | bytes,
    extra: list[tuple[str, str]] | None = None,
    *,
    honor_timestamps: bool = True,
) -> tuple[WriteRequest, list[str]]:
    encoded = text.encode() if isinstance(text, str) else text
    body, samples, errors = _native.exposition_to_write_request(
        encoded, NOW_MS, extra or [], honor_timestamps
    )
    request = decode_write_request(body)
    assert sum(len(series.samples) for series in request.series) == samples
    return request, errors


def test_a_scrape_becomes_series_and_metadata() -> None:
    request, errors = convert(
        "# HELP http_requests_total Requests,\\nby \\\\code.\n"
        "# TYPE http_requests_total counter\n"
        'http_requests_total{method="post",code="200"} 1027 1395066363000\n'
        'http_requests_total{code="400",method="post",} 3\n'
        "# TYPE temperature gauge\n"
        "temperature -Inf\n",
        [("job", "api"), ("instance", "host:80")],
    )
    assert errors == []
    first, second, third = request.series
    assert first.labels == [
        ("__name__", "http_requests_total"),
        ("code", "200"),
        ("instance", "host:80"),
        ("job", "api"),
        ("method", "post"),
    ]
    assert first.samples == [(1395066363000, 1027.0)]
    assert second.samples == [(NOW_MS, 3.0)]
    assert third.samples == [(NOW_MS, -math.inf)]
    assert request.metadata == [
        (1, "http_requests_total", "Requests,\nby \\code.", ""),
        (2, "temperature", "", ""),
    ]


def test_open_metrics_has_units_seconds_and_exemplars() -> None:
    request, errors = convert(
        "# TYPE latency_seconds histogram\n"
        "# UNIT latency_seconds seconds\n"
        '# HELP latency_seconds A \\"quoted\\" help.\n'
        'latency_seconds_bucket{le="1"} 5 1700000000.5 # {trace_id="abc"} 0.25 1700000000.125\n'
        'latency_seconds_bucket{le="+Inf"} 6 # {} 2\n'
        "# EOF\n"
    )
    assert errors == []
    one, infinite = request.series
    assert one.labels == [("__name__", "latency_seconds_bucket"), ("le", "1.0")]
    assert one.samples == [(1700000000500, 5.0)]
    assert one.exemplars == [([("trace_id", "abc")], 0.25, 1700000000125)]
    assert infinite.exemplars == [([], 2.0, NOW_MS)]
    assert request.metadata == [(3, "latency_seconds", 'A "quoted" help.', "seconds")]


def test_lines_that_do_not_parse_are_reported_and_the_rest_is_kept() -> None:
    request, errors = convert(b'a 1\nb{x="\xff"} 1\nc 1_000\nd 4\n')
    assert [series.labels[0][1] for series in request.series] == ["a", "d"]
    assert errors == [
        "line 2: invalid UTF-8",
        'line 3: expected a value, found "1_000"',
    ]


def test_timestamps_are_only_taken_where_they_are_honoured() -> None:
    request, errors = convert("a 1 5\na 2 6\n", honor_timestamps=False)
    assert [series.samples for series in request.series] == [[(NOW_MS, 1.0)]]
    assert errors == ["line 2: duplicate sample"]


def test_nan_text_is_not_a_staleness_marker() -> None:
    request, _ = convert("a NaN\n")
    ((_, value),) = request.series[0].samples
    assert struct.pack(">d", value) == bytes.fromhex("7ff8000000000001")


def test_what_follows_the_end_is_reported() -> None:
    request, errors = convert("# EOF\na 1\n# EOF\n")
    assert request.series == []
    assert errors == ["line 2: data after # EOF"]


@pytest.mark.parametrize("name", ["my.metric", 'quo"te', "back\\slash", "new\nline", "ünicode"])
def test_quoted_names_are_any_text(name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    request, errors = convert(f'# TYPE "{escaped}" gauge\n{{"{escaped}","{escaped}"="1"}} 1\n')
    assert errors == []
    assert request.series[0].labels == sorted([("__name__", name), (name, "1")])
    assert request.metadata == [(2, name, "", "")]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]*", fullmatch=True).filter(lambda n: n != "__name__")


@given(
    labels=st.dictionaries(NAMES, TEXT, max_size=4),
    value=st.floats(allow_nan=False),
    timestamp=st.none() | st.integers(-(10**15), 10**15),
)
def test_a_written_sample_reads_back(
    labels: dict[str, str], value: float, timestamp: int | None
) -> None:
    escape = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
    pairs = ",".join(f'{name}="{text.translate(escape)}"' for name, text in labels.items())
    suffix = "" if timestamp is None else f" {timestamp}"
    request, errors = convert(f"m{{{pairs}}} {value!r}{suffix}\n")
    assert errors == []
    (series,) = request.series
    kept = {name: text for name, text in labels.items() if text}
    assert dict(series.labels) == {"__name__": "m", **kept}
    assert series.samples == [(NOW_MS if timestamp is None else timestamp, value)]


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_request_or_errors(text: bytes) -> None:
    request, errors = convert(text)
    lines = [line for line in text.split(b"\n") if line.strip()]
    assert len(request.series) + len(errors) <= len(lines)
