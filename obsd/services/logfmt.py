"""Logs as logfmt on standard error: `ts=… level=info logger=obsd.app msg="…" key=value`."""

from __future__ import annotations

import logging
import sys
import time
from typing import Final, TextIO

# What every LogRecord has; anything else came in through `extra` and is a field.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# `\` and `"` are escaped, and control characters would let a field forge a line of its own.
_ESCAPES: Final = {
    ord("\\"): "\\\\",
    ord('"'): '\\"',
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    **{c: f"\\u{c:04x}" for c in (*range(9), 11, 12, *range(14, 32), *range(127, 160))},
}
_LEVELS: Final = {"WARNING": "warn", "CRITICAL": "fatal"}


def quote(value: object) -> str:
    """One value, quoted where it must be."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6g}"
    text = str(value)
    if text and text.isprintable() and not any(c in text for c in ' ="\\'):
        return text
    return f'"{text.translate(_ESCAPES)}"'


class LogfmtFormatter(logging.Formatter):
    """Fields in the order in which they were given, the exception last."""

    def format(self, record: logging.LogRecord) -> str:
        whole_s = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = [
            f"ts={whole_s}.{int(record.msecs):03d}Z",
            f"level={_LEVELS.get(record.levelname, record.levelname.lower())}",
            f"logger={quote(record.name)}",
            f"msg={quote(record.getMessage())}",
        ]
        fields += [f"{k}={quote(v)}" for k, v in vars(record).items() if k not in _STANDARD]
        if record.exc_info and record.exc_info[1] is not None:
            fields.append(f"error={quote(repr(record.exc_info[1]))}")
            fields.append(f"stack={quote(self.formatException(record.exc_info))}")
        return " ".join(fields)


def setup_logging(level: str, stream: TextIO | None = None) -> None:
    """Send every logger's records to standard error, once."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LogfmtFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Its errors about broken clients are no news; ours tell what matters.
    logging.getLogger("aiohttp.server").setLevel(max(logging.WARNING, root.level))
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, root.level))
