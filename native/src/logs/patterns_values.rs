//! What stands in a template's holes.

use super::patterns_skeleton::{BREAK, HOLE};

/// The fixed parts of a template, of which there is one more than holes.
#[must_use]
pub fn parts(display: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut last_was_hole = false;
    for byte in display.iter().filter(|b| **b != BREAK) {
        if *byte != HOLE {
            if let Some(part) = parts.last_mut() {
                part.push(*byte);
            }
        } else if !last_was_hole {
            parts.push(Vec::new());
        }
        last_was_hole = *byte == HOLE;
    }
    parts
}

/// The values of a body in the holes; `None` when it is not like the template.
#[must_use]
pub fn values<'a>(parts: &[Vec<u8>], body: &'a str) -> Option<Vec<&'a str>> {
    let body = body.trim();
    let bytes = body.as_bytes();
    let (first, rest) = parts.split_first()?;
    let mut at = if bytes.starts_with(first) { first.len() } else { return None };
    let Some((last, middle)) = rest.split_last() else {
        return (at == bytes.len()).then(Vec::new);
    };
    let end = bytes.len().checked_sub(last.len()).filter(|end| *end >= at)?;
    if !bytes.ends_with(last) {
        return None;
    }
    let mut found = Vec::with_capacity(rest.len());
    for part in middle {
        let start = at + memchr::memmem::find(bytes.get(at..end)?, part)?;
        found.push(body.get(at..start)?.trim());
        at = start + part.len();
    }
    found.push(body.get(at..end)?.trim());
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_stand_between_the_fixed_parts() {
        let parts = parts(b"user \x01\0\x01 from \x01\0\x01 left");
        assert_eq!(values(&parts, "user ada from 10.0.0.1 left"), Some(vec!["ada", "10.0.0.1"]));
        assert_eq!(values(&parts, "user ada left"), None);
    }

    proptest! {
        #[test]
        fn any_body_has_values_or_none(display in "[ab\\x00\\x01]{0,9}", body in "[abé ]{0,20}") {
            let parts = parts(display.as_bytes());
            if let Some(found) = values(&parts, &body) {
                prop_assert_eq!(found.len() + 1, parts.len());
            }
        }
    }
}
