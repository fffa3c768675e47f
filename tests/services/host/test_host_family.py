import math
import re

from hypothesis import given
from hypothesis import strategies as st

from obsd.services.host.family import counter, gauge, render, untyped

SAMPLE = re.compile(r'(\w+)(?:\{(\w+)="((?:[^"\\\n]|\\.)*)"\})? (\S+)')


def unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


@given(value=st.text(), number=st.floats())
def test_a_rendered_sample_reads_back(value: str, number: float) -> None:
    family = gauge("size", "How large.")
    family.add(number, device=value)
    *_, line, end = render([family]).decode().split("\n")
    found = SAMPLE.fullmatch(line)
    assert found is not None
    assert end == ""
    assert unescape(found[3]) == value.encode("utf-8", "replace").decode()
    read = float(found[4])
    assert read == number or (math.isnan(read) and math.isnan(number))


def test_a_family_is_help_type_and_samples() -> None:
    assert render([counter("a_total", "One \\ two\nthree.", 3)]) == (
        b"# HELP a_total One \\\\ two\\nthree.\n# TYPE a_total counter\na_total 3\n"
    )


def test_a_family_without_samples_is_left_out() -> None:
    assert render([counter("a_total", "A."), untyped("b", "B.", True)]) == (
        b"# HELP b B.\n# TYPE b untyped\nb 1\n"
    )


def test_infinity_and_nan_have_prometheus_words() -> None:
    text = render([gauge("a", "A.", math.inf), gauge("b", "B.", -math.inf)]).decode()
    assert "a +Inf\n" in text
    assert "b -Inf\n" in text
    assert render([gauge("c", "C.", math.nan)]).endswith(b"c NaN\n")
