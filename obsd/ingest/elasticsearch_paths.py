"""Where Elasticsearch's ingest API is served."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "/es"
INDEX: Final = "{index:[^/_][^/]*}"  # Names that begin with _ are endpoints.
BULK_PATHS: Final = ("/_bulk", f"/{INDEX}/_bulk")

# What agents set up, each under a name.
KIND_PATHS: Final = (
    "/_index_template",
    "/_component_template",
    "/_template",
    "/_ilm/policy",
    "/_ingest/pipeline",
    "/_data_stream",
)

_WRITE: Final = ("POST", "PUT")  # Clients differ in what they take for right.
_READ: Final = ("GET", "POST")

# Methods, path below the prefix, and the method of `Elasticsearch` that answers.
ROUTES: Final[tuple[tuple[tuple[str, ...], str, str], ...]] = (
    *((_WRITE, path, "bulk") for path in BULK_PATHS),
    (("POST",), f"/{INDEX}/_doc", "document"),
    (_WRITE, f"/{INDEX}/_doc/{{id}}", "document"),
    (_WRITE, f"/{INDEX}/_create/{{id}}", "document"),
    *((_READ, path, "count") for path in ("/_count", "/_all/_count", f"/{INDEX}/_count")),
    *((("GET",), path, "info") for path in ("", "/")),
    (("GET",), "/_license", "licence"),
    (("GET",), "/_xpack", "xpack"),
    (("GET",), "/_cluster/health", "cluster_health"),
    (("GET",), "/_cluster/health/{index}", "cluster_health"),
    (("GET",), "/_cat/health", "cat_health"),
    (("GET",), "/_cat/indices", "cat_indices"),
    (("GET",), "/_cat/indices/{pattern}", "cat_indices"),
    *((("GET",), path, "nodes_http") for path in ("/_nodes", "/_nodes/http", "/_nodes/_all/http")),
    (("GET",), f"/{INDEX}", "get_index"),
    (("PUT",), f"/{INDEX}", "put_index"),
    *((("PUT",), f"/{INDEX}/{name}", "acknowledge") for name in ("_mapping", "_settings")),
    *(
        (_READ, at, "refresh")
        for path in ("/_refresh", "/_flush")
        for at in (path, f"/{INDEX}{path}")
    ),
    *((("GET",), path, "get_kind") for path in KIND_PATHS),
    *((("GET",), f"{path}/{{name}}", "get_kind") for path in KIND_PATHS),
    *((_WRITE, f"{path}/{{name}}", "put_kind") for path in KIND_PATHS),
    *((("DELETE",), f"{path}/{{name}}", "delete_kind") for path in KIND_PATHS),
)
