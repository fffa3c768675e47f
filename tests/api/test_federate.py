"""Federation: the newest samples as text that a scraper reads."""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from obsd.api.federate import Newest, exposition, with_plain_names
from obsd.model.labels import Labels
from tests.api.running_app import RunningApp, running_app

NOW = time.time_ns() // 1_000_000 - 60_000
[STALE] = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as running:
        await running.write(
            [
                ({"__name__": "up", "job": "a", "instance": "x"}, [(NOW - 1000, 0.0), (NOW, 1.0)]),
                ({"__name__": "up", "job": "b"}, [(NOW, 1e-7)]),
                ({"__name__": "gone", "job": "a"}, [(NOW, 1.0), (NOW + 1, STALE)]),
                ({"__name__": "old", "job": "a"}, [(NOW - 600_000, 1.0)]),
                ({"__name__": "a.b", "job": "a", "c.d": 'q"\\\n'}, [(NOW, float("nan"))]),
            ]
        )
        yield running


async def test_newest_samples_of_the_union(app: RunningApp):
    selectors = {"match[]": ['{job="a"}', "up"]}
    for path in ("/federate", "/prometheus/federate"):
        accept = {"Accept": "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.9, */*;q=0.1"}
        answer = await app.get(path, selectors, headers=accept)
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert answer.text.splitlines() == [
            '# TYPE "a.b" untyped',
            f'{{"a.b","c.d"="q\\"\\\\\\n",job="a",instance=""}} NaN {NOW}',
            "# TYPE up untyped",
            f'up{{instance="x",job="a"}} 1 {NOW}',
            f'up{{job="b",instance=""}} 1e-07 {NOW}',
        ]


async def test_names_are_plain_unless_the_scraper_takes_others(app: RunningApp):
    answer = await app.get("/federate", {"match[]": '{job="a",__name__!="up"}'})
    assert answer.headers["Content-Type"].endswith("escaping=underscores")
    assert answer.text.splitlines() == [
        "# TYPE a_b untyped",
        f'a_b{{c_d="q\\"\\\\\\n",job="a",instance=""}} NaN {NOW}',
    ]


def test_names_that_become_alike_give_one_series():
    names = ("a.b", "a_b", "1.ü:")
    samples = [Newest(Labels.of({"__name__": name, "9": "x"}), 1, 1.0) for name in names]
    plain = [newest.labels.as_dict() for newest in with_plain_names(samples)]
    assert plain == [{"__name__": "a_b", "_": "x"}, {"__name__": "___:", "_": "x"}]


async def test_no_selector_is_no_sample(app: RunningApp):
    answer = await app.get("/federate")
    assert (answer.status, answer.body) == (200, b"")


async def test_a_bad_selector_is_400_in_words(app: RunningApp):
    answer = await app.get("/federate", {"match[]": "up{"})
    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text.startswith('invalid parameter "match[]": 1:')


def test_a_family_stands_together():
    samples = [
        Newest(Labels.of({"__name__": name, "x": x}), 1, 1.0)
        for x in ("1", "2")
        for name in ("b", "a")
    ]
    lines = exposition(samples).decode().splitlines()
    assert [line.split("{")[0] for line in lines] == [
        "# TYPE a untyped", "a", "a", "# TYPE b untyped", "b", "b",
    ]  # fmt: skip
