"""Tables of the relational store. Imported only where it is used: SQLAlchemy is not light.

A change here comes with a migration in `obsd/services/migrations/versions` and its revision; a
test holds the two together.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

REVISION: Final = "0002"
METADATA: Final = MetaData()

# Times are nanoseconds since 1970.
error_groups: Final = Table(
    "error_groups",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("project_id", String(64), nullable=False),
    Column("fingerprint", String(32), nullable=False),
    Column("type", Text, nullable=False),
    # No words of a record but these, so that deleting records leaves little to forget.
    Column("template", Text, nullable=False),
    Column("culprit", Text, nullable=False),
    Column("frames", Text, nullable=False),
    Column("level", String(8), nullable=False),
    Column("state", String(8), nullable=False),
    Column("state_ns", BigInteger, nullable=False),
    Column("regressed", Boolean, nullable=False),
    Column("regressions", Integer, nullable=False),
    Column("first_ns", BigInteger, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    Column("occurrences", BigInteger, nullable=False),
    Column("sample_ns", BigInteger, nullable=False),
    # JSON: services and versions with their counts, and the last traces.
    Column("services", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("traces", Text, nullable=False),
    Index("error_groups_key", "project_id", "fingerprint", unique=True),
    Index("error_groups_last", "project_id", "last_ns"),
)

error_hours: Final = Table(
    "error_hours",
    METADATA,
    Column("group_id", ForeignKey("error_groups.id", ondelete="CASCADE"), primary_key=True),
    Column("hour_ns", BigInteger, primary_key=True),
    Column("occurrences", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

error_progress: Final = Table(
    "error_progress",
    METADATA,
    # For logs; with `/spans` behind it, for spans.
    Column("project_id", String(64), primary_key=True),
    Column("row", BigInteger, nullable=False),
)

log_metric_rules: Final = Table(
    "log_metric_rules",
    METADATA,
    Column("project_id", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("rule", Text, nullable=False),  # JSON.
    Column("after_row", BigInteger, nullable=False),  # It counts the records behind this one.
)
