"""Loki's HTTP API, the server itself: docs/api/loki.md."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from obsd import __version__
from obsd.api.loki_params import PREFIX

LOKI_VERSION: Final = "3.4.0"
"""Whose features these are. Grafana turns its own on by it; obsd's version is the revision."""


_YAML: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})


async def build_info(_request: web.Request) -> web.Response:
    """`GET …/status/buildinfo`: which features a client may count on."""
    body = msgspec.json.encode(
        {
            "version": LOKI_VERSION,
            "revision": f"obsd-{__version__}",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }
    )
    return web.Response(body=body, content_type="application/json")


async def rules(request: web.Request) -> web.Response:
    """`GET …/rules`: groups of rules by namespace, as YAML or JSON; there are none."""
    accept = request.headers.get("Accept", "").split(",")
    wanted = {each.partition(";")[0].strip().lower() for each in accept}
    is_json = "application/json" in wanted and not wanted & _YAML
    media_type = "application/json" if is_json else "application/yaml"
    return web.Response(text="{}\n", content_type=media_type)


def routes() -> list[web.RouteDef]:
    return [
        web.get(f"{PREFIX}/status/buildinfo", build_info),
        web.get(f"{PREFIX}/rules", rules),
    ]
