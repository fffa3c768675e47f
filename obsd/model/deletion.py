"""A deletion of log records or traces by query, from its request until no file has them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deletion:
    """One deletion. From its request on, no search shows what it deletes.

    Attributes:
        id: names it among those of its project.
        created_ms: when it was asked for, Unix milliseconds.
        start_ns, end_ns: only what is from `start_ns` to before `end_ns`.
        through_row: only rows numbered up to this; later ones were not there yet.
        matched: how many rows it deletes.
        done_ms: since when no file of the engine holds any of them; None while some may.
        files: how many files were written anew or removed.
        failure: why the last attempt to write files anew did not succeed; "" without one.
    """

    id: str
    created_ms: int
    start_ns: int
    end_ns: int
    through_row: int
    matched: int
    done_ms: int | None = None
    files: int = 0
    failure: str = ""
