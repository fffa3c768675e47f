"""What alembic runs migrations in: the connection that it is given."""

from __future__ import annotations

from alembic import context

from obsd.services.metadata_tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
context.run_migrations()
