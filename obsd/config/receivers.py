"""The names that `--receivers` takes, and the listeners that they open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from obsd.config.errors import ConfigError, nearest_hint

if TYPE_CHECKING:
    from obsd.config.option import Address
    from obsd.config.tree import Config, ServerConfig

# Sets, and the one listener that always is there.
SETS: Final = frozenset({"default", "all", "http"})

_BY_DEFAULT: Final = frozenset({"default", "all"})
_IF_ASKED: Final = frozenset({"all"})


@dataclass(frozen=True, slots=True)
class ReceiverInfo:
    """One way in beside the HTTP port.

    Attributes:
        sets: the sets that open it; its name does so, too.
        option: the attribute of `ServerConfig` that says where it listens; None where it listens
            nowhere, as one that reads files.
        is_http: whether it is one more listener of the HTTP application; others have an entry in
            `obsd.ingest.listeners`.
        prefix: what stands before its paths on the main listener.
    """

    name: str
    sets: frozenset[str]
    option: str | None
    is_http: bool = False
    prefix: str = ""


OTLP_HTTP: Final = "otlp-http"

# Default ports are in `ServerConfig`.
THERE_ARE: Final = {
    info.name: info
    for info in (
        ReceiverInfo(OTLP_HTTP, _BY_DEFAULT, "otlp_http_listen", is_http=True),
        ReceiverInfo("otlp-grpc", _BY_DEFAULT, "otlp_grpc_listen"),
        ReceiverInfo("fluent", _BY_DEFAULT, "fluent_listen"),
        ReceiverInfo("fluent-tls", _BY_DEFAULT, "fluent_tls_listen"),
        ReceiverInfo("syslog", _BY_DEFAULT, "syslog_listen"),
        ReceiverInfo("syslog-tls", _BY_DEFAULT, "syslog_tls_listen"),
        ReceiverInfo("loki", _IF_ASKED, "loki_listen", is_http=True),
        ReceiverInfo(
            "elasticsearch", _IF_ASKED, "elasticsearch_listen", is_http=True, prefix="/es"
        ),
        ReceiverInfo("splunk", _IF_ASKED, "splunk_listen", is_http=True),
        ReceiverInfo("jaeger", _BY_DEFAULT, "jaeger_listen", is_http=True, prefix="/jaeger"),
        ReceiverInfo("tempo", _IF_ASKED, "tempo_listen", is_http=True, prefix="/tempo"),
        ReceiverInfo("zipkin", _IF_ASKED, "zipkin_listen", is_http=True, prefix="/zipkin"),
        ReceiverInfo(
            "jaeger-thrift",
            _IF_ASKED,
            "jaeger_thrift_listen",
            is_http=True,
            prefix="/jaeger-thrift",
        ),
        ReceiverInfo("files", _BY_DEFAULT, None),
        ReceiverInfo("journal", _BY_DEFAULT, None),
    )
}

# More for protocols whose clients insist on one, with the ports they will take.
PLANNED: Final = {
    "alertmanager": 9093,
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
    return any(name == receiver or name in THERE_ARE[receiver].sets for name in names)


def open_receivers(server: ServerConfig) -> Iterator[tuple[ReceiverInfo, Address | None]]:
    """What to open beside the HTTP port, and where it listens."""
    for info in THERE_ARE.values():
        if is_open(info.name, server.receivers):
            address = getattr(server, info.option) if info.option else None
            yield info, cast("Address | None", address)


def closed_in_vain(config: Config) -> Iterator[tuple[str, str]]:
    """Receivers that have been told what to read, and that `server.receivers` leaves out.

    With the option that tells them.
    """
    wanted = {"files": bool(config.files.paths), "journal": config.files.journal}
    options = {"files": "files.paths", "journal": "files.journal"}
    for name, is_wanted in wanted.items():
        if is_wanted and not is_open(name, config.server.receivers):
            yield name, options[name]
