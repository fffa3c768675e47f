"""Patterns of what was sent to a real server: over HTTP, by the command line, after a restart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.processes import Server, obsd_server, running

PATH = "/api/v1/monitoring/logs/patterns"
SECOND_NS = 1_000_000_000
WINDOW_S = 600


@pytest.fixture(scope="module")
def now_s() -> int:
    return int(time.time())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, now_s: int) -> Iterator[Server]:
    with running(obsd_server(tmp_path_factory.mktemp("patterns"))) as obsd:
        send(obsd, now_s)
        yield obsd


def send(server: Server, now_s: int) -> None:
    """Over both windows: what is steady, what surges, what is new and what is no more."""
    lines: list[tuple[int, str, str]] = []
    for number in range(240):
        second = now_s - 1190 + 5 * number if number < 238 else now_s - 1
        lines.append((second, "info", f"GET /item/{number} took {number} ms"))
    for number in range(100):
        early = number < 10
        second = now_s - (1100 - 40 * number if early else 500 - 5 * (number - 10))
        lines.append((second, "error", f"cannot reach 10.0.0.{number}: timed out"))
    lines += [(now_s - 30 - n, "warn", f"disk sd{'ab'[n % 2]}{n} is {n} % full") for n in range(30)]
    lines += [(now_s - 700 - n, "info", f"cache warmed in {n} s") for n in range(20)]
    streams = [
        {
            "stream": {"service_name": "shop", "level": level},
            "values": [
                [str(second * SECOND_NS), line] for second, of, line in lines if of == level
            ],
        }
        for level in ("info", "warn", "error")
    ]
    answer = server.request(
        "/loki/api/v1/push",
        method="POST",
        body=json.dumps({"streams": streams}).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 204, answer.text


def window(now_s: int) -> dict[str, str]:
    return {"from": str(now_s - WINDOW_S), "to": str(now_s + 1)}


def ask(server: Server, path: str = PATH, **parameters: str) -> Any:
    answer = server.request(path, parameters)
    assert answer.status == 200, answer.text
    return answer.json()


def test_patterns_are_compared_with_the_window_before(server: Server, now_s: int) -> None:
    answer = ask(server, **window(now_s))
    found = {pattern["template"]: pattern for pattern in answer["patterns"]}
    statuses = {template: pattern["status"] for template, pattern in found.items()}
    assert statuses == {
        "cannot reach <_>: timed out": "surging",
        "disk sda<_> is <_> % full": "new",
        "disk sdb<_> is <_> % full": "new",
        "cache warmed in <_>": "vanished",
        "GET <_> took <_>": "steady",
    }
    assert answer["patterns"][-1]["status"] == "steady"
    surging = found["cannot reach <_>: timed out"]
    assert (surging["count"], surging["previous_count"], surging["factor"]) == (90, 10, 9)
    assert surging["levels"] == {"error": 90}
    assert surging["services"] == {"shop": 90}
    assert surging["holes"] == [{"name": "reach", "type": "ip"}]
    assert sum(surging["counts"]) == 90
    assert surging["sample"]["message"].startswith("cannot reach 10.0.0.")
    assert surging["share"] == 90 / answer["total"]
    total = ask(server, "/api/v1/monitoring/logs", limit="1", **window(now_s))["total"]
    assert answer["total"] == sum(p["count"] for p in answer["patterns"]) == total
    assert answer["previous"]["total"] == 10 + 20 + 118


def test_each_pattern_has_a_query_that_finds_it(server: Server, now_s: int) -> None:
    for pattern in ask(server, compare="none", **window(now_s))["patterns"]:
        assert "status" not in pattern
        logs = "/api/v1/monitoring/logs"
        found = ask(server, logs, query=pattern["query"], limit="1", **window(now_s))["total"]
        assert found >= pattern["count"]


def test_one_pattern_in_detail(server: Server, now_s: int) -> None:
    (pattern,) = ask(server, query="took", **window(now_s))["patterns"]
    detail = ask(server, f"{PATH}/{pattern['id']}", **window(now_s))
    assert detail["count"] == detail["examined"] == pattern["count"]
    route, took = detail["variables"]
    assert (route["type"], route["unique"]) == ("path", pattern["count"])
    assert (took["name"], took["type"]) == ("took", "duration")
    assert took["numbers"]["max"] == pytest.approx(0.239)
    assert len(detail["examples"]) == 10
    assert detail["examples"][0]["message"] == detail["sample"]["message"]
    missing = server.request(f"{PATH}/{'0' * 16}")
    assert missing.status == 404
    assert "no pattern" in missing.text


@pytest.mark.parametrize("parameters", [{"compare": "next"}, {"limit": "0"}, {"step": "0s"}])
def test_wrong_parameters_are_named(server: Server, parameters: dict[str, str]) -> None:
    answer = server.request(PATH, parameters)
    assert answer.status == 400
    assert next(iter(parameters)) in answer.text


def test_the_command_line_shows_a_table(server: Server, now_s: int) -> None:
    command = [sys.executable, "-m", "obsd.cli.main", "logs", "level:error", "--patterns"]
    command += ["--url", server.url, "--from", str(now_s - WINDOW_S), "--to", str(now_s + 1)]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env=os.environ
    )
    heading, line = shown.stdout.splitlines()
    assert heading.split() == ["COUNT", "SHARE", "TREND", "STATUS", "TEMPLATE"]
    assert line.split()[:2] == ["90", "100.0%"]
    assert line.endswith("surging    cannot reach <_>: timed out")
    listed = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(listed.stdout)["status"] == "surging"


def test_ids_outlive_the_server(server: Server, now_s: int) -> None:
    before = [pattern["id"] for pattern in ask(server, **window(now_s))["patterns"]]
    assert server.stop() == 0
    server.start()
    assert [pattern["id"] for pattern in ask(server, **window(now_s))["patterns"]] == before
