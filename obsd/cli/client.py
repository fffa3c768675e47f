"""Speaks to a running obsd over HTTP, with the standard library: it is imported in milliseconds."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

TIMEOUT_S: Final = 150.0  # Longer than a query may take, so that the server's reason is heard.
SILENCE_S: Final = 60.0  # A stream has a heartbeat every 15 s.


class ClientError(Exception):
    """The server did not give what was asked for; the text is for a person."""


class ApiError(ClientError):
    """The server's own refusal."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Client:
    """Where the server is, and who asks."""

    url: str
    project: str | None = None
    token: str | None = None

    def call(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """POST a form to the Prometheus API, and take the answer out of the envelope.

        Raises:
            ClientError: the server cannot be reached, or what answers is no obsd.
            ApiError: the server refuses.
        """
        status, body = self._send(self._request(path, urllib.parse.urlencode(parameters).encode()))
        return _open_envelope(status, body)

    def get(
        self, path: str, parameters: Mapping[str, str] | Sequence[tuple[str, str]]
    ) -> dict[str, Any]:
        """GET from the product API.

        Raises:
            ClientError: the server cannot be reached, or what answers is no obsd.
            ApiError: the server refuses.
        """
        request = self._request(f"{path}?{urllib.parse.urlencode(parameters)}", None)
        status, body = self._send(request)
        answer = _parse(body)
        if answer is None or status != 200:
            raise _refusal(status, answer)
        return answer

    def loki(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """POST a form to the Loki API, whose errors are plain text; returns the answer's data.

        Raises:
            ClientError: the server cannot be reached, or what answers is no obsd.
            ApiError: the server refuses.
        """
        status, body = self._send(self._request(path, urllib.parse.urlencode(parameters).encode()))
        answer = _parse(body)
        if status == 200 and answer is not None and isinstance(answer.get("data"), dict):
            data: dict[str, Any] = answer["data"]
            return data
        text = body.decode("utf-8", "replace").strip()
        if status >= 400 and answer is None and text and not text.startswith("<"):
            raise ApiError(status, text)
        raise _refusal(status, answer)

    def post(
        self, path: str, body: Mapping[str, object], parameters: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """POST JSON to the product API.

        Raises:
            ClientError: the server cannot be reached, or what answers is no obsd.
            ApiError: the server refuses.
        """
        target = f"{path}?{urllib.parse.urlencode(parameters)}" if parameters else path
        request = self._request(target, json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        status, answer_body = self._send(request)
        answer = _parse(answer_body)
        if answer is None or not 200 <= status < 300:
            raise _refusal(status, answer)
        return answer

    def stream(self, path: str, body: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
        """POST JSON, and yield the server-sent events that come: name and data.

        Ends when the server ends it.

        Raises:
            ClientError: the server cannot be reached, or the stream breaks off.
            ApiError: the server refuses.
        """
        request = self._request(path, json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=SILENCE_S) as response:  # noqa: S310
                if response.headers.get_content_type() != "text/event-stream":
                    raise _refusal(response.status, None)
                yield from read_events(response)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, _parse(error.read())) from None
        except urllib.error.URLError as error:
            raise self._unreachable(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(f"the connection to {self.url} broke: {_reason(error)}") from None

    def _request(self, path: str, body: bytes | None) -> urllib.request.Request:
        request = urllib.request.Request(  # noqa: S310 - http and https only, see base_url
            base_url(self.url) + path, data=body, headers={"Accept": "application/json"}
        )
        if self.project:
            request.add_header("X-Scope-OrgID", self.project)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        return request

    def _send(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> ClientError:
        return ClientError(
            f"cannot reach obsd at {self.url}: {_reason(error)}; start it with 'obsd serve', or"
            " name another address with --url"
        )


def read_events(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    """Server-sent events whose data is JSON; comments are passed over.

    Raises:
        ClientError: the data is none.
    """
    name, data = "message", b""
    for line in lines:
        match line.rstrip(b"\r\n").partition(b":"):
            case (b"event", _, value):
                name = value.strip().decode("utf-8", "replace")
            case (b"data", _, value):
                data += value
            case (b"", b"", _) if data:
                try:
                    yield name, json.loads(data)
                except ValueError:
                    raise ClientError("what answers there is not obsd; see --url") from None
                name, data = "message", b""


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def base_url(text: str) -> str:
    """The URL to which paths are added; http:// where there is no scheme, as in `127.0.0.1:6273`.

    Raises:
        ClientError: it names no server that speaks HTTP.
    """
    url = text.strip()
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urllib.parse.urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # A port that is no number, or brackets that hold no IPv6 address.
        is_usable = False
    if not is_usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ClientError(f"{text!r} is not the URL of a server, such as http://127.0.0.1:6273")
    return url.rstrip("/")


def _reason(error: Exception) -> str:
    """What went wrong, in words: `Connection refused` and not `[Errno 111] Connection refused`."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    text = cause.strerror if isinstance(cause, OSError) else None
    return text or str(cause) or type(cause).__name__


def _open_envelope(status: int, body: bytes) -> dict[str, Any]:
    answer = _parse(body)
    if answer is not None and answer.get("status") == "success" and "data" in answer:
        return answer
    raise _refusal(status, answer)


def _refusal(status: int, answer: dict[str, Any] | None) -> ClientError:
    match answer:
        case {"status": "error", "error": str(message)}:
            return ApiError(status, message)
        case {"error": {"message": str(message)}}:
            return ApiError(status, message)
    return ClientError(
        f"what answers there is not obsd (status {status}); name its address with --url"
    )
