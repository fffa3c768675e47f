"""The steps of a query over time: each is open to the left, and named by its end.

As Tempo has it, a range is widened to whole steps since 1970, and by one step before, so that its
first point is the step that ends with the range's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from obsd.model.errors import BadInputError

MAX_STEPS: Final = 11_000  # As Prometheus has it; a screen has fewer pixels.
_NS_IN_MS: Final = 1_000_000
_NS_IN_S: Final = 1_000_000_000


@dataclass(frozen=True)
class Steps:
    """Steps from `start_ns` on; a span that starts there is before the first one.

    Of an instant query there is one, which has its start, too.
    """

    start_ns: int
    step_ns: int
    count: int
    instant: bool = False

    @classmethod
    def over(cls, start_ns: int, end_ns: int, step_ns: int) -> Steps:
        """The steps of a range.

        Raises:
            BadInputError: there is no time in the range, or too many steps.
        """
        if step_ns <= 0:
            raise BadInputError("step must be greater than 0")
        if end_ns <= start_ns:
            raise BadInputError("end must be greater than start")
        first_ns = start_ns - start_ns % step_ns
        count = -(-(end_ns - first_ns) // step_ns)
        if first_ns > step_ns:
            first_ns, count = first_ns - step_ns, count + 1
        if count > MAX_STEPS:
            raise BadInputError(
                f"{count} steps are more than the {MAX_STEPS} that an answer may have; "
                "ask for a larger step"
            )
        return cls(first_ns, step_ns, count)

    @classmethod
    def once(cls, start_ns: int, end_ns: int) -> Steps:
        """The one step of an instant query.

        Raises:
            BadInputError: there is no time in the range.
        """
        if end_ns <= start_ns:
            raise BadInputError("end must be greater than start")
        return cls(start_ns, end_ns - start_ns, 1, instant=True)

    @property
    def seconds(self) -> float:
        return self.step_ns / _NS_IN_S

    @property
    def first_ns(self) -> int:
        """The earliest start of a span that is counted."""
        return self.start_ns if self.instant else self.start_ns + 1

    @property
    def end_ns(self) -> int:
        """After the latest start of a span that is counted."""
        return self.start_ns + self.count * self.step_ns + 1

    def places(self, starts_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The step of each span; they start in the range."""
        if self.instant:
            return starts_ns * 0
        places: npt.NDArray[np.int64] = (starts_ns - self.first_ns) // self.step_ns
        return places

    def place(self, start_ns: int) -> int:
        """The step of one span."""
        return 0 if self.instant else (start_ns - self.first_ns) // self.step_ns

    @cached_property
    def timestamps_ms(self) -> npt.NDArray[np.int64]:
        """The end of each step."""
        ends = self.start_ns + self.step_ns * np.arange(1, self.count + 1, dtype=np.int64)
        return ends // _NS_IN_MS
