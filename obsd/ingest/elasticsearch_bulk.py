"""The body of a `_bulk` request, and what becomes of each of its actions.

API: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk. Each action is an
object on a line of its own, followed, but for `delete`, by a line with the document. Every action
gets an item in the answer, in order and under its own name: clients walk both lists side by side.
"""

from __future__ import annotations

import io
import itertools
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from obsd.ingest.elasticsearch_document import encode_document
from obsd.ingest.elasticsearch_filter import FilterPath
from obsd.ingest.elasticsearch_ids import RecentIds, Seen, content_digest, id_key
from obsd.ingest.json_shown import NOT_JSON, shown
from obsd.ingest.record_limits import RecordLimits
from obsd.model.errors import BadInputError
from obsd.services.log_encoding import RecordGroup, RequestMemory
from obsd.services.log_encoding import request as encode_request

ACTIONS: Final = frozenset({"index", "create", "delete", "update"})
MAX_ID_BYTES: Final = 512  # Elasticsearch's own limits.
MAX_INDEX_BYTES: Final = 255

# What an action takes beside its record: itself, and its item in the answer.
_ITEM_BYTES: Final = 384
_MAX_REASON_CHARS: Final = 300

# Ids of a run of obsd differ in their count, those of two runs in their beginning.
_ID_PREFIX: Final = secrets.token_urlsafe(9)
_ID_COUNT: Final = itertools.count()


@dataclass(slots=True)
class Item:
    """An action and its result.

    Attributes:
        error: type and reason where it failed.
    """

    action: str
    index: str
    doc_id: str
    status: int = 201
    error: tuple[str, str] | None = None

    def fail(self, status: int, kind: str, reason: str) -> None:
        self.status, self.error = status, (kind, reason[:_MAX_REASON_CHARS])

    def to_tree(self) -> dict[str, Any]:
        """What a client is told, without the action's name around it."""
        tree: dict[str, Any] = {"_index": self.index, "_id": self.doc_id or None}
        if self.error is not None:
            kind, reason = self.error
            return {**tree, "status": self.status, "error": {"type": kind, "reason": reason}}
        return {
            **tree,
            "_version": 1 if self.status == 201 else 2,
            "result": "created" if self.status == 201 else "updated",
            "_shards": {"total": 1, "successful": 1, "failed": 0},
            "_seq_no": 0,
            "_primary_term": 1,
            "status": self.status,
        }


@dataclass(slots=True)
class Batch:
    """A request being put together.

    Attributes:
        stored: keys and contents of the ids that senders gave, for when all is durable.
    """

    items: list[Item] = field(default_factory=list)
    groups: dict[bytes, RecordGroup] = field(default_factory=dict)
    stored: dict[bytes, bytes] = field(default_factory=dict)
    memory: RequestMemory = field(default_factory=RequestMemory)

    @property
    def has_errors(self) -> bool:
        return any(item.error is not None for item in self.items)

    def begin(self, action: str, index: str, doc_id: str) -> Item:
        item = Item(action, index, doc_id)
        self.memory.add(_ITEM_BYTES + len(doc_id))
        self.items.append(item)
        return item

    def add(self, source: bytes, record: bytes) -> None:
        self.memory.add(len(record))
        group = self.groups.get(source)
        if group is None:
            self.memory.add(len(source))
            group = self.groups[source] = RecordGroup(source)
        group.records.append(record)

    def encode(self) -> bytes:
        """As OTLP; empty when there is nothing to store."""
        return encode_request(self.groups.values())

    def render(self, took_ms: int, wanted: FilterPath) -> bytes:
        """The answer's JSON: item by item, since all of them as objects would take much memory."""
        head = wanted.apply({"took": took_ms, "errors": self.has_errors}) or {}
        encoded = msgspec.json.encode(head)[1:-1]
        within = wanted.within("items")
        if not within.patterns:
            return b"{%b}" % encoded
        items = b",".join(filter(None, _render_items(self.items, within)))
        return b'{%b%b"items":[%b]}' % (encoded, b"," if encoded else b"", items)


def _render_items(items: Iterable[Item], wanted: FilterPath) -> Iterator[bytes]:
    """The JSON of each; empty where nothing of it is wanted.

    Where ids are not wanted, items that went well are alike but for their action, index and status.
    """
    alike: dict[tuple[str, str, int], bytes] = {}
    for item in items:
        key = (item.action, item.index, item.status)
        if item.error is None and key in alike:
            yield alike[key]
            continue
        tree = wanted.apply({item.action: item.to_tree()})
        encoded = b"" if tree is None else msgspec.json.encode(tree)
        yield encoded
        if item.error is None and not wanted.within(item.action).within("_id").patterns:
            alike[key] = encoded


@dataclass(frozen=True, slots=True)
class Target:
    """What a request says for all of its actions.

    Attributes:
        index: of the path; "" where it has none.
        now_ns: the time of documents without one.
    """

    project_id: str
    index: str
    now_ns: int
    limits: RecordLimits
    ids: RecentIds


def read_bulk(body: bytes, target: Target) -> Batch:
    """Every action of a body.

    Raises:
        BadInputError: what is wrong concerns the whole request; nothing may be stored.
        TooLargeError: it takes too much memory.
    """
    batch = Batch()
    lines = enumerate(io.BytesIO(body), 1)
    decode = msgspec.json.Decoder().decode
    for number, line in lines:
        if not line.strip():
            continue
        action, metadata = _read_action(line, number, decode)
        item = batch.begin(action, _index(metadata, target), _id(metadata))
        if action == "delete":
            _refuse_change(item)
            continue
        _, source = next(lines, (0, None))
        if source is None:
            item.fail(400, "illegal_argument_exception", "the document is missing")
            continue
        store_document(batch, item, source, target, decode)
    return batch


def _read_action(line: bytes, number: int, decode: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - a method
    try:
        tree = decode(line)
    except NOT_JSON:
        tree = None
    match tree:
        case dict() if len(tree) == 1:
            [(action, metadata)] = tree.items()
            if action in ACTIONS and isinstance(metadata, dict):
                return action, metadata
            if action not in ACTIONS:
                raise BadInputError(
                    f"Malformed action/metadata line [{number}], expected field [create], [delete],"
                    f" [index] or [update] but found [{action[:80]}]"
                )
    raise BadInputError(
        f"Malformed action/metadata line [{number}], expected an object of one action"
    )


def _index(metadata: dict[str, Any], target: Target) -> str:
    index = metadata.get("_index") or target.index
    if not isinstance(index, str) or not index:
        raise BadInputError(
            "[action_request_validation_exception] Validation Failed: 1: index is missing;"
        )
    return check_index(index)


def check_index(index: str) -> str:
    """The name of an index.

    Raises:
        BadInputError: no index can be called so.
    """
    if len(index.encode("utf-8", "surrogatepass")) > MAX_INDEX_BYTES:
        raise BadInputError(
            f"[invalid_index_name_exception] an index name has at most {MAX_INDEX_BYTES} bytes"
        )
    return index


def _id(metadata: dict[str, Any]) -> str:
    """The id that the sender gave, "" for none; numbers are understood."""
    doc_id = metadata.get("_id")
    if doc_id is None:
        return ""
    if isinstance(doc_id, bool) or not isinstance(doc_id, (str, int)):
        raise BadInputError(f"an _id is a text, not {shown(doc_id)}")
    return str(doc_id)


def store_document(batch: Batch, item: Item, source: bytes, target: Target, decode: Any) -> None:  # noqa: ANN401 - a method
    """Put the document of an action into the batch, or say in its item why not."""
    try:
        document = decode(source)
    except NOT_JSON as error:
        item.fail(400, "document_parsing_exception", f"failed to parse: {error}")
        return
    if item.action == "update":
        document = _upserted(document)
        if document is None:
            _refuse_change(item)
            return
    if not isinstance(document, dict):
        reason = f"expected an object, found {shown(document)}"
        item.fail(400, "document_parsing_exception", reason)
        return
    if len(item.doc_id.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        reason = f"an _id has at most {MAX_ID_BYTES} bytes"
        item.fail(400, "illegal_argument_exception", reason)
        return
    given_id = item.doc_id
    if given_id and _is_known(batch, item, source, target):
        return
    try:
        resource, record = encode_document(
            document, item.index, given_id, target.now_ns, target.limits
        )
    except BadInputError as error:
        item.fail(400, "document_parsing_exception", str(error))
        return
    batch.add(resource, record)
    if given_id:
        key = id_key(target.project_id, item.index, given_id)
        batch.stored[key] = content_digest(source)
    else:
        item.doc_id = f"{_ID_PREFIX}{next(_ID_COUNT):08x}"


def _is_known(batch: Batch, item: Item, source: bytes, target: Target) -> bool:
    """Whether the id was used lately, and the document is not to be stored therefore."""
    key, content = id_key(target.project_id, item.index, item.doc_id), content_digest(source)
    if key in batch.stored:
        seen = Seen.SAME if batch.stored[key] == content else Seen.OTHER
    else:
        seen = target.ids.look_up(key, content)
    if seen is Seen.NEVER:
        return False
    if item.action == "create":
        reason = f"[{item.doc_id}]: version conflict, document already exists (current version [1])"
        item.fail(409, "version_conflict_engine_exception", reason)
        return True
    item.status = 200
    return seen is Seen.SAME  # Logs are not changed: other content is one more record.


def _upserted(body: Any) -> Any:  # noqa: ANN401 - any JSON
    """The document that an update makes where there is none; None where it only changes one."""
    match body:
        case {"doc": dict(document), "doc_as_upsert": True} | {"upsert": dict(document)}:
            return document
    return None


def _refuse_change(item: Item) -> None:
    item.fail(400, "illegal_argument_exception", f"logs are kept as they came: no {item.action}")
