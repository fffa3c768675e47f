//! The Python face of the template miner and of searches for patterns.

use super::drain::{Miner, Pattern, template};
use super::levels::LEVELS;
use super::patterns_search::{Found, LEVEL_COUNT};
use super::patterns_values::{parts, values};
use super::python::{Search, Source, checker, records, search_error};
use super::search::{Hit, MAX_GROUPS, SearchError};
use hashbrown::HashMap;
use numpy::{IntoPyArray, PyArray1};
use parking_lot::Mutex;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyTuple};

/// Places of all patterns' counts that a result may have.
const MAX_COUNTS: usize = 50 * MAX_GROUPS;

/// Finds the templates of lines, as they come.
#[pyclass(name = "PatternMiner", frozen, module = "obsd._native")]
pub struct PyPatternMiner(Mutex<Miner>);

#[pymethods]
impl PyPatternMiner {
    #[new]
    #[pyo3(signature = (max_patterns = 20_000))]
    fn new(max_patterns: usize) -> Self {
        Self(Mutex::new(Miner::new(max_patterns)))
    }

    /// Reads what `dump` gave.
    #[staticmethod]
    #[pyo3(signature = (data, max_patterns = 20_000))]
    fn load(py: Python<'_>, data: &[u8], max_patterns: usize) -> PyResult<Self> {
        let loaded = py.detach(|| Miner::load(data, max_patterns));
        loaded
            .map(|miner| Self(Mutex::new(miner)))
            .map_err(|e| PyValueError::new_err(format!("bad patterns: {e}")))
    }

    fn dump<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let data = py.detach(|| self.0.lock().dump());
        PyBytes::new(py, &data)
    }

    /// Counts lines, each so often as `weights` says; the ids of their patterns.
    #[pyo3(signature = (lines, weights = None))]
    fn learn<'py>(
        &self,
        py: Python<'py>,
        lines: Vec<PyBackedStr>,
        weights: Option<Vec<u64>>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        if weights.as_ref().is_some_and(|weights| weights.len() != lines.len()) {
            return Err(PyValueError::new_err("as many weights as lines are needed"));
        }
        let ids: Vec<u64> = py.detach(|| {
            let weight = |index: usize| weights.as_ref().map_or(1, |weights| weights[index]);
            let mut miner = self.0.lock();
            miner.begin();
            let lines = lines.iter().enumerate();
            let nodes: Vec<u32> =
                lines.map(|(index, line)| miner.add(line.as_bytes(), weight(index))).collect();
            miner.settle();
            let ids = nodes.iter().map(|node| miner.id(*node)).collect();
            miner.evict();
            ids
        });
        Ok(ids.into_pyarray(py))
    }

    /// The ids of the lines' patterns as far as they are known; 0 for others. Learns nothing.
    fn lookup<'py>(&self, py: Python<'py>, lines: Vec<PyBackedStr>) -> Bound<'py, PyArray1<u64>> {
        let ids: Vec<u64> = py.detach(|| {
            let mut miner = self.0.lock();
            lines.iter().map(|line| miner.lookup(line.as_bytes()).unwrap_or(0)).collect()
        });
        ids.into_pyarray(py)
    }

    /// (id, template, lines that were learnt) of all patterns, the most frequent first.
    fn patterns(&self, py: Python<'_>) -> Vec<(u64, String, u64)> {
        let found = py.detach(|| self.0.lock().patterns());
        found.into_iter().map(|Pattern { id, template, count }| (id, template, count)).collect()
    }

    /// What the pattern of an id has become: (id, template).
    fn resolve(&self, py: Python<'_>, pattern_id: u64) -> Option<(u64, String)> {
        py.detach(|| {
            let miner = self.0.lock();
            let resolved = miner.resolve(pattern_id)?;
            Some((resolved, template(miner.display(resolved)?)))
        })
    }

    /// What a line has in the holes of a pattern; `None` where it is not like it.
    fn values(&self, py: Python<'_>, pattern_id: u64, line: PyBackedStr) -> Option<Vec<String>> {
        py.detach(|| {
            let parts = parts(self.0.lock().display(pattern_id)?);
            let found = values(&parts, &line)?;
            Some(found.into_iter().map(str::to_owned).collect())
        })
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.0.lock().len())
    }
}

/// A pattern of a search with all that was counted.
type PatternTuple<'py> = (
    u64,
    String,
    Bound<'py, PyArray1<u64>>,
    (i64, i64),
    Bound<'py, PyDict>,
    Bound<'py, PyDict>,
    Option<Bound<'py, PyTuple>>,
);

/// Skeletons of a search, by what the miner finds them to be of.
fn group(
    miner: &Mutex<Miner>,
    skeletons: Vec<(super::patterns_search::Shape, Found)>,
) -> Vec<(u64, String, Found)> {
    let mut miner = miner.lock();
    miner.begin();
    let nodes: Vec<u32> =
        skeletons.iter().map(|((key, display), _)| miner.add_key(key, display, 0)).collect();
    miner.settle();
    let mut grouped: HashMap<u64, Found> = HashMap::new();
    for (node, (_, found)) in nodes.into_iter().zip(skeletons) {
        match grouped.get_mut(&miner.id(node)) {
            Some(known) => known.add(found),
            None => drop(grouped.insert(miner.id(node), found)),
        }
    }
    let display = |id| miner.display(id).map(template).unwrap_or_default();
    let mut patterns: Vec<_> =
        grouped.into_iter().map(|(id, found)| (id, display(id), found)).collect();
    miner.evict();
    patterns.sort_by(|a, b| b.2.total.cmp(&a.2.total).then_with(|| a.0.cmp(&b.0)));
    patterns
}

/// [(id, template, counts by step, (first, last), {level: records}, {service: records}, the newest
/// record)], the most frequent first; records only of the first `samples`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_patterns<'py>(
    py: Python<'py>,
    miner: Py<PyPatternMiner>,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    step_ns: u64,
    samples: usize,
    check: Py<PyAny>,
) -> PyResult<Vec<PatternTuple<'py>>> {
    let search = Search::new(sources, predicate, span)?;
    let step_ns = step_ns.max(1);
    let miner = miner.get();
    let patterns = py
        .detach(|| {
            let skeletons = search.query.skeletons(search.granules()?, step_ns, checker(&check))?;
            Ok(group(&miner.0, skeletons))
        })
        .map_err(search_error)?;
    let range = i128::from(span.1) - i128::from(span.0);
    let steps = (range + i128::from(step_ns) - 1) / i128::from(step_ns);
    let steps = usize::try_from(steps).unwrap_or(0);
    if steps.saturating_mul(patterns.len()) > MAX_COUNTS {
        return Err(PyOverflowError::new_err("too many patterns for so many steps"));
    }
    let hit = |found: &Found| {
        let (granule, row) = found.sample.clone();
        Hit { key: (found.last_ns, 0), granule, row }
    };
    let hits: Vec<Hit> = patterns.iter().take(samples).map(|(_, _, found)| hit(found)).collect();
    let mut examples = records(py, &hits)?.into_iter();
    let mut result = Vec::with_capacity(patterns.len());
    for (id, template, found) in patterns {
        let mut counts = vec![0_u64; steps];
        for (step, count) in found.counts {
            if let Some(of_step) = counts.get_mut(step) {
                *of_step = count;
            }
        }
        let levels = PyDict::new(py);
        let names = LEVELS.iter().copied().chain(["unknown"]).take(LEVEL_COUNT);
        for (level, count) in names.zip(found.levels).filter(|(_, count)| *count > 0) {
            levels.set_item(level, count)?;
        }
        let services = PyDict::new(py);
        for (service, count) in found.services {
            services.set_item(service, count)?;
        }
        let times = (found.first_ns, found.last_ns);
        let counts = counts.into_pyarray(py);
        result.push((id, template, counts, times, levels, services, examples.next()));
    }
    Ok(result)
}

/// (bodies that were read, [the values in each of the template's holes]) of a pattern.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_pattern_values<'py>(
    py: Python<'py>,
    miner: Py<PyPatternMiner>,
    pattern_id: u64,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    limit: usize,
    check: Py<PyAny>,
) -> PyResult<(usize, Vec<Vec<String>>)> {
    let search = Search::new(sources, predicate, span)?;
    let miner = miner.get();
    py.detach(|| -> Result<_, SearchError<PyErr>> {
        let Some(parts) = miner.0.lock().display(pattern_id).map(parts) else {
            return Ok((0, Vec::new()));
        };
        let wanted = |shape: &super::patterns_search::Shape| {
            miner.0.lock().id_of_key(&shape.0) == Some(pattern_id)
        };
        let granules = search.granules()?;
        let bodies = search.query.bodies_like(granules, limit, wanted, checker(&check))?;
        let mut columns = vec![Vec::new(); parts.len().saturating_sub(1)];
        for body in &bodies {
            for (column, value) in columns.iter_mut().zip(values(&parts, body).unwrap_or_default())
            {
                column.push(value.to_owned());
            }
        }
        Ok((bodies.len(), columns))
    })
    .map_err(search_error)
}

/// Adds the miner and its searches to `obsd._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyPatternMiner>()?;
    m.add_function(wrap_pyfunction!(log_patterns, m)?)?;
    m.add_function(wrap_pyfunction!(log_pattern_values, m)?)
}
