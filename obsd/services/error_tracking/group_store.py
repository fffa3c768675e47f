"""Error groups in the relational store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from obsd.services.error_tracking.groups import (
    HOUR_NS,
    ErrorGroup,
    ErrorState,
    LinkedTrace,
    Sightings,
    latest_traces,
    merged_counts,
    more_severe,
)
from obsd.services.metadata_store import MAX_PARAMETERS, MetadataStore

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Select, Table

MAX_GROUPS: Final = 10_000
"""Of one project; beyond it those go that have not been seen for longest."""

SORTS: Final = ("last_seen", "first_seen", "count", "services")
_DAY_NS: Final = 24 * HOUR_NS
KEPT_NS: Final = 90 * _DAY_NS
HOURS_KEPT_NS: Final = 30 * _DAY_NS


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """Which groups, and in what order.

    Attributes:
        text: what the type, template or culprit has in it, in either case; "" for any.
        state, service: one; None for any.
        start_ns, end_ns: seen in this time.
        sort: one of `SORTS`, the largest first.
    """

    text: str = ""
    state: ErrorState | None = None
    service: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    sort: str = "last_seen"
    limit: int = 50
    offset: int = 0


class ErrorGroups:
    """Reads and writes groups. Every method blocks; any thread."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store

    @property
    def is_empty(self) -> bool:
        """Whether there never was any; does not open the store."""
        return not self._store.exists

    # Writing

    def progress(self, source: str) -> int:
        """The last row of a source that was looked at; -1 where none was."""
        if self.is_empty:
            return -1
        from sqlalchemy import select

        from obsd.services.metadata_tables import error_progress

        with self._store.read() as connection:
            row = connection.execute(
                select(error_progress.c.row).where(error_progress.c.project_id == source)
            ).scalar()
        return -1 if row is None else int(row)

    def record(
        self,
        project_id: str,
        seen: Iterable[Sightings],
        through_row: int,
        now_ns: int,
        source: str | None = None,
    ) -> list[str]:
        """Add to groups and remember how far a source was looked at, both or neither.

        The source is the project's logs, unless it is named.

        Returns:
            Fingerprints of the groups that are new or were reopened.
        """
        from obsd.services.metadata_tables import error_progress

        with self._store.write() as connection:
            news = [
                each.key.fingerprint
                for each in seen
                if _record(connection, project_id, each, now_ns)
            ]
            key = {"project_id": source or project_id}
            _upsert(connection, error_progress, key, {"row": through_row})
            _prune(connection, project_id)
        return news

    def set_state(
        self, project_id: str, fingerprints: Sequence[str], state: ErrorState, now_ns: int
    ) -> int:
        """Set the state of groups; returns how many there are of them."""
        from sqlalchemy import update

        from obsd.services.metadata_tables import error_groups as g

        changed = 0
        if self.is_empty:
            return changed
        values = {"state": state.value, "state_ns": now_ns, "regressed": False}
        with self._store.write() as connection:
            for begin in range(0, len(fingerprints), MAX_PARAMETERS):
                some = fingerprints[begin : begin + MAX_PARAMETERS]
                which = (g.c.project_id == project_id) & g.c.fingerprint.in_(some)
                changed += connection.execute(update(g).where(which).values(values)).rowcount
        return changed

    def forget_words(self, project_id: str, fingerprints: Sequence[str]) -> None:
        """Leave no word of their records in these groups, nor in the file."""
        from sqlalchemy import update

        from obsd.services.metadata_tables import error_groups as g

        with self._store.write() as connection:
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
            for fingerprint in fingerprints:
                which = (g.c.project_id == project_id) & (g.c.fingerprint == fingerprint)
                connection.execute(update(g).where(which).values(template="", traces="[]"))
        self._store.checkpoint()

    def prune(self, now_ns: int) -> None:
        """Let go of groups, and of counts by the hour, that are too old."""
        if self.is_empty:
            return
        from sqlalchemy import delete

        from obsd.services.metadata_tables import error_groups, error_hours

        with self._store.write() as connection:
            hours = error_hours.c.hour_ns < now_ns - HOURS_KEPT_NS
            connection.execute(delete(error_hours).where(hours))
            groups = error_groups.c.last_ns < now_ns - KEPT_NS
            connection.execute(delete(error_groups).where(groups))

    # Reading

    def search(self, project_id: str, query: GroupQuery) -> tuple[list[ErrorGroup], int]:
        """One page of groups, and how many match in all."""
        if self.is_empty:
            return [], 0
        from sqlalchemy import func, select

        from obsd.services.metadata_tables import error_groups as g

        matching = _matching(select(g), project_id, query)
        orders: dict[str, Any] = {
            "last_seen": g.c.last_ns,
            "first_seen": g.c.first_ns,
            "count": g.c.occurrences,
            "services": _service_count(),
        }
        with self._store.read() as connection:
            total = connection.execute(
                select(func.count()).select_from(matching.subquery())
            ).scalar_one()
            page = matching.order_by(orders[query.sort].desc(), g.c.id.desc())
            rows = connection.execute(page.limit(query.limit).offset(query.offset)).all()
            hours = _hours_of(connection, [row.id for row in rows])
        return [_group(row, hours.get(row.id, {})) for row in rows], total

    def get(self, project_id: str, fingerprint: str) -> ErrorGroup | None:
        """One group with its counts by the hour."""
        if self.is_empty:
            return None
        from sqlalchemy import select

        from obsd.services.metadata_tables import error_groups as g

        which = (g.c.project_id == project_id) & (g.c.fingerprint == fingerprint)
        with self._store.read() as connection:
            row = connection.execute(select(g).where(which)).one_or_none()
            if row is None:
                return None
            return _group(row, _hours_of(connection, [row.id]).get(row.id, {}))

    def sampled_between(self, project_id: str, start_ns: int, end_ns: int) -> list[ErrorGroup]:
        """The groups whose sample is of this time."""
        if self.is_empty:
            return []
        from sqlalchemy import select

        from obsd.services.metadata_tables import error_groups as g

        which = (g.c.project_id == project_id) & g.c.sample_ns.between(start_ns, end_ns - 1)
        with self._store.read() as connection:
            return [_group(row, {}) for row in connection.execute(select(g).where(which))]


def _record(connection: Connection, project_id: str, seen: Sightings, now_ns: int) -> bool:
    """Add to a group; whether it is new or was reopened."""
    from sqlalchemy import insert, select, update

    from obsd.services.metadata_tables import error_groups as g

    key = seen.key
    which = (g.c.project_id == project_id) & (g.c.fingerprint == key.fingerprint)
    row = connection.execute(select(g).where(which)).one_or_none()
    if row is None:
        values = {
            "project_id": project_id,
            "fingerprint": key.fingerprint,
            "type": key.type,
            "template": key.template,
            "culprit": key.culprit,
            "frames": _json([(f.function, f.file, f.line) for f in key.frames]),
            "level": seen.level,
            "state": ErrorState.OPEN.value,
            "state_ns": now_ns,
            "regressed": False,
            "regressions": 0,
            "first_ns": seen.first_ns,
            "last_ns": seen.last_ns,
            "occurrences": seen.count,
            "sample_ns": seen.last_ns,
            "services": _json(merged_counts({}, seen.services)),
            "versions": _json(merged_counts({}, seen.versions)),
            "traces": _json(latest_traces([], seen.traces.values())),
        }
        new = insert(g).values(values).returning(g.c.id)
        _add_hours(connection, connection.execute(new).scalar_one(), seen.hours)
        return True
    known = _group(row, {})
    is_back = known.state is ErrorState.RESOLVED and seen.last_ns > known.state_ns
    changed = {
        "level": more_severe(known.level, seen.level),
        "first_ns": min(known.first_ns, seen.first_ns),
        "last_ns": max(known.last_ns, seen.last_ns),
        "sample_ns": max(known.sample_ns, seen.last_ns),
        "occurrences": known.count + seen.count,
        "services": _json(merged_counts(known.services, seen.services)),
        "versions": _json(merged_counts(known.versions, seen.versions)),
        "traces": _json(latest_traces(known.traces, seen.traces.values())),
        "template": known.template or key.template,
    }
    if is_back:
        changed |= {
            "state": ErrorState.OPEN.value,
            "state_ns": now_ns,
            "regressed": True,
            "regressions": known.regressions + 1,
        }
    connection.execute(update(g).where(g.c.id == row.id).values(changed))
    _add_hours(connection, row.id, seen.hours)
    return is_back


def _add_hours(connection: Connection, group_id: int, hours: Mapping[int, int]) -> None:
    from sqlalchemy.dialects.sqlite import insert

    from obsd.services.metadata_tables import error_hours as h

    for hour_ns, count in hours.items():
        new = insert(h).values(group_id=group_id, hour_ns=hour_ns, occurrences=count)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=[h.c.group_id, h.c.hour_ns],
                set_={"occurrences": h.c.occurrences + new.excluded.occurrences},
            )
        )


def _upsert(
    connection: Connection,
    table: Table,
    key: dict[str, Any],
    values: dict[str, Any],
) -> None:
    from sqlalchemy.dialects.sqlite import insert

    new = insert(table).values(key | values)
    connection.execute(new.on_conflict_do_update(index_elements=list(key), set_=values))


def _prune(connection: Connection, project_id: str) -> None:
    from sqlalchemy import delete, func, select

    from obsd.services.metadata_tables import error_groups as g

    own = g.c.project_id == project_id
    count = connection.execute(select(func.count()).select_from(g).where(own)).scalar_one()
    if count > MAX_GROUPS:
        oldest = select(g.c.id).where(own).order_by(g.c.last_ns).limit(count - MAX_GROUPS)
        connection.execute(delete(g).where(g.c.id.in_(oldest.scalar_subquery())))


def _matching(statement: Select[Any], project_id: str, query: GroupQuery) -> Select[Any]:
    from sqlalchemy import func, or_, select

    from obsd.services.metadata_tables import error_groups as g

    statement = statement.where(g.c.project_id == project_id)
    if query.state is not None:
        statement = statement.where(g.c.state == query.state.value)
    if query.text:
        places = (g.c.type, g.c.template, g.c.culprit)
        statement = statement.where(
            or_(*(c.icontains(query.text, autoescape=True) for c in places))
        )
    if query.service is not None:
        services = func.json_each(g.c.services).table_valued("key")
        is_one = select(services.c.key).where(services.c.key == query.service)
        statement = statement.where(is_one.exists())
    if query.start_ns is not None:
        statement = statement.where(g.c.last_ns >= query.start_ns)
    if query.end_ns is not None:
        statement = statement.where(g.c.first_ns < query.end_ns)
    return statement


def _service_count() -> Any:  # noqa: ANN401 - an expression
    from sqlalchemy import func, select

    from obsd.services.metadata_tables import error_groups as g

    services = func.json_each(g.c.services).table_valued("key")
    return select(func.count()).select_from(services).scalar_subquery()


def _hours_of(connection: Connection, group_ids: Sequence[int]) -> dict[int, dict[int, int]]:
    from sqlalchemy import select

    from obsd.services.metadata_tables import error_hours as h

    found: dict[int, dict[int, int]] = {}
    for begin in range(0, len(group_ids), MAX_PARAMETERS):
        some = group_ids[begin : begin + MAX_PARAMETERS]
        rows = select(h).where(h.c.group_id.in_(some)).order_by(h.c.hour_ns)
        for row in connection.execute(rows):
            found.setdefault(row.group_id, {})[row.hour_ns] = row.occurrences
    return found


def _group(row: Row[Any], hours: dict[int, int]) -> ErrorGroup:
    return ErrorGroup(
        id=row.fingerprint,
        type=row.type,
        template=row.template,
        culprit=row.culprit,
        level=row.level,
        state=ErrorState(row.state),
        state_ns=row.state_ns,
        regressed=row.regressed,
        regressions=row.regressions,
        first_ns=row.first_ns,
        last_ns=row.last_ns,
        count=row.occurrences,
        sample_ns=row.sample_ns,
        services=msgspec.json.decode(row.services),
        versions=msgspec.json.decode(row.versions),
        traces=msgspec.json.decode(row.traces, type=list[LinkedTrace]),
        frames=[tuple(frame) for frame in msgspec.json.decode(row.frames)],
        hours=hours,
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
