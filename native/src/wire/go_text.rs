//! Numbers as text, the way that Prometheus' clients read them.
//!
//! A float is its shortest digits that read back as the same float, without an exponent from 1e-6
//! up to 1e21, and with one of two digits or more outside. Source of the digits: Adams, "Ryū: fast
//! float-to-string conversion", PLDI 2018.

/// The integers below this are exact as floats, so their own digits are shortest.
const EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

const DIGIT_PAIRS: [u8; 200] = digit_pairs();

const fn digit_pairs() -> [u8; 200] {
    let mut pairs = [0; 200];
    let mut n = 0;
    while n < 100 {
        pairs[2 * n] = b'0' + (n / 10) as u8;
        pairs[2 * n + 1] = b'0' + (n % 10) as u8;
        n += 1;
    }
    pairs
}

/// Appends `value` in base ten.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [0; 20];
    let mut start = text.len();
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        start -= 2;
        text[start..start + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        start -= 2;
        text[start..start + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    } else {
        start -= 1;
        text[start] = b'0' + value as u8;
    }
    out.extend_from_slice(&text[start..]);
}

/// Appends Unix milliseconds as seconds with up to three decimals.
pub fn push_seconds(out: &mut Vec<u8>, ms: i64) {
    if ms < 0 {
        out.push(b'-');
    }
    let ms = ms.unsigned_abs();
    push_u64(out, ms / 1000);
    let fraction = ms % 1000;
    if fraction == 0 {
        return;
    }
    let digits = [
        b'0' + (fraction / 100) as u8,
        b'0' + (fraction / 10 % 10) as u8,
        b'0' + (fraction % 10) as u8,
    ];
    let length = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    out.push(b'.');
    out.extend_from_slice(&digits[..length]);
}

/// Appends a float.
#[inline]
pub fn push_float(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    // The comparison is false for a NaN too.
    if magnitude < EXACT_INTEGER {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        if magnitude.trunc() == magnitude {
            push_u64(out, magnitude as u64);
        } else if !push_short_decimal(out, magnitude) {
            push_shortest(out, magnitude);
        }
    } else if value.is_finite() {
        push_shortest(out, value);
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

/// Most gauges have a few decimals, which are faster to find by trying than by shortening. Two
/// decimals of at most 15 digits are never the same float, so one that reads back is the shortest.
#[inline]
fn push_short_decimal(out: &mut Vec<u8>, magnitude: f64) -> bool {
    const SCALE: u64 = 1_000_000;
    let scaled = (magnitude * SCALE as f64 + 0.5) as u64;
    if scaled >= 1_000_000_000_000_000 || scaled as f64 / SCALE as f64 != magnitude {
        return false;
    }
    push_u64(out, scaled / SCALE);
    // With a one in front, zeros behind the point keep their places; the one becomes the point.
    let point = out.len();
    push_u64(out, SCALE + scaled % SCALE);
    out[point] = b'.';
    while out.last() == Some(&b'0') {
        out.pop();
    }
    true
}

fn push_shortest(out: &mut Vec<u8>, value: f64) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    if (1e-5..EXACT_INTEGER).contains(&value) {
        return out.extend_from_slice(text);
    }
    // An exponent has a sign and three digits at most, so it begins in the last five bytes.
    let tail = text.len().saturating_sub(5);
    match text[tail..].iter().position(|&byte| byte == b'e') {
        None => out.extend_from_slice(text.strip_suffix(b".0").unwrap_or(text)),
        Some(at) => push_scientific(out, &text[..tail + at], &text[tail + at + 1..]),
    }
}

/// Appends a float of which `mantissa` (`-1.25` or `1`) and `exponent` (`-7` or `20`) are known.
#[cold]
fn push_scientific(out: &mut Vec<u8>, mantissa: &[u8], exponent: &[u8]) {
    let (negative, mantissa) = strip_minus(mantissa);
    if negative {
        out.push(b'-');
    }
    let (below, exponent) = strip_minus(exponent);
    let exponent = exponent.iter().fold(0, |n, &digit| n * 10 + usize::from(digit - b'0'));
    let (first, rest) = mantissa.split_at(1);
    let rest = rest.strip_prefix(b".").unwrap_or(rest);
    if below && exponent <= 6 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + exponent - 1, b'0');
        out.extend_from_slice(first);
        out.extend_from_slice(rest);
    } else if !below && exponent < 21 {
        // At most 17 digits are shortest, and from 1e16 on none of them is a fraction's.
        out.extend_from_slice(first);
        out.extend_from_slice(rest);
        out.resize(out.len() + exponent - rest.len(), b'0');
    } else {
        out.extend_from_slice(mantissa);
        out.extend_from_slice(if below { b"e-" } else { b"e+" });
        if exponent < 10 {
            out.push(b'0');
        }
        push_u64(out, exponent as u64);
    }
}

fn strip_minus(text: &[u8]) -> (bool, &[u8]) {
    text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn floats_have_an_exponent_only_outside_1e_minus_6_to_1e21() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (1e-5, "0.00001"),
            (1.5e-6, "0.0000015"),
            (1e-6, "0.000001"),
            (9.99e-7, "9.99e-07"),
            (5e-324, "5e-324"),
            (1e15, "1000000000000000"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1.234_567_890_123_456_8e17, "123456789012345680"),
            (-1e16, "-10000000000000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, want) in cases {
            assert_eq!(text(|out| push_float(out, value)), want);
        }
    }

    #[test]
    fn seconds_have_no_trailing_zeros() {
        let cases = [
            (1_700_000_000_000, "1700000000"),
            (1_700_000_000_123, "1700000000.123"),
            (1_700_000_000_100, "1700000000.1"),
            (1_010, "1.01"),
            (7, "0.007"),
            (-1_500, "-1.5"),
            (0, "0"),
            (i64::MIN, "-9223372036854775.808"),
        ];
        for (ms, want) in cases {
            assert_eq!(text(|out| push_seconds(out, ms)), want);
        }
    }

    proptest! {
        #[test]
        fn floats_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = text(|out| push_float(out, value));
            prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(bits));
            let has_exponent = value != 0.0 && !(1e-6..1e21).contains(&value.abs());
            prop_assert_eq!(text.contains('e'), has_exponent);
        }

        #[test]
        fn decimals_are_their_digits(digits in 1u64..1_000_000_000_000_000, decimals in 0u32..9) {
            let value = digits as f64 / 10f64.powi(decimals as i32);
            prop_assume!((1e-6..1e21).contains(&value));
            // The standard library's digits are the shortest too, and it writes no exponents.
            prop_assert_eq!(text(|out| push_float(out, -value)), format!("-{value}"));
        }

        #[test]
        fn integers_are_their_digits(value in any::<u64>(), bits in 0u32..64) {
            let value = value >> bits;
            prop_assert_eq!(text(|out| push_u64(out, value)), value.to_string());
        }
    }
}
