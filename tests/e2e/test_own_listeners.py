"""Listeners of one API alone speak it alone: what they do not have is told as that API tells it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.processes import Answer, Server, free_port, obsd_server, running

RECEIVERS = ("otlp_http", "loki", "elasticsearch", "splunk")
Ports = dict[str, int]


@pytest.fixture(scope="module")
def ports() -> Ports:
    return {name: free_port() for name in RECEIVERS}


@pytest.fixture(scope="module")
def obsd(tmp_path_factory: pytest.TempPathFactory, ports: Ports) -> Iterator[Server]:
    listen = {f"OBSD_SERVER__{n.upper()}_LISTEN": f"127.0.0.1:{p}" for n, p in ports.items()}
    names = ",".join(name.replace("_", "-") for name in RECEIVERS)
    directory = tmp_path_factory.mktemp("own")
    server = obsd_server(
        directory, "--receivers", names, "--no-self-monitoring", environment=listen
    )
    with running(server):
        yield server


@pytest.fixture
def at(obsd: Server, ports: Ports) -> dict[str, Server]:
    """The same server, at each of its ports."""
    others = {n: Server(n, [], port=p, log=obsd.log) for n, p in ports.items()}
    return {"main": obsd, **others}


def is_otlp(answer: Answer) -> bool:
    return set(answer.json()) == {"code", "message"} and answer.json()["code"] == 5


def is_loki(answer: Answer) -> bool:
    return answer.headers["content-type"].startswith("text/plain")


def is_elasticsearch(answer: Answer) -> bool:
    assert answer.headers["x-elastic-product"] == "Elasticsearch"
    return answer.json()["status"] == 404 and "root_cause" in answer.json()["error"]


def is_splunk(answer: Answer) -> bool:
    return set(answer.json()) == {"code", "text"} and answer.json()["code"] == 404


@pytest.mark.parametrize(
    ("name", "has_form"),
    [
        ("otlp_http", is_otlp),
        ("loki", is_loki),
        ("elasticsearch", is_elasticsearch),
        ("splunk", is_splunk),
    ],
)
@pytest.mark.parametrize("path", ["/", "/nothing/here", "/v9/logs", "/api/v1/nothing"])
def test_an_unknown_path_is_told_in_the_apis_own_form(at, name, has_form, path) -> None:
    answer = at[name].request(path)
    if (name, path) == ("elasticsearch", "/"):
        assert answer.json()["tagline"] == "You Know, for Search"
        return
    assert answer.status == 404
    assert has_form(answer), answer.text


def test_the_main_listener_keeps_its_own_form(at) -> None:
    assert at["main"].request("/").headers["content-type"].startswith("text/html")
    assert at["main"].request("/nothing/here").json()["error"]["type"] == "not_found"


def test_each_listener_has_its_api_and_the_probes(at) -> None:
    json = {"Content-Type": "application/json"}
    sent = [
        ("otlp_http", "/v1/logs", b"", json, 200),
        ("loki", "/loki/api/v1/push", b'{"streams":[]}', json, 204),
        ("elasticsearch", "/_bulk", b'{"index":{"_index":"i"}}\n{"message":"m"}\n', json, 200),
        ("splunk", "/services/collector", b'{"event":"e"}', {}, 200),
    ]
    for name, path, body, headers, status in sent:
        answer = at[name].request(path, method="POST", body=body, headers=headers)
        assert answer.status == status, answer.text
        assert at[name].request("/-/ready").status == 200


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("otlp_http", "/v1/logs"),
        ("loki", "/loki/api/v1/query_range"),
        ("main", "/api/v1/query"),
        ("main", "/v1/metrics"),
    ],
)
def test_options_without_a_preflights_headers_is_a_204(at, name, path) -> None:
    answer = at[name].request(path, method="OPTIONS", headers={"Origin": "http://localhost:1"})
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "http://localhost:1"
