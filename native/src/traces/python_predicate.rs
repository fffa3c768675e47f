//! Predicates from the tuples that `obsd/tracestore/predicates.py` makes of them.

use super::eval::parse_id;
use super::predicate::{Field, Op, Predicate, Test, anchored};
use super::python::PySpanTraceSet;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyTuple};
use std::sync::Arc;

fn invalid(what: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(what.to_string())
}

/// A field from its scope and name.
pub fn field(scope: &str, name: &str) -> PyResult<Field> {
    Field::of(scope, name).ok_or_else(|| invalid(format!("unknown field {scope} {name:?}")))
}

/// Reads a predicate.
pub fn predicate(value: &Bound<'_, PyAny>) -> PyResult<Predicate> {
    let tuple = value.cast::<PyTuple>()?;
    let kind: String = tuple.get_item(0)?.extract()?;
    let many = || -> PyResult<Vec<Predicate>> {
        tuple.get_item(1)?.try_iter()?.map(|item| predicate(&item?)).collect()
    };
    let of_field = || -> PyResult<Field> {
        let scope: String = tuple.get_item(1)?.extract()?;
        field(&scope, &tuple.get_item(2)?.extract::<String>()?)
    };
    Ok(match kind.as_str() {
        "all" => Predicate::All,
        "and" => Predicate::And(many()?),
        "or" => Predicate::Or(many()?),
        "not" => Predicate::Not(Box::new(predicate(&tuple.get_item(1)?)?)),
        "has" => Predicate::Has(of_field()?),
        "traces" => {
            Predicate::Traces(tuple.get_item(1)?.extract::<PyRef<'_, PySpanTraceSet>>()?.ids())
        }
        "compare" => match test(&tuple.get_item(3)?.extract::<String>()?, &tuple.get_item(4)?)? {
            Some(test) => compare(of_field()?, test),
            None => Predicate::Or(Vec::new()),
        },
        other => return Err(invalid(format!("unknown predicate {other:?}"))),
    })
}

/// A condition on a field; of one trace id what indexes know.
fn compare(field: Field, test: Test) -> Predicate {
    match (&field, &test) {
        (Field::TraceId, Test::Text(Op::Equal, text)) => {
            Predicate::Traces(Arc::new(parse_id(text).into_iter().collect()))
        }
        _ => Predicate::Compare(field, test),
    }
}

/// A test; `None` where nothing can pass.
fn test(op: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<Test>> {
    if op == "=~" || op == "!~" {
        let Ok(pattern) = value.extract::<String>() else { return Ok(None) };
        return Ok(Some(Test::Regex(anchored(&pattern).map_err(invalid)?, op == "=~")));
    }
    let op = Op::of(op).ok_or_else(|| invalid(format!("unknown operator {op:?}")))?;
    Ok(Some(if value.is_instance_of::<PyBool>() {
        Test::Bool(op, value.extract()?)
    } else if value.is_instance_of::<PyFloat>() {
        Test::Double(op, value.extract()?)
    } else if value.is_instance_of::<PyInt>() {
        // What no integer of a span comes near to may as well be a double.
        match value.extract::<i64>() {
            Ok(n) => Test::Int(op, n),
            Err(_) => Test::Double(op, value.extract()?),
        }
    } else {
        Test::Text(op, value.extract()?)
    }))
}
