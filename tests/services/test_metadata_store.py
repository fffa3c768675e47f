import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, select

from obsd.model.errors import CorruptDataError
from obsd.services.metadata_store import FILE, MetadataStore
from obsd.services.metadata_tables import METADATA, REVISION, error_progress
from obsd.services.migrations.run import configuration, upgrade


def put(store: MetadataStore, project_id: str, row: int) -> None:
    with store.write() as connection:
        connection.execute(insert(error_progress).values(project_id=project_id, row=row))


def rows(store: MetadataStore) -> list[tuple[str, int]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(select(error_progress))]


def test_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    store = MetadataStore(tmp_path)
    assert not store.exists
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    store = MetadataStore(tmp_path)
    put(store, "a", 7)
    store.close()
    again = MetadataStore(tmp_path)
    assert again.exists
    assert rows(again) == [("a", 7)]
    again.close()


def test_an_error_undoes_the_whole_transaction(tmp_path: Path) -> None:
    store = MetadataStore(tmp_path)
    put(store, "a", 7)

    def fail_half_way() -> None:
        with store.write() as connection:
            connection.execute(insert(error_progress).values(project_id="b", row=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert rows(store) == [("a", 7)]
    store.close()


def test_migrations_make_the_schema_that_new_stores_get(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with engine.connect() as connection:
        upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        assert ScriptDirectory.from_config(configuration(connection)).get_heads() == [REVISION]
    engine.dispose()


def test_a_new_store_needs_no_migration(tmp_path: Path) -> None:
    store = MetadataStore(tmp_path)
    put(store, "a", 1)
    store.close()
    engine = create_engine(f"sqlite:///{tmp_path / FILE}")
    with engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == REVISION
    engine.dispose()


def test_a_store_of_no_revision_is_brought_up(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.commit()
    connection.close()
    store = MetadataStore(tmp_path)
    put(store, "a", 1)
    assert rows(store) == [("a", 1)]
    store.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database, but long enough to look like one" * 20)
    store = MetadataStore(tmp_path)
    with pytest.raises(CorruptDataError, match=FILE), store.read():
        pytest.fail("it opens")
    store.close()
