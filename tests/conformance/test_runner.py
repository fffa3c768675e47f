"""The runner itself: it must see every kind of wrong answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.notation import STALE, HistogramText, Load, read_sections
from tests.conformance.runner import InProcess, run_file

DATA = 'load 1m\n  m{a="1"} 1 2 3\n  m{a="2"} 5 _ NaN\n\n'


@pytest.mark.parametrize(
    "case",
    [
        'eval instant at 0 m\n  m{a="1"} 1\n',  # A series too many.
        'eval instant at 0 m{a="1"}\n  m{a="1"} 1\n  m{a="3"} 1\n',  # A series missed.
        'eval instant at 0 m{a="1"}\n  m{a="1"} 1.00001\n',
        'eval instant at 0 m{a="1"}\n  {a="1"} 1\n',
        'eval instant at 2m m{a="2"}\n  m{a="2"} 0\n',
        "eval instant at 0 1 + 1\n  3\n",
        'eval instant at 0 "a"\n  expect string "b"\n',
        "eval instant at 0 m +\n",
        'eval instant at 0 m{a="1"}\n  expect fail\n',
        "eval instant at 0 m +\n  expect fail msg: another reason\n",
        'eval instant at 0 sort_desc(m)\n  expect ordered\n  m{a="1"} 1\n  m{a="2"} 5\n',
        "eval instant at 0 quantile(2, m)\n  expect no_warn\n  {} Inf\n",
        "eval instant at 0 quantile(2, m)\n  expect warn msg: PromQL warning: x\n  {} Inf\n",
        'eval instant at 0 m{a="1"}\n  expect info\n  m{a="1"} 1\n',
        'eval range from 0 to 2m step 1m m{a="1"}\n  m{a="1"} 1 2\n',
        'eval range from 0 to 2m step 1m m{a="1"}\n  m{a="1"} 1 _ 3\n',
        'eval range from 0 to 2m step 1m m{a="1"}\n  m{a="1"} 1 2 4\n',
        'eval instant at 1m m{a="1"}[1m]\n  expect range vector from 1m to 1m step 1m\n  m{a="1"} 3\n',  # noqa: E501
    ],
)
def test_a_wrong_answer_is_a_problem(case: str, tmp_path: Path) -> None:
    script = tmp_path / "wrong.test"
    script.write_text(DATA + case)
    (outcome,) = run_file(script, InProcess())
    assert outcome.problem is not None
    assert outcome.excuse is None


def test_sequences_expand(tmp_path: Path) -> None:
    script = tmp_path / "sequences.test"
    script.write_text(
        "load 30s\n"
        '  {"a.b", c="d e"} 1+2x3 -5-1.5x1 5x2 _ _x2 stale 1e3 Inf NaN 0x1\n'
        "  h {{schema:0 count:4 buckets:[1 2 1]}}x1 {{count:1}}+{{count:2}}x1\n"
    )
    (section,) = read_sections(script)
    (load,) = section.commands
    assert isinstance(load, Load)
    assert load.interval_ms == 30_000
    floats, histograms = load.series
    assert floats.labels.as_dict() == {"__name__": "a.b", "c": "d e"}
    expected = [1, 3, 5, 7, -5, -6.5, 5, 5, 5, None, None, None, STALE, 1000, float("inf")]
    assert repr(list(floats.points)) == repr(
        [v if v is None else float(v) for v in expected] + [float("nan"), 0.0, 0.0]
    )
    assert [p.text for p in histograms.points if isinstance(p, HistogramText)] == [
        "schema:0 count:4 buckets:[1 2 1]",
        "schema:0 count:4 buckets:[1 2 1]",
        "count:1",
        "count:1",
    ]
    assert histograms.has_histograms


@pytest.mark.parametrize("text", ["evil instant at 0 m\n", "load 1m\n  m abc\n", "eval at 0 m\n"])
def test_what_is_no_notation_is_refused(text: str, tmp_path: Path) -> None:
    script = tmp_path / "bad.test"
    script.write_text(text)
    with pytest.raises(ValueError, match=r"line|no samples"):
        read_sections(script)
