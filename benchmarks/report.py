"""The table of figures that the programs print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class OfServer(Protocol):
    """Figures of one server."""

    @property
    def server(self) -> str: ...


F = TypeVar("F", bound=OfServer)


def render(results: Sequence[F], rows: Sequence[tuple[str, Callable[[F], float], str]]) -> str:
    """One column a server; the last one is the first server against the second.

    A row is its title, its value and the format of that.
    """
    lines = [f"{'':32}" + "".join(f"{result.server:>18}" for result in results)]
    if len(results) > 1:
        lines[0] += f"{'ratio':>10}"
    for title, value, spec in rows:
        line = f"{title:32}" + "".join(f"{value(result):>18{spec}}" for result in results)
        if len(results) > 1 and value(results[1]):
            line += f"{value(results[0]) / value(results[1]):>10.2f}"
        lines.append(line)
    return "\n".join(lines)
