"""Spans through OTLP and back, read with OpenTelemetry's own classes."""

from hypothesis import given
from hypothesis import strategies as st

from obsd.model.span import Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode
from obsd.services.span_encoding import encode_spans
from tests.oracles.otlp_spans import decode

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
UINT32 = st.integers(0, (1 << 32) - 1)
TIMES = st.integers(1, (1 << 63) - 1)
VALUES = st.recursive(
    TEXTS
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=4)
    | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
ATTRIBUTES = st.dictionaries(TEXTS, VALUES, max_size=3)


def hexadecimal(size: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).filter(any).map(bytes.hex)


SCOPES = st.builds(Scope, TEXTS, TEXTS, ATTRIBUTES, UINT32, TEXTS)
EVENTS = st.builds(SpanEvent, st.integers(0, (1 << 63) - 1), TEXTS, ATTRIBUTES, UINT32)
LINKS = st.builds(SpanLink, hexadecimal(16), hexadecimal(8), TEXTS, ATTRIBUTES, UINT32, UINT32)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    service = draw(TEXTS)
    start_ns = draw(TIMES)
    resource = draw(ATTRIBUTES) | ({"service.name": service} if service else {})
    return Span(
        trace_id=draw(hexadecimal(16)),
        span_id=draw(hexadecimal(8)),
        parent_id=draw(hexadecimal(8) | st.just("")),
        name=draw(TEXTS),
        kind=draw(st.sampled_from(SpanKind)),
        start_ns=start_ns,
        end_ns=draw(st.integers(start_ns, (1 << 63) - 1)),
        service=service,
        status=draw(st.sampled_from(StatusCode)),
        status_message=draw(TEXTS),
        attributes=draw(ATTRIBUTES),
        resource=resource,
        scope=draw(SCOPES),
        events=tuple(draw(st.lists(EVENTS, max_size=2))),
        links=tuple(draw(st.lists(LINKS, max_size=2))),
        trace_state=draw(TEXTS),
        flags=draw(UINT32),
        dropped_attributes=draw(UINT32),
        dropped_events=draw(UINT32),
        dropped_links=draw(UINT32),
        resource_schema_url=draw(TEXTS),
    )


@given(st.lists(spans(), max_size=3))
def test_decoding_inverts_encoding(sent: list[Span]) -> None:
    # Spans of one resource and scope come together.
    assert sorted(decode(encode_spans(sent)).spans, key=repr) == sorted(sent, key=repr)
