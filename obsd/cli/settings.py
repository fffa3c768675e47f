"""Options that commands of the server share, and how they become a configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from obsd.config import Config, ConfigError, load_config

F = TypeVar("F", bound=Callable[..., object])

CONFIG_OPTION = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    envvar="OBSD_CONFIG",
    help="A YAML file with settings (or OBSD_CONFIG); none is read unless it is named.",
)


def load_or_exit(config_file: Path | None, flags: dict[str, Any]) -> Config:
    """The configuration, or exit status 2 with what is wrong in it."""
    try:
        return load_config(config_file, os.environ, flags)
    except ConfigError as error:
        click.echo(f"obsd: {error}", err=True)
        raise SystemExit(2) from None


def server_options(command: F) -> F:
    """The flags of `serve`, which `config` and `doctor` understand too."""
    for decorate in reversed(
        (
            click.option("--data-dir", metavar="DIR", help="Where all data is kept."),
            click.option("--listen", metavar="HOST:PORT", help="Where to serve HTTP."),
            CONFIG_OPTION,
            click.option(
                "--receivers",
                metavar="LIST",
                help="What else to open: default, all, http (the HTTP port only), or names.",
            ),
            click.option(
                "--retention",
                metavar="SPEC",
                help="How long to keep data: a duration such as 30d, or forever.",
            ),
            click.option(
                "--no-self-monitoring",
                is_flag=True,
                help="Do not store metrics of this host and of obsd itself.",
            ),
            click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error."),
        )
    ):
        command = decorate(command)
    return command


def flags_of(options: dict[str, Any]) -> dict[str, Any]:
    """Click's parameters as settings by key."""
    return {
        "storage.data_dir": options["data_dir"],
        "server.listen": options["listen"],
        "server.receivers": options["receivers"],
        "storage.retention": options["retention"],
        "storage.log_retention": options["retention"],
        "storage.trace_retention": options["retention"],
        "self_monitoring.enabled": False if options["no_self_monitoring"] else None,
        "log.level": options["log_level"],
    }
