"""The tree as text, without its secrets."""

from __future__ import annotations

from typing import Any

from obsd.config.option import iter_options
from obsd.config.tree import Config


def config_to_dict(config: Config) -> dict[str, Any]:
    """Nested plain values by key, as a YAML file would have them; secrets are redacted."""
    shown: dict[str, Any] = {}
    for info in iter_options(Config):
        source: Any = config
        target = shown
        for name in info.path[:-1]:
            source = getattr(source, name)
            target = target.setdefault(name, {})
        target[info.path[-1]] = info.kind.show(getattr(source, info.attribute))
    return shown


def config_to_yaml(config: Config) -> str:
    """What `obsd config show` prints, and `/api/v1/status/config` answers."""
    import yaml

    return yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True)
