"""A shop of two services, instrumented as OpenTelemetry's users do it, and a customer of it.

`python -m tests.e2e.shop_app web PORT API_URL`, `… api PORT` and `… customer URL COUNT`; where
spans go is in the standard `OTEL_*` variables.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import aiohttp
from aiohttp import web
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class OutOfStockError(Exception):
    pass


def instrument() -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=100))
    trace.set_tracer_provider(provider)
    return provider


async def item(request: web.Request) -> web.Response:
    """What the API says of an item; it has none of those that end with 3."""
    name = request.match_info["item"]
    with trace.get_tracer("shop").start_as_current_span("look up", attributes={"item": name}):
        if name.endswith("3"):
            raise OutOfStockError(f"nothing left of item {name}")
        return web.json_response({"item": name})


async def ready(request: web.Request) -> web.Response:
    return web.Response()


async def order(request: web.Request) -> web.Response:
    name = request.match_info["item"]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{request.app[API]}/items/{name}") as answer,
    ):
        return web.Response(status=answer.status, text=await answer.text())


API = web.AppKey("api", str)


async def serve(role: str, port: int, api: str) -> None:
    app = web.Application()
    app[API] = api
    app.router.add_get("/-/ready", ready)
    if role == "web":
        app.router.add_get("/order/{item}", order)
    else:
        app.router.add_get("/items/{item}", item)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()


def buy(url: str, count: int) -> None:
    import requests

    for number in range(count):
        with trace.get_tracer("shop").start_as_current_span("buy") as span:
            status = requests.get(f"{url}/order/{number}", timeout=10).status_code
            sys.stdout.write(f"{span.get_span_context().trace_id:032x} {status}\n")


def main() -> None:
    role, *arguments = sys.argv[1:]
    provider = instrument()
    AioHttpClientInstrumentor().instrument()
    AioHttpServerInstrumentor().instrument()
    RequestsInstrumentor().instrument()
    if role == "customer":
        buy(arguments[0], int(arguments[1]))
    else:
        asyncio.run(serve(role, int(arguments[0]), arguments[1] if role == "web" else ""))
    provider.shutdown()


if __name__ == "__main__":
    main()
