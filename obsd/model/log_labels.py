"""The labels of a record's stream, and the rest of it as structured metadata.

What Loki, whose words these are, is told when a stream is pushed, obsd derives from the record:
the resource says where a record comes from, so some of its attributes are the stream's labels.

- Attributes that OpenTelemetry senders have on every record, `INDEX_ATTRIBUTES`, and all whose
  names have no dot: labels of Loki's senders, `host` and `app` of syslog's.
- Only texts, numbers and booleans: a list or a map is metadata. An empty text is no label.
- `service_name` is always there.

Everything else is structured metadata: the resource's other attributes, the record's own, its ids,
its severity, its level as `level` and `detected_level`, and of its details what `DETAILS` has and
the attributes of its scope. A name that is a label's, too, ends in
`_extracted` there, as in Loki; the level and the severity, which nobody sent under these names,
give way instead.

Names are made of letters, digits and `_`; every other character becomes `_`. Of a record's names
that become the same, one counts, and of a resource's the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from obsd.model.log_record import LogRecord, Value
from obsd.model.log_text import text_of
from obsd.model.severity import level_of

SERVICE_NAME: Final = "service_name"
UNKNOWN_SERVICE: Final = "unknown_service"
UNKNOWN_LEVEL: Final = "unknown"
LEVEL_NAMES: Final = ("detected_level", "level")
"""What the level is called."""
EXTRACTED: Final = "_extracted"

INDEX_ATTRIBUTES: Final = frozenset(
    {
        "service.name",
        "service.namespace",
        "service.instance.id",
        "deployment.environment",
        "deployment.environment.name",
        "cloud.region",
        "cloud.availability_zone",
        "container.name",
        "k8s.cluster.name",
        "k8s.namespace.name",
        "k8s.pod.name",
        "k8s.container.name",
        "k8s.replicaset.name",
        "k8s.deployment.name",
        "k8s.statefulset.name",
        "k8s.daemonset.name",
        "k8s.cronjob.name",
        "k8s.job.name",
    }
)

DETAILS: Final = {
    "scope.name": "scope_name",
    "scope.version": "scope_version",
    "event_name": "event_name",
    "flags": "flags",
    "dropped_attributes": "dropped_attributes_count",
    "scope.dropped_attributes": "scope_dropped_attributes_count",
    "resource.dropped_attributes": "resource_dropped_attributes_count",
}
"""What a record's details are called as metadata."""

_INVALID: Final = re.compile(r"[^a-zA-Z0-9_]")
_CACHED_NAMES: Final = 65_536


@lru_cache(maxsize=_CACHED_NAMES)
def label_name(attribute: str) -> str:
    """The name of a label, or of metadata, for an attribute's: `k8s.pod.name` is `k8s_pod_name`."""
    name = _INVALID.sub("_", attribute)
    return f"_{name}" if not name or name[0].isdigit() else name


def is_index_attribute(attribute: str) -> bool:
    """Whether a resource attribute of this name is a label, if it is text, number or boolean."""
    return "." not in attribute or attribute in INDEX_ATTRIBUTES


def resource_labels(resource: Mapping[str, Value], service: str) -> dict[str, str]:
    """The labels of what a resource makes, sorted by name; `service` as in `LogRecord`."""
    labels: dict[str, str] = {SERVICE_NAME: service or UNKNOWN_SERVICE}
    for key, value in resource.items():
        if _is_label(key, value):
            labels.setdefault(label_name(key), text_of(value))
    return dict(sorted(labels.items()))


def stream_labels(record: LogRecord) -> dict[str, str]:
    """The labels of a record's stream, sorted by name; never empty."""
    return resource_labels(record.resource, record.service)


def structured_metadata(record: LogRecord, labels: Mapping[str, str]) -> dict[str, str]:
    """Everything that a record has besides its line and its stream's labels, sorted by name."""
    found: dict[str, str] = {}

    def add(name: str, text: str) -> None:
        if text:
            found.setdefault(f"{name}{EXTRACTED}" if name in labels else name, text)

    level = record_level(record)
    for name in LEVEL_NAMES:
        if name not in labels:
            found[name] = level
    if record.severity_number and "severity_number" not in labels:
        found["severity_number"] = str(record.severity_number)
    if record.severity_text and "severity_text" not in labels:
        found["severity_text"] = record.severity_text
    add("trace_id", record.trace_id)
    add("span_id", record.span_id)
    for key, value in record.attributes.items():
        add(label_name(key), text_of(value))
    for key, value in record.resource.items():
        # The service is a label, whatever it is called.
        if not _is_label(key, value) and key != "service.name":
            add(label_name(key), text_of(value))
    for key, name in DETAILS.items():
        if key in record.details:
            add(name, text_of(record.details[key]))
    scope = record.details.get("scope")
    if isinstance(scope, dict):
        for key, value in scope.items():
            add(label_name(key), text_of(value))
    return dict(sorted(found.items()))


def record_level(record: LogRecord) -> str:
    """The level as metadata has it."""
    return level_of(record.severity_number, record.severity_text) or UNKNOWN_LEVEL


def _is_label(key: str, value: Value) -> bool:
    if value in (None, "", b"") or isinstance(value, (list, dict)):
        return False
    return is_index_attribute(key)
