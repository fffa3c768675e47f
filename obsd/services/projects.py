"""Projects: each has a directory and an engine of its own, opened on first use.

The project's id is the directory's name, so ids are checked before they touch a path.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from obsd.model.clock import Clock
from obsd.model.errors import BadInputError, OverloadedError
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.head_memory import HeadMemory
from obsd.tsdb.options import EngineOptions

log = logging.getLogger(__name__)

DEFAULT_PROJECT: Final = "default"
PROJECTS_DIRECTORY: Final = "projects"
METRICS_DIRECTORY: Final = "metrics"

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


class Projects:
    """The engines of all projects. Thread-safe; `engine` blocks while it opens one."""

    def __init__(
        self, data_dir: Path, options: EngineOptions, clock: Clock, *, max_projects: int = 100
    ) -> None:
        """Engines share `options`; no more than `max_projects` directories are ever made."""
        self._directory = data_dir / PROJECTS_DIRECTORY
        self._options = options
        self._clock = clock
        self._max_projects = max_projects
        self._engines: dict[str, MetricsEngine] = {}
        self._memory = HeadMemory()
        self._opening = threading.Lock()
        self._closed = False

    def engine(self, project_id: str) -> MetricsEngine:
        """A project's metrics engine; for writing, since a new project is made.

        Raises:
            InvalidProjectIdError: no project can have this id.
            OverloadedError: the project would be one too many, or everything is closed.
        """
        engine = self._engines.get(project_id)
        return engine if engine is not None else self._open(project_id)

    def opened(self, project_id: str) -> MetricsEngine | None:
        """The engine if it is open already; never blocks."""
        return self._engines.get(project_id)

    def existing(self, project_id: str) -> MetricsEngine | None:
        """The engine of a project that has been written to; None, and nothing made, for others.

        Raises:
            InvalidProjectIdError: no project can have this id.
            OverloadedError: everything is closed.
        """
        if (engine := self._engines.get(project_id)) is not None:
            return engine
        if not is_project_id(project_id):
            raise InvalidProjectIdError(project_id)
        if not self._closed and not self._directory_of(project_id).is_dir():
            return None
        return self._open(project_id)

    def _directory_of(self, project_id: str) -> Path:
        return self._directory / project_id / METRICS_DIRECTORY

    def _open(self, project_id: str) -> MetricsEngine:
        if not is_project_id(project_id):
            raise InvalidProjectIdError(project_id)
        with self._opening:
            if (engine := self._engines.get(project_id)) is not None:
                return engine
            if self._closed:
                raise OverloadedError("the server is shutting down")
            directory = self._directory_of(project_id)
            if not directory.is_dir() and len(self.on_disk()) >= self._max_projects:
                raise OverloadedError(
                    f"project {project_id} would be one more than the limit of "
                    f"{self._max_projects} projects",
                    retry_after_s=60,
                )
            engine = MetricsEngine.open(directory, self._options, self._clock, self._memory)
            self._engines[project_id] = engine
            return engine

    def on_disk(self) -> list[str]:
        """Ids of the projects that have a directory, sorted."""
        if not self._directory.is_dir():
            return []
        return sorted(d.name for d in self._directory.iterdir() if is_project_id(d.name))

    def open_all(self) -> None:
        """Open every project on disk, so that background work reaches those nobody asks for."""
        for project_id in self.on_disk():
            self.engine(project_id)

    def __iter__(self) -> Iterator[tuple[str, MetricsEngine]]:
        """Open engines with their project's id, as of now."""
        return iter(list(self._engines.items()))

    def close(self) -> None:
        """Close every engine; from then on none opens."""
        with self._opening:
            self._closed = True
            engines, self._engines = self._engines, {}
        for project_id, engine in engines.items():
            try:
                engine.close()
            except Exception:
                # The others must flush all the same; what this one holds is in its WAL.
                log.exception("cannot close a project", extra={"project": project_id})
