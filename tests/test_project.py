"""What must hold of the project as a whole: versions, licence, documentation, start-up, borders."""

import ast
import hashlib
import json
import re
import resource
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest
import yaml

import obsd
from obsd import _native
from obsd.cli.main import _build_group

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, *(REPOSITORY / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY"))]

# The Apache Licence 2.0 as its authors publish it.
APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"

# Who may reach past Python into the native module: docs/decisions/0002-where-rust-ends.md.
NATIVE_IMPORTERS = (
    "obsd/durable/",
    "obsd/segments/",
    "obsd/tsdb/",
    "obsd/logindex/",
    "obsd/tracestore/",
    "obsd/ingest/",
    "obsd/api/result_json.py",
    # The codecs of a format each, for which a service or handler is the only caller.
    "obsd/api/remote_read.py",
    "obsd/services/log_dry_run.py",
    "obsd/services/log_processor_rules.py",
    "obsd/services/log_processors.py",
    "obsd/services/metric_encoding.py",
    "obsd/services/metrics_collector.py",
    "obsd/services/otlp_metrics.py",
    "obsd/services/span_metrics/",
)

# What `obsd --version` has no use for, and what would make it slow.
HEAVY_MODULES = (
    "aiohttp",
    "lark",
    "numpy",
    "obsd._native",
    "obsd.app",
    "plotext",
    "rich",
    "uvloop",
)

# What takes long to load, and what a server has no use for before somebody asks for it.
NOT_AT_START = (
    "alembic",
    "google.protobuf",
    "grpc",
    "lark",
    "obsd.services.log_patterns",
    "plotext",
    "rich",
    "sqlalchemy",
    "yaml",
)


def test_one_version_everywhere() -> None:
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert document["project"]["version"] == obsd.__version__ == _native.__version__


def test_licence_is_the_plain_text() -> None:
    text = (REPOSITORY / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == APACHE_2_SHA256


def test_version_is_printed_without_heavy_imports() -> None:
    program = (
        "import json, sys\n"
        "from obsd.cli.main import main\n"
        "sys.argv = ['obsd', '--version']\n"
        "main()\n"
        f"print(json.dumps([m for m in {HEAVY_MODULES!r} if m in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    version, loaded = done.stdout.splitlines()
    assert version == f"obsd {obsd.__version__}"
    assert json.loads(loaded) == []


def test_server_is_ready_without_heavy_imports(tmp_path: Path) -> None:
    """With HTTP alone: the library of gRPC's receiver loads while the server gets ready."""
    program = (
        "import json, os, signal, sys\n"
        "class Output:\n"
        "    def write(self, text):\n"
        "        assert 'is ready' in text, text\n"
        f"        loaded = [m for m in {NOT_AT_START!r} if m in sys.modules]\n"
        "        sys.__stdout__.write(json.dumps([loaded, 'obsd.app' in sys.modules]))\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    def flush(self):\n"
        "        sys.__stdout__.flush()\n"
        "sys.stdout = Output()\n"
        "from obsd.cli.main import main\n"
        f"sys.argv = ['obsd', 'serve', '--data-dir', {str(tmp_path / 'data')!r},\n"
        "            '--listen', '127.0.0.1:0', '--receivers', 'http']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout) == [[], True]


def test_version_takes_less_than_a_fifth_of_a_second() -> None:
    """In CPU time, since the wall clock also measures whatever else this machine is doing."""
    command = [sys.executable, "-m", "obsd.cli.main", "--version"]
    if (script := Path(sys.executable).with_name("obsd")).exists():
        command = [str(script), "--version"]
    seconds = min(cpu_seconds_of(command) for _ in range(5))
    assert seconds < 0.2


def cpu_seconds_of(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_only_engines_and_decoders_import_the_native_module() -> None:
    importers = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "obsd").rglob("*.py")
        if imports_native(ast.parse(path.read_text()))
    }
    assert importers, "the search finds nothing, so it would not find a trespasser"
    assert {path for path in importers if not path.startswith(NATIVE_IMPORTERS)} == set()


def imports_native(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(n.name == "obsd._native" for n in names):
                return True
            case ast.ImportFrom(module="obsd._native"):
                return True
            case ast.ImportFrom(module="obsd", names=names) if "_native" in {n.name for n in names}:
                return True
    return False


def test_every_imported_package_is_declared() -> None:
    """An undeclared one is missing in a fresh installation, however often it is there by luck."""
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    declared = {normalized(requirement) for requirement in document["project"]["dependencies"]}
    distributions = packages_distributions()
    imported = {
        top_level
        for path in (REPOSITORY / "obsd").rglob("*.py")
        for top_level in imported_packages(ast.parse(path.read_text()))
        if top_level != "obsd" and top_level not in sys.stdlib_module_names
    }
    assert "numpy" in imported
    undeclared = {
        package
        for package in imported
        if declared.isdisjoint(normalized(name) for name in distributions.get(package, ()))
    }
    assert undeclared == set()


def imported_packages(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]


def normalized(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_every_page_is_in_the_navigation() -> None:
    navigation = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    named = list(pages_of(navigation))
    assert sorted(named) == [page.relative_to(DOCS).as_posix() for page in PAGES]


def pages_of(entry: object) -> Iterator[str]:
    match entry:
        case str():
            yield entry
        case list():
            for item in entry:
                yield from pages_of(item)
        case dict():
            for item in entry.values():
                yield from pages_of(item)


@pytest.mark.parametrize("page", TEXTS, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text)
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", TEXTS, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_documented_commands_exist(page: Path) -> None:
    for words in documented_commands(page.read_text()):
        command, rest = resolve(_build_group(), words[1:])
        known = {name for parameter in command.params for name in parameter.opts}
        known |= {name for parameter in command.params for name in parameter.secondary_opts}
        named = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert named <= known | {"--help"}, shlex.join(words)


def documented_commands(text: str) -> Iterator[list[str]]:
    """The `obsd …` lines of a page's shell blocks, without what follows a pipe."""
    for block in re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ")
            if re.match(r"(\.venv/bin/)?obsd ", command):
                words = list(shlex.shlex(command, posix=True, punctuation_chars=True))
                yield words[: next((i for i, w in enumerate(words) if w in "|&&;>"), len(words))]


def resolve(command: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    context = click.Context(command)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]!r} in {command.name}"
        command, words = found, words[1:]
    return command, words
