"""Log-to-metric rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_metric_rules",
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("after_row", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("log_metric_rules")
