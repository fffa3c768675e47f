"""States of systemd's units, and connections of its sockets, over the system message bus."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from obsd.services.host.dbus import Call, Connection, Reply
from obsd.services.host.family import Family, counter, gauge
from obsd.services.host.sources import AbsentSourceError, HostPaths, MalformedSourceError

MAX_SOCKETS: Final = 100
MAX_FAILED: Final = 50
_STATES: Final = ("activating", "active", "deactivating", "failed", "inactive")
_SYSTEMD: Final = "org.freedesktop.systemd1"
_MANAGER_PATH: Final = "/org/freedesktop/systemd1"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_SOCKET_PROPERTIES: Final = ("NAccepted", "NConnections", "NRefused")


@dataclass(frozen=True, slots=True)
class Unit:
    """What ListUnits tells of a unit, as far as it matters here."""

    name: str
    state: str
    path: str


def parse_units(reply: Reply) -> list[Unit]:
    """The units of a ListUnits reply, of signature a(ssssssouso).

    Raises:
        MalformedSourceError: it is an error, or not such a list.
    """
    match reply.values:
        case (list(rows),) if not reply.is_error:
            return [_unit_of(row) for row in rows]
    raise MalformedSourceError("parse_units", f"expected a list of units, found {reply!r:.200}")


def _unit_of(row: object) -> Unit:
    match row:
        case (str(name), _, _, str(state), _, _, str(path), *_):
            return Unit(name, state, path)
    raise MalformedSourceError("parse_units", f"expected a unit, found {row!r:.200}")


class SystemdSubsystem:
    """Asks anew each time: a connection that is kept would have to read signals in between."""

    def __init__(self, paths: HostPaths) -> None:
        self._address = paths.root("run/dbus/system_bus_socket")

    def collect(self) -> list[Family]:
        try:
            connection = Connection(self._address)
        except FileNotFoundError as error:
            raise AbsentSourceError("no system message bus on this machine") from error
        with connection:
            listed, state = connection.call(
                [
                    Call(_SYSTEMD, _MANAGER_PATH, f"{_SYSTEMD}.Manager", "ListUnits"),
                    _get(_MANAGER_PATH, f"{_SYSTEMD}.Manager", "SystemState"),
                ]
            )
            units = parse_units(listed)
            sockets = [unit for unit in units if unit.name.endswith(".socket")][:MAX_SOCKETS]
            replies = connection.call(
                [
                    _get(unit.path, f"{_SYSTEMD}.Socket", name)
                    for unit in sockets
                    for name in _SOCKET_PROPERTIES
                ]
            )
        return [*_of_units(units), *_of_sockets(sockets, replies), _is_running(state)]


def _get(path: str, interface: str, name: str) -> Call:
    return Call(_SYSTEMD, path, _PROPERTIES, "Get", (interface, name))


def _of_units(units: list[Unit]) -> list[Family]:
    summary = gauge("node_systemd_units", "Summary of systemd unit states")
    counts = Counter(unit.state for unit in units)
    for state in _STATES:
        summary.add(counts[state], state=state)
    # All units in all states would be a thousand series, of which an alert wants these.
    failed = gauge("node_systemd_unit_state", "Systemd unit")
    for unit in [unit for unit in units if unit.state == "failed"][:MAX_FAILED]:
        failed.add(1, name=unit.name, state="failed", type="")
    return [summary, failed]


def _of_sockets(sockets: list[Unit], replies: list[Reply]) -> list[Family]:
    families = [
        counter(
            "node_systemd_socket_accepted_connections_total",
            "Total number of accepted socket connections",
        ),
        gauge("node_systemd_socket_current_connections", "Current number of socket connections"),
        gauge(
            "node_systemd_socket_refused_connections_total",
            "Total number of refused socket connections",
        ),
    ]
    found = iter(replies)
    for unit in sockets:
        for family in families:
            match next(found).values:
                case (int(number),):  # An older systemd does not know each property.
                    family.add(number, name=unit.name)
    return families


def _is_running(state: Reply) -> Family:
    return gauge(
        "node_systemd_system_running",
        "Whether the system is operational (see 'systemctl is-system-running')",
        state.values == ("running",),
    )
