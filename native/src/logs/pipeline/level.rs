//! Severity numbers of the words that loggers use: `obsd/model/severity.py` has the rules.

/// The longest word.
const MAX_BYTES: usize = 16;

/// A word's severity number; 0 for one that is no level.
#[must_use]
pub fn severity_of(word: &[u8]) -> u8 {
    let word = word.trim_ascii();
    if word.is_empty() || word.len() > MAX_BYTES {
        return 0;
    }
    let mut lowered = [0; MAX_BYTES];
    let lowered = &mut lowered[..word.len()];
    lowered.copy_from_slice(word);
    lowered.make_ascii_lowercase();
    let (name, step) = match lowered {
        [name @ .., step @ b'2'..=b'4'] => (&*name, *step - b'1'),
        name => (&*name, 0),
    };
    let base = match name {
        b"trace" => 1,
        b"debug" => 5,
        b"info" => 9,
        b"warn" => 13,
        b"error" => 17,
        b"fatal" => 21,
        _ if step > 0 => 0,
        b"trc" | b"finest" | b"verbose" => 1,
        b"finer" => 3,
        b"dbg" | b"fine" => 5,
        b"information" | b"informational" | b"inf" => 9,
        b"notice" => 10,
        b"warning" | b"wrn" => 13,
        b"err" | b"eror" | b"severe" => 17,
        b"critical" | b"crit" | b"panic" | b"dpanic" | b"ftl" => 21,
        b"alert" => 22,
        b"emergency" | b"emerg" => 23,
        _ => 0,
    };
    if base == 0 { 0 } else { base + step }
}

/// The number of a letter, as klog, Ruby and others write one.
#[must_use]
pub fn severity_of_letter(letter: u8) -> u8 {
    match letter {
        b'T' | b'V' => 1,
        b'D' => 5,
        b'I' => 9,
        b'N' => 10,
        b'W' => 13,
        b'E' => 17,
        b'C' | b'F' => 21,
        _ => 0,
    }
}

/// As pino and bunyan number them, or as syslog does.
#[must_use]
pub fn severity_of_number(number: i64, is_syslog: bool) -> u8 {
    match (number, is_syslog) {
        (0..=7, true) => severity_of_syslog(number as u8),
        (10, _) => 1,
        (20, _) => 5,
        (30, _) => 9,
        (40, _) => 13,
        (50, _) => 17,
        (60, _) => 21,
        _ => 0,
    }
}

/// Of syslog's levels, from emergency to debug: the first four are all errors.
#[must_use]
pub fn severity_of_syslog(level: u8) -> u8 {
    [20, 19, 18, 17, 13, 10, 9, 5][usize::from(level & 7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_numbers() {
        let of = |word: &str| severity_of(word.as_bytes());
        assert_eq!(["WARN", " Warning", "info2", "fatal4", "emerg"].map(of), [13, 13, 10, 24, 23]);
        assert_eq!(["", "x", "info5", "warning2", "informationalinformational"].map(of), [0; 5]);
    }
}
