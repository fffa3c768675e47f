"""Exposition text over HTTP."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from obsd.ingest.exposition import MAX_NAMED_ERRORS
from tests.api.running_app import RunningApp

PATH = "/api/v1/import/prometheus"
T0 = 1_700_000_000_000
TEXT = f"""\
# HELP requests_total How many.
# TYPE requests_total counter
requests_total{{job="a",path="x"}} 5 {T0}
requests_total{{job="b"}} 7 {T0}
""".encode()


async def stored(app: RunningApp, query: str = '{__name__!=""}') -> dict[tuple, str]:
    data = await app.data("/api/v1/query", {"query": query, "time": str(T0 // 1000)})
    return {tuple(sorted(s["metric"].items())): s["value"][1] for s in data["result"]}


@pytest.mark.parametrize("path", [PATH, "/prometheus" + PATH])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_text_is_stored_with_its_metadata(app: RunningApp, path: str, method: str):
    answer = await app.request(method, path, data=TEXT)
    assert (answer.status, answer.body) == (204, b"")
    assert await stored(app) == {
        (("__name__", "requests_total"), ("job", "a"), ("path", "x")): "5",
        (("__name__", "requests_total"), ("job", "b")): "7",
    }
    assert await app.data("/api/v1/metadata") == {
        "requests_total": [{"type": "counter", "help": "How many.", "unit": ""}]
    }


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("zstd", zstandard.ZstdCompressor().compress(TEXT)),
        ("identity", TEXT),
    ],
)
async def test_content_codings(app: RunningApp, coding: str, body: bytes):
    answer = await app.post(PATH, body, headers={"Content-Encoding": coding})
    assert answer.status == 204
    assert len(await stored(app)) == 2


async def test_samples_without_a_time_are_of_now(app: RunningApp):
    assert (await app.post(PATH, b"now_metric 1\n")).status == 204
    assert len((await app.data("/api/v1/query", {"query": "now_metric"}))["result"]) == 1


async def test_labels_and_time_from_the_url(app: RunningApp):
    url = f"{PATH}?extra_label=dc=eu=1&extra_label=x=y&job=j&instance=i&timestamp={T0}"
    assert (await app.post(url, b'm{job="own"} 1\n')).status == 204
    [labels] = await stored(app)
    assert dict(labels)["dc"] == "eu=1"
    assert (dict(labels)["x"], dict(labels)["instance"]) == ("y", "i")
    assert dict(labels)["job"] in ("j", "own")


async def test_bad_lines_are_named_and_good_ones_kept(app: RunningApp):
    text = f"good 1 {T0}\nbad{{ 2\n\nworse x {T0}\nalso_good 3 {T0}\n".encode()
    answer = await app.post(PATH, text)
    assert answer.status == 400
    lines = answer.text.splitlines()
    assert lines[:2] == ["stored 2 samples", "2 lines are wrong and were left out:"]
    assert lines[2].startswith("line 2: ")
    assert lines[3].startswith("line 4: ")
    assert sorted(dict(labels)["__name__"] for labels in await stored(app)) == ["also_good", "good"]


async def test_the_first_of_many_bad_lines_are_named(app: RunningApp):
    answer = await app.post(PATH, b"x{\n" * 50)
    assert answer.status == 400
    assert "at least 20 lines are wrong" in answer.text
    assert len(answer.text.splitlines()) == 2 + MAX_NAMED_ERRORS


@pytest.mark.parametrize("query", ["extra_label=x", "extra_label==y", "timestamp=x", "timestamp=-"])
async def test_bad_parameters_are_400(app: RunningApp, query: str):
    answer = await app.post(f"{PATH}?{query}", TEXT)
    assert answer.status == 400
    assert answer.text.startswith("invalid ")
    assert await stored(app) == {}


async def test_unknown_codings_are_415(app: RunningApp):
    assert (await app.post(PATH, TEXT, headers={"Content-Encoding": "br"})).status == 415


async def test_a_decompression_bomb_is_413(app: RunningApp):
    bomb = zstandard.ZstdCompressor().compress(b"#" * (129 << 20))
    answer = await app.post(PATH, bomb, headers={"Content-Encoding": "zstd"})
    assert answer.status == 413


async def test_a_body_that_is_not_its_coding_is_400(app: RunningApp):
    answer = await app.post(PATH, b"plain", headers={"Content-Encoding": "gzip"})
    assert answer.status == 400


async def test_an_empty_body_is_nothing_to_store(app: RunningApp):
    assert (await app.post(PATH, b"")).status == 204
