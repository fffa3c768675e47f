"""A slow, plain translation of OpenTelemetry's names and attributes into Prometheus' model."""

from __future__ import annotations

import re
from collections.abc import Mapping

UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tebibytes",
    "kBy": "kilobytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
    "1": "",
}
PER = {
    "s": "second",
    "min": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}


def metric_name(name: str, unit: str, shape: str, strategy: str) -> str:
    """The name of a metric of a shape, gauge, counter or other."""
    if strategy == "NoTranslation":
        return name
    last = "total" if shape == "counter" else "ratio" if (shape, unit) == ("gauge", "1") else ""
    main, per = unit_words(unit)
    if strategy == "NoUTF8EscapingWithSuffixes":
        return utf8_name(name, [main, f"per_{per}" if per else "", last])
    words = re.findall(r"[A-Za-z0-9:]+", name)
    if not words:
        return ""
    if strategy == "UnderscoreEscapingWithSuffixes":
        if main and main not in words:
            words.append(main)
        if per and per not in words:
            words += ["per", per]
        if last:
            words = [word for word in words if word != last] + [last]
    joined = "_".join(words)
    return f"_{joined}" if joined[0] in "0123456789" else joined


def utf8_name(name: str, suffixes: list[str]) -> str:
    if not name:
        return ""
    suffixes = [suffix for suffix in suffixes if suffix]
    for suffix in reversed(suffixes):
        if re.search(rf"(?![A-Za-z0-9])[\x00-\x7f]{re.escape(suffix)}\Z", name):
            name = name[: -len(suffix) - 1]
    return "_".join([name, *suffixes] if name else suffixes)


def unit_words(unit: str) -> tuple[str, str]:
    main, _, per = re.sub(r"\{[^}]*(\}|\Z)", "", unit).partition("/")
    return word(main.strip(), UNITS), word(per.strip(), PER)


def word(unit: str, table: Mapping[str, str]) -> str:
    if unit in table:
        return table[unit]
    return "_".join(re.findall(r"[A-Za-z0-9]+", unit))


def label_name(key: str, strategy: str) -> str:
    if strategy in ("NoUTF8EscapingWithSuffixes", "NoTranslation"):
        return key
    name = re.sub(r"[^A-Za-z0-9_]", "_", key)
    if re.match(r"[0-9]", name):
        return f"key_{name}"
    return f"key{name}" if re.match(r"_(?!_)", name) else name


def labels(attributes: Mapping[str, str], strategy: str) -> dict[str, str]:
    """A point's own labels."""
    found: dict[str, list[str]] = {}
    for key in sorted(attributes, key=str.encode):
        found.setdefault(label_name(key, strategy), []).append(attributes[key])
    joined = {name: ";".join(values) for name, values in found.items()}
    return {name: value for name, value in joined.items() if name and value and name != "__name__"}
