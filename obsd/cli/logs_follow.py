"""`obsd logs --follow`: what arrives, until either side ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import click

from obsd.cli.client import ApiError, Client, ClientError


def follow(client: Client, path: str, query: str, show: Callable[[dict[str, Any]], str]) -> None:
    """Print what arrives and matches; return when the user has had enough.

    Raises:
        ClientError: the server cannot be reached, or ends it.
        ApiError: the server refuses.
    """
    with _ended_by_interrupt():
        for name, data in client.stream(path, {"follow": True, "query": query}):
            match name:
                case "log":
                    click.echo(show(data))
                case "lost":
                    click.echo(f"obsd: {lost_line(data)}", err=True)
                case "error":
                    raise ApiError(503, data["error"]["message"])
                case "end":
                    raise ClientError(data["reason"])
    raise ClientError("the server has closed the stream")


@contextlib.contextmanager
def _ended_by_interrupt() -> Iterator[None]:
    """Ctrl-C ends the program, with 0, wherever it is; every line is written by then.

    As an exception it may come where Python can only report it, as in the closing of an object,
    and then nothing would end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def lost_line(data: dict[str, int]) -> str:
    """What is missing here, in words."""
    parts = []
    if data["lost"]:
        parts.append(f"{data['lost']} records are left out here, more than could be shown in time")
    if data["unsearched"]:
        parts.append(f"{data['unsearched']} records came too fast to be searched")
    return "; ".join(parts)
