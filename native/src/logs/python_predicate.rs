//! Predicates from the tuples that `obsd/logindex/predicates.py` makes of them.

use super::expression::Pattern;
use super::levels::level_number;
use super::predicate::{Bound, Field, Part, Predicate, Test, parse_number, wildcard};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyTuple};

fn invalid(what: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(what.to_string())
}

fn bound(value: &Bound_<'_>) -> PyResult<Bound> {
    if value.is_instance_of::<PyFloat>() {
        return Ok(Bound::Double(value.extract()?));
    }
    if value.is_instance_of::<PyInt>() {
        // What no integer of a record comes near to may as well be a double.
        return match value.extract::<i64>() {
            Ok(n) => Ok(Bound::Int(i128::from(n))),
            Err(_) => Ok(Bound::Double(value.extract()?)),
        };
    }
    Ok(Bound::Text(value.extract()?))
}

type Bound_<'py> = pyo3::Bound<'py, PyAny>;

/// Reads a predicate.
pub fn predicate(value: &Bound_<'_>) -> PyResult<Predicate> {
    let tuple = value.cast::<PyTuple>()?;
    let kind: String = tuple.get_item(0)?.extract()?;
    let many = || -> PyResult<Vec<Predicate>> {
        tuple.get_item(1)?.try_iter()?.map(|item| predicate(&item?)).collect()
    };
    Ok(match kind.as_str() {
        "everything" => Predicate::Everything,
        "and" => Predicate::And(many()?),
        "or" => Predicate::Or(many()?),
        "not" => Predicate::Not(Box::new(predicate(&tuple.get_item(1)?)?)),
        "level" => match tuple.get_item(1)?.extract::<Option<String>>()? {
            None => Predicate::Level(None),
            Some(name) => match level_number(&name) {
                Some(level) => Predicate::Level(Some(level)),
                None => Predicate::Or(Vec::new()),
            },
        },
        "rows" => Predicate::Rows(tuple.get_item(1)?.extract()?, tuple.get_item(2)?.extract()?),
        _ => {
            let field = match tuple.get_item(1)?.extract::<Option<String>>()? {
                None => Field::Prose,
                Some(name) => Field::of(&name),
            };
            Predicate::Test(field, test(&kind, tuple)?)
        }
    })
}

fn test(kind: &str, tuple: &pyo3::Bound<'_, PyTuple>) -> PyResult<Test> {
    let text = || tuple.get_item(2)?.extract::<String>();
    let limit = |at: usize| -> PyResult<Option<(Bound, bool)>> {
        let value = tuple.get_item(at)?;
        if value.is_none() {
            return Ok(None);
        }
        Ok(Some((bound(&value)?, tuple.get_item(at + 1)?.extract()?)))
    };
    Ok(match kind {
        "token" => Test::Token(text()?),
        "phrase" => Test::Phrase(tuple.get_item(2)?.extract()?),
        "substring" => Test::Substring(Part::new(text()?)),
        "prefix" => Test::Prefix(text()?),
        "wildcard" => Test::Wildcard(wildcard(&text()?).map_err(invalid)?),
        "regex" => Test::Regex(Pattern::new(&text()?).map_err(invalid)?),
        "equals" => {
            let value = text()?;
            let number = parse_number(&value);
            Test::Equals(value, number)
        }
        "range" => Test::Range(limit(2)?, limit(4)?),
        "exists" => Test::Exists,
        other => return Err(invalid(format!("unknown predicate {other:?}"))),
    })
}
