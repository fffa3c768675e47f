import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.model.errors import BadInputError
from obsd.services.log_metrics import counters as module
from obsd.services.log_metrics.counters import CounterFile, RuleCounters, parse_number
from obsd.services.log_metrics.rules import LogMetricRule, check_rule

COUNT = LogMetricRule("hits_total", by=("service", "http.route"))
SUM = LogMetricRule("bytes_total", by=("service",), kind="sum", field="size")
HISTOGRAM = LogMetricRule("seconds", kind="histogram", field="took", buckets=(0.5, 1.0, 2.0))


def values(counters: RuleCounters) -> dict[tuple[object, ...], float]:
    return {(name, *labels): value for name, labels, value, _ in counters.samples()}


def test_records_are_counted_by_the_values_of_fields() -> None:
    counters = RuleCounters(COUNT, -1)
    counters.count([(("api", "/x"), 3), (("api", ""), 1)])
    counters.count([(("api", "/x"), 2), (("", ""), 4)])
    assert values(counters) == {
        ("hits_total", ("service", "api"), ("http_route", "/x")): 5.0,
        ("hits_total", ("service", "api")): 1.0,
        ("hits_total",): 4.0,
    }


def test_numbers_are_summed_and_other_texts_left_out() -> None:
    counters = RuleCounters(SUM, -1)
    counters.count(
        [(("api", "10"), 3), (("api", "2.5"), 2), (("api", "many"), 7), (("api", "nan"), 1)]
    )
    assert values(counters) == {("bytes_total", ("service", "api")): 35.0}


def test_a_histogram_has_cumulative_buckets() -> None:
    counters = RuleCounters(HISTOGRAM, -1)
    counters.count([(("0.5",), 1), (("0.6",), 2), (("2",), 3), (("9",), 4)])
    assert values(counters) == {
        ("seconds_bucket", ("le", "0.5")): 1.0,
        ("seconds_bucket", ("le", "1.0")): 3.0,
        ("seconds_bucket", ("le", "2.0")): 6.0,
        ("seconds_bucket", ("le", "+Inf")): 10.0,
        ("seconds_sum",): 0.5 + 1.2 + 6.0 + 36.0,
        ("seconds_count",): 10.0,
    }


numbers = st.floats(-10, 10) | st.sampled_from([0.5, 1.0, 2.0])


@given(st.lists(st.tuples(numbers, st.integers(1, 5)), max_size=30))
def test_buckets_are_those_of_prometheus(groups: list[tuple[float, int]]) -> None:
    counters = RuleCounters(HISTOGRAM, -1)
    counters.count([((repr(number),), count) for number, count in groups])
    found = values(counters)
    for bound in (0.5, 1.0, 2.0, math.inf):
        text = "+Inf" if math.isinf(bound) else str(bound)
        expected = sum(count for number, count in groups if number <= bound)
        assert found.get(("seconds_bucket", ("le", text)), 0.0) == expected


def test_label_sets_are_bounded_and_nothing_is_left_uncounted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_SETS", 3)
    counters = RuleCounters(COUNT, -1)
    counters.count([((f"s{number}", ""), 1) for number in range(10)])
    found = values(counters)
    assert found.pop(("hits_total", ("overflow", "true"))) == 7.0
    assert set(found.values()) == {1.0}
    assert len(found) == 3


def test_what_was_counted_is_there_after_a_restart(tmp_path: Path) -> None:
    file = CounterFile(tmp_path / "counters.json")
    counters = RuleCounters(HISTOGRAM, -1)
    counters.count([(("0.7",), 2)])
    counters.row = 41
    file.save([counters])
    [loaded] = file.load()
    assert (loaded.rule, loaded.row, loaded.born) == (HISTOGRAM, 41, set())
    loaded.count([(("0.7",), 1)])
    assert values(loaded)["seconds_count",] == 3.0


@given(st.binary(max_size=200))
def test_a_damaged_file_begins_anew(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("counters") / "c.json"
    path.write_bytes(data)
    assert CounterFile(path).load() == []


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-Infinity", "1e999", "1,5", "٣x"])
def test_texts_that_are_no_numbers(text: str) -> None:
    assert parse_number(text) is None


def test_names_of_sets_do_not_grow_without_bound() -> None:
    counters = RuleCounters(COUNT, -1)
    counters.count([(("x" * 100_000, ""), 1)])
    [labels] = counters.sets
    assert Counter(len(value) for _, value in labels) == {1024: 1}


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (LogMetricRule("9lives"), "no metric name"),
        (LogMetricRule("x", by=("a.b", "a_b")), "must differ"),
        (LogMetricRule("x", by=("le",)), "meaning of their own"),
        (LogMetricRule("x", by=tuple("abcdef")), "the limit is 5"),
        (LogMetricRule("x", field="size"), "has none"),
        (LogMetricRule("x", kind="sum"), "needs the field"),
        (LogMetricRule("x", buckets=(1.0,)), "only a histogram"),
        (LogMetricRule("x", kind="histogram", field="f", buckets=(2.0, 1.0)), "ascending"),
        (LogMetricRule("x", kind="histogram", field="f", buckets=(1.0, math.inf)), "finite"),
    ],
)
def test_rules_that_cannot_work_are_refused(rule: LogMetricRule, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        check_rule(rule, lambda query: query)
