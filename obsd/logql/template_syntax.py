"""The syntax of Go templates: text to a tree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from obsd.logql.template_functions import FUNCTIONS, LAZY, LINE_NAME, TIME_NAME
from obsd.model.go_strings import to_valid_text, unquote

MAX_NESTING: Final = 50

_OPEN: Final = re.compile(r"\{\{(-(?=\s))?")
_SPACE: Final = re.compile(r"\s*")
_COMMENT: Final = re.compile(r"\s*/\*.*?\*/\s*(-)?\}\}", re.DOTALL)
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<close>(?:(?<=\s)-)?\}\})
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\.)+')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?))
    |(?P<field>\.[^\W\d]\w*)
    |(?P<dot>\.)
    |(?P<variable>\$\w*)
    |(?P<word>[^\W\d]\w*)
    |(?P<sign>:=|=|\||\(|\)|,)
    """,
    re.VERBOSE,
)


class TemplateSyntaxError(ValueError):
    """A text that is no template; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


# Operands


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    value: object


@dataclass(frozen=True, slots=True)
class Field:
    """`.a.b`; without names, `.` itself."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name.a.b`, the name with its `$`."""

    name: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nested:
    """`(…).a.b`."""

    pipeline: Pipeline
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function, by its name."""

    name: str


Operand = Constant | Field | Variable | Nested | Function


@dataclass(frozen=True, slots=True)
class Command:
    """A value, or a function and its arguments."""

    operands: list[Operand]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands of which each is given what the one before it gives; variables get the last."""

    variables: tuple[str, ...]
    commands: list[Command]


# Nodes


@dataclass(frozen=True, slots=True)
class Text:
    """What stands outside of actions."""

    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """A pipeline whose value is written."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class If:
    """`{{if}}`."""

    condition: Pipeline
    then: Sequence[Node]
    other: Sequence[Node]


@dataclass(frozen=True, slots=True)
class With:
    """`{{with}}`: an `if` that makes the value the dot."""

    value: Pipeline
    then: Sequence[Node]
    other: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Range:
    """`{{range}}`."""

    value: Pipeline
    then: Sequence[Node]
    other: Sequence[Node]


@dataclass(frozen=True, slots=True)
class LoopControl:
    """`{{break}}` or `{{continue}}`."""

    is_break: bool


Node = Text | Output | If | With | Range | LoopControl


def parse_template(text: str) -> list[Node]:
    """The tree.

    Raises:
        TemplateSyntaxError: where and why there is none.
    """
    return _Parser(text).template()


@dataclass(slots=True)
class _Open:
    """An `if`, `with` or `range` whose `end` is to come."""

    keyword: str
    value: Pipeline
    then: list[Node] = field(default_factory=list)
    other: list[Node] | None = None
    chained: bool = False  # An `else if`, which ends with the `if` that it belongs to.

    @property
    def target(self) -> list[Node]:
        return self.then if self.other is None else self.other

    def node(self) -> Node:
        match self.keyword:
            case "if":
                return If(self.value, self.then, self.other or [])
            case "with":
                return With(self.value, self.then, self.other or [])
            case _:
                return Range(self.value, self.then, self.other or [])


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._variables: set[str] = {"$"}

    def _error(self, message: str) -> TemplateSyntaxError:
        return TemplateSyntaxError(message, self._text.count("\n", 0, self._at) + 1)

    def template(self) -> list[Node]:
        top: list[Node] = []
        opened: list[_Open] = []
        trims = False
        while True:
            opening = _OPEN.search(self._text, self._at)
            literal = self._text[self._at : opening.start() if opening else None]
            if trims:
                literal = literal.lstrip()
            if opening and opening[1]:
                literal = literal.rstrip()
            if literal:
                (opened[-1].target if opened else top).append(Text(literal))
            if opening is None:
                if opened:
                    raise self._error("unexpected EOF")
                return top
            self._at = opening.end()
            if comment := _COMMENT.match(self._text, self._at):
                self._at = comment.end()
                trims = comment[1] is not None
                continue
            self._action(top, opened)
            trims = self._close()

    def _action(self, top: list[Node], opened: list[_Open]) -> None:
        target = opened[-1].target if opened else top
        keyword = self._peek_word()
        if keyword in {"if", "with", "range"}:
            self._next()
            if len(opened) >= MAX_NESTING:
                raise self._error("nested too deeply")
            opened.append(_Open(keyword, self._pipeline(keyword)))
        elif keyword == "else":
            self._next()
            self._else(opened)
        elif keyword == "end":
            self._next()
            self._end(top, opened)
        elif keyword in {"break", "continue"}:
            self._next()
            if not any(each.keyword == "range" for each in opened):
                raise self._error(f"{{{{{keyword}}}}} outside {{{{range}}}}")
            target.append(LoopControl(keyword == "break"))
        elif keyword in {"define", "template", "block"}:
            raise self._error(f"unexpected {keyword}: templates within templates are not supported")
        else:
            target.append(Output(self._pipeline("command")))

    def _else(self, opened: list[_Open]) -> None:
        if not opened or opened[-1].other is not None:
            raise self._error("unexpected {{else}}")
        opened[-1].other = []
        keyword = self._peek_word()
        if keyword in {"if", "with"}:
            if len(opened) >= MAX_NESTING:
                raise self._error("nested too deeply")
            self._next()
            opened.append(_Open(keyword, self._pipeline(keyword), chained=True))

    def _end(self, top: list[Node], opened: list[_Open]) -> None:
        if not opened:
            raise self._error("unexpected {{end}}")
        while opened:
            done = opened.pop()
            (opened[-1].target if opened else top).append(done.node())
            if not done.chained:
                return

    # Inside of an action

    def _token(self) -> re.Match[str] | None:
        """The next token; None where there is none."""
        at = self._at
        space = _SPACE.match(self._text, at)
        after_space = space.end() if space else at
        found = _TOKEN.match(self._text, after_space)
        return found if found is None or found.lastgroup != "space" else None

    def _next(self) -> re.Match[str]:
        token = self._token()
        if token is None:
            if self._at >= len(self._text) or not self._text[self._at :].strip():
                raise self._error("unclosed action")
            shown = self._text[self._at :].lstrip()[:1]
            raise self._error(f"unexpected {shown!r} in command")
        self._at = token.end()
        return token

    def _peek_word(self) -> str:
        token = self._token()
        return token.group() if token and token.lastgroup == "word" else ""

    def _peek(self) -> str:
        """The kind of the next token, or the sign that it is."""
        token = self._token()
        if token is None:
            self._next()
            raise AssertionError("unreachable: there is no token")
        kind = token.lastgroup or ""
        return token.group() if kind == "sign" else kind

    def _close(self) -> bool:
        """Take the end of the action; whether it trims the text behind it."""
        token = self._next()
        if token.lastgroup != "close":
            raise self._error(f"unexpected {token.group()!r} in command")
        return token.group().startswith("-")

    def _pipeline(self, context: str) -> Pipeline:
        if self._depth >= MAX_NESTING:
            raise self._error("nested too deeply")
        self._depth += 1
        variables = self._declaration(is_range=context == "range")
        commands = [self._command(context)]
        while self._peek() == "|":
            self._next()
            commands.append(self._command(context))
        self._depth -= 1
        return Pipeline(variables, commands)

    def _declaration(self, *, is_range: bool) -> tuple[str, ...]:
        start = self._at
        names: list[str] = []
        while self._peek() == "variable":
            names.append(self._next().group())
            sign = self._peek()
            if sign == "," and is_range and len(names) == 1:
                self._next()
                continue
            if sign in {":=", "="}:
                self._next()
                if sign == ":=":
                    self._variables.update(names)
                return tuple(names)
            break
        self._at = start
        return ()

    def _command(self, context: str) -> Command:
        operands: list[Operand] = []
        while (kind := self._peek()) not in {"close", "|", ")"}:
            if kind in {":=", "=", ","}:
                raise self._error(f"unexpected {kind!r} in operand")
            operands.append(self._operand())
        if not operands:
            raise self._error(f"missing value for {context}")
        return Command(operands)

    def _operand(self) -> Operand:
        token = self._next()
        text = token.group()
        match token.lastgroup:
            case "string" | "raw":
                return Constant(self._string(text))
            case "char":
                return Constant(ord(self._string(text)[:1] or "\0"))
            case "number":
                return Constant(self._number(text))
            case "field":
                return Field((text[1:], *self._fields()))
            case "dot":
                return Field(())
            case "variable":
                if text not in self._variables:
                    raise self._error(f'undefined variable "{text}"')
                return Variable(text, self._fields())
            case "word":
                return self._word(text)
            case _:
                assert text == "(", "other signs end a command"
                inner = self._pipeline("parenthesized pipeline")
                if self._next().group() != ")":
                    raise self._error("unclosed left paren")
                return Nested(inner, self._fields())

    def _fields(self) -> tuple[str, ...]:
        """Fields right behind an operand, without space between."""
        names: list[str] = []
        while (found := _TOKEN.match(self._text, self._at)) and found.lastgroup == "field":
            names.append(found.group()[1:])
            self._at = found.end()
        return tuple(names)

    def _word(self, word: str) -> Operand:
        constants = {"true": True, "false": False, "nil": None}
        if word in constants:
            return Constant(constants[word])
        if word not in FUNCTIONS and word not in LAZY and word not in {LINE_NAME, TIME_NAME}:
            raise self._error(f'function "{word}" not defined')
        return Function(word)

    def _string(self, text: str) -> str:
        try:
            return to_valid_text(unquote(text))
        except ValueError as error:
            raise self._error(str(error)) from None

    def _number(self, text: str) -> int | float:
        try:
            return int(text, 0) if "x" in text.lower() else int(text)
        except ValueError:
            return float(text)
