"""The native reader of pushes against the plain one."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from obsd._native import read_loki_protobuf
from obsd.model.errors import BadInputError
from obsd.services.log_encoding import request
from obsd.services.protobuf import bytes_field, uint_field
from tests.oracles import loki_push as oracle

MEMORY_BYTES = 256 << 20
WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["level", "trace_id", "span_id", "WARN", " err\x1c", "error3", "a" * 32, "0aF" * 5 + "b"]
    ),
)


def message(pairs: list[tuple[int, bytes | int]]) -> bytes:
    return b"".join(
        bytes_field(n, v) if isinstance(v, bytes) else uint_field(n, v) for n, v in pairs
    )


def fields(*choices: st.SearchStrategy[tuple[int, bytes | int]]) -> st.SearchStrategy[bytes]:
    return st.lists(st.one_of(*choices), max_size=6).map(message)


TEXT = st.one_of(WORDS.map(str.encode), st.binary(max_size=6))
PAIRS = fields(st.tuples(st.integers(1, 3), TEXT), st.just((2, b"info")), st.just((1, b"level")))
TIMES = fields(st.tuples(st.integers(1, 2), st.integers(0, (1 << 64) - 1)))
ENTRIES = fields(
    st.tuples(st.just(1), TIMES), st.tuples(st.just(2), TEXT), st.tuples(st.just(3), PAIRS)
)
LABELS = st.one_of(
    st.sampled_from(
        [
            b'{a="b"}',
            b'{level="warn",job="x"}',
            b"{}",
            b'{a="b",a="c"}',
            b"{a=`x` , }",
            b'{a="\\q"}',
        ]
    ),
    st.text('{}ab=",` \\x41u\n\u00a0\x1c', max_size=16).map(str.encode),
    st.text('ab"\\x4187uU0dé\n', max_size=12).map(lambda t: b'{a="%b"}' % t.encode()),
)
STREAMS = fields(
    st.tuples(st.just(1), LABELS),
    st.tuples(st.just(2), ENTRIES),
    st.tuples(st.just(2), st.one_of(ENTRIES, st.binary(max_size=4))),
    st.just((3, 7)),
)


def check(body: bytes) -> None:
    try:
        expected = oracle.read_protobuf(body)
    except BadInputError:
        expected = None
    try:
        encoded, count, errors, error_count = read_loki_protobuf(body, MEMORY_BYTES)
    except ValueError:
        assert expected is None
        return
    assert expected is not None
    groups = [group for group in expected.groups if group.records]
    assert encoded == request(groups)
    assert count == sum(len(group.records) for group in groups)
    assert (errors, error_count) == (expected.errors, expected.error_count)


@given(st.lists(STREAMS, max_size=4))
def test_native_reader_agrees(streams: list[bytes]) -> None:
    check(b"".join(bytes_field(1, each) for each in streams))


@given(LABELS)
def test_native_labels_agree(labels: bytes) -> None:
    check(bytes_field(1, bytes_field(1, labels) + bytes_field(2, bytes_field(2, b"x"))))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_push_or_an_error(body: bytes) -> None:
    # The plain reader takes field numbers and varints of more bits than protobuf has.
    with contextlib.suppress(ValueError):
        _, _, errors, error_count = read_loki_protobuf(body, MEMORY_BYTES)
        assert len(errors) == min(error_count, 20)
