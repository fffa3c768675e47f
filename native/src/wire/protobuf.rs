//! Protobuf's wire format: fields of a message, in place.
//! Source: <https://protobuf.dev/programming-guides/encoding/>

use super::varint::{Reader, Truncated, put_uvarint};

/// The bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("message ends early")]
    Truncated,
    #[error("field {0} has an unexpected wire type")]
    WireType(u32),
    #[error("invalid field key")]
    Key,
}

impl From<Truncated> for WireError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// # Errors
    /// The field is of another type.
    pub fn bytes(self, field: u32) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::WireType(field)),
        }
    }

    /// # Errors
    /// The field is of another type.
    pub fn varint(self, field: u32) -> Result<u64, WireError> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(WireError::WireType(field)),
        }
    }

    /// # Errors
    /// The field is of another type.
    pub fn double(self, field: u32) -> Result<f64, WireError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(WireError::WireType(field)),
        }
    }
}

/// Iterates over a message's fields.
#[derive(Clone)]
pub struct Fields<'a> {
    input: Reader<'a>,
}

impl<'a> Fields<'a> {
    #[must_use]
    pub fn new(message: &'a [u8]) -> Self {
        Self { input: Reader::new(message) }
    }

    /// Bytes that are not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.input.rest()
    }

    /// The next field's number and value; `None` at the end.
    ///
    /// # Errors
    /// The bytes are not a message.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.input.is_empty() {
            return Ok(None);
        }
        let key = self.input.uvarint()?;
        let field = u32::try_from(key >> 3).map_err(|_| WireError::Key)?;
        if field == 0 {
            return Err(WireError::Key);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.input.uvarint()?),
            1 => Value::Fixed64(self.input.u64_le()?),
            2 => {
                let length = self.input.uvarint()?;
                let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.input.bytes(length)?)
            }
            5 => Value::Fixed32(self.input.u32_le()?),
            _ => return Err(WireError::WireType(field)),
        };
        Ok(Some((field, value)))
    }
}

/// Calls `each` with the numbers of a repeated varint field, packed or one by one.
///
/// # Errors
/// The bytes are not varints, or the field is of another type.
#[inline]
pub fn each_varint(
    field: u32,
    value: Value<'_>,
    mut each: impl FnMut(u64),
) -> Result<(), WireError> {
    match value {
        Value::Varint(one) => each(one),
        Value::Bytes(packed) => {
            let mut input = Reader::new(packed);
            while !input.is_empty() {
                each(input.uvarint()?);
            }
        }
        _ => return Err(WireError::WireType(field)),
    }
    Ok(())
}

/// Calls `each` with the numbers of a repeated double field, packed or one by one.
///
/// # Errors
/// As [`each_varint`].
pub fn each_double(
    field: u32,
    value: Value<'_>,
    mut each: impl FnMut(f64),
) -> Result<(), WireError> {
    match value {
        Value::Fixed64(bits) => each(f64::from_bits(bits)),
        Value::Bytes(packed) => {
            let mut input = Reader::new(packed);
            while !input.is_empty() {
                each(f64::from_bits(input.u64_le()?));
            }
        }
        _ => return Err(WireError::WireType(field)),
    }
    Ok(())
}

/// Appends a field's key.
pub fn put_key(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    put_uvarint(out, u64::from(field << 3 | wire_type));
}

/// Appends a field of bytes, text or a message.
pub fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_key(out, field, 2);
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a `double` field.
pub fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    put_key(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends an integer field.
pub fn put_varint(out: &mut Vec<u8>, field: u32, value: u64) {
    put_key(out, field, 0);
    put_uvarint(out, value);
}
