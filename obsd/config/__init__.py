"""The configuration: one tree of frozen dataclasses that holds every default.

Only `obsd.config.load` reads files and the environment; everything else is handed its part.
"""

from obsd.config.errors import ConfigError
from obsd.config.load import load_config
from obsd.config.show import config_to_dict, config_to_yaml
from obsd.config.tree import (
    AuthConfig,
    Config,
    IngestConfig,
    LogConfig,
    QueryConfig,
    SelfMonitoringConfig,
    ServerConfig,
    StorageConfig,
)

__all__ = [
    "AuthConfig",
    "Config",
    "ConfigError",
    "IngestConfig",
    "LogConfig",
    "QueryConfig",
    "SelfMonitoringConfig",
    "ServerConfig",
    "StorageConfig",
    "config_to_dict",
    "config_to_yaml",
    "load_config",
]
