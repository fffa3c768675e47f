"""What a receiver under test works with: the parts of a running application."""

from __future__ import annotations

from aiohttp import web

from obsd.api import keys
from obsd.api.auth import Authenticator
from obsd.config import Config
from obsd.config.option import Address
from obsd.ingest.receiver import ReceiverContext

ANY_PORT = Address("127.0.0.1", 0)


def receiver_context(
    application: web.Application,
    address: Address | None = ANY_PORT,
    config: Config | None = None,
    authenticator: Authenticator | None = None,
) -> ReceiverContext:
    return ReceiverContext(
        config=config or application[keys.CONFIG],
        address=address,
        logs=application[keys.LOGS],
        metrics=application[keys.METRICS],
        traces=application[keys.TRACES],
        authenticator=authenticator or application[keys.AUTHENTICATOR],
        telemetry=application[keys.TELEMETRY],
        supervisor=application[keys.SUPERVISOR],
    )
