"""Syslog messages as fields: the standards, what is sent in their name, and arbitrary bytes."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.syslog_message import FACILITIES, SEVERITIES, SyslogMessage, parse_syslog

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000


def parse(raw: str | bytes) -> SyslogMessage:
    return parse_syslog(raw.encode() if isinstance(raw, str) else raw, UTC, NOW_NS)


def moment(message: SyslogMessage) -> str:
    """Its time, with nanoseconds."""
    assert message.time_ns is not None
    seconds, rest = divmod(message.time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest:09d}"


def test_rfc_5424_example_1() -> None:
    found = parse(
        b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - "
        b"\xef\xbb\xbf'su root' failed for lonvick on /dev/pts/8"
    )
    assert (FACILITIES[found.facility], SEVERITIES[found.severity]) == ("auth", "crit")
    assert moment(found) == "2003-10-11 22:14:15.003000000"
    assert found[3:] == (
        *("mymachine.example.com", "su", "", "ID47", {}),
        *("'su root' failed for lonvick on /dev/pts/8", False),
    )


def test_rfc_5424_example_2() -> None:
    found = parse(
        "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make"
    )
    assert moment(found) == "2003-08-24 12:14:15.000003000"
    assert (found.host, found.app, found.procid) == ("192.0.2.1", "myproc", "8710")
    assert found.text == "%% It's time to make"


def test_rfc_5424_examples_3_and_4() -> None:
    start = "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 "
    data = '[exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"]'
    more = '[examplePriority@32473 class="high"]'
    wanted = {
        "sd_exampleSDID@32473_iut": "3",
        "sd_exampleSDID@32473_eventSource": "Application",
        "sd_exampleSDID@32473_eventID": "1011",
    }
    found = parse(f"{start}{data} \ufeffAn application event log entry...")
    assert (found.data, found.text) == (wanted, "An application event log entry...")
    found = parse(start + data + more)
    assert found.data == wanted | {"sd_examplePriority@32473_class": "high"}
    assert found.text == ""


@pytest.mark.parametrize(
    ("rest", "data", "text"),
    [
        (r'[a k="1 \" 2 \\ 3 \] 4 \n"] t', {"sd_a_k": r'1 " 2 \ 3 ] 4 \n'}, "t"),
        ('[a k=""] t', {"sd_a_k": ""}, "t"),
        ("[a][b] t", {"sd_a": "", "sd_b": ""}, "t"),
        ('[a k="1" k="2"] t', {"sd_a_k": "1,2"}, "t"),
        ('[a  k="1"  l="2" ] t', {"sd_a_k": "1", "sd_a_l": "2"}, "t"),
        ('[a k="größe ]"] t', {"sd_a_k": "größe ]"}, "t"),
        # What is no structured data is text.
        ('[a k="1] t', {}, '[a k="1] t'),
        ("[a] [b] t", {"sd_a": ""}, "[b] t"),
        ("[a]t", {}, "[a]t"),
        ("hello there", {}, "hello there"),
        ("-", {}, ""),
        ("- ", {}, ""),
        ("-  t", {}, " t"),
        ("- - t", {}, "- t"),
        ("", {}, ""),
    ],
)
def test_structured_data(rest: str, data: dict[str, str], text: str) -> None:
    found = parse(f"<14>1 - h a p m {rest}")
    assert (found.host, found.app, found.procid, found.msgid) == ("h", "a", "p", "m")
    assert (found.data, found.text) == (data, text)


def test_much_structured_data_stays_in_the_text() -> None:
    data = "".join(f'[x{number} k="{"v" * 100}"]' for number in range(200))
    found = parse(f"<14>1 - h a p m {data} text")
    assert (found.data, found.text) == ({}, f"{data} text")


OLD = [
    # What the RFC shows.
    ("<34>Oct 11 22:14:15 mymachine su: 'su root'", "mymachine", "su", "", "'su root'"),
    ("<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!", "10.0.0.99", "", "", "Use the BFG!"),
    # Days with a space, a zero, neither.
    ("<13>Oct  1 22:14:15 h su[12]: t", "h", "su", "12", "t"),
    ("<13>Oct 01 22:14:15 h su[12]: t", "h", "su", "12", "t"),
    ("<13>Oct 1 22:14:15 h su[12]: t", "h", "su", "12", "t"),
    # No host, as the C library writes to its local socket.
    ("<13>Oct 11 22:14:15 su[12]: t", "", "su", "12", "t"),
    ("<13>Oct 11 22:14:15 su: t", "", "su", "", "t"),
    # No colon after the tag.
    ("<13>Oct 11 22:14:15 h root hello there", "h", "root", "", "hello there"),
    ("<13>Oct 11 22:14:15 h su[12] hello", "h", "su", "12", "hello"),
    # Other times.
    ("<13>2026-10-11T22:14:15.123456+02:00 h tag: t", "h", "tag", "", "t"),
    ("<13>Oct 11 2026 22:14:15 h tag: t", "h", "tag", "", "t"),
    ("<13>2026 Oct 11 22:14:15 h tag: t", "h", "tag", "", "t"),
    ("<13>Oct 11 22:14:15.123 h tag: t", "h", "tag", "", "t"),
    ("<13> Oct 11 22:14:15 h tag: t", "h", "tag", "", "t"),
    # Tags as programs have them.
    ("<22>Oct 11 22:14:15 h postfix/smtpd[7]: t", "h", "postfix/smtpd", "7", "t"),
    ("<86>Oct 11 22:14:15 h sudo(pam_unix)[3]: t", "h", "sudo(pam_unix)", "3", "t"),
    ("<78>Oct 11 22:14:15 h CRON[4]: (root) CMD (true)", "h", "CRON", "4", "(root) CMD (true)"),
    ("<30>Oct 11 22:14:15 h systemd[1]:t", "h", "systemd", "1", "t"),
    ("<6>Oct 11 22:14:15 h kernel: [ 1.5] up", "h", "kernel", "", "[ 1.5] up"),
    ("<13>Oct 11 22:14:15 fe80::1 tag: t", "fe80::1", "tag", "", "t"),
    # No tag.
    ("<13>Oct 11 22:14:15 fw CEF:0|v|p|1|2|n|5|a=b", "fw", "", "", "CEF:0|v|p|1|2|n|5|a=b"),
    ("<13>Oct 11 22:14:15 W10 MSWinEventLog\t1\tx", "W10", "", "", "MSWinEventLog\t1\tx"),
    ('<13>Oct 11 22:14:15 h {"a": "b: c"}', "h", "", "", '{"a": "b: c"}'),
    ("<13>Oct 11 22:14:15 Restarting", "", "", "", "Restarting"),
    ("<13>Oct 11 22:14:15", "", "", "", ""),
    # JSON with its cookie.
    ('<13>Oct 11 22:14:15 h app: @cee: {"a": 1}', "h", "app", "", '{"a": 1}'),
    ('<13>Oct 11 22:14:15 h app: @cee:{"a": 1}', "h", "app", "", '{"a": 1}'),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "host", "app", "procid", "text"), OLD)
def test_rfc_3164_as_it_is_sent(raw: str, host: str, app: str, procid: str, text: str) -> None:
    found = parse(raw)
    assert (found.host, found.app, found.procid, found.text) == (host, app, procid, text)
    assert found.time_ns is not None
    assert not found.is_malformed


@pytest.mark.parametrize(
    ("raw", "app", "procid", "text"),
    [
        ("<14>plain text", "", "", "plain text"),
        ("<14>myapp: t", "myapp", "", "t"),
        ("<14>myapp[3]: t", "myapp", "3", "t"),
        # Words that are levels are no programs, nor is what holds a time or an address.
        ("<14>Error: disk full", "", "", "Error: disk full"),
        ("<14>WARNING: disk full", "", "", "WARNING: disk full"),
        ("<14>http://example.com: gone", "", "", "http://example.com: gone"),
        ("<14>12:30:01 up", "", "", "12:30:01 up"),
        ("<14>", "", "", ""),
        ("<14>1 - -", "", "", "1 - -"),
    ],
)
def test_without_a_time_only_a_tag_is_looked_for(
    raw: str, app: str, procid: str, text: str
) -> None:
    found = parse(raw)
    assert (found.time_ns, found.host) == (None, "")
    assert (found.app, found.procid, found.text) == (app, procid, text)


CISCO = [
    ("<189>45: Nov 24 13:57:01.123: %SYS-5-CONFIG_I: Configured", "", "SYS", "SYS-5-CONFIG_I"),
    ("<189>000045: r1: *Nov 24 2026 13:57:01.123 UTC: %SYS-5-CONFIG_I: Configured", "r1", "SYS",
     "SYS-5-CONFIG_I"),
    ("<189>45: r1: .Nov 24 13:57:01 CET: %LINK-3-UPDOWN: Interface", "r1", "LINK", "LINK-3-UPDOWN"),
    ("<166>Nov 24 2026 13:57:01 asa1 : %ASA-6-302013: Built", "asa1", "ASA", "ASA-6-302013"),
    ("<166>Nov 24 2026 13:57:01 asa1 %ASA-6-302013: Built", "asa1", "ASA", "ASA-6-302013"),
    ("<166>:Nov 24 13:57:01 UTC: %ASA-session-6-302013: Built", "", "ASA-session",
     "ASA-session-6-302013"),
    ("<189>: 2026 Nov 24 13:57:01 UTC: %ETHPORT-5-IF_UP: up", "", "ETHPORT", "ETHPORT-5-IF_UP"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "host", "app", "msgid"), CISCO)
def test_cisco_devices(raw: str, host: str, app: str, msgid: str) -> None:
    found = parse(raw)
    assert (found.host, found.app, found.msgid) == (host, app, msgid)
    assert moment(found).startswith("2026-11-24 13:57:01.")
    assert found.text == raw[raw.index("%") :]


def test_cisco_devices_without_a_time() -> None:
    found = parse("<166>%ASA-6-302013: Built")
    assert (found.time_ns, found.app, found.text) == (None, "ASA", "%ASA-6-302013: Built")
    assert parse("<14>100% of it").text == "100% of it"


@pytest.mark.parametrize(
    "raw", ["", "no priority", "<192>x", "<013>x", "<>x", "<1x", "< 1>x", "<-1>x", "<\u0661>x"]
)
def test_without_a_priority_all_is_text(raw: str) -> None:
    found = parse(raw)
    assert (FACILITIES[found.facility], SEVERITIES[found.severity]) == ("user", "notice")
    assert (found.text, found.is_malformed, found.time_ns) == (raw, True, None)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0", "\n\0", "\r\n\0\0"])
def test_ends_of_lines_are_dropped(end: str) -> None:
    assert parse(f"<14>Oct 11 22:14:15 h a: two\nlines{end}").text == "two\nlines"
    assert parse(f"text{end}").text == "text"


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert parse(b"<14>1 - h a - - - a\xffb").text == "a\ufffdb"


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_a_message(raw: bytes) -> None:
    found = parse(b"<14>" + raw)
    assert not found.is_malformed
    found.text.encode()
    parse(raw).text.encode()


@given(
    st.lists(
        st.sampled_from(
            ["<14>", "1 ", "Oct 11 ", "22:14:15", "2026-11-24T13:57:01Z", " ", ":", "[", "]", '"',
             "\\", "a=", "%ASA-6-", "*", "host", "tag[1]:", "-", "@cee:", "\0", "12: ", "UTC"]
        ),
        max_size=12,
    ).map("".join)
)  # fmt: skip
def test_pieces_of_messages_are_a_message(raw: str) -> None:
    assert len(parse(raw).text) <= len(raw)


WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
NAME = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='="[] '),
    min_size=1, max_size=12,
)  # fmt: skip


@given(
    st.integers(0, 191),
    st.tuples(WORD, WORD, WORD, WORD),
    st.dictionaries(
        NAME, st.dictionaries(NAME, st.text(max_size=12), min_size=1, max_size=3), max_size=3
    ),
    st.text(max_size=40),
)
def test_what_is_written_by_the_standard_is_read_back(priority, words, data, text) -> None:
    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("]", r"\]")

    elements = ""
    for name, params in data.items():
        said = "".join(f' {key}="{escaped(value)}"' for key, value in params.items())
        elements += f"[{name}{said}]"
    elements = elements or "-"
    found = parse(f"<{priority}>1 2026-11-24T13:57:01.5Z {' '.join(words)} {elements} {text}")
    wanted: dict[str, str] = {}
    for name, params in data.items():
        for key, value in params.items():
            full = f"sd_{name}_{key}"
            wanted[full] = f"{wanted[full]},{value}" if full in wanted else value
    assert found.facility * 8 + found.severity == priority
    assert found[3:7] == tuple("" if word == "-" else word for word in words)
    assert found.data == wanted
    tail = text.rstrip("\0\r\n").removeprefix("\ufeff")
    if not tail.lstrip(" ").startswith("@cee:") and (tail == text or text):
        assert found.text == tail


@pytest.mark.parametrize(
    "raw",
    [
        "<14>1 - h a p m [x" + " " * 100_000,
        '<14>1 - h a p m [x a="' + "\\" * 100_001,
        '<14>1 - h a p m [x a="' + "a=" * 50_000,
        "<14>1 - h a p m " + "[a]" * 50_000 + "x",
        "<14>Oct 11 22:14:15 " + "a" * 100_000,
        "<14>Oct 11 22:14:15 h " + "%A" + "-a" * 50_000,
        "<14>" + "1" * 100_000,
        "<14>%A" + "-1" * 50_000,
        "<14>a" + "[" * 100_000,
    ],
)
def test_no_message_takes_long(raw: str) -> None:
    begun = time.process_time()
    parse(raw)
    assert time.process_time() - begun < 0.5
