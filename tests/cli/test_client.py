"""The HTTP client of commands: which URLs it takes, and what it says when nobody answers."""

from __future__ import annotations

import socket
import threading

import pytest

from obsd.cli.client import ApiError, Client, ClientError, base_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:6273", "http://127.0.0.1:6273"),
        ("http://127.0.0.1:6273/", "http://127.0.0.1:6273"),
        ("127.0.0.1:6273", "http://127.0.0.1:6273"),
        ("localhost", "http://localhost"),
        ("[::1]:6273", "http://[::1]:6273"),
        (" https://obsd.example/prometheus/ ", "https://obsd.example/prometheus"),
    ],
)
def test_urls_as_people_write_them(text: str, url: str) -> None:
    assert base_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "/", "ftp://x", "http://", "http://x:port", "http://[::1", "http://a b", "file:///etc"],
)
def test_what_is_no_url_is_named(text: str) -> None:
    with pytest.raises(ClientError, match="is not the URL of a server"):
        Client(text).call("/api/v1/query", {"query": "1"})


def test_a_server_that_is_not_there_is_told_in_words() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # Bound but not listening: connections are refused.
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ClientError) as caught:
            Client(url).call("/api/v1/query", {"query": "1"})
    assert str(caught.value) == (
        f"cannot reach obsd at {url}: Connection refused; start it with 'obsd serve', or name"
        " another address with --url"
    )


@pytest.mark.parametrize("body", [b"<html>", b"[1, 2]", b'"text"', b"{}", b'{"status": "success"}'])
def test_what_answers_may_be_another_program(body: bytes) -> None:
    with pytest.raises(ClientError, match=r"is not obsd \(status 200\)") as caught:
        Client(_answering_once(body)).call("/api/v1/query", {"query": "1"})
    assert not isinstance(caught.value, ApiError)


def _answering_once(body: bytes) -> str:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(65_536)
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)

    threading.Thread(target=answer, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
