"""Who may pass, and for which project."""

from __future__ import annotations

import base64
import stat

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from obsd.api.auth import TOKEN_FILE, open_authenticator, project_of, token_of
from obsd.api.errors import UnauthorizedError
from obsd.model.errors import BadInputError, CorruptDataError


def request(**headers: str):
    return make_mocked_request(
        "GET", "/", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_loopback_asks_nobody(tmp_path) -> None:
    authenticator, token = open_authenticator(tmp_path, is_loopback=True, configured_token=None)
    assert token is None
    assert not authenticator.is_required
    authenticator.check(request())


def test_beyond_loopback_a_token_is_made_once_and_kept_as_a_hash(tmp_path) -> None:
    first, token = open_authenticator(tmp_path, is_loopback=False, configured_token=None)
    assert token is not None
    path = tmp_path / TOKEN_FILE
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second, again = open_authenticator(tmp_path, is_loopback=False, configured_token=None)
    assert again is None
    for authenticator in (first, second):
        authenticator.check(request(Authorization=f"Bearer {token}"))
        with pytest.raises(UnauthorizedError):
            authenticator.check(request(Authorization=f"Bearer {token}x"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer s3cret"},
        {"Authorization": "bearer s3cret"},
        {"Authorization": "Token s3cret"},
        {"Authorization": "Splunk s3cret"},
        {"Authorization": basic("anyone:s3cret")},
        {"X_API_Key": "s3cret"},
        {"DD_API_KEY": "s3cret"},
    ],
)
def test_every_form_of_the_token_passes(tmp_path, headers) -> None:
    authenticator, _ = open_authenticator(tmp_path, is_loopback=False, configured_token="s3cret")
    authenticator.check(request(**headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic !!!"},
        {"Authorization": basic("s3cret")},
        {"Authorization": basic("s3cret:")},
        {"Authorization": "Digest s3cret"},
        {"X_API_Key": "wrong"},
    ],
)
def test_anything_else_is_refused(tmp_path, headers) -> None:
    authenticator, _ = open_authenticator(tmp_path, is_loopback=False, configured_token="s3cret")
    with pytest.raises(UnauthorizedError):
        authenticator.check(request(**headers))


def test_a_damaged_token_file_is_not_an_open_door(tmp_path) -> None:
    (tmp_path / TOKEN_FILE).write_text("sha256:\n")
    with pytest.raises(CorruptDataError):
        open_authenticator(tmp_path, is_loopback=False, configured_token=None)


@given(st.text(max_size=40))
def test_any_authorization_header_is_a_token_or_none(value: str) -> None:
    found = token_of(request(Authorization=value))
    assert found is None or isinstance(found, str)


def test_the_project_is_the_header_or_default() -> None:
    assert project_of(request()) == "default"
    assert project_of(request(X_Scope_OrgID="team-a_1")) == "team-a_1"


@pytest.mark.parametrize("name", ["", "..", "a/b", "a|b", "-a", "ä", "a" * 65, "a\n"])
def test_a_project_that_cannot_be_a_directory_is_refused(name: str) -> None:
    with pytest.raises(BadInputError):
        project_of(request(X_Scope_OrgID=name))
