"""`| json` and `| unpack`: the fields of a JSON object as labels.

Nested objects give names that are joined with `_`; lists and nulls are left out. Numbers keep the
text that they have in the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec

from obsd.logql import ast
from obsd.logql.json_path import Path, parse_json_path
from obsd.logql.line import Line

JSON_ERROR: Final = "JSONParserErr"
PACKED_ENTRY: Final = "_entry"

_INVALID: Final = re.compile(r"[^a-zA-Z0-9_]")
_REPLACEMENT: Final = "\ufffd"
# Floats keep their text; of whole numbers it is one anyway.
_decode: Final = msgspec.json.Decoder(float_hook=str).decode
_tolerant: Final = json.JSONDecoder(parse_float=str, parse_int=str, strict=False)


@lru_cache(maxsize=65_536)
def sanitized(key: str) -> str:
    """A field's name as a label's; "" for one that is blank."""
    name = _joined(key)
    return f"_{name}" if name[:1].isdigit() else name


@lru_cache(maxsize=65_536)
def _joined(key: str) -> str:
    """A field's name behind that of the object which it is in."""
    return _INVALID.sub("_", key.strip())


def read_json(text: str) -> Any:  # noqa: ANN401 - any JSON
    """The value that a line begins with; what follows it does not matter.

    Raises:
        ValueError: there is none.
    """
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        try:
            return _tolerant.raw_decode(text.lstrip())[0]
        except RecursionError:
            raise ValueError("values are nested too deep") from None
    except RecursionError:
        raise ValueError("values are nested too deep") from None


def compile_json(
    stage: ast.JsonParser, wanted: frozenset[str] | None = None
) -> Callable[[Line], bool]:
    """The function of the stage; it lets every line through.

    Args:
        stage: what to extract.
        wanted: names that somebody asks for later; None for all.

    Raises:
        ValueError: a path is none.
    """
    if stage.extractions:
        return _expressions(stage.extractions)

    def parse(line: Line) -> bool:
        try:
            tree = read_json(line.text)
        except ValueError as error:
            line.fail(JSON_ERROR, str(error))
            return True
        if type(tree) is not dict:
            line.fail(JSON_ERROR, "Value looks like object, but can't find closing '}' symbol")
            return True
        _flatten(tree, "", line, wanted)
        return True

    return parse


def _flatten(tree: dict[str, Any], prefix: str, line: Line, wanted: frozenset[str] | None) -> None:
    base, metadata, parsed = line.base, line.metadata, line.parsed
    for key, value in tree.items():
        if not prefix:
            name = sanitized(key)
            if not name and type(value) is not dict:
                continue
        else:
            name = _joined(key)
            name = f"{prefix}_{name}" if name else prefix
        kind = type(value)
        if kind is dict:
            _flatten(value, name, line, wanted)
            continue
        if kind is str:
            text = value if _REPLACEMENT not in value else value.replace(_REPLACEMENT, " ")
        elif kind is bool:
            text = "true" if value else "false"
        elif kind is int:
            text = str(value)
        else:
            continue
        if name in base or name in metadata:
            placed = line.place(name, text)
            if placed is None:
                continue
            name = placed
        if (wanted is None or name in wanted) and name not in parsed:
            parsed[name] = text


def _expressions(extractions: tuple[ast.Extraction, ...]) -> Callable[[Line], bool]:
    paths: list[tuple[str, Path]] = []
    for extraction in extractions:
        try:
            paths.append((extraction.label, parse_json_path(extraction.expression)))
        except ValueError as error:
            message = f"cannot parse expression [{extraction.expression}]: {error}"
            raise ValueError(message) from None

    def parse(line: Line) -> bool:
        if not line.text:
            return True
        if line.text[0] not in '"{[':
            line.fail(JSON_ERROR, "")
            return True
        try:
            values = [_value_at(line.text, path) for _, path in paths]
        except ValueError as error:
            line.fail(JSON_ERROR, str(error))
            values = [""] * len(paths)
        for (label, _), value in zip(paths, values, strict=True):
            placed = line.place(label, value)
            if placed is not None:
                line.parsed[placed] = value
        return True

    return parse


def _value_at(text: str, path: Path) -> str:
    """A string without quotes and escapes; of all else, what stands in the line; "" for nothing."""
    raw = msgspec.Raw(text.encode("utf-8", "replace"))
    try:
        for step in path:
            if isinstance(step, str):
                found = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get(step)
            else:
                items = msgspec.json.decode(raw, type=list[msgspec.Raw])
                found = items[step] if step < len(items) else None
            if found is None:
                return ""
            raw = found
    except msgspec.ValidationError:  # Another kind of value than the path says.
        return ""
    shown = bytes(raw).decode("utf-8", "replace").strip()
    if shown == "null":
        return ""
    if shown.startswith('"'):
        return str(msgspec.json.decode(raw)).replace(_REPLACEMENT, " ")
    return shown


def unpack(line: Line) -> bool:
    """`| unpack`: the strings of an object that `_entry` makes a packed line."""
    if not line.text:
        return True
    try:
        tree = read_json(line.text)
    except ValueError as error:
        line.fail(JSON_ERROR, str(error))
        return True
    if not isinstance(tree, dict):
        line.fail(JSON_ERROR, "expecting json object(6), but it is not")
        return True
    entry = tree.get(PACKED_ENTRY)
    if not isinstance(entry, str):
        return True
    for key, value in tree.items():
        if isinstance(value, str) and key != PACKED_ENTRY and (name := sanitized(key)):
            line.extract(name, value)
    line.text = entry
    return True
