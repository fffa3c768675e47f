"""obsd is killed while a real Prometheus writes to it, and comes back: nothing is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.answers import differences
from tests.e2e.lab import lab_target
from tests.e2e.processes import Server, obsd_server, prometheus_server, running, wait_until

SCRAPES_BEFORE = 5
SCRAPES_MISSED = 4
SCRAPES_AFTER = 3
WAIT_S = 60.0

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - {{job_name: lab, static_configs: [{{targets: ["127.0.0.1:{lab}"]}}]}}
  - {{job_name: prometheus, static_configs: [{{targets: ["{{own}}"]}}]}}
remote_write:
  - url: {obsd}/api/v1/write
    queue_config: {{batch_send_deadline: 200ms, max_backoff: 500ms}}
"""


def scrapes(server: Server) -> int:
    """How often the lab was scraped, as far as this server knows."""
    result = server.data("/api/v1/query", {"query": 'count_over_time(up{job="lab"}[5m])'})["result"]
    return int(result[0]["value"][1]) if result else 0


def all_samples(server: Server, at: str) -> Any:
    """Every sample of the lab up to a time."""
    return server.data("/api/v1/query", {"query": '{job="lab"}[5m]', "time": at})


def test_what_was_scraped_during_an_outage_arrives_after_it(tmp_path: Path) -> None:
    obsd = obsd_server(tmp_path, "--no-self-monitoring")
    with lab_target() as lab_port, running(obsd):
        configuration = CONFIGURATION.format(lab=lab_port, obsd=obsd.url)
        with running(prometheus_server(tmp_path, configuration)) as prometheus:
            wait_until(lambda: scrapes(obsd) >= SCRAPES_BEFORE, "obsd has some scrapes", WAIT_S)
            obsd.kill()
            missed = scrapes(prometheus) + SCRAPES_MISSED
            wait_until(lambda: scrapes(prometheus) >= missed, "obsd missed some", WAIT_S)
            obsd.start()
            known = missed + SCRAPES_AFTER
            wait_until(lambda: scrapes(obsd) >= known, "obsd has caught up", WAIT_S)
            up = prometheus.data("/api/v1/query", {"query": 'timestamp(up{job="lab"})'})
            # Two scrapes ago: its samples may still come over several connections.
            at = f"{float(up['result'][0]['value'][1]) - 2:.3f}"
            expected = all_samples(prometheus, at)
            assert len(expected["result"]) > 10
            wait_until(
                lambda: not differences(expected, all_samples(obsd, at)),
                "obsd has every sample of the outage",
                WAIT_S,
            )
