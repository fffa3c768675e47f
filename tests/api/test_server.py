"""What stands around every handler, on a real socket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from obsd.api.access_log import SparseLog, log_request, redact
from obsd.api.auth import open_authenticator
from obsd.api.edge import HOT_PATHS
from obsd.api.errors import render_text
from obsd.api.server import Services, build_app, serving_runner
from obsd.api.state import Phase, ServerState
from obsd.config import Config
from obsd.model.errors import OverloadedError
from obsd.services.supervisor import Supervisor
from obsd.services.telemetry import Telemetry
from tests.api.running_app import WRITE_1, running_app


class Handlers:
    """Routes for what is asked of the edge."""

    def __init__(self) -> None:
        self.canceled = asyncio.Event()
        self.begun = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ok", self.ok),
            web.post("/ok", self.ok),
            web.get("/big", self.big),
            web.get("/boom", self.boom),
            web.get("/query", self.query),
            web.get("/endless", self.endless),
            web.post("/api/v1/write", self.write),
        ]

    @staticmethod
    def error_renderers():
        return {"/api/v1/write": render_text}

    async def ok(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def big(self, _request: web.Request) -> web.Response:
        return web.Response(text="x" * 100_000)

    async def boom(self, _request: web.Request) -> web.Response:
        raise RuntimeError("a secret")

    async def query(self, request: web.Request) -> web.Response:
        return web.Response(text=str(len(request.query["q"])))

    async def endless(self, _request: web.Request) -> web.Response:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.canceled.set()
            raise
        raise AssertionError("unreachable")

    async def write(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body == b"full":
            raise OverloadedError("full", 3)
        assert request.app is not None
        return web.Response(status=204)


@asynccontextmanager
async def serve(handlers: Handlers, directory, *, token: str | None = None):
    from obsd.api import health

    authenticator, _ = open_authenticator(directory, is_loopback=True, configured_token=token)
    services = Services(
        state=ServerState(Phase.READY),
        projects=None,
        metrics=None,
        logs=None,
        traces=None,
        errors=None,
        log_metrics=None,
        arrivals=None,
        log_arrivals=None,
        span_arrivals=None,
        telemetry=Telemetry(),
        supervisor=Supervisor(),
        authenticator=authenticator,
        self_monitoring=None,
    )
    application, edge = build_app(Config(), services, [handlers, health])
    runner = await serving_runner(application, edge, 2.0)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    try:
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
            yield SimpleNamespace(
                session=session, services=services, handlers=handlers, port=port, runner=runner
            )
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture
async def server(tmp_path) -> AsyncIterator[SimpleNamespace]:
    async with serve(Handlers(), tmp_path) as running:
        yield running


async def test_unknown_paths_are_404_in_json(server) -> None:
    async with server.session.get("/nowhere") as response:
        assert response.status == 404
        assert (await response.json())["error"]["type"] == "not_found"


async def test_a_wrong_method_is_405_with_allow(server) -> None:
    async with server.session.delete("/ok") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD, POST"
    async with server.session.get("/api/v1/write") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


async def test_head_has_no_body(server) -> None:
    async with server.session.head("/ok") as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_a_request_line_of_64_kib_is_taken(server) -> None:
    async with server.session.get("/query", params={"q": "x" * 65_536}) as response:
        assert await response.text() == "65536"


async def test_our_own_failure_is_500_without_its_text(server) -> None:
    async with server.session.get("/boom") as response:
        assert response.status == 500
        assert "secret" not in await response.text()


async def test_answers_are_compressed_when_asked_for(server) -> None:
    async with server.session.get("/big", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert int(response.headers["Content-Length"]) < 10_000
        assert await response.text() == "x" * 100_000


async def test_a_client_that_goes_away_stops_its_handler(server) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(server.handlers.begun.wait(), 10)
    writer.close()
    await asyncio.wait_for(server.handlers.canceled.wait(), 10)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://[::1]:80"])
async def test_preflights_from_allowed_origins(server, origin: str) -> None:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-custom",
    }
    async with server.session.options("/ok", headers=headers) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert "x-custom" in response.headers["Access-Control-Allow-Headers"]
    async with server.session.get("/ok", headers={"Origin": origin}) as response:
        assert response.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example:1"])
async def test_other_origins_get_no_permission(server, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    async with server.session.options("/ok", headers=headers) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
    async with server.session.get("/ok", headers=headers) as response:
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("phase", [Phase.REPLAYING, Phase.STOPPING])
async def test_before_and_after_only_health_is_served(server, phase: Phase) -> None:
    server.services.state.phase = phase
    for method, path, status in (
        ("GET", "/-/ready", 503),
        ("GET", "/-/healthy", 200),
        ("GET", "/metrics", 200),
        ("GET", "/ok", 503),
        ("POST", "/api/v1/write", 503),
    ):
        async with server.session.request(method, path) as response:
            assert response.status == status, path
            if status == 503:
                assert response.headers["Retry-After"] == "1"
                assert phase.value in await response.text()


async def test_writes_take_the_short_way_and_are_counted(server, caplog) -> None:
    with caplog.at_level(logging.INFO, "obsd.access"):
        async with server.session.post("/api/v1/write", data=b"body") as response:
            assert response.status == 204
            assert "Vary" not in response.headers
        async with server.session.post("/api/v1/write", data=b"full") as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "3"
            assert await response.text() == "full\n"
    value = server.services.telemetry.registry.get_sample_value
    assert value("obsd_write_requests_total", {"code": "204"}) == 1
    assert value("obsd_write_requests_total", {"code": "503"}) == 1
    assert value("obsd_write_duration_seconds_count") == 2
    [line] = [r for r in caplog.records if r.name == "obsd.access"]
    assert (line.status, line.path) == (503, "/api/v1/write")


async def test_expect_continue_is_answered_before_a_write(server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
        b"Expect: 100-continue\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 100")
    await reader.readline()
    writer.write(b"body")
    assert (await reader.readline()).startswith(b"HTTP/1.1 204")
    writer.close()


async def test_chunked_and_pipelined_requests(server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    request = (
        b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
    )
    writer.write(request * 3)
    for _ in range(3):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 204")
    writer.close()


async def test_a_token_guards_everything_but_health(tmp_path) -> None:
    async with serve(Handlers(), tmp_path, token="s3cret") as server:
        for method, path in (("GET", "/ok"), ("GET", "/metrics"), ("GET", "/nowhere")):
            async with server.session.request(method, path) as response:
                assert response.status == 401, path
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
        async with server.session.post("/api/v1/write", data=b"body") as response:
            assert response.status == 401
        for path in ("/-/ready", "/-/healthy", "/ready"):
            async with server.session.get(path) as response:
                assert response.status == 200
        headers = {"Authorization": "Bearer s3cret"}
        async with server.session.get("/ok", headers=headers) as response:
            assert response.status == 200
        async with server.session.post("/api/v1/write", data=b"x", headers=headers) as response:
            assert response.status == 204


def test_the_access_log_shows_no_credentials() -> None:
    shown = redact("/api/v1/query?query=up&token=s3cret&P=hidden&step=15")
    assert shown == "/api/v1/query?query=up&token=redacted&P=redacted&step=15"
    assert len(redact("/q?" + "x" * 100_000)) < 2100


def test_refused_writes_are_logged_once_a_second_with_their_number(caplog) -> None:
    now_s = [5.0]
    sparse = SparseLog(lambda: now_s[0])
    request = make_mocked_request("POST", "/api/v1/write")
    with caplog.at_level(logging.WARNING, "obsd.access"):
        for moment_s in (5.0, 5.1, 5.9, 6.0, 6.5):
            now_s[0] = moment_s
            sparse.log_request(request, web.Response(status=503), 0.001)
    assert [getattr(line, "suppressed", 0) for line in caplog.records] == [0, 2]


@pytest.mark.parametrize("path", ["/-/ready", "/ready"])
async def test_waiting_for_readiness_fills_no_log(server, caplog, path: str) -> None:
    server.services.state.phase = Phase.REPLAYING
    with caplog.at_level(logging.INFO, "obsd.access"):
        async with server.session.get(path) as response:
            assert response.status == 503
        async with server.session.get("/ok") as response:
            assert response.status == 503
    assert [r.path for r in caplog.records if r.name == "obsd.access"] == ["/ok"]


@pytest.mark.parametrize("path", ["/", "/metrics"])
def test_what_is_asked_for_again_and_again_fills_no_log(caplog, path: str) -> None:
    with caplog.at_level(logging.INFO, "obsd.access"):
        for status in (200, 500):
            log_request(make_mocked_request("GET", path), web.Response(status=status), 0.001)
    assert [r.status for r in caplog.records if r.name == "obsd.access"] == [500]


async def test_every_address_of_remote_write_takes_the_short_way(tmp_path) -> None:
    async with running_app(tmp_path) as app:
        for path in sorted(HOT_PATHS):
            answer = await app.post(path, b"", headers=WRITE_1)
            assert answer.status == 400
            assert "Vary" not in answer.headers, path
    assert {"/prometheus/api/v1/write", "/api/v1/prom/remote/write"} <= HOT_PATHS


async def test_of_writes_only_refused_ones_are_logged_and_sparsely(tmp_path, caplog) -> None:
    async with running_app(tmp_path) as app:
        with caplog.at_level(logging.INFO, "obsd.access"):
            for body, status in (("up 1", 204), ("{", 400), ("{", 400)):
                answer = await app.post("/api/v1/import/prometheus", body)
                assert answer.status == status
            await app.post("/api/v1/query", {"query": "up"})
    logged = [(r.path, r.status) for r in caplog.records if r.name == "obsd.access"]
    assert logged == [("/api/v1/import/prometheus", 400), ("/api/v1/query", 200)]


async def test_requests_are_logged_with_their_fields(server, caplog) -> None:
    with caplog.at_level(logging.DEBUG, "obsd.access"):
        headers = {"X-Scope-OrgID": "team"}
        async with server.session.get("/ok?token=abc", headers=headers) as response:
            await response.read()
    [line] = [r for r in caplog.records if r.name == "obsd.access"]
    assert (line.method, line.path, line.status) == ("GET", "/ok?token=redacted", 200)
    assert (line.project, line.bytes, line.remote) == ("team", 2, "127.0.0.1")
    assert line.duration_ms >= 0


async def test_the_start_page_is_whole_and_asks_nobody_else(tmp_path) -> None:
    async with running_app(tmp_path) as app:
        answer = await app.get("/", headers={"Host": 'x"><script>:80'})
        page = answer.text
        assert answer.status in {200, 400}
        assert 'x"><script>' not in page
        answer = await app.get("/")
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert f"{app.url}/api/v1/write" in answer.text
        assert "$" not in answer.text
        assert "src=" not in answer.text
        assert "OBSD_TOKEN" not in answer.text  # Only where one is asked for.


@pytest.mark.parametrize("tag", ["style", "script"])
async def test_the_start_pages_policy_allows_its_own_style_and_script(tmp_path, tag) -> None:
    async with running_app(tmp_path) as app:
        answer = await app.get("/")
    [source] = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    assert f"{tag}-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


async def test_the_start_pages_figures_stand_where_its_script_looks(tmp_path) -> None:
    async with running_app(tmp_path) as app:
        page = (await app.get("/")).text
    live = page[page.index('<div id="live">') : page.index("</dl>\n</div>")]
    assert live.count("<dd") == page.count("<dd") > 0
    assert 'class="state">ready' in live
    assert "<pre" not in live  # A selection in a snippet must outlive a refresh.


async def test_own_metrics_are_as_prometheus_wants_them(tmp_path) -> None:
    async with running_app(tmp_path) as app:
        await app.write([({"__name__": "a"}, [(1000, 1.0)])])
        text = (await app.get("/metrics")).body
    checked = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=text, capture_output=True
    )
    assert checked.returncode == 0, checked.stderr.decode() + checked.stdout.decode()


async def test_metrics_are_exposition_text(tmp_path) -> None:
    async with running_app(tmp_path) as app:
        await app.get("/api/v1/query", {"query": "1"})
        text = (await app.get("/metrics")).text
    assert 'obsd_queries_total{code="200",kind="instant"} 1.0' in text
    assert "obsd_build_info" in text


async def test_errors_of_the_product_api_are_json(tmp_path) -> None:
    async with running_app(tmp_path) as app:
        answer = await app.get("/api/v1/monitoring/nothing")
        assert answer.status == 404
        assert set(json.loads(answer.body)["error"]) == {"type", "message"}
