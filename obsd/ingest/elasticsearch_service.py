"""Elasticsearch's ingest API, `_bulk` and single documents: docs/api/elasticsearch.md."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.keys import CONFIG, LOGS
from obsd.ingest.elasticsearch_answers import (
    filter_path,
    respond,
    respond_encoded,
    respond_error,
)
from obsd.ingest.elasticsearch_bulk import (
    Batch,
    Target,
    check_index,
    read_bulk,
    store_document,
)
from obsd.ingest.elasticsearch_ids import RecentIds
from obsd.ingest.elasticsearch_remembered import Remembered
from obsd.ingest.elasticsearch_setup import Setup
from obsd.ingest.json_shown import NOT_JSON
from obsd.ingest.record_limits import RecordLimits
from obsd.model.errors import BadInputError, UndecodableError

if TYPE_CHECKING:
    from obsd.model.log_predicate import Predicate

MAX_COMPRESSED_BYTES: Final = 32 << 20
MAX_DECOMPRESSED_BYTES: Final = 128 << 20
_MAX_QUERY_BYTES: Final = 1 << 20

_LAST_NS: Final = (1 << 63) - 1


class Elasticsearch(Setup):
    """What stores documents, with the ids that came lately, and what answers before."""

    def __init__(self, ids: RecentIds | None = None, remembered: Remembered | None = None) -> None:
        super().__init__(remembered)
        self._ids = ids or RecentIds()

    async def bulk(self, request: web.Request) -> web.Response:
        """`POST, PUT /_bulk`: 200 whatever became of the items, in their order."""
        start_s = time.perf_counter()
        target = self._target(request)
        body = await _read(request)
        if not body.strip():
            raise UndecodableError("request body is required")
        logs = request.app[LOGS]
        loop = asyncio.get_running_loop()

        def read() -> tuple[Batch, bytes]:
            batch = read_bulk(body, target)
            return batch, batch.encode()

        batch, encoded = await loop.run_in_executor(logs.ingest_pool, read)
        await self._store(request, target, batch, encoded)
        took_ms = round((time.perf_counter() - start_s) * 1000)
        answer = await loop.run_in_executor(
            logs.ingest_pool, batch.render, took_ms, filter_path(request)
        )
        return respond_encoded(request, answer)

    async def document(self, request: web.Request) -> web.Response:
        """`POST /{index}/_doc`, `PUT /{index}/_doc/{id}`, `PUT /{index}/_create/{id}`."""
        target = self._target(request)
        body = await _read(request)
        if not body.strip():
            raise UndecodableError("request body is required")
        is_create = "/_create/" in request.path or request.query.get("op_type") == "create"
        batch = Batch()
        doc_id = request.match_info.get("id", "")
        item = batch.begin("create" if is_create else "index", target.index, doc_id)

        def read() -> bytes:
            store_document(batch, item, body, target, msgspec.json.decode)
            return batch.encode()

        encoded = await asyncio.get_running_loop().run_in_executor(
            request.app[LOGS].ingest_pool, read
        )
        await self._store(request, target, batch, encoded)
        if item.error is not None:
            return respond_error(request, item.status, *item.error)
        tree = item.to_tree()
        del tree["status"]
        return respond(request, tree, item.status)

    def _target(self, request: web.Request) -> Target:
        logs = request.app[LOGS]
        now_ns = logs.now_ns()
        limits = RecordLimits.of(request.app[CONFIG].storage, now_ns)
        index = check_index(request.match_info.get("index", ""))
        return Target(project_of(request), index, now_ns, limits, self._ids)

    async def _store(
        self, request: web.Request, target: Target, batch: Batch, encoded: bytes
    ) -> None:
        if not encoded:
            return
        await request.app[LOGS].write(target.project_id, encoded)
        self._ids.remember(batch.stored.items())
        for index in {item.index for item in batch.items if item.error is None}:
            self.add_index(target.project_id, index)

    async def count(self, request: web.Request) -> web.Response:
        """`GET, POST /{index}/_count`, of everything or of a `query_string`."""
        project_id, pattern = project_of(request), request.match_info.get("index", "*")
        body = await _read(request, _MAX_QUERY_BYTES)
        logs = request.app[LOGS]
        text = _query_text(body) or request.query.get("q", "")
        predicate = _in_index(pattern, text, logs.now_ns())
        [(_, counts)] = await logs.read(
            project_id,
            lambda store, budget: store.count_over_time(
                predicate, 0, _LAST_NS, _LAST_NS, (), budget
            ),
        )
        count = int(counts.sum())
        is_one = not {"*", ","} & set(pattern) and pattern != "_all"
        if is_one and not text and not count and not self.has_index(project_id, pattern):
            reason = f"no such index [{pattern}]"
            return respond_error(request, 404, "index_not_found_exception", reason)
        shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
        return respond(request, {"count": count, "_shards": shards})


async def _read(request: web.Request, limit: int = MAX_DECOMPRESSED_BYTES) -> bytes:
    return await read_body(
        request,
        max_compressed=min(limit, MAX_COMPRESSED_BYTES),
        max_decompressed=limit,
        allowed=ANY_CODING,
    )


def _query_text(body: bytes) -> str:
    """The text of a `query_string`; "" for everything.

    Raises:
        BadInputError: it asks for something else.
    """
    if not body.strip():
        return ""
    try:
        tree: Any = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise UndecodableError(f"the body is no JSON: {error}") from None
    match tree:
        case {"query": {"match_all": dict()}} | {"query": None}:
            return ""
        case {"query": {"query_string": {"query": str(text)}}}:
            return text
        case dict() if "query" not in tree:
            return ""
    raise BadInputError("[parsing_exception] only match_all and query_string are understood here")


def _in_index(pattern: str, text: str, now_ns: int) -> Predicate:
    """What is in one of these indices, and matches a query."""
    from obsd.logsearch import compile_query
    from obsd.model.log_predicate import And, Equals, Exists, Or, Wildcard

    def one(name: str) -> Predicate:
        if name in ("*", "_all"):
            return Exists("_index")
        lower = name.lower()
        if "*" not in name:
            return Equals("_index", lower)
        return Wildcard("_index", lower.replace("\\", "\\\\").replace("?", "\\?"))

    indices = Or(tuple(one(name) for name in pattern.split(",")))
    return And((indices, compile_query(text, now_ns)))
