"""Content codings: round trips, damage, and bombs that must not go off."""

from __future__ import annotations

import contextlib
import gzip
import os
import tracemalloc
import zlib

import cramjam
import pytest
import pytest_asyncio
import zstandard
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from obsd.api.compression import ANY_CODING, decompress, read_body
from obsd.api.errors import ErrorRenderers
from obsd.api.response_compression import compress_response, preferred_coding
from obsd.model.errors import ObsdError, TooLargeError, UndecodableError

LIMIT = 1 << 20


def zstd(data: bytes, **options) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def zstd_without_size(data: bytes) -> bytes:
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return stream.compress(data) + stream.flush()


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


ENCODERS = {
    "gzip": [gzip.compress],
    "deflate": [zlib.compress, raw_deflate],
    "zstd": [zstd, zstd_without_size],
    "snappy": [lambda data: bytes(cramjam.snappy.compress_raw(data))],
}
CASES = [(coding, encode) for coding, encoders in ENCODERS.items() for encode in encoders]


@pytest.mark.parametrize(("coding", "encode"), CASES)
@given(data=st.binary(max_size=5000) | st.integers(0, 300_000).map(lambda n: b"ab" * n))
def test_decompress_inverts_every_encoder(coding, encode, data: bytes) -> None:
    assert decompress(coding, encode(data), LIMIT) == data


@pytest.mark.parametrize(("coding", "encode"), CASES)
def test_incompressible_data_of_many_blocks(coding, encode) -> None:
    data = os.urandom(LIMIT)
    assert decompress(coding, encode(data), LIMIT) == data


@pytest.mark.parametrize("coding", sorted(ENCODERS))
@given(garbage=st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(coding: str, garbage: bytes) -> None:
    with contextlib.suppress(UndecodableError, TooLargeError):
        assert len(decompress(coding, garbage, LIMIT)) <= LIMIT


@pytest.mark.parametrize(("coding", "encode"), CASES)
@given(data=st.data(), flip=st.booleans(), content=st.binary(min_size=1, max_size=300).map(bytes))
def test_damaged_bodies_decode_or_are_refused(coding, encode, data, flip, content) -> None:
    whole = encode(content)
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole[:position])
    if flip:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(UndecodableError, TooLargeError):
        assert len(decompress(coding, bytes(damaged), LIMIT)) <= LIMIT


@pytest.mark.parametrize(("coding", "encode"), CASES)
def test_a_body_cut_anywhere_is_refused(coding, encode) -> None:
    whole = encode(b"to be continued " * 20)
    for length in range(1, len(whole)):
        with pytest.raises(UndecodableError):
            decompress(coding, whole[:length], LIMIT)


def test_several_members_are_read_to_the_end() -> None:
    assert decompress("gzip", gzip.compress(b"a") + gzip.compress(b"b"), LIMIT) == b"ab"
    skippable = b"\x5f\x2a\x4d\x18\x03\x00\x00\x00abc"
    assert decompress("zstd", zstd(b"a") + skippable + zstd(b"b"), LIMIT) == b"ab"


def test_several_members_share_one_limit() -> None:
    half = b"x" * (LIMIT // 2 + 1)
    for coding, encode in CASES:
        if coding in {"gzip", "zstd"}:
            with pytest.raises(TooLargeError):
                decompress(coding, encode(half) + encode(half), LIMIT)


@pytest.mark.parametrize(("coding", "encode"), CASES)
def test_a_bomb_is_refused_without_being_unpacked(coding, encode) -> None:
    bomb = encode(b"\0" * (64 * LIMIT))
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            decompress(coding, bomb, LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * LIMIT


def test_output_of_exactly_the_limit_passes() -> None:
    for coding, encode in CASES:
        assert len(decompress(coding, encode(b"x" * LIMIT), LIMIT)) == LIMIT
        with pytest.raises(TooLargeError):
            decompress(coding, encode(b"x" * (LIMIT + 1)), LIMIT)


def test_a_zstd_window_of_the_senders_choosing_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = stream.compress(b"x" * 1000) + stream.flush()
    with pytest.raises(UndecodableError, match="zstd"):
        decompress("zstd", body, LIMIT)


def test_a_snappy_block_that_lies_about_its_length() -> None:
    body = bytes(cramjam.snappy.compress_raw(b"hello"))
    for declared in (b"\x04", b"\x06", b"\xff\xff\xff\xff\xff\x01"):
        with pytest.raises(UndecodableError):
            decompress("snappy", declared + body[1:], LIMIT)


# --- Over HTTP -----------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def client():
    """A server whose handler answers with the body that it read."""

    async def echo(request: web.Request) -> web.Response:
        try:
            body = await read_body(
                request,
                max_compressed=100_000,
                max_decompressed=200_000,
                allowed=ANY_CODING - {"deflate"},
            )
        except ObsdError as error:
            return ErrorRenderers({}).render(request.path, error)
        return web.Response(body=body)

    application = web.Application()
    application.router.add_post("/", echo)
    server = TestServer(application)
    await server.start_server(auto_decompress=False)
    async with TestClient(server) as session:
        yield session


async def post(client, body, coding: str | None = None) -> tuple[int, bytes]:
    headers = {"Content-Encoding": coding} if coding is not None else {}
    async with client.post("/", data=body, headers=headers) as response:
        return response.status, await response.read()


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "zstd", "snappy"])
async def test_read_body_undoes_the_coding(client, coding: str) -> None:
    name = coding.lower().removeprefix("x-")
    body = ENCODERS[name][0](b"payload " * 10_000)
    assert await post(client, body, coding) == (200, b"payload " * 10_000)


@pytest.mark.parametrize("coding", [None, "", "identity"])
async def test_read_body_without_a_coding(client, coding: str | None) -> None:
    assert await post(client, b"as it is", coding) == (200, b"as it is")


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "nonsense"])
async def test_an_unsupported_coding_is_415_before_the_body_is_read(client, coding: str) -> None:
    # The body is empty, so that only the header can have decided.
    status, text = await post(client, b"", coding)
    assert status == 415
    assert b"unsupported_encoding" in text


async def test_limits_hold_while_streaming(client) -> None:
    async def pieces(count: int):
        for _ in range(count):
            yield b"x" * 10_000

    assert (await post(client, pieces(10)))[0] == 200
    assert (await post(client, pieces(11)))[0] == 413
    assert (await post(client, b"x" * 100_001))[0] == 413
    assert (await post(client, gzip.compress(b"x" * 200_001), "gzip"))[0] == 413


async def test_a_snappy_block_is_refused_by_its_first_bytes(client) -> None:
    async def declared_too_large():
        yield b"\xff\xff"
        yield b"\xff\x7f"
        yield b"rest"

    status, text = await post(client, declared_too_large(), "snappy")
    assert status == 413
    assert b"decompressed" in text


# --- Answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("deflate", "deflate"),
        ("gzip, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("GZIP;Q=0.3", "gzip"),
        ("gzip;q=0", None),
        ("*", "zstd"),
        ("*;q=0.1, identity;q=0.5", None),
        ("gzip;q=x", None),
    ],
)
def test_the_clients_preference_decides(header: str, coding: str | None) -> None:
    assert preferred_coding(header) == coding


@given(st.text(max_size=60))
def test_any_accept_encoding_has_an_answer(header: str) -> None:
    assert preferred_coding(header) in {None, "zstd", "gzip", "deflate"}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("size", [1024, 500_000])
async def test_answers_are_compressed(coding: str, size: int) -> None:
    from aiohttp.test_utils import make_mocked_request

    request = make_mocked_request("GET", "/", headers={"Accept-Encoding": coding})
    response = web.Response(body=b"x" * size, content_type="application/json")
    await compress_response(request, response)
    assert response.headers["Content-Encoding"] == coding
    assert response.headers["Vary"] == "Accept-Encoding"
    assert decompress(coding, response.body, LIMIT) == b"x" * size


async def test_small_answers_and_images_are_left_alone() -> None:
    from aiohttp.test_utils import make_mocked_request

    request = make_mocked_request("GET", "/", headers={"Accept-Encoding": "gzip"})
    for response in (
        web.Response(body=b"x" * 1023, content_type="application/json"),
        web.Response(body=b"x" * 5000, content_type="image/png"),
        web.Response(status=204),
    ):
        await compress_response(request, response)
        assert "Content-Encoding" not in response.headers
