"""Certificates of a test's own authority, made with openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import installed


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: an authority, and what it signed for a server and for a client."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    def environment(self, *, asks_clients: bool = False) -> dict[str, str]:
        """How obsd is told of them."""
        told = {
            "OBSD_SERVER__TLS_CERT": str(self.server),
            "OBSD_SERVER__TLS_KEY": str(self.server_key),
        }
        return told | ({"OBSD_SERVER__TLS_CLIENT_CA": str(self.authority)} if asks_clients else {})


def make_certificates(directory: Path) -> Certificates:
    """For the name `localhost` and the address 127.0.0.1."""
    authority = directory / "authority.pem"
    key = directory / "authority.key"
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", str(key), "-out", str(authority), "-days", "2", "-subj", "/CN=Test authority"),
    )
    for name in ("server", "client"):
        request, extensions = directory / f"{name}.csr", directory / f"{name}.ext"
        extensions.write_text(
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n"
        )
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(directory / f"{name}.key"), "-out", str(request)),
            *("-subj", "/CN=localhost"),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(key)),
            *("-CAcreateserial", "-out", str(directory / f"{name}.pem"), "-days", "2"),
            *("-extfile", str(extensions)),
        )
    return Certificates(
        authority,
        directory / "server.pem",
        directory / "server.key",
        directory / "client.pem",
        directory / "client.key",
    )


def _openssl(*arguments: str) -> None:
    subprocess.run([installed("openssl"), *arguments], check=True, capture_output=True, timeout=60)
