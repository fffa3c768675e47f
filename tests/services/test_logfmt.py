"""Log lines that a logfmt reader takes apart again."""

from __future__ import annotations

import logging
import re

from hypothesis import given
from hypothesis import strategies as st

from obsd.services.logfmt import LogfmtFormatter, quote

_FIELD = re.compile(r'([^ =]+)=("(?:[^"\\]|\\.)*"|[^ "]*)')


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "obsd.test", "levelname": "WARNING", "msg": message})
    vars(made).update(fields)
    return made


def fields_of(line: str) -> dict[str, str]:
    return dict(_FIELD.findall(line))


def test_a_record_is_one_line_of_fields() -> None:
    line = LogfmtFormatter().format(record("it happened", path="/a b", ms=1.5, ok=True, none=None))
    found = fields_of(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("ts"))
    assert found == {
        "level": "warn",
        "logger": "obsd.test",
        "msg": '"it happened"',
        "path": '"/a b"',
        "ms": "1.5",
        "ok": "true",
        "none": "",
    }


def test_an_exception_stays_on_the_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        line = LogfmtFormatter().format(
            record("failed", exc_info=(type(error), error, error.__traceback__))
        )
    assert "\n" not in line
    assert "ValueError" in fields_of(line)["error"]
    assert "Traceback" in fields_of(line)["stack"]


@given(st.text(max_size=50), st.text(max_size=50))
def test_no_text_breaks_the_line(message: str, value: str) -> None:
    line = LogfmtFormatter().format(record(message.replace("%", "%%"), field=value))
    assert len(line.splitlines()) == 1
    assert _FIELD.sub("", line).strip() == ""


@given(st.text())
def test_quoted_values_come_back(text: str) -> None:
    quoted = quote(text)
    if quoted.startswith('"'):
        inner = re.sub(
            r"\\(u[0-9a-f]{4}|.)",
            lambda m: (
                chr(int(m[1][1:], 16))
                if len(m[1]) == 5
                else {"n": "\n", "r": "\r", "t": "\t"}.get(m[1], m[1])
            ),
            quoted[1:-1],
            flags=re.DOTALL,
        )
        assert inner == text
    else:
        assert quoted == text
