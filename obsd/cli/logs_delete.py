"""`obsd logs QUERY --delete`: deletes what matches, and waits until no file has it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import click

from obsd.cli.client import Client

PATH: Final = "/api/v1/monitoring/logs/delete"
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 2.0


def delete(client: Client, parameters: Mapping[str, str], *, is_confirmed: bool) -> None:
    """Ask first, unless that has been confirmed; end the process with 1 where it is not done.

    Raises:
        click.UsageError: it is not said since when, or nothing says which records.
        ClientError: the server refuses, or cannot be reached.
    """
    if not parameters["query"].strip():
        raise click.UsageError("--delete needs a query; '*' is everything")
    if "from" not in parameters:
        raise click.UsageError("--delete needs --from or --since")
    body = {"to": f"{time.time():.6f}", **parameters}
    if not is_confirmed:
        matched = client.post(PATH, body, {"dry_run": "1"})["matched"]
        if not matched:
            click.echo("obsd: nothing matches", err=True)
            return
        click.confirm(f"Delete {_records(matched)} for good?", abort=True, err=True)
    found = _wait_for(client, client.post(PATH, body))
    if found["state"] != "done":
        click.echo(
            f"obsd: {_records(found['matched'])} deleted and hidden, but not erased from the disk"
            f" yet: {found['error']}",
            err=True,
        )
        raise SystemExit(1)
    files = found["files_rewritten"]
    rewritten = "1 file" if files == 1 else f"{files} files"
    click.echo(f"{_records(found['matched'])} deleted; {rewritten} rewritten, none has them")


def _wait_for(client: Client, found: dict[str, Any]) -> dict[str, Any]:
    """Look until it is done, or has failed."""
    wait_s = _FIRST_WAIT_S
    while found["state"] != "done" and not found["error"]:
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        found = client.get(f"{PATH}/{found['id']}", {})
    return found


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"
