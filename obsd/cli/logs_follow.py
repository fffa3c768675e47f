"""`obsd logs --follow`: what arrives, until either side ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from obsd.cli.client import ApiError, Client, ClientError


def follow(client: Client, path: str, query: str, show: Callable[[dict[str, Any]], str]) -> None:
    """Print what arrives and matches; return when the user has had enough.

    Raises:
        ClientError: the server cannot be reached, or ends it.
        ApiError: the server refuses.
    """
    try:
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
    except KeyboardInterrupt:
        return
    raise ClientError("the server has closed the stream")


def lost_line(data: dict[str, int]) -> str:
    """What is missing here, in words."""
    parts = []
    if data["lost"]:
        parts.append(f"{data['lost']} records are left out here, more than could be shown in time")
    if data["unsearched"]:
        parts.append(f"{data['unsearched']} records came too fast to be searched")
    return "; ".join(parts)
