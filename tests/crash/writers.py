"""Concurrent writers that know what was acknowledged, and a check that it is all there, once."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from tests.e2e.processes import Server
from tests.e2e.wire import WRITE_HEADERS, WRITE_PATH, Labels, remote_read, write_body

METRIC = "crash_samples"
SERIES_PER_WRITER = 4
SAMPLES_PER_BATCH = 5
REQUEST_TIMEOUT_S = 20.0


@dataclass(slots=True)
class Writer:
    """Sends one batch after the other; every sample in it is one of its kind.

    Every fourth batch goes elsewhere in time, between samples that were sent before and after.
    After a crash the batch without an answer is sent again, as senders do.
    """

    number: int
    first_ms: int
    next_batch: int = 0
    acknowledged: set[int] = field(default_factory=set)
    unanswered: set[int] = field(default_factory=set)
    refused: int = 0
    error: Exception | None = None

    path: ClassVar[str] = WRITE_PATH
    headers: ClassVar[dict[str, str]] = WRITE_HEADERS
    stored_status: ClassVar[int] = 204

    def labels(self, series: int) -> Labels:
        return {"__name__": METRIC, "writer": str(self.number), "series": str(series)}

    def samples(self, batch: int, series: int) -> list[tuple[int, float]]:
        # Batches out of order take odd milliseconds over some minutes, the others even ones.
        scattered = batch % 4 == 3
        first_ms = self.first_ms + (batch // 2 | 1 if scattered else batch * SAMPLES_PER_BATCH * 2)
        step_ms = 100_000 if scattered else 2
        value = batch * 1000 + series * 100
        return [(first_ms + i * step_ms, value + i + 0.5) for i in range(SAMPLES_PER_BATCH)]

    def body(self, batch: int) -> bytes:
        series = range(SERIES_PER_WRITER)
        return write_body((self.labels(s), self.samples(batch, s)) for s in series)

    def run(self, port: int, stop: threading.Event) -> None:
        """Write until told to stop, or until the server is gone."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_TIMEOUT_S)
        try:
            while not stop.is_set():
                self._send(connection)
        except (OSError, http.client.HTTPException):
            return  # Killed: the batch stays unanswered.
        except AssertionError as error:
            self.error = error
        finally:
            connection.close()

    def _send(self, connection: http.client.HTTPConnection) -> None:
        batch = self.next_batch
        self.unanswered.add(batch)
        connection.request("POST", self.path, self.body(batch), self.headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == self.stored_status:
            self.acknowledged.add(batch)
            self.unanswered.discard(batch)
            self.next_batch += 1
        else:
            assert answer.status == 503, f"{answer.status}: {text[:500]!r}"
            assert answer.headers["Retry-After"], "503 without Retry-After"
            self.refused += 1

    def check(self, server: Server, end_ms: int) -> None:
        """Every acknowledged sample is there with its value, none twice, and none unheard of."""
        for series in range(SERIES_PER_WRITER):
            found = self._read(server, series, end_ms)
            wanted = dict(self._all_samples(self.acknowledged, series))
            possible = wanted | dict(self._all_samples(self.unanswered, series))
            lost = {at: value for at, value in wanted.items() if found.get(at) != value}
            assert not lost, f"{self.labels(series)}: acknowledged and lost: {_first(lost)}"
            strange = {at: value for at, value in found.items() if possible.get(at) != value}
            assert not strange, f"{self.labels(series)}: never sent: {_first(strange)}"

    def _all_samples(self, batches: set[int], series: int) -> Iterator[tuple[int, float]]:
        for batch in batches:
            yield from self.samples(batch, series)

    def _read(self, server: Server, series: int, end_ms: int) -> dict[int, float]:
        read = remote_read(server, self.labels(series), self.first_ms, end_ms)
        samples = [sample for stored in read.values() for sample in stored.samples]
        times = [at for at, _ in samples]
        assert times == sorted(set(times)), f"{self.labels(series)}: twice, or out of order"
        return dict(samples)


@dataclass(slots=True)
class Load:
    """All writers at once, until `stop`."""

    writers: Sequence[Writer]
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, port: int) -> None:
        self._stop.clear()
        self._threads = [
            threading.Thread(target=writer.run, args=(port, self._stop)) for writer in self.writers
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for writer in self.writers:
            if writer.error is not None:
                raise writer.error

    @property
    def acknowledged(self) -> int:
        return sum(len(writer.acknowledged) for writer in self.writers)

    def check(self, server: Server, end_ms: int) -> None:
        for writer in self.writers:
            writer.check(server, end_ms)


def _first(samples: dict[int, float]) -> str:
    shown = dict(sorted(samples.items())[:5])
    return f"{len(samples)} samples, first {shown}"
