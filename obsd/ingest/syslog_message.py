"""One syslog message as its fields, whatever the sender makes of the standards.

RFC 5424 (https://www.rfc-editor.org/rfc/rfc5424) is read as written; what is not of that form is
read as RFC 3164 (https://www.rfc-editor.org/rfc/rfc3164) describes practice, with the variants that
are seen: other times, no host, no colon after the tag, and the form of Cisco's devices. What cannot
be understood stays in the text, so nothing of a message is lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Final, NamedTuple

from obsd.ingest.syslog_time import MONTHS, bsd_ns, rfc3339_ns
from obsd.model.severity import severity_number

FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron"),
    *("authpriv", "ftp", "ntp", "audit", "alert", "clock"),
    *(f"local{number}" for number in range(8)),
)
SEVERITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
MAX_DATA_CHARS: Final = 16 << 10
"""Structured data beyond this stays in the text: a record's attributes have a limit."""

USER: Final = 1
NOTICE: Final = 5

_NO_DATA: Final[Mapping[str, str]] = {}

_PRI: Final = re.compile(r"<(0|[1-9]\d?|1[0-8]\d|19[01])> ?", re.ASCII)
_ELEMENT: Final = re.compile(
    r'\[([^ =\]"\[]{1,256})((?: +[^ =\]"]{1,256}="(?:[^"\\]|\\.)*+")*+) *\]', re.DOTALL
)
_PARAM: Final = re.compile(r' +([^ =\]"]{1,256})="((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\\]])')

_MONTH: Final = "|".join(MONTHS)
_BSD_TIME: Final = re.compile(
    rf"[*.]?(?:(\d{{4}}) )?({_MONTH}) {{1,2}}(0?[1-9]|[12]\d|3[01]) (?:(\d{{4}}) )?"
    r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:[.,](\d{1,9}))?"
    r"(?: (UTC|GMT|[A-Z]{2,5}(?=: ?%)))?(?=[ :]|$)",
    re.ASCII,
)
_ISO_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:[Zz]|[+-]\d\d:?\d\d)?(?= |$)", re.ASCII
)
# Before a Cisco device's time: a number of the message, and perhaps who it is.
_CISCO_START: Final = re.compile(r"(?:\d{1,10}: ?|: ?)?(?:([A-Za-z][\w.-]{0,254}): )?", re.ASCII)
_CISCO: Final = re.compile(
    r" ?(?:([A-Za-z0-9][\w.:-]{0,254}) ?)?:? ?"
    r"(%([A-Z][A-Z0-9_]*(?:-[A-Za-z0-9_]+)*?)-([0-7])-[A-Z0-9_]+: ?)",
    re.ASCII,
)
_HOST: Final = re.compile(r"([A-Za-z0-9][\w.:%-]{0,254}|\[[0-9A-Fa-f:.]+\])(?<!:) ", re.ASCII)
_TAG: Final = re.compile(
    r"""([^\s:\[\]{}"'=,;<>%]{1,128})(?:\[([^\]\s\[]{1,64})\])?:(?: |$)"""
    r"""|([^\s:\[\]{}"'=,;<>%]{1,128})\[([^\]\s\[]{1,64})\]:?(?: |$|(?=\S))"""
)
# Without a colon after it, only what looks like a program's name is one.
_BARE_TAG: Final = re.compile(r"([a-z_/][\w./-]{0,127}) (?=\S)", re.ASCII)


class SyslogMessage(NamedTuple):
    """What one message says.

    Attributes:
        time_ns: None where it says no time that can be understood.
        host, app, procid, msgid: "" where it does not say.
        data: parameters of structured data, `sd_<id>_<name>`.
        is_malformed: whether it has no priority, so that all of it is the text.
    """

    facility: int
    severity: int
    time_ns: int | None
    host: str
    app: str
    procid: str
    msgid: str
    data: Mapping[str, str]
    text: str
    is_malformed: bool = False


def parse_syslog(raw: bytes, zone: tzinfo | None, now_ns: int) -> SyslogMessage:
    """Any bytes are a message. `zone` is for times without one; None is the machine's."""
    whole = raw.decode("utf-8", "replace").rstrip("\0\r\n")
    pri = _PRI.match(whole)
    if pri is None:
        text = whole.removeprefix("\ufeff")
        return SyslogMessage(USER, NOTICE, None, "", "", "", "", _NO_DATA, text, True)
    facility, severity = divmod(int(pri[1]), 8)
    if whole.startswith("1 ", pri.end()):
        parts = whole[pri.end() :].split(" ", 6)
        if len(parts) == 7:
            return _parse_5424(facility, severity, parts, zone)
    return _parse_3164(facility, severity, whole[pri.end() :], zone, now_ns)


def _parse_5424(
    facility: int, severity: int, parts: list[str], zone: tzinfo | None
) -> SyslogMessage:
    _, time, host, app, procid, msgid, rest = parts
    if rest[:2] == "- " or rest == "-":
        data, text = _NO_DATA, rest[2:]
    else:
        data, text = _split_data(rest)
    return SyslogMessage(
        facility,
        severity,
        rfc3339_ns(time, zone),
        "" if host == "-" else host,
        "" if app == "-" else app,
        "" if procid == "-" else procid,
        "" if msgid == "-" else msgid,
        data,
        _without_cookie(text.removeprefix("\ufeff")),
    )


def _split_data(rest: str) -> tuple[Mapping[str, str], str]:
    """Structured data and the text after it; what is no such data is all text."""
    data: dict[str, str] = {}
    at = 0
    while element := _ELEMENT.match(rest, at):
        at = element.end()
        if at > MAX_DATA_CHARS:
            return _NO_DATA, rest
        name, params = element.groups()
        if not params:
            data.setdefault(f"sd_{name}", "")
        for param in _PARAM.finditer(params):
            key = f"sd_{name}_{param[1]}"
            value = param[2]
            if "\\" in value:
                value = _ESCAPED.sub(r"\1", value)
            # A name may be there several times (RFC 5424, 6.3.3): one text with all of them.
            data[key] = f"{data[key]},{value}" if key in data else value
    if at == 0 or rest[at : at + 1] not in ("", " "):
        return _NO_DATA, rest
    return data, rest[at + 1 :]


def _parse_3164(
    facility: int, severity: int, text: str, zone: tzinfo | None, now_ns: int
) -> SyslogMessage:
    time_ns: int | None = None
    host = app = procid = msgid = ""
    rest, has_time = text, False
    bsd = _BSD_TIME.match(text)
    if bsd is None and (start := _CISCO_START.match(text)) and start.end():
        bsd = _BSD_TIME.match(text, start.end())
        host = (bsd and start[1]) or ""
    if bsd:
        year, month, day, later_year, hour, minute, second, fraction, named = bsd.groups()
        time_ns = bsd_ns(
            month, day, year or later_year, f"{hour}:{minute}:{second}", fraction,
            UTC if named in ("UTC", "GMT") else zone, now_ns,
        )  # fmt: skip
        rest, has_time = text[bsd.end() :], True
    elif iso := _ISO_TIME.match(text):
        time_ns = rfc3339_ns(iso[0], zone)
        rest, has_time = text[iso.end() :], True
    if "%" in rest[:300] and (cisco := _CISCO.match(rest if has_time else _start(rest))):
        rest = rest if has_time else _start(rest)
        host = cisco[1] or host
        app, msgid = cisco[3], cisco[2].strip(":% ")
        rest = rest[cisco.start(2) :]
        return SyslogMessage(facility, severity, time_ns, host, app, procid, msgid, _NO_DATA, rest)
    rest = rest.removeprefix(":").removeprefix(" ") if has_time else rest
    if has_time and (found := _HOST.match(rest)) and not _TAG.match(rest):
        host, rest = found[1], rest[found.end() :].removeprefix(" ")
    if tag := _TAG.match(rest):
        name = tag[1] or tag[3]
        # Where nothing comes before it, "Error: …" is a text and not a program.
        if has_time or tag[2] or tag[4] or not severity_number(name):
            app, procid = name, tag[2] or tag[4] or ""
            rest = rest[tag.end() :]
    elif has_time and host and (bare := _BARE_TAG.match(rest)):
        app, rest = bare[1], rest[bare.end() :]
    return SyslogMessage(
        facility, severity, time_ns, host, app, procid, msgid, _NO_DATA, _without_cookie(rest)
    )


def _start(text: str) -> str:
    """Without the number that a Cisco device may put in front."""
    start = _CISCO_START.match(text)
    return text if start is None or start[1] else text[start.end() :]


def _without_cookie(text: str) -> str:
    """`@cee:` says that JSON follows, which it does."""
    stripped = text.lstrip(" ")
    if stripped.startswith("@cee:"):
        return stripped[5:].lstrip(" ")
    return text
