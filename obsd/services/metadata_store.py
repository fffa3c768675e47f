"""The relational store of what obsd knows beside telemetry: SQLite in the data directory.

It is opened, and its library imported, by the first use, so that an obsd that needs none of it pays
nothing. A new file gets the newest schema at once; an older one is brought up by alembic's
migrations in `obsd/services/migrations`.

Concurrency: any thread. A transaction that writes begins with the write lock of the file, so two
of them wait for one another instead of failing half way.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from obsd.durable.files import make_directory
from obsd.model.errors import CorruptDataError, StorageUnavailableError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

FILE: Final = "metadata.sqlite"
_BUSY_TIMEOUT_MS: Final = 10_000
# Lists are deleted by id in pieces: SQLite bounds the parameters of a statement.
MAX_PARAMETERS: Final = 500


class MetadataStore:
    """One data directory's relational store."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._lock = threading.Lock()
        self._engine: Engine | None = None  # Under the lock.

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept; does not open it."""
        return self._path.exists()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may change things; durable once the block ends without an error.

        Raises:
            StorageUnavailableError: the disk refuses; nothing was changed.
            CorruptDataError: the file is no such store.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment.

        Raises:
            StorageUnavailableError: the disk refuses.
            CorruptDataError: the file is no such store.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        from sqlalchemy.exc import DatabaseError, OperationalError

        try:
            with self._open().connect() as connection:
                connection.exec_driver_sql(begin)
                try:
                    yield connection
                    connection.commit()
                except BaseException:
                    connection.rollback()
                    raise
        except OperationalError as error:
            raise StorageUnavailableError(f"the metadata store refuses: {error.orig}") from error
        except DatabaseError as error:
            if type(error) is not DatabaseError:  # One of ours: a constraint, a wrong statement.
                raise
            raise CorruptDataError(str(self._path), str(error.orig)) from error

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None:
                make_directory(self._path.parent)
                self._engine = _open_engine(self._path)
            return self._engine

    def checkpoint(self) -> None:
        """Empty the store's own log, so that no bytes of what was deleted stay in it."""
        with self._open().connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the file; a later use opens it again."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()


def _open_engine(path: Path) -> Engine:
    from sqlalchemy import URL, create_engine, event

    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        connection.isolation_level = None  # Transactions begin when we say so.
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {_BUSY_TIMEOUT_MS}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    try:
        with engine.connect() as connection:
            _bring_up(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _bring_up(connection: Connection) -> None:
    """Make the schema what this version wants."""
    from sqlalchemy import inspect, text

    from obsd.services import metadata_tables

    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        if not inspect(connection).get_table_names():
            metadata_tables.METADATA.create_all(connection)
            connection.exec_driver_sql(
                "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
            )
            connection.execute(
                text("INSERT INTO alembic_version VALUES (:revision)"),
                {"revision": metadata_tables.REVISION},
            )
        elif _revision(connection) != metadata_tables.REVISION:
            from obsd.services.migrations.run import upgrade

            upgrade(connection)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _revision(connection: Connection) -> str | None:
    revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if revision is None else str(revision)
