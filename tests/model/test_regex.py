"""User expressions: anchored, linear, RE2."""

from __future__ import annotations

import time

import pytest

from obsd.model.regex import InvalidRegexError, compile_anchored


@pytest.mark.parametrize(
    ("expression", "text", "hit"),
    [
        ("a|b", "a", True), ("a|b", "ab", False), ("", "", True), ("", "a", False),
        ("a.c", "a\nc", True), (".*", "two\nlines", True), ("(?i)ABC", "abc", True),
        ("é+", "éé", True), (r"\d+", "12", True), (r"\d+", "١٢", False), ("^a$", "a", True),
    ],
)  # fmt: skip
def test_matches_the_whole_value(expression: str, text: str, hit: bool) -> None:
    assert compile_anchored(expression).matches(text) is hit


@pytest.mark.parametrize("expression", ["(", "a(?=b)", r"(a)\1", "*", "[z-a]"])
def test_what_is_no_re2_is_refused(expression: str) -> None:
    with pytest.raises(InvalidRegexError, match="error parsing regexp"):
        compile_anchored(expression)


def test_no_expression_backtracks() -> None:
    began = time.monotonic()
    assert not compile_anchored("(a*)*(a*)*b").matches("a" * 5000)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$1-$2", "ab-c"), ("${1}x", "abx"), ("$1x", ""), ("$name", "c"), ("$$1", "$1"),
        ("$0", "abc"), ("$9", ""), ("$", "$"), ("é$1", "éab"), ("\\1", "\\1"),
    ],
)  # fmt: skip
def test_templates(template: str, expected: str) -> None:
    expand = compile_anchored("(a.)(?P<name>c)(d)?").expander(template)
    assert expand("abc") == expected
    assert expand("xyz") is None
