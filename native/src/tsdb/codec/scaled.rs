//! Floats that are short decimals, as integers: `value = number / 10^digits`, bit for bit.

use super::super::gorilla::ChunkError;
use crate::wire::varint::{Reader, put_uvarint};

const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// One value in so many may be no decimal: a staleness marker, an infinity, -0.
const VALUES_AN_EXCEPTION: usize = 16;
/// Below 2^63, with room for rounding up.
const LIMIT: f64 = 9.2e18;

/// Values as integers.
#[derive(Debug, PartialEq, Eq)]
pub struct Scaled {
    digits: u8,
    /// A value that is none repeats the number before it.
    pub numbers: Vec<i64>,
    /// (position, bits), ascending.
    pub exceptions: Vec<(usize, u64)>,
}

/// The integers of `values`, unless too many of them are no decimals.
#[must_use]
pub fn scale(values: &[f64]) -> Option<Scaled> {
    let allowed = 1 + values.len() / VALUES_AN_EXCEPTION;
    let digits = find_digits(values, allowed)?;
    let mut scaled =
        Scaled { digits, numbers: Vec::with_capacity(values.len()), exceptions: Vec::new() };
    // What precedes the first decimal repeats it, so that nothing stands out.
    let mut last = values.iter().find_map(|v| number(*v, digits))?;
    for (i, &value) in values.iter().enumerate() {
        match number(value, digits) {
            Some(number) => last = number,
            None if scaled.exceptions.len() < allowed => {
                scaled.exceptions.push((i, value.to_bits()));
            }
            None => return None,
        }
        scaled.numbers.push(last);
    }
    Some(scaled)
}

/// The least number of decimal digits that suits all but the allowed exceptions.
fn find_digits(values: &[f64], allowed: usize) -> Option<u8> {
    let (mut digits, mut exceptions) = (0, 0);
    for &value in values {
        if number(value, digits).is_some() {
            continue;
        }
        match (digits + 1..POWERS.len() as u8).find(|d| number(value, *d).is_some()) {
            Some(more) => digits = more,
            None => exceptions += 1,
        }
        if exceptions > allowed {
            return None;
        }
    }
    Some(digits)
}

#[inline]
fn number(value: f64, digits: u8) -> Option<i64> {
    let power = POWERS[usize::from(digits)];
    let scaled = (value * power).round_ties_even();
    if scaled.is_nan() || scaled.abs() >= LIMIT {
        return None;
    }
    let number = scaled as i64;
    (unscale(number, power).to_bits() == value.to_bits()).then_some(number)
}

#[inline]
fn unscale(number: i64, power: f64) -> f64 {
    number as f64 / power
}

impl Scaled {
    /// Appends all but the numbers.
    pub fn put_header(&self, out: &mut Vec<u8>) {
        out.push(self.digits);
        put_uvarint(out, self.exceptions.len() as u64);
        let mut next = 0;
        for &(position, bits) in &self.exceptions {
            put_uvarint(out, (position - next) as u64);
            out.extend_from_slice(&bits.to_le_bytes());
            next = position + 1;
        }
    }
}

/// What stands before the numbers.
pub struct Header {
    power: f64,
    exceptions: Vec<(usize, u64)>,
}

impl Header {
    /// # Errors
    /// The bytes end, or say what cannot be.
    pub fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, ChunkError> {
        let [digits] = reader.array()?;
        let power =
            *POWERS.get(usize::from(digits)).ok_or(ChunkError::Invalid("too many digits"))?;
        let expected = reader.uvarint()?;
        if expected > count as u64 {
            return Err(ChunkError::Invalid("more exceptions than values"));
        }
        let (mut exceptions, mut next) = (Vec::new(), 0_u64);
        for _ in 0..expected {
            let position = next.saturating_add(reader.uvarint()?);
            if position >= count as u64 {
                return Err(ChunkError::Invalid("exception past the end"));
            }
            exceptions.push((position as usize, reader.u64_le()?));
            next = position + 1;
        }
        Ok(Self { power, exceptions })
    }

    /// Appends the values of the numbers.
    pub fn unscale(&self, numbers: &[i64], values: &mut Vec<f64>) {
        let start = values.len();
        if self.power == 1.0 {
            values.extend(numbers.iter().map(|n| *n as f64));
        } else {
            values.extend(numbers.iter().map(|n| unscale(*n, self.power)));
        }
        for &(position, bits) in &self.exceptions {
            values[start + position] = f64::from_bits(bits);
        }
    }
}
