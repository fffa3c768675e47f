"""Print the requirements of one group of pyproject.toml, one a line, for `pip install -r`.

`make` installs dependencies apart from obsd itself, so that a change of the Rust code does not
resolve them again.
"""

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def read_requirements(group: str) -> list[str]:
    """The requirements of `build`, of `runtime`, or of an optional group such as `test`."""
    document = tomllib.loads(PYPROJECT.read_text())
    project = document["project"]
    groups: dict[str, list[str]] = {
        "build": document["build-system"]["requires"],
        "runtime": project["dependencies"],
        **project["optional-dependencies"],
    }
    return groups[group]


if __name__ == "__main__":
    for group in sys.argv[1:]:
        print("\n".join(read_requirements(group)))  # noqa: T201 - the output is the point.
