"""Paths in JSON, as `| json name="a.b[0]"` has them: names, `["any name"]`, and places in lists."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from obsd.model.go_strings import unquote

_NAME: Final = re.compile(r"[^\W\d][\w-]*")
_STEP: Final = re.compile(
    r'\.(?P<name>[^\W\d][\w-]*)|\[\s*(?:(?P<index>\d+)|(?P<quoted>"(?:[^"\\]|\\.)*"))\s*\]'
)

Path = tuple[str | int, ...]


@lru_cache(maxsize=1024)
def parse_json_path(text: str) -> Path:
    """The steps of a path.

    Raises:
        ValueError: it is none.
    """
    steps: list[str | int] = []
    at = 0
    if name := _NAME.match(text):
        steps.append(name.group())
        at = name.end()
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError(f"syntax error: unexpected {text[at]!r} at position {at + 1}")
        if step["name"] is not None:
            if not steps:
                raise ValueError("syntax error: unexpected '.' at position 1")
            steps.append(step["name"])
        elif step["index"] is not None:
            steps.append(int(step["index"]))
        else:
            steps.append(unquote(step["quoted"]))
        at = step.end()
    if not steps:
        raise ValueError("syntax error: unexpected $end")
    return tuple(steps)
