"""A span of Zipkin's model, version 2, as it came: perhaps a piece of one.

Model: https://zipkin.io/zipkin-api/#/default/post_spans
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

KINDS: Final = ("CLIENT", "SERVER", "PRODUCER", "CONSUMER")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who spoke; what is not known is "" or 0."""

    service: str = ""
    ipv4: str = ""
    ipv6: str = ""
    port: int = 0

    def filled(self, other: Endpoint) -> Endpoint:
        """With what the other knows where this one does not."""
        return Endpoint(
            self.service or other.service,
            self.ipv4 or other.ipv4,
            self.ipv6 or other.ipv6,
            self.port or other.port,
        )


NOBODY: Final = Endpoint()

MAX_SPANS: Final = 100_000
"""Of a request; a span of a few bytes takes many as an object."""


@dataclass(frozen=True, slots=True)
class ZipkinSpan:
    """A span, or a piece of one.

    Attributes:
        trace_id: 32 lower-case hexadecimal digits.
        span_id: 16.
        parent_id: 16, or "".
        kind: one of `KINDS`, or "".
        timestamp_us, duration_us: 0 where they are not known.
        annotations: pairs of microseconds since 1970 and a text.
        shared: this is the server's half of a call, and has the id of the client's.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    kind: str = ""
    name: str = ""
    timestamp_us: int = 0
    duration_us: int = 0
    local: Endpoint = NOBODY
    remote: Endpoint = NOBODY
    annotations: tuple[tuple[int, str], ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    shared: bool = False

    @property
    def is_piece(self) -> bool:
        """Whether more of it is still to come, as far as one can see."""
        return not (self.timestamp_us and self.duration_us)

    def is_same(self, other: ZipkinSpan) -> bool:
        """Whether both are of one span."""
        return (self.trace_id, self.span_id, self.kind) == (
            other.trace_id,
            other.span_id,
            other.kind,
        )

    def merged(self, later: ZipkinSpan) -> ZipkinSpan:
        """One span of two pieces of it; where both say something, the later one is right."""
        times = [us for us in (self.timestamp_us, later.timestamp_us) if us]
        return replace(
            later,
            parent_id=later.parent_id or self.parent_id,
            kind=later.kind or self.kind,
            name=later.name or self.name,
            timestamp_us=min(times, default=0),
            duration_us=max(self.duration_us, later.duration_us),
            local=later.local.filled(self.local),
            remote=later.remote.filled(self.remote),
            annotations=tuple(sorted({*self.annotations, *later.annotations})),
            tags=self.tags | later.tags,
            shared=self.shared or later.shared,
        )


def join(spans: Iterable[ZipkinSpan], piece: ZipkinSpan) -> list[ZipkinSpan]:
    """Put a span among those with its id: alone, or merged with the one that it is a piece of.

    Pieces of one span have its kind, or come without one after one that has.
    """
    known = list(spans)
    for at, span in enumerate(known):
        if span.is_same(piece):
            known[at] = span.merged(piece)
            return known
    if len(known) == 1 and piece.is_piece and not piece.kind:
        return [known[0].merged(piece)]
    return [*known, piece]
