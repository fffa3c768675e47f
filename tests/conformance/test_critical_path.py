"""The critical path of the shared cases, which are those of the Jaeger UI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from obsd.model.span import Span, SpanKind, SpanLink
from obsd.services.trace_analysis.critical_path import critical_path
from obsd.services.trace_analysis.tree import build_tree

TRACE = "0" * 32
KINDS = {"producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER, "client": SpanKind.CLIENT}


def read_span(case: dict[str, Any], each: dict[str, Any]) -> Span:
    """A reference that is none to a parent is a link, as OpenTelemetry has it."""
    parents = [r["spanID"] for r in each["references"] if r["refType"] == "CHILD_OF"]
    links = [r["spanID"] for r in each["references"] if r["refType"] != "CHILD_OF"]
    tags = {tag["key"]: tag["value"] for tag in each.get("tags", [])}
    return Span(
        trace_id=TRACE,
        span_id=each["spanID"],
        parent_id=parents[0] if parents else "",
        name=each["operationName"],
        kind=KINDS.get(tags.get("span.kind", ""), SpanKind.INTERNAL),
        start_ns=each["startTime"] * 1_000,
        end_ns=(each["startTime"] + each["duration"]) * 1_000,
        service=case["processes"][each["processID"]]["serviceName"],
        links=tuple(SpanLink(TRACE, link) for link in links),
    )


def test_the_shared_cases(shared_dir: Path) -> None:
    cases = json.loads((shared_dir / "conformance" / "traces" / "critical-path.json").read_text())
    assert cases
    for case in cases:
        tree = build_tree([read_span(case, each) for each in case["spans"]])
        assert tree.main is not None
        found = [
            {
                "spanID": section.node.span.span_id,
                "sectionStart": section.start_ns // 1_000,
                "sectionEnd": section.end_ns // 1_000,
            }
            for section in critical_path(tree.main)
        ]
        assert found == case["sections"], case["name"]
