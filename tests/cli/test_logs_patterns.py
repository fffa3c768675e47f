from __future__ import annotations

from obsd.cli.logs_patterns import sparkline, table


def test_sparkline() -> None:
    assert sparkline([0, 1, 7, 14], 4) == "▁▂▅█"
    assert sparkline([1] * 24, 3) == "███"
    assert sparkline([1, 2], 4) == "▅▁█▁"
    assert sparkline([], 2) == "  "
    assert sparkline([0, 0], 2) == "▁▁"


def test_a_line_for_each_pattern() -> None:
    pattern = {
        "count": 1234567,
        "share": 0.5,
        "counts": [1, 2, 3],
        "status": "steady",
        "template": "one <_>\n  two " + "x" * 200,
    }
    heading, line = table([pattern, pattern], 80)[:2]
    assert heading.index("TEMPLATE") == line.index("one <_> two x")
    assert len(line) == 80
    assert line.endswith("…")
    assert line.startswith("1234567  50.0%  ")
    assert table([], 80) == []
