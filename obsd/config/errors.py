"""What is wrong with a configuration, said so that it can be mended."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(Exception):
    """A setting that cannot be used; `source` is where it came from, "obsd.yml, line 3"."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(f"{source}: {message}" if source else message)
        self.source = source
        self.message = message


def unknown_key(source: str, key: str, known: Iterable[str]) -> ConfigError:
    """The error for a key that does not exist, which names the nearest one that does."""
    return ConfigError(source, f"unknown key {key!r}{nearest_hint(key, known)}")


def nearest_hint(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or the list of what there is when nothing is near."""
    choices = sorted(known)
    folded = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), list(folded), n=1, cutoff=0.5)
    if near:
        return f"; did you mean {folded[near[0]]!r}?"
    return f"; known: {', '.join(choices)}" if choices else ""
