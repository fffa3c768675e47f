"""Syslog over TLS, RFC 5425: docs/receivers.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from obsd.ingest.syslog import SyslogReceiver

if TYPE_CHECKING:
    from obsd.ingest.receiver import ReceiverContext

NAME: Final = "syslog-tls"


def open_receiver(context: ReceiverContext) -> SyslogReceiver | None:
    """The receiver; None where there is no certificate."""
    if context.config.server.tls_cert is None:
        return None
    return SyslogReceiver(NAME, context, is_tls=True)
