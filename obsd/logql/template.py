"""Go templates, as far as `line_format` and `label_format` need them.

Language: https://pkg.go.dev/text/template, without definitions and calls of templates. A template
is compiled once to closures, and rendered for each line with the line's labels as its data; a
label that is not there is "".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from obsd.logql import template_syntax as syntax
from obsd.logql.go_time import GoTime
from obsd.logql.go_values import TemplateExecError, field_of, is_true, show
from obsd.logql.template_functions import FUNCTIONS, LAZY, LINE_NAME, TIME_NAME

MAX_OUTPUT: Final = 1 << 20  # Characters; the largest line that the engine takes.
MAX_STEPS: Final = 100_000  # What `range` in `range` may come to.

__all__ = ["Template", "TemplateExecError", "compile_template"]


@dataclass(slots=True)
class Scope:
    """What a template is rendered with.

    Attributes:
        data: what the whole template is about, `$`.
        dot: what `.` is at this place.
        variables: by name, with the `$`.
    """

    data: Any
    dot: Any
    line: str
    time_ns: int
    variables: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    size: int = 0

    def step(self) -> None:
        """Count one thing done.

        Raises:
            TemplateExecError: they are too many.
        """
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TemplateExecError("template does too much")


Evaluate = Callable[[Scope], Any]
Render = Callable[[Scope, list[str]], None]


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template; threads can share it."""

    _render: Render
    _only_label: str | None

    def render(self, labels: dict[str, str], line: str, time_ns: int) -> str:
        """The text for a line.

        Raises:
            TemplateExecError: why there is none.
        """
        if self._only_label is not None:
            return labels.get(self._only_label, "")
        out: list[str] = []
        scope = Scope(labels, labels, line, time_ns)
        try:
            self._render(scope, out)
        except RecursionError:
            raise TemplateExecError("template is nested too deeply") from None
        return "".join(out)


@lru_cache(maxsize=1024)
def compile_template(text: str) -> Template:
    """Compile, once.

    Raises:
        ValueError: where and why it is no template.
    """
    try:
        nodes = syntax.parse_template(text)
        only = None
        match nodes:
            case [syntax.Output(syntax.Pipeline((), [syntax.Command([syntax.Field((name,))])]))]:
                only = name
        return Template(_block(nodes), only)
    except syntax.TemplateSyntaxError as error:
        raise ValueError(f"invalid line template: template: line:{error.line}: {error}") from None


def _block(nodes: Sequence[syntax.Node]) -> Render:
    renders = [_node(node) for node in nodes]

    def render(scope: Scope, out: list[str]) -> None:
        for each in renders:
            each(scope, out)

    return render


def _write(scope: Scope, out: list[str], text: str) -> None:
    scope.step()
    scope.size += len(text)
    if scope.size > MAX_OUTPUT:
        raise TemplateExecError("template gives too long a text")
    out.append(text)


def _node(node: syntax.Node) -> Render:
    match node:
        case syntax.Text(text):
            return lambda scope, out: _write(scope, out, text)
        case syntax.Output(pipeline):
            value_of = _pipeline(pipeline)
            if pipeline.variables:

                def assign(scope: Scope, out: list[str]) -> None:
                    value_of(scope)

                return assign
            return lambda scope, out: _write(scope, out, show(value_of(scope)))
        case syntax.If():
            return _if(node)
        case syntax.With():
            return _with(node)
        case syntax.Range():
            return _range(node)
        case syntax.LoopControl(is_break):

            def control(scope: Scope, out: list[str]) -> None:
                raise _Break if is_break else _Continue

            return control


class _Break(Exception):  # noqa: N818 - no error
    """Leaves a `range`."""


class _Continue(Exception):  # noqa: N818 - no error
    """Goes on with the next turn of a `range`."""


def _if(node: syntax.If) -> Render:
    condition, then, otherwise = _pipeline(node.condition), _block(node.then), _block(node.other)

    def render(scope: Scope, out: list[str]) -> None:
        (then if is_true(condition(scope)) else otherwise)(scope, out)

    return render


def _with(node: syntax.With) -> Render:
    value_of, then, otherwise = _pipeline(node.value), _block(node.then), _block(node.other)

    def render(scope: Scope, out: list[str]) -> None:
        value, outer = value_of(scope), scope.dot
        if not is_true(value):
            otherwise(scope, out)
            return
        scope.dot = value
        try:
            then(scope, out)
        finally:
            scope.dot = outer

    return render


def _range(node: syntax.Range) -> Render:
    value_of = _pipeline(syntax.Pipeline((), node.value.commands))
    body, otherwise = _block(node.then), _block(node.other)
    names = node.value.variables

    def render(scope: Scope, out: list[str]) -> None:
        items = _items(value_of(scope))
        if not items:
            otherwise(scope, out)
            return
        outer = scope.dot
        try:
            for key, value in items:
                scope.step()
                if len(names) == 2:
                    scope.variables[names[0]] = key
                if names:
                    scope.variables[names[-1]] = value
                scope.dot = value
                try:
                    body(scope, out)
                except _Continue:
                    continue
        except _Break:
            return
        finally:
            scope.dot = outer

    return render


def _items(value: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - any value of a template
    match value:
        case None:
            return []
        case list():
            return list(enumerate(value))
        case dict():
            return sorted(value.items())
        case bool():
            raise TemplateExecError(f"range can't iterate over {show(value)}")
        case int():
            if value > MAX_STEPS:
                raise TemplateExecError("template does too much")
            return [(i, i) for i in range(max(value, 0))]
        case _:
            raise TemplateExecError(f"range can't iterate over {show(value)}")


def _pipeline(pipeline: syntax.Pipeline) -> Evaluate:
    steps = [_command(command, index > 0) for index, command in enumerate(pipeline.commands)]
    names = pipeline.variables

    def evaluate(scope: Scope) -> Any:  # noqa: ANN401
        scope.step()
        value: Any = None
        for step in steps:
            value = step(scope, value)
        for name in names:
            scope.variables[name] = value
        return value

    return evaluate


Step = Callable[[Scope, Any], Any]


def _command(command: syntax.Command, is_piped: bool) -> Step:
    first, *rest = command.operands
    if not isinstance(first, syntax.Function):
        if rest or is_piped:
            raise syntax.TemplateSyntaxError(f"can't give argument to non-function {first}", 1)
        value_of = _operand(first)
        return lambda scope, piped: value_of(scope)
    arguments = [_operand(each) for each in rest]
    name = first.name
    if name == LINE_NAME:
        return lambda scope, piped: scope.line
    if name == TIME_NAME:
        return lambda scope, piped: GoTime(scope.time_ns)
    if name in LAZY:
        return _lazy(stops_at=name == "or", arguments=arguments, is_piped=is_piped)
    function = FUNCTIONS[name]

    def call(scope: Scope, piped: Any) -> Any:  # noqa: ANN401
        values = [each(scope) for each in arguments]
        if is_piped:
            values.append(piped)
        try:
            return function(*values)
        except TemplateExecError:
            raise
        except (ValueError, TypeError, OverflowError, ArithmeticError, KeyError, IndexError) as e:
            raise TemplateExecError(f"error calling {name}: {e}") from None

    return call


def _lazy(*, stops_at: bool, arguments: list[Evaluate], is_piped: bool) -> Step:
    """`and` and `or`: the first argument that decides, or the last one."""

    def call(scope: Scope, piped: Any) -> Any:  # noqa: ANN401
        value: Any = None
        for each in arguments:
            value = each(scope)
            if is_true(value) == stops_at:
                return value
        return piped if is_piped else value

    return call


def _operand(operand: syntax.Operand) -> Evaluate:
    match operand:
        case syntax.Constant(value):
            return lambda scope: value
        case syntax.Field(names):
            return lambda scope: _descend(scope.dot, names)
        case syntax.Variable("$", names):
            return lambda scope: _descend(scope.data, names)
        case syntax.Variable(name, names):
            return lambda scope: _descend(scope.variables.get(name), names)
        case syntax.Nested(pipeline, names):
            value_of = _pipeline(pipeline)
            return lambda scope: _descend(value_of(scope), names)
        case syntax.Function():
            step = _command(syntax.Command([operand]), False)
            return lambda scope: step(scope, None)


def _descend(value: Any, names: tuple[str, ...]) -> Any:  # noqa: ANN401
    for name in names:
        value = field_of(value, name)
    return value
