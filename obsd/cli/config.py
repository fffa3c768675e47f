"""`obsd config show` and `obsd config validate`: docs/configuration.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from obsd.cli.settings import flags_of, load_or_exit, server_options
from obsd.config import config_to_yaml


@click.group()
def config() -> None:
    """Show or check the configuration."""


@config.command(short_help="Print every setting as YAML.")
@server_options
def show(config_file: Path | None, **options: Any) -> None:  # noqa: ANN401 - click's parameters
    """Print every setting as 'obsd serve' would have it, as YAML without secrets."""
    loaded = load_or_exit(config_file, flags_of(options))
    click.echo(config_to_yaml(loaded), nl=False)


@config.command(short_help="Check the settings; exit with 2 where they are wrong.")
@server_options
def validate(config_file: Path | None, **options: Any) -> None:  # noqa: ANN401 - click's parameters
    """Check the file, the environment and the flags; exit with 2 where they are wrong."""
    load_or_exit(config_file, flags_of(options))
    click.echo("the configuration is valid")
