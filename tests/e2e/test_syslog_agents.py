"""Syslog from the real rsyslog, syslog-ng, logger and Python's handlers into a real server."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from rfc5424logging import FRAMING_OCTET_COUNTING, Rfc5424SysLogHandler

from tests.e2e.certificates import make_certificates
from tests.e2e.processes import free_port, installed, obsd_server, running, wait_until
from tests.e2e.syslog_lab import PATH, TIMEOUT_S, Syslog, syslog_server

MESSAGES = 200
UNPACKED = Path(__file__).parents[2] / "build/peers/syslog-ng"


@pytest.fixture(scope="module")
def syslog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Syslog]:
    with syslog_server(tmp_path_factory.mktemp("syslog")) as running_server:
        yield running_server


@contextlib.contextmanager
def daemon(
    command: list[str], directory: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A program in the foreground, from when it listens until the block ends."""
    output = directory / "daemon.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | dict(environment or {})
        )
        try:

            def is_ready() -> bool:
                if process.poll() is not None:
                    pytest.fail(output.read_text())
                return accepts(port)

            wait_until(is_ready, f"{command[0]} listens", TIMEOUT_S)
            yield
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


@contextlib.contextmanager
def rsyslogd(directory: Path, action: str) -> Iterator[int]:
    """Debian's rsyslog, which forwards what comes to the TCP port that is given."""
    port = free_port()
    configuration = directory / "rsyslog.conf"
    configuration.write_text(
        f'global(workDirectory="{directory}")\n'
        'module(load="imtcp")\n'
        f'input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="out")\n'
        f'ruleset(name="out") {{ {action} }}\n'
    )
    command = [
        *(installed("rsyslogd", "rsyslog"), "-n", "-f", str(configuration)),
        *("-i", str(directory / "rsyslog.pid")),
    ]
    with daemon(command, directory, port):
        yield port


@contextlib.contextmanager
def syslog_ng(directory: Path, destination: str) -> Iterator[int]:
    """Debian's syslog-ng, the same; scripts/peers.sh unpacks it beside the system's logger."""
    port = free_port()
    program = shutil.which("syslog-ng")
    environment: dict[str, str] = {}
    modules: list[str] = []
    if program is None:
        program = str(UNPACKED / "usr/sbin/syslog-ng")
        if not Path(program).exists():
            pytest.fail("syslog-ng is not there, and this test runs the real one: make peers")
        [library] = UNPACKED.rglob("libsyslog-ng-*.so.0")
        [module] = UNPACKED.rglob("libafsocket.so")
        environment["LD_LIBRARY_PATH"] = str(library.parent)
        modules = ["--module-path", str(module.parent)]
    configuration = directory / "syslog-ng.conf"
    configuration.write_text(
        "@version: 3.38\n"
        "options { keep-hostname(yes); frac-digits(6); };\n"
        f'source s {{ syslog(ip("127.0.0.1") transport("tcp") port({port})); }};\n'
        f"destination d {{ {destination} }};\n"
        "log { source(s); destination(d); };\n"
    )
    command = [
        *(program, "--foreground", "-f", str(configuration), *modules),
        *("-R", str(directory / "persist"), "-p", str(directory / "ng.pid")),
        *("-c", str(directory / "control")),
    ]
    with daemon(command, directory, port, environment):
        yield port


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def feed(port: int, tag: str, count: int = MESSAGES) -> None:
    """Messages to a relay: RFC 5424, counted, a second apart so that their order is known."""
    start = int(time.time()) - count
    with socket.create_connection(("127.0.0.1", port)) as relay:
        for number in range(count):
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start + number))
            priority = 131 if number % 10 == 0 else 134  # local0.err, local0.info
            message = (
                f'<{priority}>1 {moment}.25Z web-1 {tag} 4711 REQ [meta@1 n="{number}"]'
                f" line {number} of {tag}"
            )
            relay.sendall(f"{len(message)} {message}".encode())


def check(syslog: Syslog, tag: str, *, is_full: bool) -> None:
    """Everything that was fed to the relay is there, and means what it meant."""
    records = syslog.wait_for(f"service:{tag}", MESSAGES)
    assert [record["message"] for record in records] == [
        f"line {number} of {tag}" for number in range(MESSAGES)
    ]
    assert len(syslog.logs(f"service:{tag} level:error")) == MESSAGES // 10
    assert len(syslog.logs(f"service:{tag} level:info")) == MESSAGES * 9 // 10
    for number, record in enumerate(records):
        resource = {"host": "web-1", "app": tag, "service.name": tag, "facility": "local0"}
        assert record["resource"] == resource
        assert record["severity_text"] == ("err" if number % 10 == 0 else "info")
        assert record["attributes"]["procid"] == "4711"
        if is_full:
            assert record["attributes"]["msgid"] == "REQ"
            assert record["attributes"]["sd_meta@1_n"] == str(number)
            assert ".25" in record["timestamp"]


RSYSLOG_FULL = 'template="RSYSLOG_SyslogProtocol23Format"'
RSYSLOG_ACTIONS = {
    "rsyslog-udp": ('protocol="udp" template="RSYSLOG_ForwardFormat"', False),
    "rsyslog-tcp": ('protocol="tcp" template="RSYSLOG_TraditionalForwardFormat"', False),
    "rsyslog-tcp-5424": (f'protocol="tcp" {RSYSLOG_FULL}', True),
    "rsyslog-counted": (f'protocol="tcp" TCP_Framing="octet-counted" {RSYSLOG_FULL}', True),
}


@pytest.mark.parametrize("tag", RSYSLOG_ACTIONS)
def test_rsyslog_forwards(syslog: Syslog, tmp_path: Path, tag: str) -> None:
    options, is_full = RSYSLOG_ACTIONS[tag]
    action = f'action(type="omfwd" target="127.0.0.1" port="{syslog.port}" {options})'
    with rsyslogd(tmp_path, action) as port:
        feed(port, tag)
        check(syslog, tag, is_full=is_full)


def test_rsyslog_forwards_over_tls(syslog: Syslog, tmp_path: Path) -> None:
    action = (
        f'action(type="omfwd" target="127.0.0.1" port="{syslog.tls_port}" protocol="tcp"'
        f' TCP_Framing="octet-counted" {RSYSLOG_FULL} StreamDriver="ossl" StreamDriverMode="1"'
        ' StreamDriverAuthMode="x509/certvalid"'
        f' StreamDriver.CAFile="{syslog.certificates.authority}")'
    )
    with rsyslogd(tmp_path, action) as port:
        feed(port, "rsyslog-tls")
        check(syslog, "rsyslog-tls", is_full=True)


SYSLOG_NG_DESTINATIONS = {
    "ng-network-tcp": 'network("127.0.0.1" transport("tcp") port(PORT));',
    "ng-network-udp": 'network("127.0.0.1" transport("udp") port(PORT));',
    "ng-syslog-tcp": 'syslog("127.0.0.1" transport("tcp") port(PORT));',
    "ng-syslog-udp": 'syslog("127.0.0.1" transport("udp") port(PORT));',
    "ng-syslog-tls": 'syslog("127.0.0.1" transport("tls") port(PORT) tls(ca-file("CA")));',
    "ng-network-5424": 'network("127.0.0.1" transport("tcp") port(PORT) flags(syslog-protocol));',
}


@pytest.mark.parametrize("tag", SYSLOG_NG_DESTINATIONS)
def test_syslog_ng_forwards(syslog: Syslog, tmp_path: Path, tag: str) -> None:
    port = syslog.tls_port if "tls" in tag else syslog.port
    destination = SYSLOG_NG_DESTINATIONS[tag].replace("PORT", str(port))
    destination = destination.replace("CA", str(syslog.certificates.authority))
    with syslog_ng(tmp_path, destination) as relay_port:
        feed(relay_port, tag)
        check(syslog, tag, is_full="syslog" in tag or "5424" in tag)


LOGGER_FORMS = {
    "logger-udp-3164": ("--udp", "--rfc3164"),
    "logger-udp-5424": ("--udp", "--rfc5424"),
    "logger-tcp-3164": ("--tcp", "--rfc3164"),
    "logger-tcp-5424": ("--tcp", "--rfc5424"),
    "logger-counted": ("--tcp", "--octet-count", "--rfc5424"),
}


@pytest.mark.parametrize("tag", LOGGER_FORMS)
def test_logger_sends(syslog: Syslog, tag: str) -> None:
    subprocess.run(
        [
            *(installed("logger", "bsdutils"), "--server", "127.0.0.1", "--port", str(syslog.port)),
            *(*LOGGER_FORMS[tag], "--tag", tag, "--id=99", "--priority", "cron.warning"),
            "backup took 12 s",
        ],
        check=True,
        timeout=30,
    )
    [record] = syslog.wait_for(f"service:{tag}", 1)
    assert record["message"] == "backup took 12 s"
    assert (record["level"], record["severity_text"]) == ("warn", "warning")
    assert record["resource"]["facility"] == "cron"
    assert record["resource"]["host"] == socket.gethostname().partition(".")[0]
    assert record["attributes"]["procid"] == "99"


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_pythons_own_handler_sends(syslog: Syslog, kind: socket.SocketKind) -> None:
    handler = logging.handlers.SysLogHandler(
        ("127.0.0.1", syslog.port), logging.handlers.SysLogHandler.LOG_LOCAL3, kind
    )
    name = f"python-{kind.name}".lower()
    handler.ident = f"{name}: "
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.addHandler(handler)
    for number in range(20):
        logger.error("payment %d refused: größer als €5", number)
    logger.removeHandler(handler)
    handler.close()
    records = syslog.wait_for(f"service:{name}", 20)
    assert [record["message"] for record in records] == [
        f"payment {number} refused: größer als €5" for number in range(20)
    ]
    for record in records:
        assert record["level"] == "error"
        # It says nothing of its host, so this is where it came from.
        assert record["resource"]["host"] == "127.0.0.1"
        assert record["resource"]["facility"] == "local3"


def test_the_handler_for_rfc_5424_sends(syslog: Syslog) -> None:
    handler = Rfc5424SysLogHandler(
        address=("127.0.0.1", syslog.port),
        socktype=socket.SOCK_STREAM,
        framing=FRAMING_OCTET_COUNTING,
        appname="python-5424",
        hostname="web-9",
        procid="77",
        enterprise_id=32473,
    )
    logger = logging.getLogger("python-5424")
    logger.propagate = False
    logger.addHandler(handler)
    extra = {
        "msgid": "PAY",
        "structured_data": {"order": {"id": "17", "note": 'a "quote", a \\ and a ]'}},
    }
    logger.warning("refused\nfor good", extra=extra)
    logger.removeHandler(handler)
    handler.close()
    [record] = syslog.wait_for("service:python-5424", 1)
    assert record["message"] == "refused\nfor good"
    assert record["resource"]["host"] == "web-9"
    attributes = record["attributes"]
    assert (attributes["procid"], attributes["msgid"]) == ("77", "PAY")
    assert attributes["sd_order@32473_id"] == "17"
    assert attributes["sd_order@32473_note"] == 'a "quote", a \\ and a ]'


def test_a_stream_may_mix_its_frames(syslog: Syslog) -> None:
    counted = b"<14>1 - - mixed - - - counted\nof two lines\n"
    stream = b"".join(
        (
            b"<14>1 - - mixed - - - line\n",
            b"%d %s" % (len(counted), counted),
            b"<14>1 - - mixed - - - CRLF\r\n",
            b"<14>1 - - mixed - - - NUL\0",
            b"300000 %s" % (b"x" * 300_000),
            b"<14>1 - - mixed - - - last, without an end",
        )
    )
    too_large = syslog.counter("obsd_receiver_dropped_total", receiver="syslog", reason="too_large")
    with socket.create_connection(("127.0.0.1", syslog.port)) as sender:
        sender.sendall(stream)
    records = syslog.wait_for("service:mixed", 5)
    assert [record["message"] for record in records] == [
        "line",
        "counted\nof two lines",
        "CRLF",
        "NUL",
        "last, without an end",
    ]
    name = "obsd_receiver_dropped_total"
    assert syslog.counter(name, receiver="syslog", reason="too_large") == too_large + 1


def test_what_is_no_length_closes_the_connection(syslog: Syslog) -> None:
    with socket.create_connection(("127.0.0.1", syslog.port)) as sender:
        sender.settimeout(TIMEOUT_S)
        sender.sendall(b"<14>1 - - garbage - - - before\n12abc <14>after\n")
        assert sender.recv(1) == b""  # Closed, and nothing was said.
    [record] = syslog.wait_for("service:garbage", 1)
    assert record["message"] == "before"


def test_bytes_of_any_kind_are_kept(syslog: Syslog) -> None:
    malformed = syslog.counter("obsd_receiver_malformed_total", receiver="syslog")
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", syslog.port))
        sender.send(b"zebra without a priority")
        sender.send(b"<999>zebra with a bad one")
        sender.send(b"<14>zebra \xff\xfe")
        sender.send(b"<14>zebra " + b"x" * 60_000)
    records = syslog.wait_for("zebra", 4)
    messages = {record["message"] for record in records}
    assert messages == {
        "zebra without a priority",
        "<999>zebra with a bad one",
        "zebra \ufffd\ufffd",
        "zebra " + "x" * 60_000,
    }
    assert syslog.counter("obsd_receiver_malformed_total", receiver="syslog") == malformed + 2


def test_a_burst_of_streams_is_whole(syslog: Syslog) -> None:
    count, senders = 2_000, 5
    streams = []
    for sender in range(senders):
        streams.append(socket.create_connection(("127.0.0.1", syslog.port)))
        lines = (f"<14>1 - h burst {sender} - - number {n}" for n in range(count))
        streams[-1].sendall("\n".join(lines).encode() + b"\n")
    for stream in streams:
        stream.close()

    def total() -> int:
        answer = syslog.server.request(PATH, {"query": "service:burst", "limit": "1"})
        return int(answer.json()["total"])

    wait_until(lambda: total() >= count * senders, "the burst is there", TIMEOUT_S)
    assert total() == count * senders
    for sender in range(senders):
        answer = syslog.server.request(
            PATH, {"query": f"service:burst procid:{sender}", "limit": "1000", "order": "asc"}
        )
        assert answer.json()["total"] == count
        messages = [record["message"] for record in answer.json()["logs"]]
        assert messages == [f"number {number}" for number in range(1000)]  # In order of arrival.


def test_senders_may_have_to_show_a_certificate(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    port = free_port()
    obsd = obsd_server(
        tmp_path, "--receivers", "syslog-tls", "--no-self-monitoring",
        environment={
            "OBSD_SERVER__SYSLOG_TLS_LISTEN": f"127.0.0.1:{port}",
            **certificates.environment(asks_clients=True),
        },
    )  # fmt: skip
    with running(obsd):
        known = Syslog(obsd, 0, port, certificates)
        context = ssl.create_default_context(cafile=str(certificates.authority))
        plain = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        with (
            contextlib.closing(plain),
            contextlib.suppress(ssl.SSLError, ConnectionError),
            context.wrap_socket(plain, server_hostname="localhost") as sender,
        ):
            # With TLS 1.3 the refusal comes after the handshake.
            sender.sendall(b"<14>1 - - stranger - - - hello\n")
            assert sender.recv(1) == b"", "the connection stayed open"
        context.load_cert_chain(certificates.client, certificates.client_key)
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sender,
        ):
            sender.sendall(b"<14>1 - - friend - - - hello\n")
            known.wait_for("service:friend", 1)
        assert known.logs("service:stranger") == []


def test_a_certificate_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    obsd = obsd_server(
        tmp_path, "--receivers", "syslog-tls,fluent-tls", "--no-self-monitoring",
        environment={
            "OBSD_SERVER__SYSLOG_TLS_LISTEN": f"127.0.0.1:{free_port()}",
            "OBSD_SERVER__FLUENT_TLS_LISTEN": f"127.0.0.1:{free_port()}",
            "OBSD_SERVER__TLS_CERT": str(tmp_path / "none.pem"),
        },
    )  # fmt: skip
    with running(obsd):
        assert obsd.log.read_text().count("cannot use the certificate and key of") == 2


def test_what_has_come_is_written_at_the_end(tmp_path: Path) -> None:
    port = free_port()
    obsd = obsd_server(
        tmp_path, "--receivers", "syslog", "--no-self-monitoring",
        environment={"OBSD_SERVER__SYSLOG_LISTEN": f"127.0.0.1:{port}"},
    )  # fmt: skip
    with running(obsd):
        known = Syslog(obsd, port, 0, make_certificates(tmp_path))
        with socket.create_connection(("127.0.0.1", port)) as sender:
            sender.sendall(b"<14>1 - - ending - - - one\n<14>1 - - ending - - - two")
            received = "obsd_receiver_messages_total"
            wait_until(lambda: known.counter(received, receiver="syslog") == 1, "it came", 10)
            assert obsd.stop() == 0
        obsd.start()
        messages = [record["message"] for record in known.wait_for("service:ending", 2)]
        assert messages == ["one", "two"]
