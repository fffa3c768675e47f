//! The lines of a scan as Python objects: texts, labels of streams, and metadata.

use super::super::eval::row_levels;
use super::super::granule::{Corrupt, Kind, View};
use super::super::levels::LEVELS;
use super::super::search::Key;
use super::super::value::{Value, hex, map};
use super::labels::{SERVICE, details, is_label, label_name};
use super::scan::{Run, Scan};
use hashbrown::HashMap;
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use std::collections::HashSet;
use std::sync::Mutex;

const UNKNOWN_LEVEL: &str = "unknown";
const UNKNOWN_SERVICE: &str = "unknown_service";
const EXTRACTED: &str = "_extracted";

fn corrupt(error: Corrupt) -> PyErr {
    crate::tsdb::python::CorruptError::new_err((error.path, error.detail))
}

/// What can end a batch early.
enum Stop {
    Damage(Corrupt),
    Python(PyErr),
}

impl From<Corrupt> for Stop {
    fn from(error: Corrupt) -> Self {
        Self::Damage(error)
    }
}

impl From<Stop> for PyErr {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Damage(error) => corrupt(error),
            Stop::Python(error) => error,
        }
    }
}

/// A scan's lines, batch by batch.
#[pyclass(name = "LogScan", frozen, module = "obsd._native")]
pub struct PyLogScan(Mutex<Scan>);

impl PyLogScan {
    #[must_use]
    pub fn new(scan: Scan) -> Self {
        Self(Mutex::new(scan))
    }
}

type Batch<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
    u64,
    Option<Key>,
);

#[pymethods]
impl PyLogScan {
    /// The next lines, at most so many: their times, texts, labels of streams, and metadata of
    /// these names, or all; the bytes of the texts; and the last one's place. Maps may be shared.
    fn next<'py>(
        &self,
        py: Python<'py>,
        limit: usize,
        names: Option<HashSet<String>>,
        check: Py<PyAny>,
    ) -> PyResult<Batch<'py>> {
        let runs = py.detach(|| -> Result<Vec<Run>, Stop> {
            let mut scan = self
                .0
                .lock()
                .map_err(|_| Stop::Python(PyRuntimeError::new_err("a scan has failed")))?;
            let check = || Python::attach(|py| check.call0(py).map(drop)).map_err(Stop::Python);
            let runs = scan.next(limit, check)?;
            drop(scan);
            for run in &runs {
                run.view.bodies()?;
            }
            Ok(runs)
        })?;
        let mut times = Vec::new();
        let (texts, streams, entries) = (PyList::empty(py), PyList::empty(py), PyList::empty(py));
        let mut size = 0;
        let mut last = None;
        for run in runs {
            let mut reader = Reader::new(py, &run.view, names.as_ref()).map_err(corrupt)?;
            let (own_times, numbers) =
                (run.view.times().map_err(corrupt)?, run.view.rows().map_err(corrupt)?);
            let mut buffer = Vec::new();
            for row in run.rows {
                let row = row as usize;
                times.push(own_times[row]);
                last = Some((own_times[row], numbers[row]));
                let body = run.view.body(row, &mut buffer).map_err(corrupt)?;
                let text = body.text_or_json();
                size += text.len() as u64;
                texts.append(PyString::new(py, &text))?;
                let (stream, own) = reader.labels(row)?;
                streams.append(stream)?;
                entries.append(own)?;
            }
        }
        Ok((times.into_pyarray(py), texts, streams, entries, size, last))
    }
}

/// What a resource's records share.
struct Resource<'py> {
    labels: Bound<'py, PyDict>,
    /// Attributes that are no labels.
    metadata: Vec<(Bound<'py, PyString>, Bound<'py, PyString>)>,
    /// Names of attributes' columns in the metadata, by the column's place; `None` of those that
    /// nobody wants.
    names: Vec<Option<Bound<'py, PyString>>>,
}

/// What is metadata of a record's details.
struct Details<'py> {
    /// The details' place in their column, and the resource's, whose labels take names.
    of: (usize, usize),
    entries: Vec<(Bound<'py, PyString>, Bound<'py, PyString>)>,
}

/// Texts of a column's values that have been asked for.
type Texts<'py> = HashMap<usize, Bound<'py, PyString>>;

/// Reads labels and metadata of a granule's rows.
struct Reader<'v, 'py> {
    py: Python<'py>,
    view: &'v View,
    /// Of rows without a resource, the last.
    resources: Vec<Option<Resource<'py>>>,
    /// Of the row before.
    details: Option<Details<'py>>,
    texts: Vec<Texts<'py>>,
    /// Metadata without attributes, by resource, severity and severity text.
    templates: HashMap<(usize, Option<usize>, Option<usize>), Bound<'py, PyDict>>,
    levels: Vec<u8>,
    level_texts: Vec<Bound<'py, PyString>>,
    /// Where only some metadata is wanted.
    wanted: Option<&'v HashSet<String>>,
    /// Where none is.
    empty: Option<Bound<'py, PyDict>>,
}

impl<'v, 'py> Reader<'v, 'py> {
    fn new(
        py: Python<'py>,
        view: &'v View,
        wanted: Option<&'v HashSet<String>>,
    ) -> Result<Self, Corrupt> {
        let metadata = wanted.is_none_or(|names| !names.is_empty());
        let count = view.column(Kind::Resource)?.values().len() + 1;
        let columns = view.granule.attributes.len();
        let words = LEVELS.iter().chain(std::iter::once(&UNKNOWN_LEVEL));
        Ok(Self {
            py,
            view,
            resources: (0..count).map(|_| None).collect(),
            details: None,
            texts: (0..columns).map(|_| Texts::new()).collect(),
            templates: HashMap::new(),
            levels: if metadata { row_levels(view)? } else { Vec::new() },
            level_texts: words.map(|word| PyString::intern(py, word)).collect(),
            wanted,
            empty: (!metadata).then(|| PyDict::new(py)),
        })
    }

    /// The labels of a row's stream, and its metadata.
    fn labels(&mut self, row: usize) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>)> {
        let column = self.view.column(Kind::Resource).map_err(corrupt)?;
        let place = column.id(row).unwrap_or(self.resources.len() - 1);
        if self.resources[place].is_none() {
            let message = match column.get(row) {
                Some(Value::Map(message)) => message,
                _ => &[],
            };
            self.resources[place] = Some(self.resource(message)?);
        }
        let Some(resource) = &self.resources[place] else {
            return Err(PyRuntimeError::new_err("unreachable: it was put there"));
        };
        let labels = resource.labels.clone();
        if let Some(empty) = &self.empty {
            return Ok((labels, empty.clone()));
        }
        let found = self.template(row, place, &labels)?;
        let Some(resource) = &self.resources[place] else {
            return Err(PyRuntimeError::new_err("unreachable: it was put there"));
        };
        for (index, name) in resource.names.iter().enumerate() {
            let Some(name) = name else { continue };
            let column = self.view.attribute(index).map_err(corrupt)?;
            let (Some(id), Some(value)) = (column.id(row), column.get(row)) else { continue };
            if value.is_null() {
                continue;
            }
            let texts = &mut self.texts[index];
            let text = match texts.get(&id) {
                Some(text) => text.clone(),
                None => {
                    let text = PyString::new(self.py, &value.text_or_json());
                    // What hardly repeats is not worth remembering.
                    if texts.len() < 256 {
                        texts.insert(id, text.clone());
                    }
                    text
                }
            };
            add(&found, name, &text)?;
        }
        if let Some(Value::Map(message)) = self.view.column(Kind::Rest).map_err(corrupt)?.get(row) {
            for (key, value) in map(message) {
                let Some(name) = self.metadata_name(&String::from_utf8_lossy(key), &labels)? else {
                    continue;
                };
                add(&found, &name, &PyString::new(self.py, &value.text_or_json()))?;
            }
        }
        for (name, text) in &resource.metadata {
            add(&found, name, text)?;
        }
        let column = self.view.column(Kind::Details).map_err(corrupt)?;
        if let (Some(id), Some(Value::Map(message))) = (column.id(row), column.get(row)) {
            // Mostly all records of a scope have the same.
            if self.details.as_ref().is_none_or(|last| last.of != (id, place)) {
                let mut entries = Vec::new();
                for (key, value) in details(message) {
                    if let Some(name) = self.metadata_name(&key, &labels)? {
                        entries.push((name, PyString::new(self.py, &value.text_or_json())));
                    }
                }
                self.details = Some(Details { of: (id, place), entries });
            }
            for (name, text) in self.details.iter().flat_map(|details| &details.entries) {
                add(&found, name, text)?;
            }
        }
        Ok((labels, found))
    }

    /// A new map with a row's level and severity, which many rows share, and its ids.
    fn template(
        &mut self,
        row: usize,
        place: usize,
        labels: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let id = |kind: Kind| self.view.column(kind).map_err(corrupt).map(|c| c.id(row));
        let key = (place, id(Kind::Severity)?, id(Kind::SeverityText)?);
        if !self.templates.contains_key(&key) {
            let template = self.severity(row, labels)?;
            self.templates.insert(key, template);
        }
        let found = match self.templates.get(&key) {
            Some(template) => template.copy()?,
            None => PyDict::new(self.py),
        };
        for (kind, name) in [(Kind::TraceId, "trace_id"), (Kind::SpanId, "span_id")] {
            if let Some(Value::Bytes(id) | Value::Text(id)) =
                self.view.column(kind).map_err(corrupt)?.get(row)
                && !id.is_empty()
                && let Some(name) = self.metadata_name(name, labels)?
            {
                found.set_item(name, hex(id))?;
            }
        }
        Ok(found)
    }

    /// What a record tells of its level.
    fn severity(&self, row: usize, labels: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(self.py);
        let level = usize::from(self.levels[row]).min(self.level_texts.len() - 1);
        for name in ["detected_level", "level"] {
            if !labels.contains(name)? && self.is_wanted(name) {
                found.set_item(PyString::intern(self.py, name), &self.level_texts[level])?;
            }
        }
        let get = |kind: Kind| self.view.column(kind).map_err(corrupt).map(|c| c.get(row));
        if let Some(Value::Text([number, ..]) | Value::Bytes([number, ..])) = get(Kind::Severity)?
            && *number > 0
            && self.is_wanted("severity_number")
            && !labels.contains("severity_number")?
        {
            found.set_item("severity_number", number.to_string())?;
        }
        if let Some(Value::Text(text)) = get(Kind::SeverityText)?
            && !text.is_empty()
            && self.is_wanted("severity_text")
            && !labels.contains("severity_text")?
        {
            found.set_item("severity_text", String::from_utf8_lossy(text))?;
        }
        Ok(found)
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.wanted.is_none_or(|names| names.contains(name))
    }

    /// The name of an attribute as metadata; `None` where nobody wants it.
    fn metadata_name(
        &self,
        key: &str,
        labels: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let mut name = label_name(key);
        if labels.contains(name.as_ref())? {
            name = format!("{name}{EXTRACTED}").into();
        }
        Ok(self.is_wanted(&name).then(|| PyString::intern(self.py, &name)))
    }

    fn resource(&self, message: &[u8]) -> PyResult<Resource<'py>> {
        let py = self.py;
        let mut seen: Vec<&[u8]> = Vec::new();
        let mut labels: HashMap<String, String> = HashMap::new();
        let mut others = Vec::new();
        let mut service = UNKNOWN_SERVICE.to_owned();
        for (key, value) in map(message) {
            if seen.contains(&key) {
                continue; // Of equal keys the first counts.
            }
            seen.push(key);
            let key = String::from_utf8_lossy(key);
            if let (SERVICE, Value::Text(text @ [_, ..])) = (key.as_ref(), value) {
                service = String::from_utf8_lossy(text).into_owned();
            }
            if is_label(&key, value) {
                let text = || value.text_or_json().into_owned();
                labels.entry(label_name(&key).into_owned()).or_insert_with(text);
            } else if key != SERVICE {
                others.push((key.into_owned(), value.text_or_json().into_owned()));
            }
        }
        labels.insert("service_name".to_owned(), service);
        let mut sorted: Vec<_> = labels.into_iter().collect();
        sorted.sort();
        let found = PyDict::new(py);
        for (name, text) in sorted {
            found.set_item(PyString::intern(py, &name), text)?;
        }
        let mut metadata = Vec::new();
        for (key, text) in others {
            if let Some(name) = self.metadata_name(&key, &found)? {
                metadata.push((name, PyString::new(py, &text)));
            }
        }
        let attributes = &self.view.granule.attributes;
        let names = attributes
            .iter()
            .map(|info| self.metadata_name(&info.key, &found))
            .collect::<PyResult<_>>()?;
        Ok(Resource { labels: found, metadata, names })
    }
}

/// Adds what is not there yet; an empty text is nothing.
fn add<'py>(
    found: &Bound<'py, PyDict>,
    name: &Bound<'py, PyString>,
    text: &Bound<'py, PyString>,
) -> PyResult<()> {
    if text.is_empty()? || found.contains(name)? {
        return Ok(());
    }
    found.set_item(name, text)
}
