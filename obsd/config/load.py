"""Loading: defaults, then a YAML file, then the environment, then flags; the later one wins.

A file's keys are the tree's (`storage: {retention: 30d}`). A variable is `OBSD_`, the section, two
underscores and the key: `OBSD_STORAGE__RETENTION=30d`. `OBSD_URL`, `OBSD_TOKEN`, `OBSD_PROJECT`
belong to `obsd query`, and are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from obsd.config.errors import ConfigError, unknown_key
from obsd.config.option import OptionInfo, iter_options, section_type
from obsd.config.receivers import check_receivers
from obsd.config.tree import Config

if TYPE_CHECKING:
    import yaml  # At run time only where there is a file: it is slow to import.

ENVIRONMENT_PREFIX: Final = "OBSD_"
# Variables of clients and tests, which configure no server.
OTHER_VARIABLES: Final = frozenset(
    {"OBSD_URL", "OBSD_TOKEN", "OBSD_PROJECT", "OBSD_CONFIG", "OBSD_SHARED"}
)

Values = dict[str, Any]
"""Parsed values by key, `storage.retention`."""


def load_config(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Build the tree.

    Args:
        file: a YAML file; None reads none, also not `obsd.yml` of the working directory.
        environment: variables; those that do not begin with OBSD_ are ignored.
        flags: texts by key (`server.listen`), None where a flag was not given.

    Raises:
        ConfigError: the first setting that cannot be used.
    """
    values: Values = {}
    if file is not None:
        values |= _read_file(file)
    values |= _read_environment(environment or {})
    values |= _read_flags(flags or {})
    config: Config = _build(Config, (), values)
    check_receivers(config.server.receivers)
    return config


def _build(section: type, path: tuple[str, ...], values: Values) -> Any:  # noqa: ANN401 - any section
    arguments: dict[str, Any] = {}
    for each in fields(section):
        child = section_type(each)
        if child is not None:
            arguments[each.name] = _build(child, (*path, each.name), values)
    for info in iter_options(section, path):
        if len(info.path) == len(path) + 1 and info.key in values:
            arguments[info.attribute] = values[info.key]
    return section(**arguments)


def _parse(info: OptionInfo, raw: object, source: str) -> Any:  # noqa: ANN401 - any kind
    try:
        return info.kind.parse(raw)
    except ValueError as error:
        raise ConfigError(source, f"{info.key}: {error}") from None


# --- The file ------------------------------------------------------------------------------------


def _read_file(file: Path) -> Values:
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(str(file), error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise ConfigError(str(file), "is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}, line {mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(where, f"is not YAML: {problem}") from None
    if root is None:
        return {}
    reader = _YamlReader(file)
    reader.read_section(root, Config, ())
    return reader.values


class _YamlReader:
    """Walks composed nodes, which know their lines, beside the tree."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.values: Values = {}

    def read_section(self, node: yaml.Node, section: type, path: tuple[str, ...]) -> None:
        import yaml

        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return  # "storage:" with everything below it commented out.
        if not isinstance(node, yaml.MappingNode):
            name = ".".join(path) or "the configuration"
            raise ConfigError(self._at(node), f"{name} must be a mapping of keys to values")
        sections = {f.name: section_type(f) for f in fields(section)}
        options = {
            i.path[-1]: i for i in iter_options(section, path) if len(i.path) == len(path) + 1
        }
        known = [name for name, child in sections.items() if child] + list(options)
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in seen:
                raise ConfigError(self._at(key_node), f"key {key!r} is there twice")
            seen.add(key)
            child = sections.get(key)
            if child is not None:
                self.read_section(value_node, child, (*path, key))
            elif key in options:
                self._read_option(options[key], value_node)
            else:
                raise unknown_key(self._at(key_node), ".".join((*path, key)), _full(path, known))

    def _read_option(self, info: OptionInfo, node: yaml.Node) -> None:
        import yaml

        raw = yaml.SafeLoader("").construct_object(node, deep=True)
        if raw is None:
            return  # "retention:" with nothing behind it is not set, as a whole section can be.
        # YAML 1.1 reads 1:30 as the number 90 and 6273 as one; kinds that are texts want the text.
        if isinstance(node, yaml.ScalarNode) and isinstance(raw, (int, float)):
            raw = raw if isinstance(raw, bool) else node.value
        self.values[info.key] = _parse(info, raw, self._at(node))

    def _at(self, node: yaml.Node) -> str:
        return f"{self._file}, line {node.start_mark.line + 1}"


def _full(path: tuple[str, ...], names: list[str]) -> list[str]:
    return [".".join((*path, name)) for name in names]


# --- The environment and flags -------------------------------------------------------------------


def _read_environment(environment: Mapping[str, str]) -> Values:
    known = {info.environment: info for info in iter_options(Config)}
    values: Values = {}
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_VARIABLES:
            continue
        if name not in known:
            raise unknown_key("environment", name, known)
        values[known[name].key] = _parse(known[name], text, f"environment, {name}")
    return values


def _read_flags(flags: Mapping[str, Any]) -> Values:
    known = {info.key: info for info in iter_options(Config)}
    return {
        key: _parse(known[key], raw, f"--{known[key].path[-1].replace('_', '-')}")
        for key, raw in flags.items()
        if raw is not None
    }
