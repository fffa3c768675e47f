"""Text of strangers, and times, for the terminal."""

from __future__ import annotations

from datetime import datetime


def printable(text: str) -> str:
    """Without what could drive the terminal: a log is no place to trust."""
    return "".join(
        c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def one_line(text: str) -> str:
    """The same on one line."""
    return printable(text).replace("\n", " ").replace("\t", " ")


def local_time(timestamp: str) -> str:
    """In this machine's zone, to the millisecond."""
    whole = datetime.fromisoformat(timestamp[:19] + "+00:00").astimezone()
    return f"{whole:%Y-%m-%d %H:%M:%S}.{timestamp[20:23]}"
