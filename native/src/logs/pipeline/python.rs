//! The Python face of the pipeline.

use super::draft::Val;
use super::findings::MAX_METADATA_BYTES;
use super::grok;
use super::lines::Joiner;
use super::mask::{Instead, Kind as MaskKind, Mask};
use super::names;
use super::request::{Outcome, Task};
use super::rules::{Action, Extract, Kind, Rule, Rules, compile};
use super::time::Moment;
use crate::logs::expression::Pattern;
use crate::logs::predicate::wildcard;
use crate::logs::python_predicate::predicate;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyTuple};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A rule that is none: which option, and what is wrong with it.
fn invalid(option: &str, what: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err((option.to_owned(), what.to_string()))
}

/// What the parsers and a project's rules do with requests.
#[pyclass(name = "LogPipeline", frozen, module = "obsd._native")]
pub struct PyLogPipeline {
    rules: Rules,
}

#[pymethods]
impl PyLogPipeline {
    /// Attributes that are taken out of a body take no more than this.
    #[classattr]
    const MAX_METADATA_BYTES: usize = MAX_METADATA_BYTES;

    #[new]
    fn new(rules: Vec<PyRef<'_, PyLogRule>>, parses: bool) -> Self {
        let rules = rules.iter().map(|rule| Arc::clone(&rule.0)).collect();
        Self { rules: Rules { parses, rules } }
    }

    /// (request, records dropped, joined, changed); the very same request when nothing is to do.
    #[pyo3(signature = (body, now_ns, offset_s, keeps_bodies, rule_count = None))]
    fn apply<'py>(
        &self,
        py: Python<'py>,
        body: Bound<'py, PyBytes>,
        now_ns: i64,
        offset_s: i32,
        keeps_bodies: bool,
        rule_count: Option<usize>,
    ) -> (Bound<'py, PyBytes>, u64, u64, u64) {
        let bytes = PyBackedBytes::from(body.clone());
        let task = Task {
            rules: &self.rules,
            moment: Moment { now_ns, offset_s },
            keeps_bodies,
            rule_count: rule_count.unwrap_or(usize::MAX),
        };
        // What is no request the engine refuses, with a reason.
        let outcome = py.detach(|| task.apply(&bytes)).unwrap_or_default();
        let Outcome { body: changed, dropped, joined, changed: count } = outcome;
        let body = changed.map_or(body, |changed| PyBytes::new(py, &changed));
        (body, dropped, joined, count)
    }
}

/// One rule of a pipeline.
#[pyclass(name = "LogRule", frozen, module = "obsd._native")]
pub struct PyLogRule(Arc<Rule>);

#[pymethods]
impl PyLogRule {
    /// `kind` is one of extract, grok, rename, drop, drop_fields, keep_fields, mask and set; `when`
    /// is a predicate as searches have it. A `ValueError` has the option and what is wrong.
    #[new]
    fn new(
        kind: &str,
        when: Option<&Bound<'_, PyAny>>,
        options: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let when = match when {
            None => None,
            Some(when) => Some(predicate(when).map_err(|e| invalid("when", e))?),
        };
        let options = Options(options);
        let action = match kind {
            "extract" => extract(&options)?,
            "grok" => grok_rule(&options)?,
            "rename" => Action::Rename { from: options.get("from")?, to: options.get("to")? },
            "drop" => Action::Drop,
            "drop_fields" => Action::DropFields(options.wildcards()?),
            "keep_fields" => Action::KeepFields(options.wildcards()?),
            "mask" => mask(&options)?,
            "set" => Action::Set { field: options.get("field")?, value: options.value()? },
            other => return Err(invalid("type", format!("unknown rule {other:?}"))),
        };
        Ok(Self(Arc::new(Rule { when, action })))
    }
}

struct Options<'d, 'py>(&'d Bound<'py, PyDict>);

impl<'py> Options<'_, 'py> {
    fn find(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.0.get_item(name)?.filter(|value| !value.is_none()))
    }

    fn get<T>(&self, name: &str) -> PyResult<T>
    where
        T: for<'a> FromPyObject<'a, 'py>,
    {
        let value = self.find(name)?.ok_or_else(|| invalid(name, "it is missing"))?;
        value.extract().map_err(|_| invalid(name, "it is of another type"))
    }

    fn wildcards(&self) -> PyResult<Vec<Pattern>> {
        let names: Vec<String> = self.get("fields")?;
        names.iter().map(|n| wildcard(n).map_err(|e| invalid("fields", e))).collect()
    }

    fn value(&self) -> PyResult<Val<'static>> {
        let Some(value) = self.find("value")? else {
            return Ok(Val::Null);
        };
        if value.is_instance_of::<PyBool>() {
            return Ok(Val::Bool(value.extract()?));
        }
        if value.is_instance_of::<PyInt>() {
            let number = value.extract().map_err(|_| invalid("value", "it is beyond 64 bits"))?;
            return Ok(Val::Int(number));
        }
        if value.is_instance_of::<PyFloat>() {
            return Ok(Val::Double(value.extract()?));
        }
        let text: String = self.get("value")?;
        Ok(Val::Text(Cow::Owned(text.into_bytes())))
    }
}

fn extract(options: &Options<'_, '_>) -> PyResult<Action> {
    let pattern: String = options.get("pattern")?;
    let regex = compile(&pattern).map_err(|e| invalid("pattern", e))?;
    let groups = groups(&regex, &[]);
    if groups.is_empty() {
        return Err(invalid("pattern", "it has no named group, (?P<name>…)"));
    }
    Ok(Action::Extract(Extract { field: options.get("field")?, regex, groups }))
}

fn grok_rule(options: &Options<'_, '_>) -> PyResult<Action> {
    let pattern: String = options.get("pattern")?;
    let own: HashMap<String, String> = options.get("patterns")?;
    let found = grok::translate(&pattern, &own).map_err(|e| invalid("pattern", e))?;
    let regex = compile(&found.regex).map_err(|e| invalid("pattern", e))?;
    let groups = groups(&regex, &found.fields);
    if groups.is_empty() {
        return Err(invalid("pattern", "it has no field, %{NAME:field}"));
    }
    Ok(Action::Extract(Extract { field: options.get("field")?, regex, groups }))
}

/// Groups with the fields they become: `g0`, `g1`, … those of grok, others their own name.
fn groups(regex: &regex::Regex, fields: &[(String, Kind)]) -> Vec<(usize, String, Kind)> {
    let of_grok = |name: &str| {
        let number: usize = name.strip_prefix('g')?.parse().ok()?;
        fields.get(number).cloned()
    };
    let names = regex.capture_names().enumerate();
    names
        .filter_map(|(group, name)| Some((group, name?)))
        .map(|(group, name)| {
            let (name, kind) = of_grok(name).unwrap_or_else(|| (name.to_owned(), Kind::Text));
            (group, name, kind)
        })
        .collect()
}

fn mask(options: &Options<'_, '_>) -> PyResult<Action> {
    let names: Vec<String> = options.get("kinds")?;
    let patterns: Vec<String> = options.get("patterns")?;
    let mut kinds = Vec::new();
    for name in &names {
        let kind = MaskKind::of_name(name)
            .ok_or_else(|| invalid("kinds", format!("there is no kind {name:?}")))?;
        kinds.push(kind.map_err(|e| invalid("kinds", e))?);
    }
    for pattern in &patterns {
        kinds.push(MaskKind::of_pattern(pattern).map_err(|e| invalid("patterns", e))?);
    }
    let instead = match options.find("hash_salt")? {
        Some(_) => Instead::Hash(options.get::<String>("hash_salt")?.into_bytes()),
        None => Instead::Text(options.get("replacement")?),
    };
    Ok(Action::Mask(Mask { kinds, instead, fields: options.get("fields")? }))
}

/// Joins the lines of stack traces to one record each, across reads of a file.
///
/// Feed it one line after the other, without their line ends. A record is complete once a line
/// comes that is none of its; call `flush` when nothing has come for a while, and at the end.
#[pyclass(name = "LineJoiner", frozen, module = "obsd._native")]
#[derive(Default)]
pub struct PyLineJoiner(Mutex<Joiner>);

type Lines<'py> = Option<(Bound<'py, PyBytes>, usize)>;

fn record<'py>(py: Python<'py>, found: Option<(Vec<u8>, usize)>) -> Lines<'py> {
    found.map(|(text, lines)| (PyBytes::new(py, &text), lines))
}

#[pymethods]
impl PyLineJoiner {
    /// Of a record, bytes (one line may have more) and lines.
    #[new]
    #[pyo3(signature = (max_bytes = 65536, max_lines = 1000))]
    fn new(max_bytes: usize, max_lines: usize) -> Self {
        Self(Mutex::new(Joiner::new(max_bytes, max_lines)))
    }

    /// The record before this line, and of how many lines it is; `None` while it may go on.
    fn feed<'py>(&self, py: Python<'py>, line: &[u8]) -> Lines<'py> {
        record(py, self.0.lock().feed(line))
    }

    /// The record that waits for more lines, if there is one.
    fn flush<'py>(&self, py: Python<'py>) -> Lines<'py> {
        record(py, self.0.lock().flush())
    }

    #[getter]
    fn pending_bytes(&self) -> usize {
        self.0.lock().pending_bytes()
    }

    #[getter]
    fn pending_lines(&self) -> usize {
        self.0.lock().pending_lines()
    }
}

/// {what: the names under which loggers write it}, the likeliest first.
#[pyfunction]
fn log_field_names(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let all = PyDict::new(py);
    for (what, names) in names::ALL {
        all.set_item(what, PyTuple::new(py, names)?)?;
    }
    Ok(all)
}

/// Adds the pipeline's classes and functions to `obsd._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyLogPipeline>()?;
    m.add_class::<PyLogRule>()?;
    m.add_class::<PyLineJoiner>()?;
    m.add_function(wrap_pyfunction!(log_field_names, m)?)
}
