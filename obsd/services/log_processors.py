"""What is done with a project's log records before they are stored: docs/log-parsing.md.

Texts are parsed without being told to; a project's own processors run after that. Each project's
are a file in its directory, which is replaced whole.

Concurrency: thread-safe. `prepare` runs in the ingest pool; what reads or writes files blocks.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from obsd._native import LogPipeline
from obsd.durable.files import make_directory, replace_file
from obsd.model.errors import BadInputError, StorageUnavailableError
from obsd.services.log_processor_rules import compile_rules
from obsd.services.projects import Projects

log = logging.getLogger(__name__)

FILE_NAME: Final = "log-processors.json"


@dataclass(frozen=True, slots=True)
class ProcessorSet:
    """A project's processors.

    Attributes:
        parse: whether texts are parsed before the processors run.
        processors: as they were written, in order.
    """

    parse: bool = True
    processors: tuple[dict[str, Any], ...] = ()

    @staticmethod
    def of(document: Any) -> ProcessorSet:  # noqa: ANN401 - any JSON
        """From a document; what its processors say is not checked yet.

        Raises:
            BadInputError: it is of another form.
        """
        if not isinstance(document, dict):
            raise BadInputError("expected an object with processors")
        if unknown := sorted(document.keys() - {"parse", "processors"}):
            raise BadInputError(f"there is no field {unknown[0]!r}: expected parse and processors")
        parse = document.get("parse", True)
        processors = document.get("processors", [])
        if not isinstance(parse, bool):
            raise BadInputError("parse: expected true or false")
        if not isinstance(processors, list):
            raise BadInputError("processors: expected a list")
        return ProcessorSet(parse, tuple(processors))

    def compile(self) -> LogPipeline:
        """What runs.

        Raises:
            BadInputError: which processor is wrong, and what about it.
        """
        return LogPipeline(compile_rules(self.processors), self.parse)

    def to_json(self) -> dict[str, Any]:
        return {"parse": self.parse, "processors": list(self.processors)}


@dataclass(slots=True)
class ProcessorStats:
    """What has been done since the start, in records."""

    dropped: int = 0
    joined: int = 0
    changed: int = 0


@dataclass(slots=True)
class _Project:
    processors: ProcessorSet
    pipeline: LogPipeline
    stats: ProcessorStats = field(default_factory=ProcessorStats)


class LogProcessors:
    """The pipelines of all projects."""

    def __init__(self, projects: Projects, now_ns: Callable[[], int]) -> None:
        self._engines = projects
        self._now_ns = now_ns
        self._projects: dict[str, _Project] = {}
        self._lock = threading.Lock()

    def prepare(self, project_id: str, body: bytes, *, keep_bodies: bool = False) -> bytes:
        """A request as it is to be stored; the very same where nothing is to do.

        `keep_bodies` is for what comes back to its sender as it was sent: what is found in bodies
        becomes attributes, and the bodies stay whole.

        Raises:
            StorageUnavailableError: the project's processors cannot be read; they may be what
                keeps secrets from being stored.
        """
        project = self._projects.get(project_id) or self._load(project_id)
        prepared, dropped, joined, changed = project.pipeline.apply(
            body, self._now_ns(), local_offset_s(), keep_bodies
        )
        if changed or dropped or joined:
            with self._lock:
                project.stats.dropped += dropped
                project.stats.joined += joined
                project.stats.changed += changed
        return prepared

    def get(self, project_id: str) -> ProcessorSet:
        """The project's processors. Blocks.

        Raises:
            StorageUnavailableError: they cannot be read.
        """
        return (self._projects.get(project_id) or self._load(project_id)).processors

    def replace(self, project_id: str, processors: ProcessorSet) -> None:
        """Have these processors from now on, also after a restart. Blocks.

        Raises:
            BadInputError: one is wrong; all stays as it was.
            OverloadedError: the project would be one too many.
            StorageUnavailableError: the disk refuses.
        """
        pipeline = processors.compile()
        self._engines.log_store(project_id)
        text = json.dumps(processors.to_json(), ensure_ascii=False, indent=1)
        path = self._path(project_id)
        with self._lock:
            try:
                make_directory(path.parent)
                replace_file(path, [text.encode("utf-8", "surrogatepass"), b"\n"])
            except OSError as error:
                raise StorageUnavailableError(f"cannot write {path.name}: {error}") from error
            old = self._projects.get(project_id)
            stats = old.stats if old else ProcessorStats()
            self._projects[project_id] = _Project(processors, pipeline, stats)
        log.info("log processors replaced", extra={"project": project_id})

    def stats(self) -> Sequence[tuple[str, ProcessorStats]]:
        """Of the projects that have been written to since the start."""
        return [(project_id, each.stats) for project_id, each in list(self._projects.items())]

    def _path(self, project_id: str) -> Path:
        return self._engines.directory_of(project_id) / FILE_NAME

    def _load(self, project_id: str) -> _Project:
        path = self._path(project_id)
        with self._lock:
            project = self._projects.get(project_id)
            if project is None:
                processors = _read(path)
                project = _Project(processors, processors.compile())
                self._projects[project_id] = project
            return project


def _read(path: Path) -> ProcessorSet:
    try:
        processors = ProcessorSet.of(json.loads(path.read_bytes()))
        processors.compile()
    except FileNotFoundError:
        return ProcessorSet()
    except (OSError, ValueError, BadInputError) as error:
        raise StorageUnavailableError(
            f"the log processors in {path} cannot be read: {error}; mend or remove the file"
        ) from error
    return processors


def local_offset_s() -> int:
    """How far this machine's clock on the wall is ahead of UTC."""
    return time.localtime().tm_gmtoff
