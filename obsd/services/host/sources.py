"""Where the host's numbers come from: files of /proc and /sys, and parsers of their text."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from obsd.model.errors import ObsdError

# The kernel makes most of these files in one page; the largest, /proc/stat with thousands of
# interrupts, stays far below this. A file that goes on for ever must not fill the memory.
MAX_FILE_BYTES: Final = 4 << 20
_CHUNK_BYTES: Final = 64 << 10

P = ParamSpec("P")
R = TypeVar("R")


class MalformedSourceError(ObsdError):
    """A kernel file that does not read as this kernel interface should."""

    def __init__(self, parser: str, detail: str) -> None:
        super().__init__(f"{parser}: {detail}")
        self.parser = parser


class AbsentSourceError(ObsdError):
    """A kernel interface that this machine lacks; nothing is wrong with the machine."""


@dataclass(frozen=True, slots=True)
class HostPaths:
    """Where /proc, /sys and / of the observed host are mounted."""

    procfs: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    rootfs: Path = Path("/")

    def proc(self, name: str) -> str:
        return f"{self.procfs}/{name}"

    def sys(self, name: str) -> str:
        return f"{self.sysfs}/{name}"

    def root(self, name: str) -> str:
        return f"{str(self.rootfs).rstrip('/')}/{name}"


def read_text(path: str) -> str:
    """A whole small file; bytes that are no UTF-8 become replacement characters.

    Raises:
        OSError: it is missing, forbidden, or the driver behind it refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        chunks = [os.read(descriptor, _CHUNK_BYTES)]
        size = len(chunks[0])
        # A short read is no end of file for /proc (it stops at line ends), only an empty one is.
        while chunks[-1] and size < MAX_FILE_BYTES:
            chunks.append(os.read(descriptor, _CHUNK_BYTES))
            size += len(chunks[-1])
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode("utf-8", "replace")


def read_optional(path: str) -> str | None:
    """A whole small file without its outer white space; None where it cannot be read."""
    try:
        return read_text(path).strip()
    except OSError:
        return None


def read_number(path: str) -> int | None:
    """The integer that a file of /sys holds; None where there is none to be read."""
    text = read_optional(path)
    if text is None:
        return None
    try:
        return int(text, 0) if text.startswith("0x") else int(text)
    except ValueError:
        return None


def list_directory(path: str) -> list[str]:
    """Sorted entries; empty where the directory is missing or forbidden."""
    try:
        return sorted(entry.name for entry in os.scandir(path))
    except OSError:
        return []


def parser(parse: Callable[P, R]) -> Callable[P, R]:
    """Mark a parser of kernel text: text that it cannot read raises MalformedSourceError."""

    @functools.wraps(parse)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return parse(*args, **kwargs)
        except (ValueError, LookupError, ArithmeticError, struct.error) as error:
            raise MalformedSourceError(parse.__name__, str(error)) from error

    return guarded
