"""`obsd serve` as a process: one ready line, one server a directory, and an orderly end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEADLINE_S = 30.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("OBSD_")} | more


def obsd(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "obsd.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=environment(**env),
    )


class Served:
    def __init__(self, process: subprocess.Popen[str], log: Path, ready_line: str) -> None:
        self.process, self._log, self.ready_line = process, log, ready_line
        self.url = ready_line.split()[-1]

    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


@contextmanager
def serve(tmp_path: Path, *arguments: str, listen: str = "127.0.0.1:0") -> Iterator[Served]:
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "obsd.cli.main", "serve", "--listen", listen),
                *("--data-dir", str(tmp_path / "data"), *arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment(),
        )
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield Served(process, log, line)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def wait_for(condition, what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.02)


def test_serve_is_ready_with_one_line_and_exits_0_on_sigterm(tmp_path) -> None:
    with serve(tmp_path) as server:
        assert re.fullmatch(r"obsd \S+ is ready at http://127\.0\.0\.1:\d+\n", server.ready_line)
        assert server.get("/-/ready") == (200, b"obsd is ready\n")
        begun_s = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun_s < 10
        assert server.process.stdout.read() == ""
        assert "msg=stopped" in server.log()
        assert "level=error" not in server.log()


def test_serve_collects_this_host_and_itself(tmp_path) -> None:
    with serve(tmp_path) as server:

        def jobs() -> set[str]:
            _, body = server.get("/api/v1/query?query=up%20==%201")
            return {series["metric"]["job"] for series in json.loads(body)["data"]["result"]}

        wait_for(lambda: jobs() == {"node", "obsd"}, "up to be 1 for both jobs")
        _, body = server.get("/api/v1/query?query=count(node_load1)%20%2B%20count(obsd_ready)")
        assert json.loads(body)["data"]["result"][0]["value"][1] == "2"


def test_no_self_monitoring_stores_nothing(tmp_path) -> None:
    with serve(tmp_path, "--no-self-monitoring") as server:
        _, body = server.get("/api/v1/query?query=up")
        assert json.loads(body)["data"]["result"] == []
        assert b"off" in server.get("/")[1]


def test_a_request_that_has_begun_is_answered_before_the_end(tmp_path) -> None:
    with serve(tmp_path, "--no-self-monitoring") as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
            body = b"half_sent 1\n"
            connection.sendall(
                b"POST /api/v1/import/prometheus HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                % len(body)
                + body[:4]
            )
            # The request is in the handler's hands once a later one was answered.
            assert server.get("/-/ready")[0] == 200
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: "msg=stopping" in server.log(), "the stop to begin")
            connection.sendall(body[4:])
            assert b" 204 " in connection.recv(4096).splitlines()[0]
        assert server.process.wait(DEADLINE_S) == 0
    with serve(tmp_path, "--no-self-monitoring") as server:
        _, body = server.get("/api/v1/query?query=half_sent")
        assert json.loads(body)["data"]["result"][0]["value"][1] == "1"


def test_a_second_signal_stops_at_once(tmp_path) -> None:
    with serve(tmp_path) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
            connection.sendall(
                b"POST /api/v1/import/prometheus HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
            )
            assert server.get("/-/ready")[0] == 200
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: "msg=stopping" in server.log(), "the stop to begin")
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(DEADLINE_S) == 1


def test_a_second_server_on_the_same_directory_is_refused(tmp_path) -> None:
    with serve(tmp_path) as server:
        done = obsd("serve", "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0")
        assert done.returncode == 1
        assert f"another obsd (process {server.process.pid}) uses the data directory" in done.stderr
        assert server.get("/-/ready")[0] == 200


def test_a_port_in_use_is_fatal_and_said(tmp_path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = obsd("serve", "--data-dir", tmp_path / "data", "--listen", address)
    assert done.returncode == 1
    assert f"cannot listen on {address}: Address already in use; stop what" in done.stderr
    assert done.stdout == ""


def test_an_address_of_another_machine_is_not_said_to_be_in_use(tmp_path) -> None:
    # 192.0.2.0/24 is for documentation: no machine has it.
    done = obsd("serve", "--data-dir", tmp_path / "data", "--listen", "192.0.2.1:6273")
    assert done.returncode == 1
    assert "name another address with --listen" in done.stderr
    assert "stop what" not in done.stderr


def test_an_answer_that_cannot_be_written_is_a_sentence(tmp_path) -> None:
    with serve(tmp_path, "--no-self-monitoring") as server, Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "obsd.cli.main", "query", "1", "--url", server.url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    assert done.returncode == 1
    assert done.stderr == "obsd: cannot write the answer: No space left on device\n"


def test_damage_that_keeps_the_server_from_starting_is_said_with_a_way_out(tmp_path) -> None:
    with serve(tmp_path, "--no-self-monitoring") as server:
        assert server.stop() == 0
    [registry] = (tmp_path / "data").rglob("metrics/series")
    registry.write_bytes(b"not a registry at all")
    done = obsd("serve", "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0")
    assert done.returncode == 1
    assert f"obsd: corrupt {registry}: " in done.stderr
    assert "'obsd doctor' shows what else is damaged" in done.stderr


def test_files_of_others_in_the_data_directory_are_said_to_be(tmp_path) -> None:
    metrics = tmp_path / "data" / "projects" / "default" / "metrics"
    metrics.mkdir(parents=True)
    (metrics / "wal").write_text("somebody's notes")
    done = obsd("serve", "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0")
    assert done.returncode == 1
    assert "the data directory holds files that are not obsd's; 'obsd doctor'" in done.stderr
    assert "Errno" not in done.stderr


def test_beyond_loopback_a_token_is_printed_once_and_asked_for(tmp_path) -> None:
    # 0.0.0.0 counts as beyond loopback, though this test speaks to it over loopback only.
    listen = f"0.0.0.0:{free_port()}"
    with serve(tmp_path, "--no-self-monitoring", listen=listen) as server:
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        [token] = re.findall(r"obsd_[\w-]{40,}", server.log())
        assert server.get("/-/ready")[0] == 200
        assert server.get("/metrics")[0] == 401
        assert server.get("/metrics", Authorization=f"Bearer {token}")[0] == 200
        query = ("query", "1", "--url", server.url)
        refused = obsd(*query)
        assert refused.returncode == 1
        assert "a token is needed" in refused.stderr
        assert "set OBSD_TOKEN" in refused.stderr
        assert obsd(*query, OBSD_TOKEN=token).returncode == 0
        page = server.get("/", Authorization=f"Bearer {token}")[1].decode()
        assert page.count('-H "Authorization: Bearer $OBSD_TOKEN"') == 3
        assert "credentials: TOKEN" in page
        assert token not in page
        assert server.stop() == 0
    with serve(tmp_path, "--no-self-monitoring", listen=listen) as server:
        assert "obsd_" not in server.log()
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert server.get("/metrics", Authorization=f"Bearer {token}")[0] == 200


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("serve", "--listen", "6273"), "expected HOST:PORT"),
        (("serve", "--retention", "soon"), "--retention: storage.retention"),
        (("serve", "--receivers", "statsd"), "not in this version"),
        (("serve", "--config", "/absent.yml"), "No such file"),
        (
            (
                "serve",
                "--nonsense",
            ),
            "No such option",
        ),
        (("sevre",), "there is no command 'sevre'; did you mean 'serve'?"),
        (("xyz",), "there is no command 'xyz'; known: config, doctor, logs, query, serve"),
        (("config", "validate", "--log-level", "loud"), "log.level"),
    ],
)
def test_wrong_usage_exits_2_and_says_why(arguments, text: str) -> None:
    done = obsd(*arguments)
    assert done.returncode == 2
    assert text in done.stderr


def test_version_is_quick_and_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['obsd', '--version']\n"
        "from obsd.cli.main import main\n"
        "main()\n"
        "heavy = {'click', 'aiohttp', 'numpy', 'yaml', 'rich', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"obsd \d+\.\d+\.\d+\n", done.stdout)


def test_help_lists_the_commands_without_importing_them() -> None:
    script = (
        "import sys; sys.argv = ['obsd', '--help']\n"
        "from obsd.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'aiohttp', 'numpy', 'yaml', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("serve", "query", "config", "doctor"):
        assert name in done.stdout
