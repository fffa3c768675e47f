"""What receivers with protocols of their own count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

OVERLOADED: Final = "overloaded"
REFUSED: Final = "refused"
TOO_LARGE: Final = "too_large"
UNSUPPORTED: Final = "unsupported"


class ReceiverTelemetry:
    """Counters of all receivers, by their names. Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Counter(
            "obsd_receiver_messages_total",
            "Messages and records that receivers were sent.",
            ["receiver"],
            registry=registry,
        )
        self._malformed = Counter(
            "obsd_receiver_malformed_total",
            "What did not have the form of its protocol.",
            ["receiver"],
            registry=registry,
        )
        self._dropped = Counter(
            "obsd_receiver_dropped_total",
            "Messages and records that were not stored.",
            ["receiver", "reason"],
            registry=registry,
        )
        self._connections = Gauge(
            "obsd_receiver_connections", "Connections that are open.", ["receiver"],
            registry=registry,
        )  # fmt: skip

    def of(self, receiver: str) -> ReceiverCounts:
        """The counters of one receiver; from now on they are there, at 0."""
        return ReceiverCounts(
            self._messages.labels(receiver),
            self._malformed.labels(receiver),
            self._connections.labels(receiver),
            {
                reason: self._dropped.labels(receiver, reason)
                for reason in (OVERLOADED, REFUSED, TOO_LARGE, UNSUPPORTED)
            },
        )


@dataclass(frozen=True, slots=True)
class ReceiverCounts:
    """One receiver's: `messages` and `malformed` of what came, `dropped` of what was lost."""

    messages: Counter
    malformed: Counter
    connections: Gauge
    dropped: dict[str, Counter]

    def drop(self, reason: str, count: int = 1) -> None:
        if count:
            self.dropped[reason].inc(count)
