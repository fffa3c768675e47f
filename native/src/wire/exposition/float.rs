//! Floats as Go writes them in source: decimal, hexadecimal, `Inf` and `NaN`, no underscores.

/// The NaN that text stands for. Other NaNs have a meaning: one of them marks staleness.
pub const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Parses a whole text; `None` where it is no float, or one that is too large for 64 bits.
#[must_use]
pub fn parse(text: &str) -> Option<f64> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let signed = |value: f64| if negative { -value } else { value };
    if text.eq_ignore_ascii_case("nan") {
        return Some(NORMAL_NAN);
    }
    if magnitude.eq_ignore_ascii_case("inf") || magnitude.eq_ignore_ascii_case("infinity") {
        return Some(signed(f64::INFINITY));
    }
    if let Some(hex) = magnitude.strip_prefix("0x").or_else(|| magnitude.strip_prefix("0X")) {
        return parse_hex(hex.as_bytes()).map(signed);
    }
    // The standard parser also takes names and a sign, which are dealt with.
    if !magnitude.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    magnitude.parse().ok().filter(|value: &f64| value.is_finite()).map(signed)
}

/// Parses `1.8p3`: a hexadecimal mantissa and a decimal exponent of two, which Go demands.
fn parse_hex(text: &[u8]) -> Option<f64> {
    let at = text.iter().position(|&byte| byte.eq_ignore_ascii_case(&b'p'))?;
    let exponent = std::str::from_utf8(&text[at + 1..]).ok()?;
    // Far outside any float, and far inside an i64, whatever the mantissa's length adds.
    let exponent: i64 = exponent.parse::<i64>().ok()?.clamp(-1 << 40, 1 << 40);
    let (mut mantissa, mut scale) = (0u64, 0i64);
    let (mut digits, mut point) = (0usize, false);
    for &byte in &text[..at] {
        if byte == b'.' && !point {
            point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        digits += 1;
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            scale -= if point { 4 } else { 0 };
        } else {
            // Bits beyond the 64th only decide ties.
            mantissa |= u64::from(digit != 0);
            scale += if point { 0 } else { 4 };
        }
    }
    if digits == 0 {
        return None;
    }
    scaled(mantissa, exponent + scale)
}

/// `mantissa * 2^exponent`, rounded once to the nearest float, ties to even.
fn scaled(mantissa: u64, exponent: i64) -> Option<f64> {
    if mantissa == 0 {
        return Some(0.0);
    }
    let zeros = mantissa.leading_zeros();
    let (mantissa, exponent) = (mantissa << zeros, exponent - i64::from(zeros));
    let top = exponent + 63;
    if top > 1023 {
        return None;
    }
    // Below 2^-1022 a float has fewer bits, the lowest worth 2^-1074.
    let kept = (top + 1075).min(53);
    if kept < 0 {
        return Some(0.0);
    }
    let dropped = 64 - kept as u32;
    let wide = u128::from(mantissa);
    let half = 1u128 << (dropped - 1);
    let odd = wide >> dropped & 1;
    let rounded = (wide + half - 1 + odd) >> dropped;
    let value = rounded as f64 * power_of_two(exponent + i64::from(dropped));
    value.is_finite().then_some(value)
}

/// 2^`exponent` for an exponent in -1074..=1023.
fn power_of_two(exponent: i64) -> f64 {
    if exponent >= -1022 {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (exponent + 1074))
    }
}

/// A bucket's bound or a quantile as OpenMetrics writes it: always with a point or an exponent.
#[must_use]
pub fn canonical(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // Not "-0.0", which is the same bound.
    let value = if value == 0.0 { 0.0 } else { value };
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn go_syntax_is_read() {
        let cases = [
            ("1", 1.0),
            ("-1.5e3", -1500.0),
            ("+.5", 0.5),
            ("1.", 1.0),
            ("0x1p3", 8.0),
            ("-0X1.8P-1", -0.75),
            ("0x.8p0", 0.5),
            ("0x1p-1074", 5e-324),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", 5e-324),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000000000001p0", 1.000_000_000_000_000_2),
            ("Inf", f64::INFINITY),
            ("-infinity", f64::NEG_INFINITY),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text), Some(want), "{text}");
        }
        assert!(parse("nan").is_some_and(f64::is_nan));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let cases = [
            "", "-", ".", "1_000", "0x1", "0xp1", "0x1p", "+nan", "--1", "1e999", "0x1p1024", "1 ",
            "é",
        ];
        for text in cases {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn bounds_have_a_point_or_an_exponent() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (1.0, "1.0"),
            (0.99, "0.99"),
            (-2.5, "-2.5"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (123_456.0, "123456.0"),
            (1e6, "1e+06"),
            (12_345_678.5, "1.23456785e+07"),
            (f64::INFINITY, "+Inf"),
        ];
        for (value, want) in cases {
            assert_eq!(canonical(value), want);
        }
    }

    proptest! {
        #[test]
        fn hexadecimal_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let (mantissa, exponent) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i64);
            let (mantissa, exponent) =
                if exponent == 0 { (mantissa, -1074) } else { (mantissa | 1 << 52, exponent - 1075) };
            let sign = if value.is_sign_negative() { "-" } else { "" };
            let text = format!("{sign}0x{mantissa:x}p{exponent}");
            prop_assert_eq!(parse(&text).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn any_text_is_a_float_or_none(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
