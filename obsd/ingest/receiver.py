"""What obsd asks of a receiver that speaks a protocol of its own, and what it gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from obsd.api.auth import Authenticator
    from obsd.config import Config
    from obsd.config.option import Address
    from obsd.services.log_aggregator import LogAggregator
    from obsd.services.metrics_collector import MetricsCollector
    from obsd.services.supervisor import Supervisor
    from obsd.services.telemetry import Telemetry
    from obsd.services.trace_collector import TraceCollector


class Receiver(Protocol):
    """Takes data from one kind of sender, from `start` to `stop`; event loop only."""

    name: str

    async def start(self) -> None:
        """Begin to take data. Called once, when writes are served; it should not take long.

        Raises:
            OSError: it cannot listen where it should; obsd then says so and goes on without it.
        """

    async def stop(self) -> None:
        """Take nothing new, and finish what has begun: data that is acknowledged is stored.

        Called once, after a `start` that did not fail. All receivers stop at one time, and within
        `server.shutdown_timeout`; one that takes longer is cancelled.
        """


@dataclass(frozen=True, slots=True)
class ReceiverContext:
    """What a receiver works with.

    Attributes:
        address: where it listens; None for one that listens nowhere.
    """

    config: Config
    address: Address | None
    logs: LogAggregator
    metrics: MetricsCollector
    traces: TraceCollector
    authenticator: Authenticator
    telemetry: Telemetry
    supervisor: Supervisor
