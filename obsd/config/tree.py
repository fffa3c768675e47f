"""The tree itself. docs/configuration.md lists every option; a test holds the two together."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from obsd.config.machine import cpu_count, memory_bytes
from obsd.config.option import (
    ADDRESS,
    BOUNDS,
    COUNT,
    DURATION,
    FILE,
    FLAG,
    LEVEL,
    NAMES,
    PATH,
    PATTERNS,
    RETENTION,
    SECRET,
    SECRETS,
    SIZE,
    START,
    STRATEGY,
    TEXT,
    ZONE,
    Address,
    option,
)
from obsd.model.time_zone import LOCAL

_MIB: Final = 1 << 20
DAY_S: Final = 86_400.0

# Two open heads and a merge fit beside the queries; 512 MB machines still get room to work in.
_HEAD_SHARE = 4
_BYTES_PER_SERIES = 1024  # Half of the head's room at 0.5 KB a series; the rest is for samples.


def _default_head_bytes() -> int:
    return max(64 * _MIB, memory_bytes() // _HEAD_SHARE // _MIB * _MIB)


def _default_active_series() -> int:
    return max(100_000, _default_head_bytes() // _BYTES_PER_SERIES)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The HTTP server."""

    listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 6273),
        help="where the HTTP server listens; beyond loopback it asks for a token",
    )
    receivers: tuple[str, ...] = option(
        NAMES,
        ("default",),
        help="what else to open: default, all, http (the HTTP port only), or receivers' names",
    )
    otlp_http_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 4318),
        help="where the receiver otlp-http listens; a port in use is reported and left alone",
    )
    otlp_grpc_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 4317),
        help="where the receiver otlp-grpc listens",
    )
    loki_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 3100),
        help="where the receiver loki listens",
    )
    elasticsearch_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 9200),
        help="where the receiver elasticsearch listens",
    )
    splunk_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 8088),
        help="where the receiver splunk listens",
    )
    jaeger_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 16686),
        help="where Jaeger's query API is at the root, for tools that insist on it",
    )
    tempo_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 3200),
        help="where Tempo's query API is at the root",
    )
    zipkin_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 9411),
        help="where the receiver zipkin listens",
    )
    jaeger_thrift_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 14268),
        help="where the receiver jaeger-thrift listens",
    )
    fluent_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 24224),
        help="where the receiver fluent listens, over TCP and for heartbeats over UDP",
    )
    fluent_tls_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 24225),
        help="where the receiver fluent-tls listens",
    )
    fluent_socket: Path | None = option(  # noqa: RUF009 - declares a field
        FILE,
        None,
        help="the Unix socket at which the receiver fluent listens, too",
    )
    fluent_shared_key: str | None = option(
        SECRET,
        None,
        help="the key that senders of Fluent Forward must know; unset, they need none",
    )
    fluent_users: tuple[str, ...] = option(
        SECRETS,
        (),
        help="as name:password, who may send Fluent Forward where there is a shared key",
    )
    syslog_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 5514),
        help="where the receiver syslog listens, over UDP and TCP",
    )
    syslog_tls_listen: Address = option(  # noqa: RUF009 - declares a field
        ADDRESS,
        Address("127.0.0.1", 6514),
        help="where the receiver syslog-tls listens",
    )
    syslog_zone: str = option(
        ZONE,
        LOCAL,
        help="zone of syslog's times that have none: local, UTC, +02:00 or Europe/Berlin",
    )
    tls_cert: Path | None = option(  # noqa: RUF009 - declares a field
        FILE,
        None,
        help="the certificate, with its chain, of the receivers that speak TLS, as PEM",
    )
    tls_key: Path | None = option(  # noqa: RUF009 - declares a field
        FILE, None, help="its key; unset, it is in the file of the certificate"
    )
    tls_client_ca: Path | None = option(  # noqa: RUF009 - declares a field
        FILE,
        None,
        help="who signs certificates of senders; set, senders over TLS must have one",
    )
    cors_origins: tuple[str, ...] = option(
        NAMES,
        ("http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"),
        help="origins whose pages may call the query APIs from a browser; * stands for any text",
    )
    shutdown_timeout_s: float = option(
        DURATION, 5.0, help="how long requests may take to finish once obsd is told to stop"
    )


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Who may speak to the server when it listens beyond loopback."""

    admin_token: str | None = option(
        SECRET,
        None,
        help="the admin token; unset, the first start beyond loopback makes one and prints it once",
    )


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """What is kept, where, and how long."""

    data_dir: Path = option(  # noqa: RUF009 - declares a field
        PATH, Path("obsd-data"), help="the directory of all data; one server at a time"
    )
    retention_s: float | None = option(
        RETENTION,
        30 * DAY_S,
        help="how far back samples are kept and accepted; forever keeps all, whatever its time",
    )
    log_retention_s: float | None = option(
        RETENTION,
        7 * DAY_S,
        help="how long logs are kept and accepted; forever keeps all, whatever its time",
    )
    log_counts_retention_s: float | None = option(
        RETENTION,
        30 * DAY_S,
        help="how long counts of log records by the minute, service and level are kept",
    )
    trace_retention_s: float | None = option(
        RETENTION,
        DAY_S,
        help="how long every trace is kept; forever keeps and accepts all, whatever its time",
    )
    sampled_trace_retention_s: float | None = option(
        RETENTION,
        7 * DAY_S,
        help="how long the traces that tell most are kept, and how far back spans are accepted",
    )
    max_future_s: float = option(
        DURATION,
        600.0,
        help="how far ahead of this machine's clock a sample, log record or span may be",
    )
    flush_interval_s: float = option(
        DURATION,
        300.0,
        help="how long samples stay in the write-ahead log before they become a part",
    )
    head_memory_bytes: int = option(
        SIZE,
        default_factory=_default_head_bytes,
        help="memory, of all projects together, for samples that are not in a part yet; at the "
        "limit writers are told to wait",
    )
    max_active_series: int = option(
        COUNT,
        default_factory=_default_active_series,
        help="series of one project with samples in memory; more are refused, and so are more than "
        "four times as many registered ones",
    )
    max_labels: int = option(COUNT, 64, help="labels of one series, its name included")
    max_label_name_bytes: int = option(SIZE, 1024, help="length of a label's name")
    max_label_value_bytes: int = option(SIZE, 8192, help="length of a label's value")
    max_projects: int = option(COUNT, 100, help="projects that may exist in the data directory")


@dataclass(frozen=True, slots=True)
class IngestConfig:
    """What one request to write may cost."""

    threads: int = option(COUNT, 4, help="threads that decode and store")
    max_decompressed_bytes: int = option(SIZE, 128 * _MIB, help="a request's body, decompressed")
    elasticsearch_version: str = option(
        TEXT,
        "9.0.0",
        help="the version that Elasticsearch clients are told; some want one not older than theirs",
    )


@dataclass(frozen=True, slots=True)
class OtlpConfig:
    """How OTLP metrics look in Prometheus' model."""

    translation_strategy: str = option(
        STRATEGY,
        "UnderscoreEscapingWithSuffixes",
        help="how names are translated: whether characters that classic names lack become "
        "underscores, and whether units and types become suffixes",
    )
    promote_resource_attributes: tuple[str, ...] = option(
        NAMES, (), help="resource attributes that become labels of all series of their resource"
    )
    promote_all_resource_attributes: bool = option(
        FLAG, False, help="whether all resource attributes become labels of their series"
    )
    ignore_resource_attributes: tuple[str, ...] = option(
        NAMES, (), help="those that do not, where all others do"
    )
    keep_identifying_resource_attributes: bool = option(
        FLAG,
        False,
        help="whether target_info has service.name, service.namespace and service.instance.id, "
        "too, which job and instance are made of",
    )
    promote_scope_metadata: bool = option(
        FLAG,
        False,
        help="whether name, version, schema and attributes of a scope become labels, otel_scope_*",
    )
    convert_histograms_to_nhcb: bool = option(
        FLAG,
        False,
        help="whether histograms of given bounds become native ones, with custom buckets",
    )
    delta_idle_s: float = option(
        DURATION, 3600.0, help="how long the sum of a series' deltas is kept without a new one"
    )
    delta_memory_bytes: int = option(
        SIZE,
        64 * _MIB,
        help="memory of one project for sums of deltas; series that do not fit are refused",
    )


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """Logs that are read from this machine's files and its journal."""

    paths: tuple[str, ...] = option(
        PATTERNS,
        (),
        help="absolute paths and globs of log files to follow, each with its service before it if "
        "need be: shop=/srv/shop/log/**/*.log",
    )
    exclude: tuple[str, ...] = option(NAMES, (), help="globs of files not to follow")
    start: str = option(
        START,
        "beginning",
        help="where to begin with files that are seen for the first time: beginning or end",
    )
    journal: bool = option(FLAG, False, help="whether to follow the systemd journal")
    journal_directory: Path | None = option(  # noqa: RUF009 - declares a field
        FILE, None, help="a directory of journal files to read instead of this machine's journal"
    )
    project: str = option(TEXT, "default", help="the project that takes these logs")


@dataclass(frozen=True, slots=True)
class SpanMetricsConfig:
    """The metrics that are derived from spans, and the graph of services."""

    enabled: bool = option(FLAG, True, help="whether metrics are derived from spans")
    dimensions: tuple[str, ...] = option(
        NAMES,
        (),
        help="attributes of resources or spans that become labels of traces_spanmetrics_*",
    )
    latency_buckets: tuple[float, ...] = option(
        BOUNDS,
        tuple(0.002 * 2**n for n in range(14)),
        help="upper bounds in seconds of the buckets of traces_spanmetrics_latency",
    )
    graph_buckets: tuple[float, ...] = option(
        BOUNDS,
        tuple(0.1 * 2**n for n in range(8)),
        help="upper bounds in seconds of the buckets of traces_service_graph_request_*_seconds",
    )
    interval_s: float = option(DURATION, 15.0, help="how often samples are written")
    wait_s: float = option(
        DURATION, 10.0, help="how long the span of a call's other side is waited for"
    )
    idle_s: float = option(
        DURATION, 3600.0, help="how long the series of an operation or edge go on without a span"
    )
    max_series: int = option(
        COUNT,
        50_000,
        help="series that one project's spans may make; what does not fit is counted together, "
        "in series with metric_overflow",
    )
    max_pending: int = option(
        COUNT, 100_000, help="spans of one project that may wait for their call's other side"
    )
    target_info: bool = option(
        FLAG, True, help="whether each resource has a series traces_target_info"
    )
    instance_labels: bool = option(
        FLAG,
        False,
        help="whether traces_spanmetrics_* have the labels job and instance of traces_target_info",
    )


@dataclass(frozen=True, slots=True)
class QueryConfig:
    """What one query may cost."""

    threads: int = option(
        COUNT,
        default_factory=lambda: max(2, cpu_count()),
        help="queries that are evaluated at one time",
    )
    max_queued: int = option(COUNT, 200, help="queries that may wait for a thread; more get a 503")
    queue_wait_s: float = option(DURATION, 30.0, help="how long a query may wait for a thread")
    timeout_s: float = option(DURATION, 120.0, help="how long a query may take")
    max_samples: int = option(COUNT, 50_000_000, help="samples that a query may touch")
    lookback_s: float = option(
        DURATION, 300.0, help="how old a sample an instant selector still takes"
    )


@dataclass(frozen=True, slots=True)
class SelfMonitoringConfig:
    """The metrics of this machine and of obsd itself."""

    enabled: bool = option(FLAG, True, help="whether obsd stores metrics of its host and itself")
    interval_s: float = option(DURATION, 15.0, help="how often")
    instance: str = option(
        TEXT, default_factory=socket.gethostname, help="the instance label of these series"
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    """obsd's own log, in logfmt on standard error."""

    level: str = option(LEVEL, "info", help="the least severe level that is written")
    requests: bool = option(
        FLAG, True, help="whether requests are logged; accepted writes never are, only counted"
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set."""

    server: ServerConfig = field(default_factory=ServerConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    ingest: IngestConfig = field(default_factory=IngestConfig)
    otlp: OtlpConfig = field(default_factory=OtlpConfig)
    files: FilesConfig = field(default_factory=FilesConfig)
    query: QueryConfig = field(default_factory=QueryConfig)
    span_metrics: SpanMetricsConfig = field(default_factory=SpanMetricsConfig)
    self_monitoring: SelfMonitoringConfig = field(default_factory=SelfMonitoringConfig)
    log: LogConfig = field(default_factory=LogConfig)
