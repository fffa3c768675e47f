"""User regular expressions: RE2, so that no expression can take more than linear time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2  # type: ignore[import-untyped]

_CACHED: Final = 1024
_REFERENCE: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


class InvalidRegexError(ValueError):
    """An expression that RE2 does not take."""


@dataclass(frozen=True, slots=True)
class AnchoredRegex:
    """An expression that has to match a whole string; `.` matches a newline too."""

    _pattern: Any  # google-re2 has no types.

    def matches(self, text: str) -> bool:
        return self._pattern.fullmatch(text) is not None

    def expander(self, template: str) -> Callable[[str], str | None]:
        """A function from a string to `template` with its groups, or to None without a match.

        `$1`, `${1}`, `$name` and `${name}` stand for groups, `$$` for a dollar; a group that does
        not exist or took no part is empty.
        """
        names: dict[str, int] = self._pattern.groupindex

        def expand(text: str) -> str | None:
            found = self._pattern.fullmatch(text)
            if found is None:
                return None
            groups: tuple[str | None, ...] = (found.group(), *found.groups())

            def group(reference: re.Match[str]) -> str:
                name = reference.group(1) or reference.group(2)
                if name is None:
                    return "$"
                index = int(name) if name.isdigit() else names.get(name, len(groups))
                return (groups[index] or "") if index < len(groups) else ""

            return _REFERENCE.sub(group, template)

        return expand


@lru_cache(maxsize=_CACHED)
def compile_anchored(expression: str) -> AnchoredRegex:
    """Compile, once.

    Raises:
        InvalidRegexError: why RE2 does not take it.
    """
    return AnchoredRegex(_compile(f"(?:{expression})", expression, dot_newline=True))


@lru_cache(maxsize=_CACHED)
def compile_unanchored(expression: str) -> Any:  # noqa: ANN401 - google-re2 has no types
    """A pattern of google-re2, to be found anywhere; `.` is no newline. Compiled once.

    Raises:
        InvalidRegexError: why RE2 does not take it.
    """
    return _compile(expression, expression, dot_newline=False)


def _compile(expression: str, shown: str, *, dot_newline: bool) -> Any:  # noqa: ANN401
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = dot_newline
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        detail = error.args[0] if error.args else error
        text = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        reason = text.partition(": ")[0]
        raise InvalidRegexError(f"error parsing regexp: {reason}: `{shown}`") from None
