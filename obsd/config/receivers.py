"""The names that `--receivers` takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from obsd.config.errors import ConfigError, nearest_hint

# Sets, and the one listener that always is there.
SETS: Final = frozenset({"default", "all", "http"})

OTLP_HTTP: Final = "otlp-http"

# Listeners of their own, and the sets that have them.
THERE_ARE: Final = {OTLP_HTTP: frozenset({"default", "all"})}

# More for protocols whose clients insist on one, with the ports they will take.
PLANNED: Final = {
    "otlp-grpc": 4317,
    "loki": 3100,
    "tempo": 3200,
    "jaeger": 16686,
    "alertmanager": 9093,
    "zipkin": 9411,
    "jaeger-thrift": 14268,
    "elasticsearch": 9200,
    "splunk": 8088,
    "fluent": 24224,
    "syslog": 5514,
    "statsd": 8125,
    "influxdb": 8086,
    "graphite": 2003,
}


def check_receivers(names: Iterable[str]) -> None:
    """Refuse names that mean nothing, or nothing yet.

    Raises:
        ConfigError: naming the first one.
    """
    for name in names:
        if name in SETS or name in THERE_ARE:
            continue
        if name in PLANNED:
            raise ConfigError(
                "server.receivers",
                f"receiver {name!r} is not in this version of obsd; there are http and "
                + ", ".join(THERE_ARE),
            )
        raise ConfigError(
            "server.receivers",
            f"unknown receiver {name!r}{nearest_hint(name, [*SETS, *THERE_ARE, *PLANNED])}",
        )


def is_open(receiver: str, names: Iterable[str]) -> bool:
    """Whether these names of receivers and sets ask for it."""
    return any(name == receiver or name in THERE_ARE[receiver] for name in names)
