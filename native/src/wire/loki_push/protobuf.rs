//! Loki's `PushRequest`, after its snappy is undone.

use super::PushError;
use super::labels::parse_labels;
use super::pairs::Pairs;
use super::push::Push;
use crate::wire::protobuf::{Fields, Value, WireError};
use std::borrow::Cow;

/// # Errors
/// The bytes are no such message, or the request becomes too large.
pub fn read(body: &[u8], push: &mut Push) -> Result<(), PushError> {
    let mut fields = Fields::new(body);
    while let Some((number, value)) = fields.next_field()? {
        if let (1, Value::Bytes(stream)) = (number, value) {
            read_stream(stream, push)?;
        }
    }
    Ok(())
}

fn read_stream(message: &[u8], push: &mut Push) -> Result<(), PushError> {
    // Labels may stand behind the entries.
    let mut text = Cow::Borrowed("");
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        if let (1, Value::Bytes(labels)) = (number, value) {
            text = String::from_utf8_lossy(labels);
        }
    }
    let taken = match parse_labels(&text) {
        Ok(mut labels) => push.start_stream(&mut labels)?,
        Err(refusal) => {
            push.refuse(|| refusal);
            false
        }
    };
    let mut metadata = Pairs::default();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        if let (2, Value::Bytes(entry)) = (number, value) {
            metadata.clear();
            let (time_ns, line) = read_entry(entry, &mut metadata)?;
            if taken {
                push.add(time_ns, &line, &metadata)?;
            }
        }
    }
    Ok(())
}

fn read_entry<'a>(
    message: &'a [u8],
    metadata: &mut Pairs<'a>,
) -> Result<(i128, Cow<'a, str>), WireError> {
    let (mut time_ns, mut line) = (0, Cow::Borrowed(""));
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        match (number, value) {
            (1, Value::Bytes(time)) => time_ns = read_timestamp(time)?,
            (2, Value::Bytes(text)) => line = String::from_utf8_lossy(text),
            (3, Value::Bytes(pair)) => {
                let (name, value) = read_pair(pair)?;
                metadata.insert(name, Some(value));
            }
            _ => {}
        }
    }
    Ok((time_ns, line))
}

fn read_pair(message: &[u8]) -> Result<(Cow<'_, str>, Cow<'_, str>), WireError> {
    let (mut name, mut value) = (Cow::Borrowed(""), Cow::Borrowed(""));
    let mut fields = Fields::new(message);
    while let Some((number, found)) = fields.next_field()? {
        match (number, found) {
            (1, Value::Bytes(text)) => name = String::from_utf8_lossy(text),
            (2, Value::Bytes(text)) => value = String::from_utf8_lossy(text),
            _ => {}
        }
    }
    Ok((name, value))
}

/// A `google.protobuf.Timestamp` in nanoseconds.
fn read_timestamp(message: &[u8]) -> Result<i128, WireError> {
    let (mut seconds, mut nanoseconds) = (0, 0);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        match (number, value) {
            (1, Value::Varint(value)) => seconds = value.cast_signed(),
            (2, Value::Varint(value)) => nanoseconds = value.cast_signed(),
            _ => {}
        }
    }
    Ok(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
}
