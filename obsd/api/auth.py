"""Who may speak to the server, and for which project.

On loopback nobody is asked. Beyond loopback every route but health wants the admin token, as
`Authorization: Bearer`, as the password of `Basic`, or as `X-API-Key`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from obsd.api.errors import MalformedCredentialError, UnauthorizedError, WrongTokenError
from obsd.model.errors import BadInputError, CorruptDataError

DEFAULT_PROJECT: Final = "default"
TOKEN_FILE: Final = "admin_token"  # noqa: S105 - a file name
_TOKEN_PREFIX: Final = "obsd_"  # noqa: S105 - what makes a token recognisable to secret scanners
# A project's name is a directory's name too.
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_KEY_HEADERS: Final = ("X-API-Key", "Api-Key", "DD-API-KEY")
# A token is 256 random bits, so a plain hash of it cannot be searched; no slow hash is needed.
_FILE_FORMAT = re.compile(r"sha256:([0-9a-f]{64})\n?", re.ASCII)

OPEN_PATHS: Final = frozenset(
    {
        "/-/ready",
        "/-/healthy",
        "/ready",
        "/services/collector/health",
        "/services/collector/health/1.0",
    }
)


def project_of(request: web.BaseRequest) -> str:
    """The project of a request: `X-Scope-OrgID`, else "default".

    Raises:
        BadInputError: the header does not name a project.
    """
    return project_in(request.headers)


def project_in(headers: Mapping[str, str]) -> str:
    """The same of headers in whatever protocol; names are looked up without regard to case."""
    name = headers.get("X-Scope-OrgID")
    if name is None or name == DEFAULT_PROJECT:
        return DEFAULT_PROJECT
    if not _PROJECT.fullmatch(name):
        raise BadInputError(
            "X-Scope-OrgID must be 1 to 64 letters, digits, '-' and '_', beginning with a letter or"
            " a digit"
        )
    return name


class Authenticator:
    """Knows the hash of the admin token, or that none is asked for."""

    def __init__(self, token_hash: bytes | None) -> None:
        self._token_hash = token_hash

    @property
    def is_required(self) -> bool:
        return self._token_hash is not None

    def check(self, request: web.BaseRequest) -> None:
        """Let a request pass.

        Raises:
            UnauthorizedError: it has no credential, or a wrong one.
        """
        self.check_headers(request.headers)

    def check_headers(self, headers: Mapping[str, str]) -> None:
        """The same for headers in whatever protocol; names are looked up without regard to case."""
        if self._token_hash is None:
            return
        token = token_in(headers)
        if token is None:
            kind = MalformedCredentialError if "Authorization" in headers else UnauthorizedError
            raise kind(
                "a token is needed: send 'Authorization: Bearer TOKEN' with the admin token that"
                " the first start printed"
            )
        if not hmac.compare_digest(_hash(token), self._token_hash):
            raise WrongTokenError("the token is wrong; docs/operations.md tells how to renew it")


def token_of(request: web.BaseRequest) -> str | None:
    """The credential that a request carries, in whichever form."""
    return token_in(request.headers)


def token_in(headers: Mapping[str, str]) -> str | None:
    """The same of headers in whatever protocol."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    value = value.strip()
    match scheme.lower():
        case "bearer" | "token" | "splunk":
            return value or None
        case "basic" | "apikey":
            return _password(value)
    for name in _KEY_HEADERS:
        if key := headers.get(name):
            return key
    return None


def _password(encoded: str) -> str | None:
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    _, separator, password = decoded.partition(":")
    return password if separator else None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def open_authenticator(
    data_dir: Path, *, is_loopback: bool, configured_token: str | None
) -> tuple[Authenticator, str | None]:
    """Find out what to ask for, making a token where there is none yet.

    Returns:
        The authenticator, and the new token where one was made: the only time that it can be shown.

    Raises:
        CorruptDataError: the token file is not one.
    """
    if configured_token is not None:
        return Authenticator(_hash(configured_token)), None
    if is_loopback:
        return Authenticator(None), None
    path = data_dir / TOKEN_FILE
    if path.exists():
        match = _FILE_FORMAT.fullmatch(path.read_text(encoding="utf-8", errors="replace"))
        if match is None:
            raise CorruptDataError(str(path), "expected 'sha256:' and 64 hex digits")
        return Authenticator(bytes.fromhex(match[1])), None
    token = _TOKEN_PREFIX + secrets.token_urlsafe(32)
    _write_private(path, f"sha256:{_hash(token).hex()}\n")
    return Authenticator(_hash(token)), token


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and readable by the owner only."""
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
