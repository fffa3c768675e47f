"""The stages of a pipeline as functions of a line.

A function may change the line; when it returns False, the line is filtered out. Functions keep
nothing between lines, so that threads can share them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from obsd.logql import ast
from obsd.logql.errors import LogqlParseError
from obsd.logql.json_parser import compile_json, sanitized, unpack
from obsd.logql.label_tests import compile_matcher, compile_test
from obsd.logql.line import ERROR, ERROR_DETAILS, Line
from obsd.logql.line_filters import compile_line_filter
from obsd.logql.logfmt_parser import compile_logfmt
from obsd.logql.pattern import compile_parser_pattern
from obsd.logql.printer import print_stage
from obsd.logql.template import Template, TemplateExecError, compile_template
from obsd.model.matcher import Matcher
from obsd.model.regex import compile_unanchored

TEMPLATE_ERROR: Final = "TemplateFormatErr"
# Control sequences, operating system commands and two-byte escapes of ECMA-48.
_ANSI: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\^_]"
)

StageFunction = Callable[[Line], bool]


def compile_pipeline(
    stages: Sequence[ast.Stage], wanted: frozenset[str] | None = None
) -> tuple[StageFunction, ...]:
    """The functions of all stages.

    Args:
        stages: in the order of the query.
        wanted: the labels that somebody asks for at the end; None for all.
    """
    return tuple(compile_stage(stage, wanted) for stage in stages)


@lru_cache(maxsize=1024)
def compile_stage(stage: ast.Stage, wanted: frozenset[str] | None = None) -> StageFunction:
    """The function of a stage.

    Raises:
        LogqlParseError: it cannot be one.
    """
    try:
        return _compile(stage, wanted)
    except ValueError as error:
        raise LogqlParseError(f"stage '{print_stage(stage)}' : {error}") from None


def _compile(stage: ast.Stage, wanted: frozenset[str] | None) -> StageFunction:
    match stage:
        case ast.LineFilter():
            passes = compile_line_filter(stage)
            return lambda line: passes(line.text)
        case ast.JsonParser():
            return compile_json(stage, wanted)
        case ast.LogfmtParser():
            return compile_logfmt(stage, wanted)
        case ast.RegexpParser(pattern):
            return _regexp(pattern)
        case ast.PatternParser(pattern):
            return _pattern(pattern)
        case ast.UnpackParser():
            return unpack
        case ast.LabelFilter(test):
            return compile_test(test)
        case ast.LineFormat(template):
            return _line_format(template)
        case ast.LabelFormat(formats):
            return _label_format(formats)
        case ast.Decolorize():
            return _decolorize
        case ast.DropLabels(items):
            return _drop(items)
        case ast.KeepLabels(items):
            return _keep(items)


def _regexp(expression: str) -> StageFunction:
    pattern = compile_unanchored(expression)
    groups = {index: name for name, index in pattern.groupindex.items()}
    names = [(index, sanitized(name)) for index, name in sorted(groups.items())]
    if not names:
        raise ValueError("at least one named capture must be supplied")
    search = pattern.search

    def parse(line: Line) -> bool:
        found = search(line.text)
        if found is not None:
            for index, name in names:
                line.extract(name, found.group(index) or "")
        return True

    return parse


def _pattern(pattern: str) -> StageFunction:
    find = compile_parser_pattern(pattern)

    def parse(line: Line) -> bool:
        for name, value in find(line.text):
            line.extract(name, value)
        return True

    return parse


def _line_format(text: str) -> StageFunction:
    template = compile_template(text)

    def write(line: Line) -> bool:
        try:
            line.text = template.render(line.labels(), line.text, line.time_ns)
        except TemplateExecError as error:
            line.fail(TEMPLATE_ERROR, str(error))
        return True

    return write


def _label_format(formats: Sequence[ast.LabelRename | ast.LabelTemplate]) -> StageFunction:
    steps: list[tuple[str, str, Template | None]] = []
    targets: set[str] = set()
    for each in formats:
        if each.target == ERROR:
            raise ValueError(f"{ERROR} cannot be formatted")
        if each.target in targets:
            raise ValueError(
                f"multiple label name '{each.target}' not allowed in a single format operation"
            )
        targets.add(each.target)
        if isinstance(each, ast.LabelRename):
            steps.append((each.target, each.source, None))
        else:
            steps.append((each.target, "", compile_template(each.template)))

    def write(line: Line) -> bool:
        labels: dict[str, str] | None = None
        for target, source, template in steps:
            if template is None:
                value = line.get(source)
                if value is not None:
                    line.delete(source)
                    line.set(target, value)
                continue
            if labels is None:
                labels = line.labels()
            try:
                line.set(target, template.render(labels, line.text, line.time_ns))
            except TemplateExecError as error:
                line.fail(TEMPLATE_ERROR, str(error))
        return True

    return write


def _decolorize(line: Line) -> bool:
    line.text = _ANSI.sub("", line.text)
    return True


def _drop(items: Sequence[str | Matcher]) -> StageFunction:
    steps = [
        (item, None) if isinstance(item, str) else (item.name, compile_matcher(item))
        for item in items
    ]

    def drop(line: Line) -> bool:
        for name, passes in steps:
            if passes is not None and not passes(line.get(name) or ""):
                continue
            if name == ERROR:
                line.error = ""
            elif name == ERROR_DETAILS:
                line.error_details = ""
            else:
                line.delete(name)
        return True

    return drop


def _keep(items: Sequence[str | Matcher]) -> StageFunction:
    names = frozenset(item for item in items if isinstance(item, str))
    tests: dict[str, list[Callable[[str], bool]]] = {}
    for item in items:
        if isinstance(item, Matcher):
            tests.setdefault(item.name, []).append(compile_matcher(item))

    def is_kept(name: str, value: str) -> bool:
        return name in names or any(test(value) for test in tests.get(name, ()))

    def keep(line: Line) -> bool:
        line.parsed = {n: v for n, v in line.parsed.items() if is_kept(n, v)}
        for name in [n for n, v in line.metadata.items() if not is_kept(n, v)]:
            del line.own_metadata()[name]
        for name in [n for n, v in line.stream.items() if not is_kept(n, v)]:
            del line.own_stream()[name]
        return True

    return keep
