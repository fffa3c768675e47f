"""Quoted strings as Go writes them, and with it the query languages: text to string and back."""

from __future__ import annotations

from typing import Final

_SIMPLE_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\",
    "'": "'", '"': '"',
}  # fmt: skip
_ESCAPE_DIGITS: Final = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}


def unquote(text: str) -> str:
    """The string that a quoted literal stands for, by Go's rules.

    Escaped bytes that are no UTF-8 become lone surrogates, as the file system's do in Python.

    Raises:
        ValueError: an escape is unknown, cut short, or no valid code point.
    """
    quote_mark, inner = text[0], text[1:-1]
    if quote_mark == "`" or "\\" not in inner:
        return inner
    # Escapes of bytes may add up to one character, so bytes are what is put together.
    out = bytearray()
    position = 0
    while position < len(inner):
        character = inner[position]
        if character != "\\":
            out += character.encode()
            position += 1
            continue
        piece, position = _unescape(inner, position + 1, quote_mark)
        out += piece
    return out.decode("utf-8", errors="surrogateescape")


def _unescape(text: str, position: int, quote_mark: str) -> tuple[bytes, int]:
    """The bytes of the escape whose letter is at `position`, and where the text goes on."""
    letter = text[position : position + 1]
    if letter in _SIMPLE_ESCAPES and letter and (letter not in "'\"" or letter == quote_mark):
        return _SIMPLE_ESCAPES[letter].encode(), position + 1
    if letter in _ESCAPE_DIGITS:
        length, base = _ESCAPE_DIGITS[letter]
        start = position + 1
    elif letter and letter in "01234567":
        length, base, start = 3, 8, position
    else:
        raise ValueError("unknown escape sequence" if letter else "escape sequence not terminated")
    digits = text[start : start + length]
    if len(digits) < length:
        raise ValueError("escape sequence not terminated")
    try:
        code = int(digits, base)
    except ValueError:
        raise ValueError("illegal character in escape sequence") from None
    if letter in {"u", "U"}:
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return chr(code).encode(), start + length
    if code > 255:
        raise ValueError("escape sequence is an invalid Unicode code point")
    return bytes([code]), start + length


def quote(text: str) -> str:
    """A double-quoted literal that `unquote` reads back."""
    out = ['"']
    for character in text:
        if character in '"\\':
            out.append("\\" + character)
        elif character in "\n\r\t":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character])
        elif character.isprintable():
            out.append(character)
        elif ord(character) < 0x80 or 0xDC80 <= ord(character) <= 0xDCFF:
            out.append(f"\\x{ord(character) & 0xFF:02x}")
        elif ord(character) < 0x10000:
            out.append(f"\\u{ord(character):04x}")
        else:
            out.append(f"\\U{ord(character):08x}")
    out.append('"')
    return "".join(out)


def is_valid_text(text: str) -> bool:
    """Whether a string can be stored: without the surrogates of bytes that are no UTF-8."""
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)


def to_valid_text(text: str) -> str:
    """The string with U+FFFD in place of what is no UTF-8."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
