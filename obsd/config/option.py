"""How one setting is declared: its default, its kind (how text becomes a value) and its help."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, cast

from obsd.config.units import (
    FOREVER,
    format_duration,
    format_size,
    parse_duration_s,
    parse_size_bytes,
)
from obsd.model.time_zone import parse_time_zone

REDACTED: Final = "<redacted>"

_MAX_BOUNDS: Final = 50
_INFINITE: Final = 1e9  # Seconds; a bucket for more than thirty years is a mistake.


@dataclass(frozen=True, slots=True)
class Kind:
    """How a setting is read from YAML or text, and shown.

    Attributes:
        parse: a YAML scalar or list, or a text from the environment or a flag, to the value;
            raises ValueError.
        show: the value as YAML should show it.
    """

    name: str
    parse: Callable[[Any], Any]
    show: Callable[[Any], Any] = lambda value: value


def _parse_text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"expected a text, found {raw!r}")
    return raw


def _parse_secret(raw: object) -> str:
    """Like a text, but no error shows what was found."""
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("expected a non-empty text")
    if raw == REDACTED:
        raise ValueError(f"{REDACTED} is what is shown in place of a secret; put the secret there")
    return raw


def _parse_flag(raw: object) -> bool:
    match raw:
        case bool():
            return raw
        case str() if raw.lower() in {"true", "yes", "on", "1"}:
            return True
        case str() if raw.lower() in {"false", "no", "off", "0"}:
            return False
    raise ValueError(f"expected true or false, found {raw!r}")


def _parse_count(raw: object) -> int:
    match raw:
        case bool():
            pass
        case int() if raw > 0:
            return raw
        case str() if raw.isascii() and raw.isdecimal() and int(raw) > 0:
            return int(raw)
    raise ValueError(f"expected a number above 0, found {raw!r}")


def _parse_duration(raw: object) -> float:
    if isinstance(raw, str):
        seconds = parse_duration_s(raw)
        if seconds > 0:
            return seconds
    raise ValueError(f"expected a duration above 0 such as '15s' or '1h30m', found {raw!r}")


def _parse_retention(raw: object) -> float | None:
    if isinstance(raw, str) and raw.strip().lower() == FOREVER:
        return None
    try:
        return _parse_duration(raw)
    except ValueError as error:
        raise ValueError(f"{error}; or {FOREVER!r}") from None


def _parse_size(raw: object) -> int:
    if isinstance(raw, (str, int)) and not isinstance(raw, bool):
        size = parse_size_bytes(str(raw))
        if size > 0:
            return size
    raise ValueError(f"expected a size above 0 such as '64MiB', found {raw!r}")


def _parse_path(raw: object) -> Path:
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"expected a path, found {raw!r}")
    return Path(raw).expanduser()


def _parse_secrets(raw: object) -> tuple[str, ...]:
    """Like a list of texts, but no error shows what was found."""
    try:
        return _parse_names(raw)
    except ValueError:
        raise ValueError("expected a list of texts") from None


def _parse_zone(raw: object) -> str:
    text = _parse_text(raw).strip()
    parse_time_zone(text)
    return text


def _parse_names(raw: object) -> tuple[str, ...]:
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"expected a list of texts, found {raw!r}")
    return tuple(item.strip() for item in items if item.strip())


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(raw: object) -> Address:
    """`HOST:PORT`, `[::1]:PORT`, or `:PORT` for every address of the machine.

    Raises:
        ValueError: it is none of these.
    """
    text = str(raw) if isinstance(raw, (str, int)) else ""
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"expected HOST:PORT such as '127.0.0.1:6273', found {raw!r}")
    if ":" in host and not bracketed:
        raise ValueError(f"an IPv6 address needs brackets, as in '[::1]:6273'; found {raw!r}")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - asked for by ":PORT"


def _parse_patterns(raw: object) -> tuple[str, ...]:
    names = _parse_names(raw)
    for name in names:
        if not name.rpartition("=")[2].startswith(("/", "~/")):
            raise ValueError(f"expected an absolute path, as in shop=/srv/*.log; found {name!r}")
    return names


def _parse_bounds(raw: object) -> tuple[float, ...]:
    items = raw.split(",") if isinstance(raw, str) else raw
    expected = f"expected a list of ascending numbers above 0, found {raw!r}"
    if not isinstance(items, list) or any(isinstance(item, bool) for item in items):
        raise ValueError(expected)
    try:
        bounds = tuple(float(item) for item in items)
    except (TypeError, ValueError):
        raise ValueError(expected) from None
    if not bounds or len(bounds) > _MAX_BOUNDS or not all(0 < each < _INFINITE for each in bounds):
        raise ValueError(f"{expected}, at most {_MAX_BOUNDS} of them")
    if list(bounds) != sorted(set(bounds)):
        raise ValueError(expected)
    return bounds


def _choice(*choices: str) -> Kind:
    by_lower = {choice.lower(): choice for choice in choices}

    def parse(raw: object) -> str:
        if isinstance(raw, str) and (choice := by_lower.get(raw.lower())) is not None:
            return choice
        raise ValueError(f"expected one of {', '.join(choices)}, found {raw!r}")

    return Kind(f"one of {', '.join(choices)}", parse)


TEXT = Kind("text", _parse_text)
SECRET = Kind("secret", _parse_secret, lambda value: None if value is None else REDACTED)
SECRETS = Kind("list of secrets", _parse_secrets, lambda value: [REDACTED for _ in value])
FLAG = Kind("true or false", _parse_flag)
COUNT = Kind("number", _parse_count)
DURATION = Kind("duration", _parse_duration, format_duration)
RETENTION = Kind(
    "duration or forever",
    _parse_retention,
    lambda value: FOREVER if value is None else format_duration(value),
)
SIZE = Kind("size", _parse_size, format_size)
PATH = Kind("path", _parse_path, str)
FILE = Kind("path", _parse_path, lambda value: None if value is None else str(value))
ZONE = Kind("time zone", _parse_zone)
NAMES = Kind("list", _parse_names, list)
BOUNDS = Kind("list of numbers", _parse_bounds, list)
PATTERNS = Kind("list of paths", _parse_patterns, list)
START = _choice("beginning", "end")
STRATEGY = _choice(
    "UnderscoreEscapingWithSuffixes",
    "UnderscoreEscapingWithoutSuffixes",
    "NoUTF8EscapingWithSuffixes",
    "NoTranslation",
)
ADDRESS = Kind("HOST:PORT", parse_address, str)
LEVEL = _choice("debug", "info", "warning", "error")


def option(
    kind: Kind,
    default: object = None,
    *,
    default_factory: Callable[[], Any] | None = None,
    help: str,  # noqa: A002 - reads best where it is used
) -> Any:  # noqa: ANN401 - stands for the field's own type, as dataclasses.field does
    """Declare one setting; its key is the field's name without its unit."""
    metadata = {"kind": kind, "help": help}
    if default_factory is not None:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One setting of the tree, as loaders and documents see it."""

    path: tuple[str, ...]
    attribute: str
    kind: Kind
    help: str

    @property
    def key(self) -> str:
        """`storage.flush_interval`."""
        return ".".join(self.path)

    @property
    def environment(self) -> str:
        """`OBSD_STORAGE__FLUSH_INTERVAL`."""
        return "OBSD_" + "__".join(part.upper() for part in self.path)


def key_of(attribute: str) -> str:
    """A setting's key: the attribute without its unit, since values carry theirs."""
    for unit in ("_s", "_bytes"):
        if attribute.endswith(unit):
            return attribute.removesuffix(unit)
    return attribute


def iter_options(section: type, path: tuple[str, ...] = ()) -> Iterator[OptionInfo]:
    """Every setting below a dataclass of the tree, in order."""
    for each in fields(section):
        child = section_type(each)
        if child is not None:
            yield from iter_options(child, (*path, each.name))
        else:
            kind = cast(Kind, each.metadata["kind"])
            yield OptionInfo((*path, key_of(each.name)), each.name, kind, each.metadata["help"])


def section_type(each: Field[Any]) -> type | None:
    """The dataclass of a field that holds a section, None for a setting."""
    factory: object = each.default_factory
    if isinstance(factory, type) and is_dataclass(factory):
        return factory
    return None
