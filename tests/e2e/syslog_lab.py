"""An obsd that takes syslog, and what tests ask of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.certificates import Certificates, make_certificates
from tests.e2e.processes import Server, free_port, obsd_server, running, wait_until

PATH = "/api/v1/monitoring/logs"
TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Syslog:
    """An obsd that takes syslog."""

    server: Server
    port: int
    tls_port: int
    certificates: Certificates

    def logs(self, query: str, limit: int = 1000) -> list[dict[str, Any]]:
        answer = self.server.request(PATH, {"query": query, "limit": str(limit), "order": "asc"})
        assert answer.status == 200, answer.text
        return answer.json()["logs"]

    def wait_for(self, query: str, count: int) -> list[dict[str, Any]]:
        """The records that match, once there are so many; fails when there are more."""
        wait_until(lambda: len(self.logs(query)) >= count, f"{count} of {query}", TIMEOUT_S)
        found = self.logs(query)
        assert len(found) == count
        return found

    def counter(self, name: str, **labels: str) -> float:
        text = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        for line in self.server.request("/metrics").text.splitlines():
            if line.startswith(f"{name}{{{text}}} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0


@contextlib.contextmanager
def syslog_server(directory: Path) -> Iterator[Syslog]:
    """It runs, over TLS as well, until the block ends."""
    certificates = make_certificates(directory)
    port, tls_port = free_port(), free_port()
    environment = {
        "OBSD_SERVER__SYSLOG_LISTEN": f"127.0.0.1:{port}",
        "OBSD_SERVER__SYSLOG_TLS_LISTEN": f"127.0.0.1:{tls_port}",
        **certificates.environment(),
    }
    obsd = obsd_server(
        directory, "--receivers", "syslog,syslog-tls", "--no-self-monitoring",
        environment=environment,
    )  # fmt: skip
    with running(obsd):
        yield Syslog(obsd, port, tls_port, certificates)
