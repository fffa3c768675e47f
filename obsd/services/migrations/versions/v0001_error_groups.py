"""Error groups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "error_groups",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(32), nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("template", sa.Text, nullable=False),
        sa.Column("culprit", sa.Text, nullable=False),
        sa.Column("frames", sa.Text, nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("state_ns", sa.BigInteger, nullable=False),
        sa.Column("regressed", sa.Boolean, nullable=False),
        sa.Column("regressions", sa.Integer, nullable=False),
        sa.Column("first_ns", sa.BigInteger, nullable=False),
        sa.Column("last_ns", sa.BigInteger, nullable=False),
        sa.Column("occurrences", sa.BigInteger, nullable=False),
        sa.Column("sample_ns", sa.BigInteger, nullable=False),
        sa.Column("services", sa.Text, nullable=False),
        sa.Column("versions", sa.Text, nullable=False),
        sa.Column("traces", sa.Text, nullable=False),
    )
    op.create_index("error_groups_key", "error_groups", ["project_id", "fingerprint"], unique=True)
    op.create_index("error_groups_last", "error_groups", ["project_id", "last_ns"])
    op.create_table(
        "error_hours",
        sa.Column(
            "group_id",
            sa.Integer,
            sa.ForeignKey("error_groups.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("hour_ns", sa.BigInteger, primary_key=True),
        sa.Column("occurrences", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "error_progress",
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("row", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in ("error_progress", "error_hours", "error_groups"):
        op.drop_table(table)
