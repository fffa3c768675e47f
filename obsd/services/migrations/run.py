"""Brings an older relational store up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection


def configuration(connection: Connection) -> Config:
    """Alembic's, for one connection, whose transaction is the caller's."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the migrations that are missing, in the caller's transaction."""
    from alembic import command

    command.upgrade(configuration(connection), revision)
