"""Log-to-metric rules: which records are counted, by what, under which metric."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from obsd.model.errors import BadInputError
from obsd.model.log_labels import label_name

Kind = Literal["count", "sum", "histogram"]

MAX_RULES: Final = 100
MAX_BY: Final = 5
MAX_BUCKETS: Final = 50
MAX_SETS: Final = 2_000
"""Label sets of one rule; what comes beyond is counted together, with `overflow="true"`."""

DEFAULT_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0),
)
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}", re.ASCII)


class LogMetricRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule.

    Attributes:
        name: of the metric; a histogram's has `_bucket`, `_sum` and `_count` behind it.
        query: in the search language; "" for every record.
        by: fields whose values become labels.
        kind: how many records there were, or the sum or distribution of a field's numbers.
        field: the field with the numbers; records without one do not count then.
        buckets: upper bounds of a histogram, ascending.
        help: what the metric is, for people.
    """

    name: str
    query: str = ""
    by: tuple[str, ...] = ()
    kind: Kind = "count"
    field: str = ""
    buckets: tuple[float, ...] = ()
    help: str = ""

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label_name(name) for name in self.by)

    @property
    def bounds(self) -> tuple[float, ...]:
        return self.buckets or DEFAULT_BUCKETS


BUILT_IN: Final = LogMetricRule(
    name="log_records_total",
    by=("service", "level"),
    help="Log records that arrived, by service and level.",
)
"""The rule that every project has."""


def check_rule(rule: LogMetricRule, check_query: Callable[[str], object]) -> None:
    """Refuse a rule that cannot work; `check_query` raises for a text that is no query.

    Raises:
        BadInputError: it names the field and what it should be.
    """
    if not _NAME.fullmatch(rule.name):
        raise BadInputError(
            f'"name": {rule.name[:80]!r} is no metric name: expected letters, digits, _ and :'
        )
    if len(rule.by) > MAX_BY:
        raise BadInputError(f'"by": {len(rule.by)} fields; the limit is {MAX_BY}')
    labels = rule.label_names
    if len(set(labels)) < len(labels) or not all(labels):
        raise BadInputError(f'"by": the labels {", ".join(labels)} must differ and have names')
    if {"le", "overflow"} & set(labels):
        raise BadInputError('"by": the labels le and overflow have a meaning of their own')
    if rule.kind == "count" and rule.field:
        raise BadInputError('"field": a rule that counts records has none')
    if rule.kind != "count" and not rule.field:
        raise BadInputError(f'"field": a rule of kind {rule.kind} needs the field with the numbers')
    if rule.buckets and rule.kind != "histogram":
        raise BadInputError('"buckets": only a histogram has them')
    if len(rule.buckets) > MAX_BUCKETS:
        raise BadInputError(f'"buckets": {len(rule.buckets)}; the limit is {MAX_BUCKETS}')
    if list(rule.buckets) != sorted(set(rule.buckets)) or not all(map(math.isfinite, rule.buckets)):
        raise BadInputError('"buckets": expected ascending finite numbers')
    check_query(rule.query)
