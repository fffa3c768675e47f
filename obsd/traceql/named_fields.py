"""Which fields a pipeline names: these are answered with each span that it finds."""

from __future__ import annotations

from collections.abc import Iterator

from obsd.traceql import ast
from obsd.traceql.fields import named_in


def fields_of(pipeline: ast.Pipeline) -> list[ast.Named]:
    """The fields that a pipeline names, in the order of the query; each once."""
    return list(dict.fromkeys(_of_stage(pipeline)))


def _of_stage(stage: ast.Stage) -> Iterator[ast.Named]:
    match stage:
        case ast.SpansetFilter(condition):
            yield from named_in(condition)
        case ast.SpansetLogical(_, of) | ast.Pipeline(of):
            for each in of:
                yield from _of_stage(each)
        case ast.Structural(_, left, right):
            yield from _of_stage(left)
            yield from _of_stage(right)
        case ast.ScalarFilter(_, left_number, right_number):
            yield from _of_scalar(left_number)
            yield from _of_scalar(right_number)
        case ast.GroupBy(of_field):
            yield from named_in(of_field)
        case ast.Select(fields):
            yield from fields


def _of_scalar(scalar: ast.ScalarExpr) -> Iterator[ast.Named]:
    match scalar:
        case ast.Aggregate(_, of) if of is not None:
            yield from named_in(of)
        case ast.ScalarArithmetic(_, left, right):
            yield from _of_scalar(left)
            yield from _of_scalar(right)
        case ast.PipelineScalar(pipeline, aggregate):
            yield from _of_stage(pipeline)
            yield from _of_scalar(aggregate)
