"""Names and labels of OTLP metrics: a table of cases, and a slow twin."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from obsd import _native
from tests.ingest.otlp_points import export, gauge, number
from tests.oracles import otlp_names
from tests.wire.otlp_conversion import converted

DEFAULT = "UnderscoreEscapingWithSuffixes"
STRATEGIES = (
    DEFAULT,
    "UnderscoreEscapingWithoutSuffixes",
    "NoUTF8EscapingWithSuffixes",
    "NoTranslation",
)
SHAPES = ("gauge", "counter", "other")

words = st.sampled_from(
    ["http", "total", "seconds", "bytes", "ratio", "per", "second", "2xx", "ä", ":", "By", "1"]
)
separators = st.sampled_from([".", "_", "__", "-", " ", "/", "", "é"])
names = st.one_of(
    st.text(max_size=12),
    st.lists(st.tuples(words, separators), max_size=5).map(
        lambda parts: "".join(word + separator for word, separator in parts)
    ),
)
units = st.one_of(
    st.sampled_from([*otlp_names.UNITS, "{request}", "By/s", "m/s", "{x}/min", "foo bar", "1/mo"]),
    st.text(alphabet="sBym1/{}% ä", max_size=6),
)


@pytest.mark.parametrize(
    ("name", "unit", "shape", "expected"),
    [
        ("http.server.request.duration", "s", "other", "http_server_request_duration_seconds"),
        ("system.network.io", "By", "counter", "system_network_io_bytes_total"),
        ("io.total.bytes", "By", "counter", "io_bytes_total"),
        ("requests", "{request}", "counter", "requests_total"),
        ("requests.total", "1", "counter", "requests_total"),
        ("cpu.utilization", "1", "gauge", "cpu_utilization_ratio"),
        ("cpu.utilization", "1", "other", "cpu_utilization"),
        ("speed", "m/s", "gauge", "speed_meters_per_second"),
        ("hits", "{hit}/s", "gauge", "hits_per_second"),
        ("rate", "By/w", "gauge", "rate_bytes_per_week"),
        ("temperature", "Cel", "gauge", "temperature_celsius"),
        ("cache", "%", "gauge", "cache_percent"),
        ("2xx", "", "counter", "_2xx_total"),
        ("recorded:rule", "", "gauge", "recorded:rule"),
        ("__odd..name--", "", "gauge", "odd_name"),
        ("x", "foo.bar/baz qux", "gauge", "x_foo_bar_per_baz_qux"),
        ("日本", "s", "gauge", ""),
    ],
)
def test_names_by_default(name: str, unit: str, shape: str, expected: str) -> None:
    assert _native.otlp_metric_name(name, unit, shape, DEFAULT) == expected


@pytest.mark.parametrize(
    ("strategy", "name", "label"),
    [
        (DEFAULT, "http_size_bytes_total", "http_method"),
        ("UnderscoreEscapingWithoutSuffixes", "http_size", "http_method"),
        ("NoUTF8EscapingWithSuffixes", "http.size_bytes_total", "http.method"),
        ("NoTranslation", "http.size", "http.method"),
    ],
)
def test_strategies(strategy: str, name: str, label: str) -> None:
    assert _native.otlp_metric_name("http.size", "By", "counter", strategy) == name
    assert _native.otlp_label_name("http.method", strategy) == label


@given(name=names, unit=units, shape=st.sampled_from(SHAPES), strategy=st.sampled_from(STRATEGIES))
@example(name="a_total", unit="", shape="counter", strategy="NoUTF8EscapingWithSuffixes")
@example(name="total", unit="s", shape="counter", strategy=DEFAULT)
def test_names_are_those_of_the_twin(name: str, unit: str, shape: str, strategy: str) -> None:
    found = _native.otlp_metric_name(name, unit, shape, strategy)
    assert found == otlp_names.metric_name(name, unit, shape, strategy)


@given(
    attributes=st.dictionaries(
        st.one_of(
            st.text(max_size=6), st.sampled_from(["a.b", "a_b", "a-b", "_a", "1", "__name__"])
        ),
        st.text(max_size=4),
        max_size=6,
    ),
    strategy=st.sampled_from(STRATEGIES),
)
def test_labels_are_those_of_the_twin(attributes: dict[str, str], strategy: str) -> None:
    # Labels of the resource override those of a point; here there are none.
    body = export(gauge("g", number(1, 1_000_000, attributes)), resource={})
    (labels,) = converted(body, strategy=strategy).samples
    assert dict(labels) == {"__name__": "g"} | otlp_names.labels(attributes, strategy)


def test_an_unknown_strategy_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown translation strategy"):
        _native.otlp_label_name("a", "Latin1")
