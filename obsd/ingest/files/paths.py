"""Which files to follow: paths and globs, each with the service whose logs they are."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SERVICE: Final = re.compile(r"([\w.@-]{1,100})=(.+)")
# What a rotated file has after its name: numbers, dates and the marks of compression.
_ROTATED: Final = re.compile(r"(?:[.-](?:\d[\dT_.:-]*|gz|old|log|txt|out|err))+$", re.IGNORECASE)
_GENERAL: Final = frozenset({"", "log", "logs", "var", "tmp", "data", "/"})
_OF_KIND: Final = frozenset({"access", "error", "errors", "stdout", "stderr", "output", "current"})


@dataclass(frozen=True, slots=True)
class PathSpec:
    """One entry of `files.paths`.

    Attributes:
        service: "" to take it from the file's name.
        pattern: an absolute path or a glob; `**` stands for any directories.
    """

    service: str
    pattern: str

    def service_of(self, path: str) -> str:
        """The service whose logs a file has."""
        return self.service or service_name(path)


def parse_spec(text: str) -> PathSpec:
    """`/var/log/shop/*.log`, or `shop=/srv/shop/log/**/*.log`.

    Raises:
        ValueError: it has no absolute path.
    """
    match = _SERVICE.fullmatch(text.strip())
    service, pattern = match.groups() if match else ("", text.strip())
    pattern = str(Path(pattern).expanduser())
    if not pattern.startswith("/"):
        raise ValueError(
            f"expected an absolute path or glob, as in shop=/srv/*.log; found {text!r}"
        )
    return PathSpec(service, pattern)


def service_name(path: str) -> str:
    """`nginx` for /var/log/nginx/access.log, `shop-api` for /srv/shop-api.log.2."""
    file = Path(path)
    stem = _ROTATED.sub("", file.name) or file.name
    parent = file.parent.name
    if stem.lower() in _OF_KIND and parent.lower() not in _GENERAL:
        return parent
    return stem


def iter_files(
    specs: Iterable[PathSpec], excluded: Iterable[str]
) -> Iterator[tuple[str, PathSpec]]:
    """The files that are there now, each once, with the first entry that names it. Blocks."""
    patterns = list(excluded)
    seen: set[str] = set()
    for spec in specs:
        for path in sorted(glob.glob(spec.pattern, recursive=True)):  # noqa: PTH207 - texts, many
            if path not in seen and not any(fnmatch.fnmatchcase(path, p) for p in patterns):
                seen.add(path)
                yield path, spec
