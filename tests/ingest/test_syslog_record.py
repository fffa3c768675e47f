"""Syslog messages as requests to the log engine: the same bytes as the slow way, and more."""

from __future__ import annotations

import time
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.syslog_message import FACILITIES, SEVERITIES, parse_syslog
from obsd.ingest.syslog_record import SEVERITY_NUMBERS, Received, SyslogEncoder
from obsd.model.log_record import Value
from obsd.model.rfc3339 import format_rfc3339_ns
from obsd.model.severity import level_name
from obsd.services.log_encoding import RecordGroup, log_record, request, resource

NOW_NS = 1_795_528_800_000_000_000
DAY_NS = 86_400_000_000_000
ENCODER = SyslogEncoder(UTC, 7 * DAY_NS, 600_000_000_000)


def slowly(raw: bytes, peer: str) -> bytes:
    """A request with one message, by the general encoder."""
    message = parse_syslog(raw, UTC, NOW_NS)
    source: dict[str, Value] = {}
    if message.host or peer:
        source["host"] = message.host or peer
    if message.app:
        source |= {"app": message.app, "service.name": message.app}
    source["facility"] = FACILITIES[message.facility]
    named = {"procid": message.procid, "msgid": message.msgid}
    attributes: dict[str, Value] = {name: text for name, text in named.items() if text}
    attributes |= message.data
    time_ns = message.time_ns
    if time_ns is not None and not NOW_NS - 7 * DAY_NS <= time_ns <= NOW_NS + 600_000_000_000:
        attributes["timestamp"] = format_rfc3339_ns(time_ns)
        time_ns = None
    record = log_record(
        time_ns=NOW_NS if time_ns is None else time_ns,
        observed_ns=NOW_NS,
        body=message.text,
        severity_number=SEVERITY_NUMBERS[message.severity],
        severity_text=SEVERITIES[message.severity],
        attributes=attributes,
    )
    return request([RecordGroup(resource(source), [record])])


@given(
    st.binary(max_size=80)
    | st.builds(
        "<{}>1 {} h app {} m - {}".format,
        st.integers(0, 191),
        st.sampled_from(["-", *(f"{year}-11-24T13:57:01Z" for year in (1999, 2026, 2099))]),
        st.integers(0, 9),
        st.text(max_size=300),
    ).map(str.encode),
    st.sampled_from(["", "127.0.0.1"]),
)  # fmt: skip
def test_the_fast_encoder_says_what_the_slow_one_does(raw: bytes, peer: str) -> None:
    assert ENCODER.encode([Received(raw, peer, NOW_NS)]).request == slowly(raw, peer)


def test_large_messages_too() -> None:
    for size in (126, 127, 128, 1022, 1023, 1024, 16_383, 16_384, 100_000):
        raw = b"<14>" + b"x" * size
        assert ENCODER.encode([Received(raw, "", NOW_NS)]).request == slowly(raw, "")


def test_messages_of_one_source_share_a_resource_in_order() -> None:
    raws = [b"<14>1 - h a - - - %d" % number for number in range(5)]
    raws.insert(2, b"<14>1 - other a - - - x")
    encoded = ENCODER.encode([Received(raw, "", NOW_NS) for raw in raws])
    assert (encoded.records, encoded.malformed) == (6, 0)
    assert encoded.request.count(b"facility") == 2
    at = [encoded.request.index(b"\x0a\x01%d" % number) for number in range(5)]
    assert at == sorted(at)


def test_messages_without_a_priority_are_counted_and_kept() -> None:
    encoded = ENCODER.encode([Received(b"no priority", "", NOW_NS)])
    assert (encoded.records, encoded.malformed) == (1, 1)
    assert b"no priority" in encoded.request


def test_levels() -> None:
    assert [level_name(number) for number in SEVERITY_NUMBERS] == [
        *(["error"] * 4), "warn", "info", "info", "debug"
    ]  # fmt: skip
    assert list(SEVERITY_NUMBERS) == sorted(set(SEVERITY_NUMBERS), reverse=True)


def test_a_clock_that_is_wrong_loses_no_message() -> None:
    forever = SyslogEncoder(UTC, None, 600_000_000_000)
    raw = b"<14>1 1999-01-01T00:00:00Z h a - - - x"
    assert b"1999-01-01T00:00:00.000Z" in ENCODER.encode([Received(raw, "", NOW_NS)]).request
    assert b"1999" not in forever.encode([Received(raw, "", NOW_NS)]).request


def test_it_is_fast() -> None:
    """Above 50,000 messages a second on a core, with room for a machine that is busy."""
    raws = [
        Received(
            b"<34>1 2026-11-24T14:%02d:%02d.003123Z web-1 su %d ID47 - 'su root' failed %d"
            % (n // 60 % 60, n % 60, n % 50, n),
            "127.0.0.1",
            NOW_NS,
        )
        for n in range(5_000)
    ]
    ENCODER.encode(raws)
    begun = time.process_time()
    ENCODER.encode(raws)
    assert (time.process_time() - begun) / len(raws) < 40e-6
