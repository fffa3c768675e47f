//! A request through the pipeline. Its records keep their order, and bytes that need no change are
//! not copied.

use super::detect::{self, Scan};
use super::draft::{Draft, Val};
use super::edit::Edit;
use super::findings::Terms;
use super::rules::{Rules, Source};
use super::split;
use super::stack::{Joining, MAX_RECORD_BYTES, MAX_RECORD_LINES};
use super::time::Moment;
use crate::logs::value::{Value, parse_entry};
use crate::wire::protobuf::{Fields, WireError, put_bytes};
use std::borrow::Cow;
use std::ops::Range;

/// Records of one stack trace come at one time, nearly.
const MAX_APART_NS: u64 = 5_000_000_000;

/// What is done with every request.
#[derive(Debug, Clone, Copy)]
pub struct Task<'r> {
    pub rules: &'r Rules,
    pub moment: Moment,
    /// Whether bodies stay as they came.
    pub keeps_bodies: bool,
    /// How many of the rules run.
    pub rule_count: usize,
}

/// What became of a request.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The request; `None` when it stays as it is.
    pub body: Option<Vec<u8>>,
    /// Records that a rule dropped.
    pub dropped: u64,
    /// Records that became part of the one before them.
    pub joined: u64,
    /// Records that were changed.
    pub changed: u64,
}

/// The place of a field of `whole`, given what was left of it before and after it was read.
fn place(whole: &[u8], before: &[u8], after: &[u8]) -> Range<usize> {
    whole.len() - before.len()..whole.len() - after.len()
}

impl Task<'_> {
    /// Runs the request through.
    ///
    /// # Errors
    /// The bytes are no `ExportLogsServiceRequest`.
    pub fn apply(self, body: &[u8]) -> Result<Outcome, WireError> {
        let mut outcome = Outcome::default();
        let mut edit = Edit::new(body);
        let mut fields = Fields::new(body);
        loop {
            let before = fields.rest();
            let Some((field, wire)) = fields.next_field()? else { break };
            if field != 1 {
                continue;
            }
            let message = wire.bytes(1)?;
            let range = place(body, before, fields.rest());
            if let Some(pieces) = self.resource_logs(message, &mut outcome)? {
                let out = edit.replace(range);
                pieces.iter().for_each(|piece| put_bytes(out, 1, piece));
            }
        }
        outcome.body = edit.finish();
        Ok(outcome)
    }

    /// The messages that a `ResourceLogs` becomes; `None` when it stays as it is.
    fn resource_logs(
        self,
        message: &[u8],
        outcome: &mut Outcome,
    ) -> Result<Option<Vec<Vec<u8>>>, WireError> {
        let resource = Resource::read(message)?;
        let mut takes_service = resource.service.is_none();
        loop {
            let mut pass = Pass {
                task: self,
                resource: &resource,
                takes_service,
                outcome: Outcome::default(),
                services: Vec::new(),
            };
            let changed = pass.run(message)?;
            let Pass { outcome: of_pass, services, .. } = pass;
            let pieces = match changed {
                Some(changed) if services.iter().any(Option::is_some) => {
                    match split::by_service(&changed, &services)? {
                        Some(pieces) => Some(pieces),
                        None => {
                            // So many resources would not fit: services stay attributes.
                            takes_service = false;
                            continue;
                        }
                    }
                }
                changed => changed.map(|piece| vec![piece]),
            };
            outcome.dropped += of_pass.dropped;
            outcome.joined += of_pass.joined;
            outcome.changed += of_pass.changed;
            return Ok(pieces);
        }
    }
}

/// What of a `ResourceLogs` concerns its records.
struct Resource<'a> {
    /// The attributes, as `KeyValue`s.
    entries: Vec<&'a [u8]>,
    service: Option<&'a [u8]>,
}

/// What SDKs and receivers say where they know no service.
#[must_use]
pub fn is_unknown(service: &[u8]) -> bool {
    service.is_empty() || service == b"unknown_service" || service.starts_with(b"unknown_service:")
}

impl<'a> Resource<'a> {
    fn read(message: &'a [u8]) -> Result<Self, WireError> {
        let mut entries = Vec::new();
        let mut service = None;
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            if field != 1 {
                continue;
            }
            let mut inner = Fields::new(wire.bytes(1)?);
            while let Some((field, wire)) = inner.next_field()? {
                if field != 1 {
                    continue;
                }
                let entry = wire.bytes(1)?;
                if let (b"service.name", Value::Text(name)) = parse_entry(entry)? {
                    service = service.or(Some(name).filter(|name| !is_unknown(name)));
                }
                entries.push(entry);
            }
        }
        Ok(Self { entries, service })
    }
}

/// A record that waits for what may belong to it.
struct Pending<'a> {
    message: &'a [u8],
    scan: Scan<'a>,
    range: Range<usize>,
    /// Where the records are that became part of it.
    joined: Vec<Range<usize>>,
    text: Vec<u8>,
    last_ns: u64,
}

/// One walk through a `ResourceLogs`.
struct Pass<'p, 'r> {
    task: Task<'r>,
    resource: &'p Resource<'p>,
    takes_service: bool,
    outcome: Outcome,
    /// Of each record that is left, the service it names.
    services: Vec<Option<Vec<u8>>>,
}

impl Pass<'_, '_> {
    fn run(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        let mut edit = Edit::new(message);
        let mut fields = Fields::new(message);
        loop {
            let before = fields.rest();
            let Some((field, wire)) = fields.next_field()? else { break };
            if field == 2
                && let Some(scope) = self.scope_logs(wire.bytes(2)?)?
            {
                let range = place(message, before, fields.rest());
                put_bytes(edit.replace(range), 2, &scope);
            }
        }
        Ok(edit.finish())
    }

    fn scope_logs(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        let mut edit = Edit::new(message);
        let mut joining = Joining::default();
        let mut pending: Option<Pending<'_>> = None;
        let parses = self.task.rules.parses;
        let mut fields = Fields::new(message);
        loop {
            let rest = fields.rest();
            let Some((field, wire)) = fields.next_field()? else { break };
            if field != 2 {
                continue;
            }
            let record = wire.bytes(2)?;
            let scan = Scan::read(record)?;
            let range = place(message, rest, fields.rest());
            let before = pending.as_ref().and_then(|head| head.scan.text).unwrap_or_default();
            let continues = parses && joining.continues(scan.text.unwrap_or_default(), before);
            if let Some(head) = pending.as_mut()
                && continues
                && head.join(&scan, range.clone())
            {
                continue;
            }
            if let Some(head) = pending.take() {
                self.finish(head, &mut edit)?;
            }
            let last_ns = scan.any_time_ns();
            pending = Some(Pending {
                message: record,
                scan,
                range,
                joined: vec![],
                text: vec![],
                last_ns,
            });
        }
        if let Some(head) = pending {
            self.finish(head, &mut edit)?;
        }
        Ok(edit.finish())
    }

    /// Writes a record, if it is another one than what came.
    fn finish(&mut self, pending: Pending<'_>, edit: &mut Edit<'_>) -> Result<(), WireError> {
        let Pending { message, scan, range, joined, text, .. } = pending;
        let rules = self.task.rules;
        let terms = Terms {
            moment: self.task.moment.observed(scan.observed_ns),
            service: self.resource.service,
            keeps_body: self.task.keeps_bodies,
            takes_service: self.takes_service,
        };
        let detects = rules.parses && (!text.is_empty() || scan.is_worth_a_look());
        if !detects && rules.is_empty() {
            self.services.push(None);
            return Ok(());
        }
        let mut draft = Draft::read(message)?;
        if !text.is_empty() {
            draft.body = Some(Val::Text(Cow::Borrowed(&text)));
            draft.is_changed = true;
            self.outcome.joined += joined.len() as u64;
        }
        if detects {
            let body = if text.is_empty() { scan.text } else { Some(&text[..]) };
            if let Some(found) = body.and_then(|body| detect::detect(body, &scan, terms)) {
                draft.adopt(found, terms);
            }
        }
        let source = Source { entries: &self.resource.entries, service: self.resource.service };
        if !rules.run(&mut draft, source, terms.moment, self.task.rule_count) {
            self.outcome.dropped += 1;
            edit.replace(range);
        } else if draft.is_changed {
            self.outcome.changed += 1;
            let mut out = Vec::with_capacity(message.len() + message.len() / 2 + text.len());
            draft.encode(&mut out);
            put_bytes(edit.replace(range), 2, &out);
            self.services.push(draft.service);
        } else {
            self.services.push(None);
        }
        for range in joined {
            edit.replace(range);
        }
        Ok(())
    }
}

impl Pending<'_> {
    /// Takes the record's line as one more of its own; false when it is another source's, or too
    /// much.
    fn join(&mut self, next: &Scan<'_>, range: Range<usize>) -> bool {
        let Some((own, line)) = self.scan.text.zip(next.text) else {
            return false;
        };
        let time_ns = next.any_time_ns();
        let size = self.text.len().max(own.len());
        if !next.may_join(&self.scan)
            || time_ns.abs_diff(self.last_ns) > MAX_APART_NS
            || size + line.len() >= MAX_RECORD_BYTES
            || self.joined.len() + 1 >= MAX_RECORD_LINES
        {
            return false;
        }
        if self.text.is_empty() {
            self.text.extend_from_slice(trim_end(own));
        }
        self.text.push(b'\n');
        self.text.extend_from_slice(trim_end(line));
        self.joined.push(range);
        self.last_ns = time_ns;
        true
    }
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
