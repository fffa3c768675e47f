"""`python -m tests.conformance.report DIR`: how many cases of each script pass, and why not."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from tests.conformance.runner import InProcess, run_file


def main(directory: Path) -> None:
    for path in sorted(directory.glob("*.test")):
        outcomes = list(run_file(path, InProcess()))
        passed = sum(o.problem is None for o in outcomes)
        excused = Counter(o.excuse for o in outcomes if o.excuse)
        failed = [o for o in outcomes if o.problem and not o.excuse]
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(excused.items()))
        sys.stdout.write(
            f"{path.name:28} passed {passed:4}  not yet {sum(excused.values()):4}"
            f"  failed {len(failed):3}  {reasons}\n"
        )
        for outcome in failed:
            sys.stdout.write(f"    {outcome}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
