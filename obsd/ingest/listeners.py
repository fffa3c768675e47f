"""Opens receivers that speak protocols of their own, and stops them together.

Each is a module with `open_receiver(context)`, imported only when its receiver is open.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Iterable, Mapping
from typing import Final, cast

from obsd.ingest.receiver import Receiver, ReceiverContext

log = logging.getLogger(__name__)

# By the names of `obsd.config.receivers`.
MODULES: Final[dict[str, str]] = {
    "files": "obsd.ingest.files.follower",
    "journal": "obsd.ingest.files.journal",
    "otlp-grpc": "obsd.ingest.otlp_grpc",
    "fluent": "obsd.ingest.fluent",
    "fluent-tls": "obsd.ingest.fluent_tls",
    "syslog": "obsd.ingest.syslog",
    "syslog-tls": "obsd.ingest.syslog_tls",
}


def open_receiver(
    name: str, context: ReceiverContext, modules: Mapping[str, str] = MODULES
) -> Receiver | None:
    """The receiver of a name; None where the configuration gives it nothing to do."""
    module = importlib.import_module(modules[name])
    return cast("Receiver | None", module.open_receiver(context))


def report_left_out(name: str, address: object, reason: str) -> None:
    """The one way in which a receiver that cannot be had is told of."""
    fields = {"receiver": name, "address": str(address), "reason": reason}
    log.warning("receiver left out", extra=fields)


class Receivers:
    """The receivers of a run. Event loop only."""

    def __init__(self) -> None:
        self._started: list[Receiver] = []

    async def start(self, receivers: Iterable[tuple[Receiver, object]]) -> None:
        """Start each; one that cannot listen at its address is reported and left out."""
        for receiver, address in receivers:
            try:
                await receiver.start()
            except OSError as error:
                reason = f"cannot listen on {address}: {error.strerror or error}"
                report_left_out(receiver.name, address, reason)
            else:
                self._started.append(receiver)

    async def stop(self, timeout_s: float) -> None:
        """Stop all that were started, at one time; give up on those that take too long."""
        started, self._started = self._started, []
        await asyncio.gather(*(self._stop(receiver, timeout_s) for receiver in started))

    async def _stop(self, receiver: Receiver, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(receiver.stop(), timeout_s)
        except TimeoutError:
            log.warning("receiver did not stop in time", extra={"receiver": receiver.name})
        except Exception:
            # The others, and the engines, still have to stop in order.
            log.exception("receiver failed to stop", extra={"receiver": receiver.name})
