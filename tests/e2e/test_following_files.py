"""Files that real writers rotate, and a real journal, followed by a real server."""

from __future__ import annotations

import gzip
import json
import logging
import logging.handlers
import shutil
import subprocess
import time
from pathlib import Path

from tests.e2e.processes import Server, installed, obsd_server, running, wait_until

PATH = "/api/v1/monitoring/logs"
JOURNAL_REMOTE = "/lib/systemd/systemd-journal-remote"
LINES = 2_000


def follower(directory: Path, **files: str) -> Server:
    environment = {f"OBSD_FILES__{name.upper()}": value for name, value in files.items()}
    return obsd_server(directory, "--receivers", "files,journal", environment=environment)


def total(server: Server, query: str) -> int:
    answer = server.request(PATH, {"query": query, "from": "2020-01-01T00:00:00Z", "limit": "1"})
    assert answer.status == 200, answer.text
    return answer.json()["total"]


def wait_for(server: Server, query: str, count: int) -> None:
    wait_until(lambda: total(server, query) >= count, f"{count} records of {query}", 20)
    assert total(server, query) == count


def test_each_line_of_a_rotated_file_is_stored_once_across_restarts(tmp_path: Path) -> None:
    """Python's own rotation, while obsd follows, is stopped, is killed and starts again."""
    path = tmp_path / "shop.log"
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=20_000, backupCount=50)
    logger = logging.getLogger("rotated")
    logger.propagate = False
    logger.addHandler(handler)
    server = follower(tmp_path, paths=f"{tmp_path}/shop.log*")
    number = 0
    for kill in (False, True, False):
        with running(server):
            for _ in range(LINES):
                logger.warning("order number%06d", number)
                number += 1
            wait_until(lambda n=number: total(server, "order") >= n, f"{number} lines", 20)
            if kill:
                wait_until(lambda: checkpointed(tmp_path), "the places are noted", 20)
                server.kill()
    handler.close()
    with running(server):
        for each in (0, LINES, number - 1):
            wait_for(server, f"number{each:06d}", 1)
        assert total(server, "order") == number
        assert total(server, "service:shop") == number


def checkpointed(directory: Path) -> bool:
    """Whether the checkpoint has every byte of every file."""
    checkpoint = directory / "obsd" / "followed_files.json"
    if not checkpoint.exists():
        return False
    places = json.loads(checkpoint.read_bytes())["places"]
    noted = {(place["device"], place["inode"], place["offset"]) for place in places}
    stats = [path.stat() for path in directory.glob("shop.log*")]
    return all((stat.st_dev, stat.st_ino, stat.st_size) in noted for stat in stats)


def test_stack_traces_and_compressed_files_are_taken(tmp_path: Path) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    trace = (
        f"{now} ERROR checkout failed\n"
        "Traceback (most recent call last):\n"
        '  File "/app/shop.py", line 12, in reserve\n'
        "    raise OutOfStock(item)\n"
        "shop.OutOfStock: item 7\n"
    )
    (tmp_path / "web").mkdir()
    with gzip.open(tmp_path / "web" / "access.log.1.gz", "wt") as file:
        file.write("".join(f"archived line {number}\n" for number in range(500)))
    (tmp_path / "api.log").write_text(f"{now} INFO start\n{trace}{now} INFO next\n")
    paths = f"{tmp_path}/*.log,{tmp_path}/web/*"
    with running(follower(tmp_path, paths=paths)) as server:
        wait_for(server, "archived service:web", 500)
        wait_for(server, "service:api", 3)
        [found] = server.request(PATH, {"query": "checkout"}).json()["logs"]
        assert found["message"].rstrip("\n").endswith("shop.OutOfStock: item 7")
        assert found["level"] == "error"


def test_a_journal_is_followed_from_where_it_was_left(tmp_path: Path) -> None:
    installed(JOURNAL_REMOTE, "systemd-journal-remote")
    journal = tmp_path / "journal"
    journal.mkdir()
    write_journal(journal, "one", 3)
    server = follower(tmp_path, journal="true", journal_directory=str(journal))
    with running(server):
        wait_for(server, "service:shop level:error one", 3)
        write_journal(journal, "two", 2)
        wait_for(server, "service:shop two", 2)
        cursor = tmp_path / "obsd" / "journal_cursor"
        before = cursor.read_text()
    with running(server):
        write_journal(journal, "three", 4)
        wait_for(server, "three", 4)
        wait_until(lambda: cursor.read_text() != before, "the cursor is noted", 20)
        assert [total(server, word) for word in ("one", "two", "three")] == [3, 2, 4]


def write_journal(directory: Path, word: str, count: int) -> None:
    now_us = time.time_ns() // 1_000
    entries = "".join(
        f"__REALTIME_TIMESTAMP={now_us + number}\n_HOSTNAME=h1\n_SYSTEMD_UNIT=shop.service\n"
        f"PRIORITY=3\nMESSAGE={word} {number}\n\n"
        for number in range(count)
    )
    temporary = directory.parent / f"{word}.journal"
    command = [JOURNAL_REMOTE, "-o", str(temporary), "-"]
    subprocess.run(command, input=entries.encode(), check=True, capture_output=True)
    shutil.move(temporary, directory / temporary.name)


def test_without_journalctl_obsd_says_so_and_runs(tmp_path: Path) -> None:
    environment = {"OBSD_FILES__JOURNAL": "true", "PATH": "/nonexistent"}
    server = obsd_server(tmp_path, "--receivers", "journal", environment=environment)
    with running(server):
        assert "receiver left out" in server.log_tail()
        assert "there is no journalctl" in server.log_tail()
