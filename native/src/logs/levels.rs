//! Levels of records, by severity number or word: `obsd/model/severity.py` has the rules.

pub const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];

const WORDS: [(&str, u8); 28] = [
    ("trc", 0),
    ("finest", 0),
    ("verbose", 0),
    ("finer", 0),
    ("dbg", 1),
    ("fine", 1),
    ("information", 2),
    ("informational", 2),
    ("inf", 2),
    ("notice", 2),
    ("warning", 3),
    ("wrn", 3),
    ("err", 4),
    ("eror", 4),
    ("severe", 4),
    ("critical", 5),
    ("crit", 5),
    ("panic", 5),
    ("dpanic", 5),
    ("alert", 5),
    ("emergency", 5),
    ("emerg", 5),
    ("ftl", 5),
    ("trace", 0),
    ("debug", 1),
    ("info", 2),
    ("warn", 3),
    ("error", 4),
];

/// The level's place among all; `None` without one.
#[must_use]
pub fn level_of(number: u8, text: &[u8]) -> Option<u8> {
    if (1..=24).contains(&number) {
        return Some((number - 1) / 4);
    }
    if text.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(text);
    let word = text.trim().to_lowercase();
    let of_word = |word: &str| WORDS.iter().find(|(w, _)| *w == word).map(|(_, level)| *level);
    let numbered = word.strip_suffix(['2', '3', '4']).unwrap_or(&word);
    of_word(&word)
        .or_else(|| LEVELS.iter().position(|level| *level == numbered).map(|place| place as u8))
}

/// The place of a level's name.
#[must_use]
pub fn level_number(name: &str) -> Option<u8> {
    LEVELS.iter().position(|level| *level == name).map(|place| place as u8)
}
