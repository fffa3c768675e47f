"""Matchers: the conditions by which a selector chooses series."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class MatchOp(Enum):
    """How a matcher compares; the value is its PromQL operator."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition of a selector, `job=~"api.*"`; a label that a series lacks counts as "".

    Regular expressions are RE2 syntax, anchored at both ends, and `.` matches a newline too.
    """

    op: MatchOp
    name: str
    value: str
