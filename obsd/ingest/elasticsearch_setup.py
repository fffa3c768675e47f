"""What agents ask of Elasticsearch before they send: what it is, and whether their setup is there.

All of it stands under `/es` on the main port, and at the root of `server.elasticsearch_listen`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.keys import CONFIG
from obsd.ingest.elasticsearch_answers import PRODUCT, respond, respond_error
from obsd.ingest.elasticsearch_bulk import check_index
from obsd.ingest.elasticsearch_filter import matches_name
from obsd.ingest.elasticsearch_paths import PREFIX
from obsd.ingest.elasticsearch_remembered import Remembered
from obsd.ingest.json_shown import NOT_JSON
from obsd.model.errors import UndecodableError

MAX_SETUP_BYTES: Final = 8 << 20  # Filebeat's template alone is over 1 MB.

NODE: Final = "obsd"
_UUID_OF_NODE: Final = "obsd-node-000000000000"
_INDEX_KIND: Final = "index"
_ACKNOWLEDGED: Final = {"acknowledged": True}
_SHARDS: Final = {"total": 1, "successful": 1, "failed": 0}


@dataclass(frozen=True, slots=True)
class SetupKind:
    """Something that agents put under a name.

    Attributes:
        path: below the prefix; the name comes after it.
        listed: the key under which the answer lists them; "" where it has them by name.
        inner: the key of the text in a list's entry.
    """

    path: str
    listed: str = ""
    inner: str = ""

    def show(self, found: list[tuple[str, Any]]) -> dict[str, Any]:
        if not self.listed:
            return dict(found)
        return {self.listed: [{"name": name, self.inner: text} for name, text in found]}


_BY_PATH: Final = {
    kind.path: kind
    for kind in (
        SetupKind("/_index_template", "index_templates", "index_template"),
        SetupKind("/_component_template", "component_templates", "component_template"),
        SetupKind("/_template"),
        SetupKind("/_ilm/policy"),
        SetupKind("/_ingest/pipeline"),
        SetupKind("/_data_stream", "data_streams", "template"),
    )
}


def cluster_uuid(data_dir: str) -> str:
    """The same for a data directory at every start, as agents tell clusters apart by it."""
    return uuid.uuid5(uuid.NAMESPACE_URL, data_dir).hex[:22]


def _table(request: web.Request, rows: list[dict[str, str]]) -> web.Response:
    """As text for people, or as JSON for who asks for that."""
    accept = request.headers.get("Accept", "")
    if "json" in accept or request.query.get("format") == "json":
        return respond(request, rows)
    lines = [list(rows[0])] if rows and "v" in request.query else []
    lines += [list(row.values()) for row in rows]
    return web.Response(text="".join(" ".join(line) + "\n" for line in lines), headers=PRODUCT)


async def _read_json(request: web.Request) -> bytes:
    body = await read_body(
        request,
        max_compressed=MAX_SETUP_BYTES,
        max_decompressed=MAX_SETUP_BYTES,
        allowed=ANY_CODING,
    )
    if not body.strip():
        return b"{}"
    try:
        tree = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise UndecodableError(f"the body is no JSON: {error}") from None
    if not isinstance(tree, dict):
        raise UndecodableError("the body is no JSON object")
    return body


class Setup:
    """The setup of agents, and the indices that there are."""

    def __init__(self, remembered: Remembered | None = None) -> None:
        self._remembered = remembered or Remembered()

    def add_index(self, project_id: str, index: str) -> None:
        """An index is there once something was stored in it."""
        if self._remembered.get(project_id, _INDEX_KIND, index) is None:
            self._remembered.put(project_id, _INDEX_KIND, index, b"{}")

    def has_index(self, project_id: str, index: str) -> bool:
        is_stream = self._remembered.get(project_id, "/_data_stream", index) is not None
        return is_stream or self._remembered.get(project_id, _INDEX_KIND, index) is not None

    async def info(self, request: web.Request) -> web.Response:
        """`GET /`: what clients take for Elasticsearch."""
        config = request.app[CONFIG]
        tree = {
            "name": NODE,
            "cluster_name": NODE,
            "cluster_uuid": cluster_uuid(str(config.storage.data_dir.absolute())),
            "version": {
                "number": config.ingest.elasticsearch_version,
                "build_flavor": "default",
                "build_type": "tar",
                "build_hash": "0" * 40,
                "build_date": "2025-01-01T00:00:00.000Z",
                "build_snapshot": False,
                "lucene_version": "10.1.0",
                "minimum_wire_compatibility_version": "7.17.0",
                "minimum_index_compatibility_version": "7.0.0",
            },
            "tagline": "You Know, for Search",
        }
        return respond(request, tree)

    async def licence(self, request: web.Request) -> web.Response:
        tree = {
            "uid": cluster_uuid(str(request.app[CONFIG].storage.data_dir.absolute())),
            "type": "basic",
            "mode": "basic",
            "status": "active",
            "issued_to": NODE,
            "issuer": NODE,
            "max_nodes": 1,
            "start_date_in_millis": -1,
        }
        return respond(request, {"license": tree})

    async def xpack(self, request: web.Request) -> web.Response:
        features = {
            name: {"available": name == "ilm", "enabled": name == "ilm"}
            for name in ("ilm", "ml", "monitoring", "security", "watcher")
        }
        return respond(
            request,
            {
                "build": {"hash": "0" * 40, "date": "2025-01-01T00:00:00.000Z"},
                "license": {"type": "basic", "mode": "basic", "status": "active"},
                "features": features,
                "tagline": "You know, for X",
            },
        )

    async def cluster_health(self, request: web.Request) -> web.Response:
        return respond(
            request,
            {
                "cluster_name": NODE,
                "status": "green",
                "timed_out": False,
                "number_of_nodes": 1,
                "number_of_data_nodes": 1,
                "active_primary_shards": 1,
                "active_shards": 1,
                "relocating_shards": 0,
                "initializing_shards": 0,
                "unassigned_shards": 0,
                "delayed_unassigned_shards": 0,
                "number_of_pending_tasks": 0,
                "number_of_in_flight_fetch": 0,
                "task_max_waiting_in_queue_millis": 0,
                "active_shards_percent_as_number": 100.0,
            },
        )

    async def cat_health(self, request: web.Request) -> web.Response:
        row = {
            "cluster": NODE,
            "status": "green",
            "node.total": "1",
            "node.data": "1",
            "shards": "1",
        }
        return _table(request, [row])

    async def nodes_http(self, request: web.Request) -> web.Response:
        """One node, at the address that the client has found already."""
        node = {
            "name": NODE,
            "version": request.app[CONFIG].ingest.elasticsearch_version,
            "roles": ["data", "ingest", "master"],
            "http": {
                "bound_address": [request.host],
                "publish_address": request.host,
                "max_content_length_in_bytes": 32 << 20,
            },
        }
        counts = {"total": 1, "successful": 1, "failed": 0}
        return respond(
            request, {"_nodes": counts, "cluster_name": NODE, "nodes": {_UUID_OF_NODE: node}}
        )

    async def get_index(self, request: web.Request) -> web.Response:
        project_id, index = project_of(request), request.match_info["index"]
        if not self.has_index(project_id, index):
            return respond_error(
                request, 404, "index_not_found_exception", f"no such index [{index}]"
            )
        return respond(request, {index: {"aliases": {}, "mappings": {}, "settings": {}}})

    async def put_index(self, request: web.Request) -> web.Response:
        project_id, index = project_of(request), check_index(request.match_info["index"])
        await _read_json(request)
        if self.has_index(project_id, index):
            reason = f"index [{index}] already exists"
            return respond_error(request, 400, "resource_already_exists_exception", reason)
        self.add_index(project_id, index)
        return respond(request, {**_ACKNOWLEDGED, "shards_acknowledged": True, "index": index})

    async def cat_indices(self, request: web.Request) -> web.Response:
        pattern = request.match_info.get("pattern", "*")
        rows = [
            {"health": "green", "status": "open", "index": name, "pri": "1", "rep": "0"}
            for name, _ in self._remembered.names(project_of(request), _INDEX_KIND)
            if matches_name(pattern, name)
        ]
        return _table(request, rows)

    async def get_kind(self, request: web.Request) -> web.Response:
        """With a name, which may have `*` in it, or all."""
        kind, name = _kind_of(request), request.match_info.get("name", "*")
        found = [
            (each, text)
            for each, text in self._remembered.names(project_of(request), kind.path)
            if matches_name(name, each)
        ]
        if found or "*" in name:
            # Decoded, so that `filter_path` may look into them.
            return respond(request, kind.show([(n, msgspec.json.decode(t)) for n, t in found]))
        return _missing(request, kind, name)

    async def put_kind(self, request: web.Request) -> web.Response:
        text = await _read_json(request)
        kind, name = _kind_of(request), request.match_info["name"]
        self._remembered.put(project_of(request), kind.path, name, text)
        return respond(request, _ACKNOWLEDGED)

    async def delete_kind(self, request: web.Request) -> web.Response:
        kind, name = _kind_of(request), request.match_info["name"]
        if self._remembered.delete(project_of(request), kind.path, name):
            return respond(request, _ACKNOWLEDGED)
        return _missing(request, kind, name)

    async def acknowledge(self, request: web.Request) -> web.Response:
        await _read_json(request)
        return respond(request, _ACKNOWLEDGED)

    async def refresh(self, request: web.Request) -> web.Response:
        """Nothing to do: what is acknowledged is found at once."""
        return respond(request, {"_shards": _SHARDS})


def _kind_of(request: web.Request) -> SetupKind:
    resource = request.match_info.route.resource
    assert resource is not None
    return _BY_PATH[resource.canonical.removeprefix(PREFIX).removesuffix("/{name}")]


def _missing(request: web.Request, kind: SetupKind, name: str) -> web.Response:
    reason = f"{kind.path[1:]} [{name}] missing"
    return respond_error(request, 404, "resource_not_found_exception", reason)
