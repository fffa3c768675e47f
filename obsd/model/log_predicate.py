"""What a log search asks of a record: the tree between the search languages and the log engine.

A record matches or does not; the engine may use any index, but its answer is that of these rules.

Texts. A value has a text: a string is its own; an integer's is its decimal digits; a double's the
shortest that reads back as it; a boolean's `true` or `false`; bytes' their lower-case hexadecimal
digits. A list matches when one of its elements does,
in lists within it too. A map has no text; paths lead into it.

Case. Everything but `Regex` ignores case: both sides are compared in Unicode lower case. What a
predicate holds (`Token.text`, `Prefix.text`, `Wildcard.pattern`, …) is in lower case already.

Tokens. A text's tokens are its maximal runs of letters (Unicode's property Alphabetic), digits (its
category N) and `_`.

Fields. `None` stands for the body and, each as a text of its own, the strings and integers among
the attributes, in lists and maps too; names, other types and the resource are not searched. These
fields are the record's own:

- `body`: is its text, whatever it holds; that of a map or a list is its compact JSON.
- `level`: only as `Equals` with one of `LEVELS`, or as `Exists`: see `obsd.model.severity`.
- `service`, `trace_id` and `span_id` (lower-case hexadecimal digits); absent where empty.
- `severity_text` and `severity_number`: as they were sent; absent where empty or 0.
- `time`: only in `Compare`, `Range`, with nanoseconds since 1970, or as `Exists` (always so).

- `label:NAME` is the label of the stream (see `obsd.model.log_labels`) of that name, but for
  `service_name`, which is `service`; `metadata:NAME` is the attribute, of the record or else of its
  resource or of the details, that is structured metadata of that name, or the id of that name.

Another name is looked up in the attributes, then the details, then the resource; `body.NAME` in a
body that is a map. In each, the whole name is tried as a key, then its dots as a path into maps.
The first place that has a value (a null is none) decides.

`None` and `body` are prose, of which a search names words; every other field is matched whole:

| predicate | prose | other fields |
|---|---|---|
| `Token`, `Phrase` | the tokens occur, in sequence | the same, within the value's text |
| `Prefix` | a token begins so | the value's text begins so |
| `Wildcard` | a token is like that | the value's text is like that |
| `Substring`, `Regex` | anywhere in the text | anywhere in the value's text |
| `Equals` | the whole text | the whole value's text |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Op = Literal["<", "<=", ">", ">="]
Bound = int | float | str
"""A number is compared with numbers, and with strings that are decimal numbers; a string with
strings, by code points in lower case. What cannot be compared does not match."""


@dataclass(frozen=True, slots=True)
class Everything:
    """Every record."""


@dataclass(frozen=True, slots=True)
class And:
    """All of these; of none of them: everything."""

    of: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of these; of none of them: nothing."""

    of: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Every record that does not match, those without the field among them."""

    of: Predicate


@dataclass(frozen=True, slots=True)
class Token:
    """The text has this token."""

    field: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Phrase:
    """The text has these tokens, one right after the other, whatever stands between two tokens."""

    field: str | None
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Substring:
    """The text has this in it, at token boundaries or not."""

    field: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """A token (of prose) or the value begins with this."""

    field: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A token (of prose) or the value is like this from end to end.

    Attributes:
        pattern: `*` stands for any characters, none too; `?` for one character; a backslash makes
            the character after it stand for itself.
    """

    field: str | None
    pattern: str


@dataclass(frozen=True, slots=True)
class Regex:
    """RE2 finds this somewhere in the text. Case counts; `.` matches a line feed too."""

    field: str | None
    pattern: str


@dataclass(frozen=True, slots=True)
class Equals:
    """The value's text is this.

    A number equals, too, when `value` as a decimal number is the same number: `500` finds the
    integer 500, the double 500.0 and the string "500"; `500.0` the two numbers.
    """

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Compare:
    """The value is less or greater than this."""

    field: str
    op: Op
    value: Bound


@dataclass(frozen=True, slots=True)
class Range:
    """The value is between these, a bound of None being open."""

    field: str
    low: Bound | None
    high: Bound | None
    low_included: bool = True
    high_included: bool = True


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value; an empty string is one."""

    field: str


Predicate = (
    Everything
    | And
    | Or
    | Not
    | Token
    | Phrase
    | Substring
    | Prefix
    | Wildcard
    | Regex
    | Equals
    | Compare
    | Range
    | Exists
)
