"""`obsd logs --context N`: each hit among what the same source wrote around it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from obsd.cli.client import Client

Entry = dict[str, Any]

# What tells instances of one service apart, where senders say it.
INSTANCE_FIELDS: Final = ("service.instance.id", "host.name", "k8s.pod.name", "container.id")


@dataclass(frozen=True, slots=True)
class Line:
    """An entry, and whether the search found it."""

    entry: Entry
    is_hit: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A run of lines.

    Attributes:
        goes_on: it follows upon the group before it.
    """

    lines: Sequence[Line]
    goes_on: bool


def source_of(entry: Entry) -> list[tuple[str, str]]:
    """Parameters that find what the entry's source wrote."""
    resource = entry["resource"]
    pairs = [("service", entry["service"])]
    # An attribute of that name would be looked at first, and each record has its own.
    names = [name for name in INSTANCE_FIELDS if name not in entry["attributes"]]
    texts = {name: value for name in names if isinstance(value := resource.get(name), str)}
    return [*pairs, *(("resource[]", f"{name}={value}") for name, value in texts.items())]


def groups_of(client: Client, path: str, hits: Sequence[Entry], lines: int) -> Iterator[Group]:
    """What to show, in order: runs of lines, with the hits among them.

    `hits` are in order of time. What two hits have around them is shown once.

    Raises:
        ClientError: the server cannot be reached, or does not answer.
    """
    found = Counter(_key(hit) for hit in hits)
    shown: Counter[str] = Counter()
    last_source = None
    for hit in hits:
        source = source_of(hit)
        parameters = [("time", hit["timestamp"]), ("before", str(lines)), ("after", str(lines))]
        around = client.get(path, [*parameters, *source])
        at = around["at"] if hit in around["at"] else [*around["at"], hit]
        window = [*around["before"], *at, *around["after"]]
        if new := _new_lines(window, shown, found):
            yield Group(new, goes_on=source == last_source and len(new) < len(window))
            last_source = source


def _new_lines(window: Sequence[Entry], shown: Counter[str], found: Counter[str]) -> list[Line]:
    """Those of a window that were not shown yet; of equal ones, as many as there are more."""
    new: list[Line] = []
    seen: Counter[str] = Counter()
    for entry in window:
        key = _key(entry)
        seen[key] += 1
        if seen[key] > shown[key]:
            shown[key] += 1
            new.append(Line(entry, shown[key] <= found[key]))
    return new


def _key(entry: Entry) -> str:
    return json.dumps(entry, sort_keys=True)
