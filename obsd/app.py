"""The composition root: builds everything from the configuration, serves, and stops in order.

Order of stopping: no new connections, then requests and receivers finish, then background tasks
end, then engines flush and close. All that was acknowledged is in the write-ahead log by then, so
running out of time loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd import __version__
from obsd.api.auth import open_authenticator
from obsd.api.edge import Edge
from obsd.api.mounts import APIS
from obsd.api.server import Services, build_app, serving_runner
from obsd.api.state import Phase, ServerState
from obsd.config import Config
from obsd.config.option import Address
from obsd.config.receivers import closed_in_vain, open_receivers
from obsd.ingest.listeners import Receivers, open_receiver, report_left_out
from obsd.ingest.receiver import Receiver, ReceiverContext
from obsd.model.clock import Clock, SystemClock
from obsd.model.head_memory import HeadMemory
from obsd.services.arrivals import INTERVAL_S, ArrivalRate
from obsd.services.data_dir import DataDirLock
from obsd.services.engine_telemetry import EngineCollector, TaskCollector
from obsd.services.error_tracking import tracker as error_tracker
from obsd.services.error_tracking.group_store import ErrorGroups
from obsd.services.error_tracking.telemetry import ErrorCollector
from obsd.services.log_aggregator import LogAggregator
from obsd.services.log_metrics import log_metrics
from obsd.services.log_metrics.rule_store import RuleStore
from obsd.services.log_processor_telemetry import ProcessorCollector
from obsd.services.log_store import LogStore
from obsd.services.log_telemetry import LogCollector
from obsd.services.maintenance import Maintenance
from obsd.services.metadata_store import MetadataStore
from obsd.services.metrics_collector import Executors, MetricsCollector, QueryLimits
from obsd.services.projects import DEFAULT_PROJECT, AllEngines, Projects
from obsd.services.self_monitoring import SelfMonitoring, Source
from obsd.services.span_metrics.span_metrics import SpanMetrics
from obsd.services.span_metrics.telemetry import SpanMetricsCollector
from obsd.services.span_store import SpanStore
from obsd.services.span_telemetry import SpanCollector
from obsd.services.supervisor import Supervisor
from obsd.services.telemetry import Telemetry
from obsd.services.trace_collector import TraceCollector
from obsd.services.trace_pins import pin_exemplars
from obsd.tsdb.options import EngineOptions

if TYPE_CHECKING:
    from obsd.services.host import HostCollector
    from obsd.tracestore.engine import Follower

log = logging.getLogger(__name__)

# SIGTERM to exit, all in all; service managers kill after ten seconds.
STOP_DEADLINE_S: Final = 9.5
BACKLOG: Final = 1024


class StartError(Exception):
    """The server cannot start; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Pools:
    """Threads for what blocks."""

    ingest: ThreadPoolExecutor
    query: ThreadPoolExecutor
    background: ThreadPoolExecutor
    io: ThreadPoolExecutor

    @staticmethod
    def open(config: Config) -> Pools:
        return Pools(
            ingest=ThreadPoolExecutor(config.ingest.threads, "obsd-ingest"),
            query=ThreadPoolExecutor(config.query.threads, "obsd-query"),
            background=ThreadPoolExecutor(2, "obsd-background"),
            io=ThreadPoolExecutor(2, "obsd-io"),
        )

    def shutdown(self) -> None:
        for pool in (self.ingest, self.query, self.background, self.io):
            pool.shutdown(wait=False, cancel_futures=True)


def engine_options(config: Config) -> EngineOptions:
    """What of the configuration concerns an engine."""
    storage = config.storage
    return EngineOptions(
        retention_ms=None if storage.retention_s is None else round(storage.retention_s * 1000),
        max_future_ms=round(storage.max_future_s * 1000),
        max_active_series=storage.max_active_series,
        max_labels=storage.max_labels,
        max_label_name_bytes=storage.max_label_name_bytes,
        max_label_value_bytes=storage.max_label_value_bytes,
        max_decompressed_bytes=config.ingest.max_decompressed_bytes,
        # A flush must be able to begin well before writers are told to wait.
        flush_bytes=min(EngineOptions().flush_bytes, storage.head_memory_bytes // 4),
        flush_interval_ms=round(storage.flush_interval_s * 1000),
        max_head_bytes=storage.head_memory_bytes,
    )


def open_logs(directory: Path, config: Config, clock: Clock, memory: HeadMemory) -> LogStore:
    """The log engine in a directory; imported once there are logs."""
    from obsd.logindex.engine import LogEngine
    from obsd.logindex.options import LogOptions

    storage, defaults = config.storage, LogOptions()
    retention_s, counts_s = storage.log_retention_s, storage.log_counts_retention_s
    memory_bytes = min(defaults.max_memtable_bytes, storage.head_memory_bytes // 2)
    options = LogOptions(
        retention_ms=None if retention_s is None else round(retention_s * 1000),
        aggregate_retention_ms=None if counts_s is None else round(counts_s * 1000),
        max_future_ms=round(storage.max_future_s * 1000),
        flush_bytes=min(defaults.flush_bytes, memory_bytes // 4),
        flush_interval_ms=round(storage.flush_interval_s * 1000),
        max_memtable_bytes=memory_bytes,
        max_cache_bytes=min(defaults.max_cache_bytes, memory_bytes // 2),
    )
    return LogEngine.open(directory, options, clock, memory)


def open_traces(
    directory: Path,
    config: Config,
    clock: Clock,
    memory: HeadMemory,
    follower: Follower | None = None,
) -> SpanStore:
    """The span engine in a directory; imported once there are traces."""
    from obsd.tracestore.engine import SpanEngine
    from obsd.tracestore.options import SpanOptions

    storage, defaults = config.storage, SpanOptions()
    retention_s, sampled_s = storage.trace_retention_s, storage.sampled_trace_retention_s
    memory_bytes = min(defaults.max_memtable_bytes, storage.head_memory_bytes // 2)
    options = SpanOptions(
        retention_ms=None if retention_s is None else round(retention_s * 1000),
        sampled_retention_ms=None if sampled_s is None else round(sampled_s * 1000),
        flush_bytes=min(defaults.flush_bytes, memory_bytes // 4),
        flush_interval_ms=round(storage.flush_interval_s * 1000),
        max_memtable_bytes=memory_bytes,
        max_cache_bytes=min(defaults.max_cache_bytes, memory_bytes // 2),
    )
    return SpanEngine.open(directory, options, clock, memory, follower)


def listen(address: Address) -> socket.socket:
    """Take a port.

    Raises:
        StartError: somebody else has it, or it may not be taken.
    """
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(BACKLOG)
    except OSError as error:
        first = "stop what uses that port, or " if error.errno == errno.EADDRINUSE else ""
        raise StartError(
            f"cannot listen on {address}: {error.strerror or error}; {first}name another address"
            " with --listen HOST:PORT"
        ) from None
    listener.setblocking(False)
    return listener


def is_loopback(config: Config) -> bool:
    """Whether nobody beyond this machine can speak to the server."""
    opened = [address for _, address in open_receivers(config.server) if address is not None]
    return all(address.is_loopback for address in [config.server.listen, *opened])


@dataclass(frozen=True, slots=True)
class HttpListener:
    """One more listener of the HTTP application.

    Attributes:
        prefix: what its paths have before them on the main listener.
        name: of the receiver.
    """

    socket: socket.socket
    prefix: str
    name: str


def listen_more(config: Config) -> list[HttpListener]:
    """The listeners of receivers; one whose port cannot be had is reported and left out."""
    listeners = []
    for info, address in open_receivers(config.server):
        if not info.is_http or address is None:
            continue
        try:
            listeners.append(HttpListener(listen(address), info.prefix, info.name))
        except StartError as error:
            report_left_out(info.name, address, str(error).partition(";")[0])
    return listeners


class Server:
    """One run of obsd, from an open data directory to a closed one."""

    def __init__(
        self, config: Config, listener: socket.socket, more: Sequence[HttpListener] = ()
    ) -> None:
        """What `listener` answers, `more` answer too."""
        self._config = config
        self._listener = listener
        self._more = more
        self._clock = SystemClock()
        self._pools = Pools.open(config)
        self._telemetry = Telemetry()
        self._supervisor = Supervisor()
        self._receivers = Receivers()
        self._arrivals = ArrivalRate()
        self._log_arrivals = ArrivalRate()
        self._span_arrivals = ArrivalRate()
        self._state = ServerState()
        log_memory, span_memory = HeadMemory(), HeadMemory()
        self._projects = Projects(
            config.storage.data_dir,
            engine_options(config),
            self._clock,
            max_projects=config.storage.max_projects,
            open_logs=lambda directory: open_logs(directory, config, self._clock, log_memory),
            open_traces=lambda directory: open_traces(
                directory,
                config,
                self._clock,
                span_memory,
                self._span_metrics.follower(directory.parent.name, directory.parent),
            ),
        )
        limits = QueryLimits(
            concurrent=config.query.threads,
            queued=config.query.max_queued,
            queue_wait_s=config.query.queue_wait_s,
            timeout_s=config.query.timeout_s,
            max_samples=config.query.max_samples,
            lookback_ms=round(config.query.lookback_s * 1000),
        )
        executors = Executors(self._pools.ingest, self._pools.query)
        self._metrics = MetricsCollector(
            self._projects, executors, limits, self._clock, config.otlp
        )
        self._logs = LogAggregator(
            self._projects, executors, self._metrics.turns, limits, self._clock
        )
        self._traces = TraceCollector(
            self._projects, executors, self._metrics.turns, limits, self._clock
        )
        self._span_metrics = SpanMetrics(
            self._metrics, config.span_metrics, self._pools.io, self._clock
        )
        self._projects.traces.before_use.append(self._span_metrics.opened)
        self._metadata = MetadataStore(config.storage.data_dir)
        self._errors = error_tracker.ErrorTracker(
            lambda: self._projects.logs,
            ErrorGroups(self._metadata),
            self._logs.new_budget,
            self._pools.io,
            self._clock,
            lambda: self._projects.traces,
        )
        self._logs.deletions.also(self._errors.forget_deleted)
        self._traces.deletions.also(self._errors.forget_deleted_spans)
        self._projects.traces.before_use.append(self._errors.opened)
        self._projects.traces.before_use.append(partial(pin_exemplars, self._projects))
        self._log_metrics = log_metrics.LogMetrics(
            lambda: self._projects.logs,
            self._projects.directory,
            RuleStore(self._metadata),
            self._metrics,
            self._logs.new_budget,
            self._pools.io,
            self._clock,
        )
        self._telemetry.register(EngineCollector(self._projects))
        self._telemetry.register(LogCollector(self._projects.logs))
        self._telemetry.register(SpanCollector(self._projects.traces))
        self._telemetry.register(SpanMetricsCollector(self._span_metrics))
        self._telemetry.register(ProcessorCollector(self._logs.processors))
        self._telemetry.register(ErrorCollector(self._errors))
        self._telemetry.register(TaskCollector(self._supervisor))
        self._stop = asyncio.Event()
        self._stop_signals = 0

    @property
    def url(self) -> str:
        """Where the server answers, with the port that it really has."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def run(self) -> None:
        """Serve until a signal says to stop."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(self._pools.io)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        runner, edge = await self._serve()
        try:
            await self._open()
            await self._stop.wait()
        finally:
            await self._shut_down(runner, edge)

    async def _serve(self) -> tuple[web.AppRunner, Edge]:
        """Answer requests from now on; most with a 503 until the engines are open."""
        config = self._config
        authenticator, new_token = open_authenticator(
            config.storage.data_dir,
            is_loopback=is_loopback(config),
            configured_token=config.auth.admin_token,
        )
        if new_token is not None:
            _show_token(new_token)
        self_monitoring = self._self_monitoring() if config.self_monitoring.enabled else None
        services = Services(
            state=self._state,
            projects=self._projects,
            metrics=self._metrics,
            logs=self._logs,
            traces=self._traces,
            errors=self._errors,
            log_metrics=self._log_metrics,
            arrivals=self._arrivals,
            telemetry=self._telemetry,
            supervisor=self._supervisor,
            log_arrivals=self._log_arrivals,
            span_arrivals=self._span_arrivals,
            authenticator=authenticator,
            self_monitoring=self_monitoring,
        )
        self._collection = self_monitoring
        self._authenticator = authenticator
        application, edge = build_app(config, services)
        more = {more.socket.getsockname()[1]: more for more in self._more}
        prefixes = {port: each.prefix for port, each in more.items() if each.prefix}
        edge.apis = {port: APIS[each.name] for port, each in more.items() if each.name in APIS}
        runner = await serving_runner(application, edge, prefixes=prefixes)
        for listener in (self._listener, *(more.socket for more in self._more)):
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
        return runner, edge

    def _self_monitoring(self) -> SelfMonitoring:
        return SelfMonitoring(
            sources=[Source("node", _HostReader().read), Source("obsd", self._telemetry.render)],
            instance=self._config.self_monitoring.instance,
            metrics=self._metrics,
            telemetry=self._telemetry,
            background=self._pools.io,
            clock=self._clock,
        )

    async def _open(self) -> None:
        """Replay what is on disk, then be ready."""
        loop = asyncio.get_running_loop()
        begun_s = time.monotonic()
        await loop.run_in_executor(self._pools.background, self._open_projects)
        if self._stop.is_set():
            return
        self._start_tasks()
        await self._receivers.start(self._open_receivers())
        self._state.phase = Phase.READY
        self._telemetry.ready.set(1)
        log.info(
            "ready",
            extra={
                "url": self.url,
                "version": __version__,
                "data_dir": str(self._config.storage.data_dir),
                "replay_s": time.monotonic() - begun_s,
            },
        )
        sys.stdout.write(f"obsd {__version__} is ready at {self.url}\n")
        sys.stdout.flush()
        # What is there now stays; the collector need not walk through it ever again.
        gc.freeze()
        gc.enable()

    def _open_projects(self) -> None:
        self._projects.engine(DEFAULT_PROJECT)
        self._projects.open_all()

    def _open_receivers(self) -> Iterator[tuple[Receiver, object]]:
        """Those that speak protocols of their own, and where they listen."""
        for name, option in closed_in_vain(self._config):
            report_left_out(
                name, "-", f"{option} is set, but server.receivers does not name {name}"
            )
        for info, address in open_receivers(self._config.server):
            if info.is_http:
                continue
            context = ReceiverContext(
                config=self._config,
                address=address,
                logs=self._logs,
                metrics=self._metrics,
                traces=self._traces,
                authenticator=self._authenticator,
                telemetry=self._telemetry,
                supervisor=self._supervisor,
            )
            receiver = open_receiver(info.name, context)
            if receiver is not None:
                yield receiver, address

    def _start_tasks(self) -> None:
        maintenance = Maintenance(
            AllEngines(self._projects), self._pools.background, self._telemetry
        )
        maintenance.start(self._supervisor)
        self._supervisor.start_periodic("arrivals", INTERVAL_S, self._record_arrivals)
        look_s, prune_s = error_tracker.INTERVAL_S, error_tracker.PRUNE_INTERVAL_S
        self._supervisor.start_periodic("error-tracking", look_s, self._errors.look)
        count_s = log_metrics.INTERVAL_S
        self._supervisor.start_periodic("log-metrics", count_s, self._log_metrics.count)
        if self._config.span_metrics.enabled:
            follow_s = self._span_metrics.follow_interval_s
            self._supervisor.start_periodic("span-metrics", follow_s, self._span_metrics.count)
        self._supervisor.start_periodic("error-retention", prune_s, self._errors.prune)
        if self._collection is not None:
            interval_s = self._config.self_monitoring.interval_s
            self._supervisor.start_periodic("self-monitoring", interval_s, self._collection.collect)

    async def _record_arrivals(self) -> None:
        loop = asyncio.get_running_loop()
        counts = await loop.run_in_executor(self._pools.io, self._count_stored)
        now_s = self._clock.monotonic_s()
        rates = (self._arrivals, self._log_arrivals, self._span_arrivals)
        for rate, count in zip(rates, counts, strict=True):
            rate.record(now_s, count)

    def _count_stored(self) -> tuple[int, int, int]:
        """Samples, log records and spans since the start."""
        return (
            sum(engine.stats().samples for _, engine in self._projects),
            sum(store.stats().records for _, store in self._projects.logs),
            sum(store.stats().spans for _, store in self._projects.traces),
        )

    def _on_signal(self, number: int) -> None:
        self._stop_signals += 1
        name = signal.Signals(number).name
        if self._stop_signals > 1:
            log.warning("stopping at once", extra={"signal": name})
            os._exit(1)  # Whatever the first stop waits for is what the user will not wait for.
        log.info("stopping", extra={"signal": name})
        self._stop.set()

    async def _shut_down(self, runner: web.AppRunner, edge: Edge) -> None:
        self._state.phase = Phase.STOPPING
        self._telemetry.ready.set(0)
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                for site in runner.sites:
                    await site.stop()
                self._logs.followers.stop()
                timeout_s = self._config.server.shutdown_timeout_s
                await asyncio.gather(edge.drain(timeout_s), self._receivers.stop(timeout_s))
                await runner.cleanup()
                await self._supervisor.stop()
                await self._span_metrics.write_now()  # What came since the last time.
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._pools.background, self._projects.close)
                await loop.run_in_executor(self._pools.background, self._metadata.close)
        except TimeoutError:
            log.warning("out of time; what was acknowledged is in the log, and will be replayed")
            logging.shutdown()
            os._exit(0)  # A thread that will not end would keep the process from exiting.
        self._pools.shutdown()
        log.info("stopped")


class _HostReader:
    """Makes the collector at the first reading, off the event loop and after obsd is ready."""

    def __init__(self) -> None:
        self._collector: HostCollector | None = None

    def read(self) -> bytes:
        if self._collector is None:
            from obsd.services.host import HostCollector

            self._collector = HostCollector()
        return self._collector.collect()


def _show_token(token: str) -> None:
    """On standard error, as text for a person; it is not logged, and cannot be shown again."""
    sys.stderr.write(
        f"\n  The admin token of this obsd, shown this once: {token}\n"
        "  Send it as 'Authorization: Bearer TOKEN'; obsd query takes it from OBSD_TOKEN.\n\n"
    )
    sys.stderr.flush()


def _raise_open_file_limit() -> None:
    """Parts and connections each take a descriptor; the default of 1024 is soon used up."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # Then it stays as it is; doctor warns.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def _locked(config: Config) -> Iterator[None]:
    lock = DataDirLock.acquire(config.storage.data_dir)
    try:
        yield
    finally:
        lock.release()


def run(config: Config) -> None:
    """Serve until told to stop.

    Raises:
        StartError, DataDirError, ObsdError, OSError: it cannot start.
    """
    import uvloop

    _raise_open_file_limit()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(config))
        listener = stack.enter_context(contextlib.closing(listen(config.server.listen)))
        more = listen_more(config)
        for each in more:
            stack.enter_context(contextlib.closing(each.socket))

        async def main() -> None:
            await Server(config, listener, more).run()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
