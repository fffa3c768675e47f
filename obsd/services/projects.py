"""Projects: each has a directory and engines of its own, opened on first use.

The project's id is the directory's name, so ids are checked before they touch a path.
"""

from __future__ import annotations

import logging
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Generic, TypeVar

from obsd.model.clock import Clock
from obsd.model.errors import BadInputError, OverloadedError
from obsd.model.head_memory import HeadMemory
from obsd.services.late_logs import LateLogs
from obsd.services.log_store import LogStore
from obsd.services.span_store import SpanStore
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.options import EngineOptions

log = logging.getLogger(__name__)

DEFAULT_PROJECT: Final = "default"
PROJECTS_DIRECTORY: Final = "projects"
METRICS_DIRECTORY: Final = "metrics"
LOGS_DIRECTORY: Final = "logs"
TRACES_DIRECTORY: Final = "traces"

E = TypeVar("E")

_PROJECT_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class InvalidProjectIdError(BadInputError):
    """A project id that cannot name a directory."""

    def __init__(self, project_id: str) -> None:
        super().__init__(
            f"invalid project id {project_id[:80]!r}: expected 1 to 64 of a-z, A-Z, 0-9, _ and -"
        )


def is_project_id(text: str) -> bool:
    """Whether this can be a project's id."""
    return _PROJECT_ID.fullmatch(text) is not None


def open_no_logs(directory: Path) -> LogStore:
    """Where logs are not wanted."""
    raise OverloadedError(f"logs are turned off; nothing is kept in {directory}")


def open_no_traces(directory: Path) -> SpanStore:
    """Where traces are not wanted."""
    raise OverloadedError(f"traces are turned off; nothing is kept in {directory}")


class EngineSet(Generic[E]):
    """One kind of engine, for every project that has one. Thread-safe; opening blocks."""

    def __init__(self, projects: Path, name: str, open_engine: Callable[[Path], E]) -> None:
        """An engine's directory is `name` in its project's, which is one of `projects`."""
        self._projects = projects
        self._name = name
        self._open_engine = open_engine
        self._engines: dict[str, E] = {}
        self.before_use: list[Callable[[str, E], None]] = []
        """Called with an engine that has just been opened, before anybody else has it."""

    def get(self, project_id: str) -> E | None:
        """The engine if it is open already; never blocks."""
        return self._engines.get(project_id)

    def open(self, project_id: str) -> E:
        """Not while another thread does."""
        engine = self._engines.get(project_id)
        if engine is None:
            engine = self._open_engine(self._projects / project_id / self._name)
            for tell in self.before_use:
                tell(project_id, engine)
            self._engines[project_id] = engine
        return engine

    def is_on_disk(self, project_id: str) -> bool:
        return (self._projects / project_id / self._name).is_dir()

    def take_all(self) -> list[E]:
        """Every engine, to be closed by the caller."""
        engines, self._engines = self._engines, {}
        return list(engines.values())

    def __iter__(self) -> Iterator[tuple[str, E]]:
        """Open engines with their project's id, as of now."""
        return iter(list(self._engines.items()))


class Projects:
    """The engines of all projects. Thread-safe.

    `engine`, `log_store` and `trace_store` block to open one.
    """

    def __init__(
        self,
        data_dir: Path,
        options: EngineOptions,
        clock: Clock,
        *,
        max_projects: int = 100,
        open_logs: Callable[[Path], LogStore] = open_no_logs,
        open_traces: Callable[[Path], SpanStore] = open_no_traces,
    ) -> None:
        """Engines share `options`; no more than `max_projects` directories are ever made.

        `open_logs` opens the log engine in a directory, which it makes; `open_traces` that of
        traces.
        """
        self._directory = data_dir / PROJECTS_DIRECTORY
        self._max_projects = max_projects
        memory = HeadMemory()
        self._metrics = EngineSet(
            self._directory,
            METRICS_DIRECTORY,
            lambda directory: MetricsEngine.open(directory, options, clock, memory),
        )
        self.logs = EngineSet(self._directory, LOGS_DIRECTORY, open_logs)
        self.logs.before_use.append(self._tell_waiting)
        self.traces = EngineSet(self._directory, TRACES_DIRECTORY, open_traces)
        self._opening = threading.Lock()
        self._waiting: weakref.WeakSet[LateLogs] = weakref.WeakSet()  # Under the same lock.
        self._closed = False

    def engine(self, project_id: str) -> MetricsEngine:
        """A project's metrics engine; for writing, since a new project is made.

        Raises:
            InvalidProjectIdError: no project can have this id.
            OverloadedError: the project would be one too many, or everything is closed.
        """
        engine = self._metrics.get(project_id)
        return engine if engine is not None else self._open(self._metrics, project_id)

    def directory_of(self, project_id: str) -> Path:
        """Where a project's files are, or would be.

        Raises:
            InvalidProjectIdError: no project can have this id.
        """
        if not is_project_id(project_id):
            raise InvalidProjectIdError(project_id)
        return self._directory / project_id

    def opened(self, project_id: str) -> MetricsEngine | None:
        """The metrics engine if it is open already; never blocks."""
        return self._metrics.get(project_id)

    def log_store(self, project_id: str) -> LogStore:
        """A project's log engine.

        Raises:
            InvalidProjectIdError: no project can have this id.
            OverloadedError: the project would be one too many, or everything is closed.
        """
        engine = self.logs.get(project_id)
        return engine if engine is not None else self._open(self.logs, project_id)

    def existing_logs(self, project_id: str) -> LogStore | None:
        """The log engine of a project that has logs; None, and nothing made, for others.

        Raises:
            InvalidProjectIdError: no project can have this id.
            OverloadedError: everything is closed.
        """
        return self._existing(self.logs, project_id)

    def trace_store(self, project_id: str) -> SpanStore:
        """A project's trace engine; for writing, since a new project is made.

        Raises:
            InvalidProjectIdError: no project can have this id.
            OverloadedError: the project would be one too many, or everything is closed.
        """
        engine = self.traces.get(project_id)
        return engine if engine is not None else self._open(self.traces, project_id)

    def existing_traces(self, project_id: str) -> SpanStore | None:
        """The trace engine of a project that has traces; None, and nothing made, for others.

        Raises:
            InvalidProjectIdError: no project can have this id.
            OverloadedError: everything is closed.
        """
        return self._existing(self.traces, project_id)

    def followable_logs(self, project_id: str) -> LogStore | LateLogs:
        """What can be followed: the log engine, or, where there is none, what waits for it.

        Raises:
            InvalidProjectIdError: no project can have this id.
            OverloadedError: everything is closed.
        """
        if (store := self.existing_logs(project_id)) is not None:
            return store
        late = LateLogs(project_id)
        with self._opening:
            if (store := self.logs.get(project_id)) is not None:
                return store
            self._waiting.add(late)
        return late

    def _tell_waiting(self, project_id: str, store: LogStore) -> None:
        """While an engine is opened."""
        for late in list(self._waiting):
            if late.project_id == project_id:
                late.opened(store)

    def existing(self, project_id: str) -> MetricsEngine | None:
        """The engine of a project that has been written to; None, and nothing made, for others.

        Raises:
            InvalidProjectIdError: no project can have this id.
            OverloadedError: everything is closed.
        """
        return self._existing(self._metrics, project_id)

    def _existing(self, engines: EngineSet[E], project_id: str) -> E | None:
        if (engine := engines.get(project_id)) is not None:
            return engine
        if not is_project_id(project_id):
            raise InvalidProjectIdError(project_id)
        if not self._closed and not engines.is_on_disk(project_id):
            return None
        return self._open(engines, project_id)

    def _open(self, engines: EngineSet[E], project_id: str) -> E:
        if not is_project_id(project_id):
            raise InvalidProjectIdError(project_id)
        with self._opening:
            if self._closed:
                raise OverloadedError("the server is shutting down")
            is_new = not (self._directory / project_id).is_dir()
            if is_new and len(self.on_disk()) >= self._max_projects:
                raise OverloadedError(
                    f"project {project_id} would be one more than the limit of "
                    f"{self._max_projects} projects",
                    retry_after_s=60,
                )
            return engines.open(project_id)

    def directory(self, project_id: str) -> Path:
        """Where a project keeps everything; it need not be there."""
        return self._directory / project_id

    def on_disk(self) -> list[str]:
        """Ids of the projects that have a directory, sorted."""
        if not self._directory.is_dir():
            return []
        return sorted(d.name for d in self._directory.iterdir() if is_project_id(d.name))

    def open_all(self) -> None:
        """Open every engine on disk, so that background work reaches those nobody asks for."""
        for project_id in self.on_disk():
            if self._metrics.is_on_disk(project_id):
                self.engine(project_id)
            if self.logs.is_on_disk(project_id):
                self.log_store(project_id)
            if self.traces.is_on_disk(project_id):
                self.trace_store(project_id)

    def __iter__(self) -> Iterator[tuple[str, MetricsEngine]]:
        """Open metrics engines with their project's id, as of now."""
        return iter(self._metrics)

    def close(self) -> None:
        """Close every engine; from then on none opens."""
        with self._opening:
            self._closed = True
            # What follows spans and logs writes metrics when they are flushed for the last time.
            engines = [*self.traces, *self.logs, *self._metrics]
            self._metrics.take_all()
            self.logs.take_all()
            self.traces.take_all()
        for project_id, engine in engines:
            try:
                engine.close()
            except Exception:
                # The others must flush all the same; what this one holds is in its WAL.
                log.exception("cannot close a project", extra={"project": project_id})


class AllEngines:
    """Engines of every kind, for what they have in common: background work."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    def __iter__(self) -> Iterator[tuple[str, MetricsEngine | LogStore | SpanStore]]:
        """With their project's id, as of now."""
        yield from self._projects
        yield from self._projects.logs
        yield from self._projects.traces
