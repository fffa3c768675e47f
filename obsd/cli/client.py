"""Speaks to a running obsd over HTTP, with the standard library: it is imported in milliseconds."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TIMEOUT_S: Final = 150.0  # Longer than a query may take, so that the server's reason is heard.


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

    def get(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
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

    def _request(self, path: str, body: bytes | None) -> urllib.request.Request:
        request = urllib.request.Request(  # noqa: S310 - http and https only, see below
            self.url.rstrip("/") + path, data=body, headers={"Accept": "application/json"}
        )
        if request.type not in {"http", "https"}:
            raise ClientError(f"the URL must begin with http:// or https://, not {self.url}")
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
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise ClientError(
                f"cannot reach obsd at {self.url}: {reason}; start it with 'obsd serve', or name"
                " another address with --url"
            ) from None


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


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
    return ClientError(f"what answers there does not look like obsd (status {status})")
