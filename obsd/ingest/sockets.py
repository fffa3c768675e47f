"""The sockets of receivers: listeners, datagrams, and TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from obsd.config.option import Address
    from obsd.config.tree import ServerConfig

BACKLOG: Final = 1024
KEEPALIVE: Final = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 15),
    (socket.TCP_KEEPCNT, 4),
)
DATAGRAM_BUFFER_BYTES: Final = 8 << 20
"""What the kernel may hold of datagrams; it gives as much of it as its own limit allows."""


def listen_tcp(address: Address) -> socket.socket:
    """A listener.

    Raises:
        OSError: the address cannot be had.
    """
    listener = _bound(address, socket.SOCK_STREAM)
    try:
        # Connections have these from their listener. A sender whose machine is gone says no more,
        # and would take up one of the connections that may be open.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds_or_count in KEEPALIVE:
            listener.setsockopt(socket.IPPROTO_TCP, option, seconds_or_count)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def listen_unix(path: Path) -> socket.socket:
    """A listener at a path; a socket that nobody listens at any more is replaced.

    Raises:
        OSError: the path cannot be had.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _is_answered(path):
            path.unlink()
        listener.bind(str(path))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def open_udp(address: Address) -> socket.socket:
    """A socket that datagrams come to.

    Raises:
        OSError: the address cannot be had.
    """
    return _bound(address, socket.SOCK_DGRAM)


def _bound(address: Address, kind: socket.SocketKind) -> socket.socket:
    family, kind, protocol, _, target = socket.getaddrinfo(
        address.host, address.port, type=kind, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        if kind is socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATAGRAM_BUFFER_BYTES)
        bound.bind(target)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def server_tls(server: ServerConfig) -> ssl.SSLContext | None:
    """How receivers speak TLS; None where there is no certificate. Blocks: it reads files.

    Raises:
        OSError: a file cannot be read, or has not what it should.
    """
    if server.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key, _no_password)
    except (OSError, ValueError) as error:
        raise _cannot_use("certificate and key", server.tls_key or server.tls_cert, error) from None
    if server.tls_client_ca is not None:
        try:
            context.load_verify_locations(server.tls_client_ca)
        except (OSError, ValueError) as error:
            raise _cannot_use("certificates", server.tls_client_ca, error) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_password() -> str:
    """Else OpenSSL would ask for it on the terminal, and wait."""
    raise ValueError("the key is encrypted, and there is no option for its password")


def _cannot_use(what: str, path: Path, error: Exception) -> OSError:
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    return OSError(0, f"cannot use the {what} of {path}: {reason}")
