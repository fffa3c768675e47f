"""Parameters of Tempo's query API, and what its answers share: docs/api/tempo.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from obsd.api.errors import ErrorAnswer
from obsd.api.keys import TRACES
from obsd.api.loki_params import parse_duration_ns, parse_time_ns
from obsd.api.params import Params, read_params
from obsd.model.errors import BadInputError
from obsd.model.go_duration import MAX_NS, parse_go_duration_ns

PREFIX: Final = "/tempo/api"
PROTOBUF: Final = "application/protobuf"
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TempoParams:
    """A request's parameters, and when it came."""

    values: Params
    now_ns: int

    def text(self, name: str) -> str:
        return self.values.text(name)

    def time_ns(self, name: str, default_ns: int) -> int:
        """Seconds, nanoseconds, or RFC 3339.

        Raises:
            BadInputError: it is none of these.
        """
        if not (text := self.text(name)):
            return default_ns
        try:
            time_ns = parse_time_ns(text)
        except ValueError as error:
            raise BadInputError(f"invalid {name}: {error}") from error
        return min(max(time_ns, 0), MAX_NS)

    def range_ns(self, default_ns: int | None) -> tuple[int, int]:
        """`start` and `end`; without them the time before now, or all of it.

        Raises:
            BadInputError: they are no times, or the wrong way round.
        """
        end_ns = self.time_ns("end", self.now_ns + _SECOND_NS)
        since_ns = self.duration_ns("since") or default_ns
        earliest_ns = 0 if since_ns is None else max(min(end_ns, self.now_ns) - since_ns, 0)
        start_ns = self.time_ns("start", earliest_ns)
        if end_ns < start_ns:
            raise BadInputError("invalid start: it is not before end")
        return start_ns, end_ns

    def duration_ns(self, name: str) -> int | None:
        """`1.5s`, `1h30m` or seconds; None where there is none.

        Raises:
            BadInputError: it is no duration, or a negative one.
        """
        if not (text := self.text(name)):
            return None
        try:
            duration_ns = parse_go_duration_ns(text)
        except ValueError:
            try:
                duration_ns = parse_duration_ns(text)
            except ValueError as error:
                raise BadInputError(f"invalid {name}: {error}") from error
        if duration_ns < 0:
            raise BadInputError(f"invalid {name}: it is negative")
        return duration_ns

    def count(self, name: str, default: int, most: int) -> int:
        """A number from 0 on; more than the most is the most.

        Raises:
            BadInputError: it is no such number.
        """
        if not (text := self.text(name)):
            return default
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise BadInputError(f"invalid {name}: expected a number, found {text[:100]!r}")
        return min(int(text), most)


async def read_tempo_params(request: web.Request) -> TempoParams:
    """The parameters of a request."""
    return TempoParams(await read_params(request), request.app[TRACES].now_ns())


def wants_protobuf(request: web.Request) -> bool:
    """Whether the client takes protobuf: Grafana does."""
    return PROTOBUF in request.headers.get("Accept", "")


def render_error(answer: ErrorAnswer) -> web.Response:
    """Plain text, as Tempo's clients show it."""
    return web.Response(
        status=400 if answer.status == 422 else answer.status,
        text=answer.message,
        headers={**answer.headers, "X-Content-Type-Options": "nosniff"},
    )
