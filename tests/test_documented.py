"""What can be set or watched is in the documentation, and nothing there is made up."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest

from obsd.cli.config import config
from obsd.cli.doctor import doctor
from obsd.cli.logs import logs
from obsd.cli.main import COMMANDS
from obsd.cli.query import query
from obsd.cli.serve import serve
from obsd.config import Config
from obsd.config.option import iter_options
from obsd.config.tree import SpanMetricsConfig
from obsd.model.budget import QueryBudget
from obsd.model.clock import SystemClock
from obsd.services.engine_telemetry import EngineCollector, TaskCollector
from obsd.services.error_tracking.group_store import ErrorGroups
from obsd.services.error_tracking.telemetry import ErrorCollector
from obsd.services.error_tracking.tracker import ErrorTracker
from obsd.services.log_processor_telemetry import ProcessorCollector
from obsd.services.log_processors import LogProcessors
from obsd.services.log_telemetry import LogCollector
from obsd.services.metadata_store import MetadataStore
from obsd.services.metrics_collector import Executors, MetricsCollector
from obsd.services.projects import Projects
from obsd.services.span_metrics.span_metrics import SpanMetrics
from obsd.services.span_metrics.telemetry import SpanMetricsCollector
from obsd.services.span_telemetry import SpanCollector
from obsd.services.supervisor import Supervisor
from obsd.services.telemetry import Telemetry
from obsd.tsdb.options import EngineOptions

DOCS = Path(__file__).parent.parent / "docs"


def words(page: str) -> set[str]:
    """Everything in backquotes, outside of code blocks."""
    prose = re.sub(r"(?ms)^```.*?^```", "", (DOCS / page).read_text())
    return set(re.findall(r"`([^`]+)`", prose))


@pytest.mark.parametrize("info", list(iter_options(Config)), ids=lambda info: info.key)
def test_every_option_is_documented(info) -> None:
    assert {info.key, info.environment} <= words("configuration.md")


def test_every_documented_option_exists() -> None:
    sections = {info.path[0] for info in iter_options(Config)}
    documented = {
        word
        for word in words("configuration.md") | words("cli.md") | words("operations.md")
        if re.fullmatch(r"[a-z_]+\.[a-z_]+", word) and word.split(".")[0] in sections
    }
    assert documented == {info.key for info in iter_options(Config)}


@pytest.mark.parametrize("command", [serve, query, logs, doctor, *config.commands.values()])
def test_every_flag_is_documented(command: click.Command) -> None:
    text = (DOCS / "cli.md").read_text()
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert any(f"`{name}" in text for name in parameter.opts), parameter.opts


def test_every_command_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    for name in COMMANDS:
        assert f"\n## obsd {name}\n" in text


def test_metrics_and_their_documentation_agree(tmp_path) -> None:
    projects = Projects(tmp_path, EngineOptions(), SystemClock())
    projects.engine("default")
    telemetry = Telemetry()
    telemetry.register(EngineCollector(projects))
    telemetry.register(LogCollector(projects.logs))
    telemetry.register(SpanCollector(projects.traces))
    telemetry.register(ProcessorCollector(LogProcessors(projects, lambda: 0)))
    metrics = MetricsCollector(projects, Executors(ThreadPoolExecutor(), ThreadPoolExecutor()))
    spans = SpanMetrics(metrics, SpanMetricsConfig(), ThreadPoolExecutor(), SystemClock())
    telemetry.register(SpanMetricsCollector(spans))
    errors = ErrorTracker(
        lambda: projects.logs,
        ErrorGroups(MetadataStore(tmp_path)),
        QueryBudget,
        ThreadPoolExecutor(),
        SystemClock(),
    )
    telemetry.register(ErrorCollector(errors))
    telemetry.register(TaskCollector(Supervisor()))
    text = telemetry.render().decode()
    projects.close()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    documented = {
        word for word in words("operations.md") if re.fullmatch(r"(obsd|process)_[a-z_]+", word)
    }
    assert names == documented
