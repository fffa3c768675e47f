"""`obsd doctor`: docs/cli.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from obsd.cli.settings import flags_of, load_or_exit, server_options


@click.command()
@server_options
def doctor(config_file: Path | None, **options: Any) -> None:  # noqa: ANN401 - click's parameters
    """Check this machine and the data directory; exit with 1 where something is wrong."""
    from obsd.cli.checks import Level, run_checks

    config = load_or_exit(config_file, flags_of(options))
    colours = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}
    worst = Level.OK
    for finding in run_checks(config):
        worst = max(worst, finding.level)
        level = click.style(f"{finding.level.name.lower():8}", fg=colours[finding.level])
        click.echo(f"{level} {finding.subject}: {finding.message}")
    if worst is Level.PROBLEM:
        raise SystemExit(1)
