//! Spans as Python tuples, their fields in the order of `obsd.model.span`.

use super::builder::Part;
use super::chunk::{
    Chunk, attributes_of, group_parts, number_field, resource_attributes, scope_attributes,
    service_of, text_field,
};
use super::otlp::{NO_SPAN, SpanId};
use super::search::Summary;
use crate::columns::python_value::{add, add_entries, text};
use crate::columns::value::{Value, hex};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

fn dict<'py, 'a>(
    py: Python<'py>,
    attributes: impl Iterator<Item = (&'a [u8], Value<'a>)>,
) -> PyResult<Bound<'py, PyDict>> {
    let found = PyDict::new(py);
    for (key, value) in attributes {
        add(&found, key, value)?;
    }
    Ok(found)
}

fn ids(id: &[u8]) -> String {
    if id.iter().all(|byte| *byte == 0) { String::new() } else { hex(id) }
}

/// Attributes, service and schema URL.
type Resource<'py> = (Bound<'py, PyDict>, Bound<'py, PyString>, Bound<'py, PyString>);

/// What the spans of one resource or scope have in common.
struct Groups<'py> {
    resources: Vec<Option<Resource<'py>>>,
    scopes: Vec<Option<Bound<'py, PyTuple>>>,
}

/// Rows of a chunk as tuples.
pub fn spans<'py>(
    py: Python<'py>,
    chunk: &Chunk,
    rows: impl Iterator<Item = usize>,
) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let count = |part: Part| chunk.columns[part as usize].values().len();
    let mut groups = Groups {
        resources: vec![None; count(Part::Resource)],
        scopes: vec![None; count(Part::Scope)],
    };
    rows.map(|row| span(py, chunk, row, &mut groups)).collect()
}

fn scope<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
    let (inner, schema_url) = group_parts(message);
    PyTuple::new(
        py,
        [
            text(py, text_field(inner, 1)).into_any(),
            text(py, text_field(inner, 2)).into_any(),
            dict(py, scope_attributes(message))?.into_any(),
            (number_field(inner, 4) as u32).into_bound_py_any(py)?,
            text(py, schema_url).into_any(),
        ],
    )
}

fn span<'py>(
    py: Python<'py>,
    chunk: &Chunk,
    row: usize,
    groups: &mut Groups<'py>,
) -> PyResult<Bound<'py, PyTuple>> {
    let column = &chunk.columns[Part::Resource as usize];
    let (resource, service, schema_url) = match column.id(row) {
        None => (PyDict::new(py), PyString::new(py, ""), PyString::new(py, "")),
        Some(id) => {
            let message = column.values().bytes(id);
            if groups.resources[id].is_none() {
                groups.resources[id] = Some((
                    dict(py, resource_attributes(message))?,
                    text(py, service_of(message)),
                    text(py, group_parts(message).1),
                ));
            }
            match &groups.resources[id] {
                Some((resource, service, schema_url)) => {
                    (resource.copy()?, service.clone(), schema_url.clone())
                }
                None => unreachable!("a group that was just made"),
            }
        }
    };
    let column = &chunk.columns[Part::Scope as usize];
    let scope = match column.id(row) {
        None => scope(py, &[])?,
        Some(id) => match &groups.scopes[id] {
            Some(known) => known.clone(),
            None => {
                let made = scope(py, column.values().bytes(id))?;
                groups.scopes[id] = Some(made.clone());
                made
            }
        },
    };
    let attributes = PyDict::new(py);
    for attribute in &chunk.attributes {
        if let Some(value) = attribute.column.get(row) {
            add(&attributes, attribute.key.as_bytes(), value)?;
        }
    }
    add_entries(&attributes, chunk.rest(row))?;
    let extra = chunk.bytes(Part::Extra, row);
    let count = |field: u32| number_field(extra, field) as u32;
    let parent: SpanId = chunk.parent_ids[row];
    let parent = if parent == NO_SPAN { String::new() } else { hex(&parent) };
    let fields = [
        hex(&chunk.trace_ids[row]).into_bound_py_any(py)?,
        hex(&chunk.span_ids[row]).into_bound_py_any(py)?,
        parent.into_bound_py_any(py)?,
        text(py, chunk.bytes(Part::Name, row)).into_any(),
        chunk.number(Part::Kind, row).into_bound_py_any(py)?,
        chunk.starts[row].into_bound_py_any(py)?,
        chunk.end(row).into_bound_py_any(py)?,
        service.into_any(),
        chunk.number(Part::Status, row).into_bound_py_any(py)?,
        text(py, chunk.bytes(Part::StatusMessage, row)).into_any(),
        attributes.into_any(),
        resource.into_any(),
        scope.into_any(),
        events(py, chunk, row)?.into_any(),
        links(py, chunk, row)?.into_any(),
        text(py, chunk.bytes(Part::TraceState, row)).into_any(),
        count(16).into_bound_py_any(py)?,
        count(10).into_bound_py_any(py)?,
        count(12).into_bound_py_any(py)?,
        count(14).into_bound_py_any(py)?,
        schema_url.into_any(),
    ];
    PyTuple::new(py, fields)
}

fn events<'py>(py: Python<'py>, chunk: &Chunk, row: usize) -> PyResult<Bound<'py, PyTuple>> {
    let event = |at: usize| {
        let message = chunk.events.message(at);
        let fields = [
            chunk.event_times[at].into_bound_py_any(py)?,
            text(py, text_field(message, 2)).into_any(),
            dict(py, attributes_of(message, 3))?.into_any(),
            (number_field(message, 4) as u32).into_bound_py_any(py)?,
        ];
        PyTuple::new(py, fields)
    };
    PyTuple::new(py, chunk.events.of_row(row).map(event).collect::<PyResult<Vec<_>>>()?)
}

fn links<'py>(py: Python<'py>, chunk: &Chunk, row: usize) -> PyResult<Bound<'py, PyTuple>> {
    let link = |at: usize| {
        let (message, of) = (chunk.links.message(at), &chunk.link_ids[at]);
        // Ids of another size are among the rest.
        let id = |own: &[u8], field: u32| match ids(own) {
            none if none.is_empty() => hex(text_field(message, field)),
            id => id,
        };
        let fields = [
            id(&of[..16], 1).into_bound_py_any(py)?,
            id(&of[16..], 2).into_bound_py_any(py)?,
            text(py, text_field(message, 3)).into_any(),
            dict(py, attributes_of(message, 4))?.into_any(),
            (number_field(message, 5) as u32).into_bound_py_any(py)?,
            (number_field(message, 6) as u32).into_bound_py_any(py)?,
        ];
        PyTuple::new(py, fields)
    };
    PyTuple::new(py, chunk.links.of_row(row).map(link).collect::<PyResult<Vec<_>>>()?)
}

/// A summary, its fields in the order of `obsd.model.span.TraceSummary`.
pub fn summary<'py>(py: Python<'py>, of: &Summary) -> PyResult<Bound<'py, PyTuple>> {
    let services = PyDict::new(py);
    for (name, counts) in &of.services {
        services.set_item(name, counts)?;
    }
    let fields = [
        hex(&of.id).into_bound_py_any(py)?,
        of.root_service.as_str().into_bound_py_any(py)?,
        of.root_name.as_str().into_bound_py_any(py)?,
        of.start_ns.into_bound_py_any(py)?,
        of.duration_ns.into_bound_py_any(py)?,
        of.spans.into_bound_py_any(py)?,
        of.errors.into_bound_py_any(py)?,
        services.into_any(),
    ];
    PyTuple::new(py, fields)
}
