"""Fluent Forward over TLS: docs/receivers.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from obsd.ingest.fluent import FluentReceiver

if TYPE_CHECKING:
    from obsd.ingest.receiver import ReceiverContext

NAME: Final = "fluent-tls"


def open_receiver(context: ReceiverContext) -> FluentReceiver | None:
    """The receiver; None where there is no certificate."""
    if context.config.server.tls_cert is None:
        return None
    return FluentReceiver(NAME, context, is_tls=True)
