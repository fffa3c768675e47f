//! One resource for each service that records of a `ResourceLogs` name.

use crate::logs::value::{Value, parse_entry};
use crate::wire::protobuf::{Fields, WireError, put_bytes};

/// What copies of a resource and its scopes may take, all in all.
const MAX_COPIES_BYTES: usize = 4 << 20;

/// The messages that a `ResourceLogs` becomes when its records, in order, are of these services;
/// `None` when that would be too much.
///
/// # Errors
/// The bytes are no such message.
pub fn by_service(
    message: &[u8],
    services: &[Option<Vec<u8>>],
) -> Result<Option<Vec<Vec<u8>>>, WireError> {
    let mut header = Vec::new();
    let mut resource = Vec::new();
    let mut fields = Fields::new(message);
    loop {
        let before = fields.rest();
        let Some((field, wire)) = fields.next_field()? else { break };
        match field {
            1 => resource.extend_from_slice(wire.bytes(1)?),
            2 => {}
            _ => header.extend_from_slice(&before[..before.len() - fields.rest().len()]),
        }
    }
    let mut writer = Writer { header, resource, pieces: Vec::new(), copied: 0, current: None };
    let mut of_record = services.iter();
    let mut fields = Fields::new(message);
    while let Some((field, wire)) = fields.next_field()? {
        if field == 2 && !writer.scope(wire.bytes(2)?, &mut of_record)? {
            return Ok(None);
        }
    }
    Ok(Some(writer.pieces))
}

struct Writer<'s> {
    /// Fields beside the resource and the scopes.
    header: Vec<u8>,
    resource: Vec<u8>,
    pieces: Vec<Vec<u8>>,
    copied: usize,
    current: Option<&'s Option<Vec<u8>>>,
}

impl<'s> Writer<'s> {
    /// Deals out the records of a `ScopeLogs`; false when the copies take too much.
    fn scope(
        &mut self,
        message: &[u8],
        services: &mut std::slice::Iter<'s, Option<Vec<u8>>>,
    ) -> Result<bool, WireError> {
        let mut about = Vec::new();
        let mut records = Vec::new();
        let mut fields = Fields::new(message);
        loop {
            let before = fields.rest();
            let Some((field, wire)) = fields.next_field()? else { break };
            let part = &before[..before.len() - fields.rest().len()];
            match field {
                2 => {
                    wire.bytes(2)?;
                    records.push((services.next().unwrap_or(&None), part));
                }
                _ => about.extend_from_slice(part),
            }
        }
        if records.is_empty() && self.current.is_some() {
            // A scope without records goes where the records before it went.
            self.append(&about);
        }
        for run in records.chunk_by(|a, b| a.0 == b.0) {
            if self.current != Some(run[0].0) {
                self.start(run[0].0)?;
            }
            let mut scope = about.clone();
            self.copied += about.len();
            run.iter().for_each(|(_, record)| scope.extend_from_slice(record));
            self.append(&scope);
            if self.copied > MAX_COPIES_BYTES {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn append(&mut self, scope: &[u8]) {
        if let Some(piece) = self.pieces.last_mut() {
            put_bytes(piece, 2, scope);
        }
    }

    fn start(&mut self, service: &'s Option<Vec<u8>>) -> Result<(), WireError> {
        let mut resource = Vec::with_capacity(self.resource.len() + 64);
        match service {
            None => resource.extend_from_slice(&self.resource),
            Some(name) => {
                let mut fields = Fields::new(&self.resource);
                loop {
                    let before = fields.rest();
                    let Some((field, wire)) = fields.next_field()? else { break };
                    let is_service =
                        field == 1 && parse_entry(wire.bytes(1)?)?.0 == b"service.name";
                    if !is_service {
                        let part = &before[..before.len() - fields.rest().len()];
                        resource.extend_from_slice(part);
                    }
                }
                let (mut any, mut entry) = (Vec::new(), Vec::new());
                Value::Text(name).encode(&mut any);
                put_bytes(&mut entry, 1, b"service.name");
                put_bytes(&mut entry, 2, &any);
                put_bytes(&mut resource, 1, &entry);
            }
        }
        let mut piece = Vec::new();
        put_bytes(&mut piece, 1, &resource);
        piece.extend_from_slice(&self.header);
        self.copied += piece.len();
        self.pieces.push(piece);
        self.current = Some(service);
        Ok(())
    }
}
