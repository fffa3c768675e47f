"""Logs through the OpenTelemetry SDK, Loki pushes and JSON lines into a real server, and back."""

from __future__ import annotations

import gzip
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cramjam
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from tests.e2e.processes import Server, free_port, obsd_server, running

PATH = "/api/v1/monitoring/logs"
RECORDS = 200
EVERY_SLOW = 10


@pytest.fixture(scope="module")
def otlp_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, otlp_port: int) -> Iterator[Server]:
    listen = {"OBSD_SERVER__OTLP_HTTP_LISTEN": f"127.0.0.1:{otlp_port}"}
    directory = tmp_path_factory.mktemp("logs")
    with running(obsd_server(directory, "--receivers", "default", environment=listen)) as obsd:
        yield obsd


def search(server: Server, query: str, project: str = "default", **parameters: str) -> Any:
    answer = server.request(
        PATH, {"query": query, **parameters}, headers={"X-Scope-OrgID": project}
    )
    assert answer.status == 200, answer.text
    return answer.json()


def total(server: Server, query: str, project: str) -> int:
    page = search(server, query, project)
    assert page["total_exact"]
    return page["total"]


def send_with_sdk(port: int, project: str, compression: Compression) -> str:
    """RECORDS records of the service `shop`; returns the id of the trace of the last one."""
    exporter = OTLPLogExporter(
        f"http://127.0.0.1:{port}/v1/logs",
        headers={"X-Scope-OrgID": project},
        compression=compression,
    )
    provider = LoggerProvider(Resource.create({"service.name": "shop", "host.name": "h1"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = logging.getLogger(f"shop.{project}")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    handler = LoggingHandler(logger_provider=provider)
    logger.addHandler(handler)
    for number in range(RECORDS):
        level = logging.ERROR if number % EVERY_SLOW == 0 else logging.INFO
        extra = {"duration": float(number), "path": f"/item/{number % 4}", "ok": number % 2 == 0}
        logger.log(
            level, "order %d was %s", number, "refused" if number % 5 == 0 else "taken", extra=extra
        )
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        try:
            raise ValueError("no such coupon")
        except ValueError:
            logger.exception("checkout failed")
        trace_id = f"{span.get_span_context().trace_id:032x}"
    assert provider.force_flush()
    logger.removeHandler(handler)
    provider.shutdown()
    return trace_id


@pytest.mark.parametrize(
    "compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate]
)
def test_the_opentelemetry_sdk_sends_and_every_record_is_found(
    server: Server, otlp_port: int, compression: Compression
) -> None:
    project = f"sdk-{compression.value}"
    # Its default port, and the main one, each to a project of its own.
    for port, suffix in ((otlp_port, "a"), (server.port, "b")):
        name = f"{project}-{suffix}"
        trace_id = send_with_sdk(port, name, compression)
        # Every count follows from how the records were made.
        assert total(server, "", name) == RECORDS + 1
        assert total(server, "service:shop", name) == RECORDS + 1
        assert total(server, "level:error", name) == RECORDS // EVERY_SLOW + 1
        assert total(server, "level:info", name) == RECORDS - RECORDS // EVERY_SLOW
        assert total(server, "refused", name) == RECORDS // 5
        assert (
            total(server, '"was refused" level:info', name) == RECORDS // 5 - RECORDS // EVERY_SLOW
        )
        assert total(server, "path:/item/3", name) == RECORDS // 4
        assert total(server, "path:/item/* -path:/item/3", name) == RECORDS * 3 // 4
        assert total(server, "duration:>=150", name) == RECORDS - 150
        assert total(server, "duration:[10 TO 20}", name) == 10
        assert total(server, "ok:true refused", name) == RECORDS // 10
        assert total(server, "/order 1\\d was/", name) == 10
        assert total(server, "order 17", name) == 1
        assert total(server, "host.name:h1", name) == RECORDS + 1
        [failed] = search(server, trace_id, name)["logs"]
        assert failed["message"] == "checkout failed"
        assert failed["level"] == "error"
        assert failed["attributes"]["exception.type"] == "ValueError"
        assert "no such coupon" in failed["attributes"]["exception.stacktrace"]
        [first] = search(server, "order 7", name)["logs"]
        assert first["attributes"]["duration"] == 7.0
        assert first["attributes"]["ok"] is False


def test_pages_by_cursor_give_every_record_once(server: Server, otlp_port: int) -> None:
    send_with_sdk(otlp_port, "pages", Compression.Gzip)
    for order in ("desc", "asc"):
        seen: list[str] = []
        times: list[str] = []
        cursor = ""
        while True:
            page = search(server, "order", "pages", limit="33", order=order, cursor=cursor)
            assert page["total"] == RECORDS
            seen += [entry["message"] for entry in page["logs"]]
            times += [entry["timestamp"] for entry in page["logs"]]
            cursor = page["next_cursor"]
            if not cursor:
                break
        assert len(seen) == len(set(seen)) == RECORDS
        assert times == sorted(times, reverse=order == "desc")


def test_aggregates_and_fields_count_exactly(server: Server, otlp_port: int) -> None:
    send_with_sdk(otlp_port, "counts", Compression.Gzip)
    headers = {"X-Scope-OrgID": "counts"}
    by_level = server.request(PATH + "/aggregate", {"by": "level"}, headers=headers).json()
    errors = RECORDS // EVERY_SLOW + 1
    assert {row["value"]: row["total"] for row in by_level["series"]} == {
        "error": errors,
        "info": RECORDS + 1 - errors,
    }
    for row in by_level["series"]:
        assert len(row["counts"]) == len(by_level["timestamps"])
        assert sum(row["counts"]) == row["total"]
    paths = server.request(PATH + "/fields", {"field": "path"}, headers=headers).json()
    assert paths["values"] == [{"value": f"/item/{n}", "count": RECORDS // 4} for n in range(4)]
    fields = server.request(PATH + "/fields", {"query": "refused"}, headers=headers).json()
    counts = {field["name"]: field["count"] for field in fields["fields"]}
    assert counts["path"] == counts["duration"] == RECORDS // 5


def test_loki_pushes_in_json_and_in_protobuf(server: Server) -> None:
    now_ns = time.time_ns()
    headers = {"X-Scope-OrgID": "loki"}
    body = json.dumps(
        {
            "streams": [
                {
                    "stream": {"app": "web", "level": "warn"},
                    "values": [
                        [str(now_ns + i), f"slow query {i}", {"db": "d1"}] for i in range(5)
                    ],
                }
            ]
        }
    ).encode()
    answer = server.request(
        "/loki/api/v1/push",
        method="POST",
        body=gzip.compress(body),
        headers={**headers, "Content-Type": "application/json", "Content-Encoding": "gzip"},
    )
    assert (answer.status, answer.body) == (204, b"")
    answer = server.request(
        "/loki/api/v1/push",
        method="POST",
        body=loki_protobuf('{job="cron", host="h\\"2"}', now_ns, "backup done"),
        headers={**headers, "Content-Type": "application/x-protobuf"},
    )
    assert (answer.status, answer.body) == (204, b"")
    assert total(server, "service:web level:warn db:d1", "loki") == 5
    assert total(server, '"slow query 3"', "loki") == 1
    [record] = search(server, 'host:"h\\"2"', "loki")["logs"]
    assert (record["service"], record["message"]) == ("cron", "backup done")


def loki_protobuf(labels: str, time_ns: int, line: str) -> bytes:
    def message(number: int, content: bytes) -> bytes:
        assert len(content) < 128
        return bytes([number << 3 | 2, len(content)]) + content

    def varint(value: int) -> bytes:
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    moment = b"\x08" + varint(time_ns // 10**9) + b"\x10" + varint(time_ns % 10**9)
    entry = message(1, moment) + message(2, line.encode())
    request = message(1, message(1, labels.encode()) + message(2, entry))
    return bytes(cramjam.snappy.compress_raw(request))


def test_json_lines_keep_types_and_survive_a_kill(tmp_path: Path) -> None:
    obsd = obsd_server(tmp_path, "--no-self-monitoring")
    with running(obsd):
        lines = [
            json.dumps({"level": "error", "msg": f"job {n} failed", "attempt": n, "tags": ["a", n]})
            for n in range(50)
        ]
        answer = obsd.request("/ingest/jsonline", method="POST", body="\n".join(lines).encode())
        assert answer.json() == {"accepted": 50, "rejected": 0, "errors": []}
        obsd.kill()
        obsd.start()
        assert total(obsd, "level:error failed", "default") == 50
        assert total(obsd, "attempt:>=40", "default") == 10
        assert total(obsd, "tags:7", "default") == 1
        [record] = search(obsd, "attempt:7")["logs"]
        assert record["attributes"] == {"attempt": 7, "tags": ["a", 7]}
        assert obsd.request("/api/v1/admin/flush", method="POST").status == 204
        assert total(obsd, "level:error failed", "default") == 50
        assert search(obsd, "attempt:7")["logs"] == [record]
        assert obsd.stop() == 0
        obsd.start()
        assert search(obsd, "attempt:7")["logs"] == [record]
        metrics = obsd.request("/metrics").text.splitlines()
        assert 'obsd_log_segment_records{project="default"} 50.0' in metrics


def obsd_logs(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "obsd.cli.main", "logs", *arguments, "--url", server.url],
        capture_output=True,
        text=True,
        env=os.environ | {"TZ": "UTC"},
        timeout=60,
        check=False,
    )


def test_obsd_logs_prints_finds_and_points_at_errors(server: Server) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lines = [
        {"time": now, "level": "info", "service": "kitchen", "msg": "kettle boils", "litres": 1.5},
        {"time": now, "level": "fatal", "service": "kitchen", "msg": "\x1b[2J fire\nrun"},
    ]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    headers = {"X-Scope-OrgID": "cli"}
    assert (
        server.request("/ingest/jsonline", method="POST", body=body, headers=headers).status == 200
    )

    plain = obsd_logs(server, "service:kitchen", "--project", "cli", "--since", "10m")
    assert (plain.returncode, plain.stderr) == (0, "")
    moment = now.replace("T", " ").replace("Z", ".000")
    assert plain.stdout.splitlines() == [
        f"{moment} INFO  kitchen kettle boils litres=1.5",
        f"{moment} FATAL kitchen \\x1b[2J fire",
        "    run",
    ]
    as_json = obsd_logs(server, "kettle", "--project", "cli", "--json")
    assert json.loads(as_json.stdout)["attributes"] == {"litres": 1.5}
    chosen = obsd_logs(server, "kettle", "--project", "cli", "--fields", "level,litres,nothing")
    assert chosen.stdout == "info  1.5  -\n"
    cut = obsd_logs(server, "--project", "cli", "--limit", "1")
    assert len(cut.stdout.splitlines()) in (1, 2)
    assert "the newest 1 of 2 records" in cut.stderr

    wrong = obsd_logs(server, "service:a level:urgent")
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    first, query, caret = wrong.stderr.splitlines()
    assert first.startswith('obsd: parse error: there is no level "urgent", expected one of')
    assert query == "  service:a level:urgent"
    assert caret.index("^") == query.index("urgent")


def test_a_port_in_use_is_reported_and_left_out(
    server: Server, otlp_port: int, tmp_path: Path
) -> None:
    listen = {"OBSD_SERVER__OTLP_HTTP_LISTEN": f"127.0.0.1:{otlp_port}"}
    second = obsd_server(tmp_path, "--receivers", "default", environment=listen)
    with running(second):
        assert (
            second.request(
                "/v1/logs", method="POST", body=b"{}", headers={"Content-Type": "application/json"}
            ).status
            == 200
        )
        log = second.log.read_text()
    assert "receiver left out" in log
    assert f"cannot listen on 127.0.0.1:{otlp_port}" in log
