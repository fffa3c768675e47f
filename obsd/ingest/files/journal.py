"""The receiver `journal`: follows the systemd journal through `journalctl`, which knows its format.

Export format: https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format. The cursor of the
last stored entry is in `journal_cursor` in the data directory, written after its entry is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from obsd.durable.files import replace_file
from obsd.model.errors import BadInputError, ObsdError
from obsd.services.log_encoding import RecordGroup, bounded, log_record, resource
from obsd.services.log_encoding import request as encode_request
from obsd.services.receiver_telemetry import REFUSED, ReceiverCounts

if TYPE_CHECKING:
    from obsd.ingest.receiver import ReceiverContext
    from obsd.model.log_record import Value
    from obsd.services.log_aggregator import LogAggregator

log = logging.getLogger(__name__)

CURSOR_FILE: Final = "journal_cursor"
MAX_ENTRY_BYTES: Final = 8 << 20
BATCH_BYTES: Final = 4 << 20
BATCH_RECORDS: Final = 5_000
RESTART_S: Final = 5.0
RETRY_S: Final = 2.0
_MAX_FIELD: Final = 64 << 10

# Priorities of syslog as severity numbers, as the receiver of syslog has them: 0 to 3 are errors.
_SEVERITY: Final = {"0": 20, "1": 19, "2": 18, "3": 17, "4": 13, "5": 10, "6": 9, "7": 5}
_WORDS: Final = {
    "0": "emerg",
    "1": "alert",
    "2": "crit",
    "3": "err",
    "4": "warning",
    "5": "notice",
    "6": "info",
    "7": "debug",
}
_ATTRIBUTES: Final = {
    "_PID": "process.pid",
    "_COMM": "process.executable.name",
    "_EXE": "process.executable.path",
    "CODE_FILE": "code.file.path",
    "CODE_LINE": "code.line.number",
    "CODE_FUNC": "code.function.name",
    "SYSLOG_FACILITY": "syslog.facility",
    "_TRANSPORT": "journal.transport",
    "_SYSTEMD_UNIT": "systemd.unit",
    "_SYSTEMD_USER_UNIT": "systemd.user_unit",
    "SYSLOG_IDENTIFIER": "syslog.identifier",
    "CONTAINER_NAME": "container.name",
    "CONTAINER_ID_FULL": "container.id",
    "MESSAGE_ID": "journal.message_id",
}
_NUMBERS: Final = frozenset({"_PID", "CODE_LINE", "SYSLOG_FACILITY"})
# What the kernel and the journal say of every entry, and nobody searches.
_LEFT_OUT: Final = frozenset(
    {"MESSAGE", "PRIORITY", "SYSLOG_PID", "SYSLOG_RAW", "SYSLOG_TIMESTAMP"}
)


def entry_record(entry: dict[str, Any]) -> tuple[dict[str, Value], bytes]:
    """The resource and the encoded record of a journal entry.

    Fields that applications add themselves become attributes in lower case.
    """
    service = _service(entry)
    who: dict[str, Value] = {"service.name": service} if service else {}
    if host := _text(entry.get("_HOSTNAME")):
        who["host.name"] = host
    attributes: dict[str, Value] = {}
    for name, value in entry.items():
        if name in _ATTRIBUTES:
            attributes[_ATTRIBUTES[name]] = _attribute(name, value)
        elif not name.startswith("_") and name not in _LEFT_OUT:
            attributes[name.lower()] = _attribute(name, value)
    priority = _text(entry.get("PRIORITY"))
    micros = _text(entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry.get("__REALTIME_TIMESTAMP"))
    return who, log_record(
        time_ns=int(micros) * 1_000 if micros.isdecimal() and len(micros) < 17 else 0,
        observed_ns=time.time_ns(),
        body=_text(entry.get("MESSAGE")),
        severity_number=_SEVERITY.get(priority, 0),
        severity_text=_WORDS.get(priority, ""),
        attributes=bounded(attributes),
    )


def _service(entry: dict[str, Any]) -> str:
    """The container or the unit, and else the program."""
    if container := _text(entry.get("CONTAINER_NAME")):
        return container
    unit = _text(entry.get("_SYSTEMD_USER_UNIT")) or _text(entry.get("_SYSTEMD_UNIT"))
    if unit.endswith(".service") and not unit.startswith("user@"):
        return unit.removesuffix(".service")
    return _text(entry.get("SYSLOG_IDENTIFIER")) or _text(entry.get("_COMM"))


def _text(value: object) -> str:
    """Bytes that are no text come as a list of numbers, several values as a list of them."""
    match value:
        case str():
            return value
        case [int(), *_]:
            return bytes(b for b in value if isinstance(b, int) and 0 <= b < 256).decode(
                "utf-8", "replace"
            )
        case [first, *_]:
            return _text(first)
    return ""


def _attribute(name: str, value: object) -> Value:
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return [_text(each)[:_MAX_FIELD] for each in value]
    text = _text(value)[:_MAX_FIELD]
    return int(text) if name in _NUMBERS and text.isdecimal() and len(text) < 19 else text


class JournalFollower:
    """The receiver. Event loop only."""

    name = "journal"

    def __init__(
        self,
        command: list[str],
        cursor_path: Path,
        logs: LogAggregator,
        project_id: str,
        counts: ReceiverCounts,
    ) -> None:
        """`command` is journalctl with its source; without one it is told and left out."""
        self._command = command
        self._cursor_path = cursor_path
        self._logs = logs
        self._project_id = project_id
        self._counts = counts
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if shutil.which(self._command[0]) is None:
            raise FileNotFoundError(2, f"there is no {self._command[0]} on this machine")
        self._task = asyncio.create_task(self._run(), name="journal")

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                await self._follow()
            except Exception:
                log.exception("following the journal failed")
            if not self._stop.is_set():
                await self._wait(RESTART_S)

    async def _follow(self) -> None:
        """Until journalctl ends, or obsd does."""
        cursor = self._read_cursor()
        after = [f"--after-cursor={cursor}"] if cursor else []
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *(
                "--follow",
                "--all",
                "--output=json",
                "--no-pager",
                "--merge",
                "--no-tail",
                "--quiet",
            ),
            *after,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_ENTRY_BYTES,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        told = asyncio.create_task(process.stderr.read(4096))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await self._store_all(process.stdout, stopping)
        finally:
            stopping.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            text = (await told).decode(errors="replace").strip()
            if text and not self._stop.is_set():
                log.warning("journalctl ended", extra={"reason": text[:500]})

    async def _store_all(self, lines: asyncio.StreamReader, stopping: asyncio.Task[bool]) -> None:
        while not self._stop.is_set():
            reading = asyncio.ensure_future(self._read_batch(lines))
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                return
            batch = reading.result()
            if not batch:
                return
            await self._store(batch)

    async def _read_batch(self, lines: asyncio.StreamReader) -> list[bytes]:
        """At least one entry, and those that are there already; none at the end."""
        batch: list[bytes] = []
        size = 0
        while size < BATCH_BYTES and len(batch) < BATCH_RECORDS:
            try:
                if batch:
                    line = await asyncio.wait_for(lines.readline(), 0.05)
                else:
                    line = await lines.readline()
            except TimeoutError:
                break
            except ValueError:
                log.warning("a journal entry is left out", extra={"limit_bytes": MAX_ENTRY_BYTES})
                continue
            if not line:
                break
            batch.append(line)
            size += len(line)
        return batch

    async def _store(self, batch: list[bytes]) -> None:
        """Store entries, however long it takes, and then note the cursor of the last."""
        loop = asyncio.get_running_loop()
        body, cursor = await loop.run_in_executor(self._logs.ingest_pool, encode_entries, batch)
        while body:
            try:
                outcome = await self._logs.write(self._project_id, body)
            except BadInputError as error:
                log.error("journal entries were refused", extra={"reason": str(error)})
                self._counts.drop(REFUSED, len(batch))
                break
            except ObsdError as error:
                log.warning("the journal has to wait", extra={"reason": str(error)})
                if await self._wait(RETRY_S):
                    return
            else:
                self._counts.messages.inc(len(batch))
                self._counts.drop(REFUSED, sum(outcome.rejected.values()))
                break
        if cursor:
            await loop.run_in_executor(None, self._write_cursor, cursor)

    def _read_cursor(self) -> str:
        try:
            return self._cursor_path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    def _write_cursor(self, cursor: str) -> None:
        try:
            replace_file(self._cursor_path, [cursor.encode()])
        except OSError as error:
            log.warning("cannot note how far the journal was read", extra={"reason": str(error)})

    async def _wait(self, seconds: float) -> bool:
        """Wait, or less when told to stop; whether that was so."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True


def encode_entries(lines: list[bytes]) -> tuple[bytes, str]:
    """Journal entries as JSON lines to an OTLP request, and the cursor of the last one."""
    groups: dict[bytes, RecordGroup] = {}
    cursor = ""
    for line in lines:
        try:
            entry = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            log.warning("a journal entry is no JSON", extra={"error": str(error)})
            continue
        if isinstance(entry, dict):
            cursor = _text(entry.get("__CURSOR")) or cursor
            who, record = entry_record(entry)
            key = resource(who)
            groups.setdefault(key, RecordGroup(key)).records.append(record)
    return encode_request(groups.values()), cursor


def open_receiver(context: ReceiverContext) -> JournalFollower | None:
    """The receiver; None where the configuration does not ask for it."""
    options = context.config.files
    if not options.journal:
        return None
    directory = options.journal_directory
    command = ["journalctl", *([f"--directory={directory}"] if directory is not None else [])]
    counts = context.telemetry.receivers.of("journal")
    path = context.config.storage.data_dir / CURSOR_FILE
    return JournalFollower(command, path, context.logs, options.project, counts)
