"""Errors become answers that say what to do."""

from __future__ import annotations

import json
import logging

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from obsd.api.errors import ErrorRenderers, answer_to, render_json, render_text
from obsd.model import errors


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.BadInputError("no"), 400, "bad_input"),
        (errors.UndecodableError("no"), 400, "undecodable"),
        (errors.TooLargeError("the body", 10), 413, "too_large"),
        (errors.OverloadedError("full", 7), 503, "overloaded"),
        (errors.StorageUnavailableError("disk full"), 503, "storage_unavailable"),
        (errors.QueryParseError("oops", 1, 2), 400, "query_parse"),
        (errors.TooManySamplesError(5), 422, "too_many_samples"),
        (errors.QueryTimeoutError(1.0), 503, "query_timeout"),
        (errors.QueryCanceledError(), 499, "query_canceled"),
        (errors.CorruptDataError("wal/1", "bad"), 500, "corrupt_data"),
        (web.HTTPNotFound(), 404, "not_found"),
        (ConnectionResetError(), 400, "incomplete_body"),
    ],
)
def test_each_error_has_its_status_and_type(error: Exception, status: int, name: str) -> None:
    answer = answer_to(error)
    assert (answer.status, answer.type) == (status, name)
    assert answer.message


def test_every_error_of_the_model_is_in_the_table() -> None:
    def subclasses(kind):
        return {kind}.union(*(subclasses(k) for k in kind.__subclasses__()))

    # Errors of other modules are raised and handled where they are at home.
    of_the_model = {k for k in subclasses(errors.ObsdError) if k.__module__ == errors.__name__}
    for kind in of_the_model - {errors.ObsdError}:
        instance = kind.__new__(kind)
        Exception.__init__(instance, "text")
        instance.retry_after_s = 1
        assert answer_to(instance).type != "internal", kind


def test_overload_says_when_to_come_again() -> None:
    assert answer_to(errors.OverloadedError("full", 7)).headers == {"Retry-After": "7"}


def test_a_wrong_method_says_which_are_right() -> None:
    answer = answer_to(web.HTTPMethodNotAllowed("PUT", {"POST", "GET"}))
    assert answer.status == 405
    assert answer.headers == {"Allow": "GET, POST"}


def test_our_own_failure_is_logged_and_not_told(caplog) -> None:
    with caplog.at_level(logging.ERROR):
        answer = answer_to(RuntimeError("the password is x"))
    assert answer.status == 500
    assert "password" not in answer.message
    assert "the password is x" in caplog.text


@given(st.text(max_size=100))
def test_json_answers_hold_any_text(text: str) -> None:
    message = text.encode("utf-8", "replace").decode()
    response = render_json(answer_to(errors.BadInputError(message)))
    assert json.loads(response.body) == {"error": {"type": "bad_input", "message": message}}


def test_the_longest_prefix_names_the_renderer() -> None:
    renderers = ErrorRenderers({"/api/v1/": render_json, "/api/v1/write": render_text})
    error = errors.BadInputError("no")
    assert renderers.render("/api/v1/write", error).content_type == "text/plain"
    assert renderers.render("/api/v1/query", error).content_type == "application/json"
    assert renderers.render("/elsewhere", error).content_type == "application/json"
