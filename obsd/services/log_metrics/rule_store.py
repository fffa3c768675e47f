"""The rules that people made, in the relational store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from obsd.model.errors import BadInputError
from obsd.services.log_metrics.rules import BUILT_IN, MAX_RULES, LogMetricRule
from obsd.services.metadata_store import MetadataStore

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement


class RuleStore:
    """Reads and writes rules. Every method blocks; any thread."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store

    def rules(self, project_id: str) -> list[tuple[LogMetricRule, int]]:
        """A project's rules, the built-in one first, and behind which record each counts."""
        if not self._store.exists:  # Asked every few seconds; most have no need of the library.
            return [(BUILT_IN, -1)]
        from sqlalchemy import select

        from obsd.services.metadata_tables import log_metric_rules as r

        query = (
            select(r.c.rule, r.c.after_row).where(r.c.project_id == project_id).order_by(r.c.name)
        )
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        made = [(msgspec.json.decode(row.rule, type=LogMetricRule), row.after_row) for row in rows]
        return [(BUILT_IN, -1), *made]

    def put(self, project_id: str, rule: LogMetricRule, after_row: int) -> None:
        """Add a rule, or replace the one of this name; it counts the records behind `after_row`.

        Raises:
            BadInputError: there would be too many.
        """
        from sqlalchemy import delete, func, insert, select

        from obsd.services.metadata_tables import log_metric_rules as r

        with self._store.write() as connection:
            connection.execute(delete(r).where(_is(project_id, rule.name)))
            own = select(func.count()).select_from(r).where(r.c.project_id == project_id)
            if connection.execute(own).scalar_one() >= MAX_RULES:
                raise BadInputError(f"the project has {MAX_RULES} rules, which is the limit")
            values = {"project_id": project_id, "name": rule.name}
            text = msgspec.json.encode(rule).decode()
            connection.execute(insert(r).values(**values, rule=text, after_row=after_row))

    def delete(self, project_id: str, name: str) -> bool:
        """Remove a rule; false where there is none."""
        if not self._store.exists:
            return False
        from sqlalchemy import delete

        from obsd.services.metadata_tables import log_metric_rules as r

        with self._store.write() as connection:
            return bool(connection.execute(delete(r).where(_is(project_id, name))).rowcount)


def _is(project_id: str, name: str) -> ColumnElement[bool]:
    from obsd.services.metadata_tables import log_metric_rules as r

    return (r.c.project_id == project_id) & (r.c.name == name)
