//! Times as logs write them, to nanoseconds since 1970.

/// A second, in nanoseconds.
pub const SECOND_NS: i64 = 1_000_000_000;

/// A parsed time that lies further ahead is none: a clock or a zone is not what it seems.
const MAX_AHEAD_NS: i64 = 600 * SECOND_NS;

/// How close to its arrival a line is that is written as it happens.
const LIVE_NS: i64 = 300 * SECOND_NS;

/// When and where a record is read.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now_ns: i64,
    /// Of times without a zone, ahead of UTC.
    pub offset_s: i32,
}

impl Moment {
    /// The same moment, as seen from when the record was observed.
    #[must_use]
    pub fn observed(self, observed_ns: u64) -> Self {
        match i64::try_from(observed_ns) {
            Ok(now_ns) if now_ns > 0 => Self { now_ns, ..self },
            _ => self,
        }
    }

    fn accepts(self, ns: i64) -> bool {
        ns > 0 && ns <= self.now_ns.saturating_add(MAX_AHEAD_NS)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// Seconds ahead of UTC.
    Offset(i32),
    Unknown,
}

/// A time at the start of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since 1970, as if it were UTC; `None` without a date.
    local_ns: Option<i64>,
    zone: Zone,
    has_year: bool,
    /// How much of the text it is.
    pub len: usize,
}

impl Stamp {
    /// Whether it is as the first syslog writes it: a date without a year.
    #[must_use]
    pub fn is_bsd(self) -> bool {
        self.local_ns.is_some() && !self.has_year
    }

    /// The time in nanoseconds; `None` without a date, and for one that cannot be.
    #[must_use]
    pub fn resolve(self, moment: Moment) -> Option<u64> {
        let mut local = self.local_ns?;
        let utc = |local: i64, offset_s: i32| {
            local.checked_sub(i64::from(offset_s).checked_mul(SECOND_NS)?)
        };
        if !self.has_year {
            let now_s = moment.now_ns.div_euclid(SECOND_NS) + i64::from(moment.offset_s);
            let (year, month, day) = civil(now_s.div_euclid(86_400));
            let (of_1972, rest) = (local.div_euclid(DAY_NS), local.rem_euclid(DAY_NS));
            let (_, m, d) = civil(of_1972);
            // A week ahead is a slow clock; more is the end of last year.
            let ahead = (i64::from(m) - i64::from(month)) * 31 + i64::from(d) - i64::from(day);
            let year = match ahead {
                8.. => year - 1,
                ..-330 => year + 1,
                _ => year,
            };
            local = days(year, m, d).checked_mul(DAY_NS)?.checked_add(rest)?;
        }
        let ns = match self.zone {
            Zone::Offset(offset_s) => utc(local, offset_s)?,
            Zone::Unknown => {
                let here = utc(local, moment.offset_s)?;
                let is_live = |ns: i64| moment.now_ns.saturating_sub(ns).abs() < LIVE_NS;
                // What runs in a container is mostly in UTC, wherever it is.
                if (is_live(local) && !is_live(here)) || !moment.accepts(here) {
                    local
                } else {
                    here
                }
            }
        };
        moment.accepts(ns).then_some(ns as u64)
    }
}

const DAY_NS: i64 = 86_400 * SECOND_NS;

/// Days since 1970 of a date of the Gregorian calendar.
/// Source: <https://howardhinnant.github.io/date_algorithms.html>.
fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let month = i64::from(month);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era * 146_097 + (of_era * 365 + of_era / 4 - of_era / 100 + of_year + i64::from(day) - 1)
        - 719_468
}

/// The date of a day since 1970.
fn civil(day: i64) -> (i64, u32, u32) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month as u32, date as u32)
}

struct Cursor<'t> {
    text: &'t [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|b| bytes.contains(b))?;
        self.at += 1;
        Some(byte)
    }

    /// So many digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let text = self.text.get(self.at..self.at + digits)?;
        let number = text.iter().try_fold(0, |n: u32, b| {
            b.is_ascii_digit().then(|| n.wrapping_mul(10).wrapping_add(u32::from(b - b'0')))
        })?;
        self.at += digits;
        Some(number)
    }

    fn not_a_digit(&self) -> Option<()> {
        (!self.peek().is_some_and(|b| b.is_ascii_digit())).then_some(())
    }

    fn month(&mut self) -> Option<u32> {
        const NAMES: [&[u8; 3]; 12] = [
            b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
            b"Dec",
        ];
        let name = self.text.get(self.at..self.at + 3)?;
        let place = NAMES.iter().position(|n| n.as_slice() == name)?;
        self.at += 3;
        Some(place as u32 + 1)
    }

    /// `15:04:05`, and a fraction of up to nine digits; nanoseconds.
    fn clock(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.byte(b':')?;
        let minute = self.number(2)?;
        self.byte(b':')?;
        let second = self.number(2)?;
        self.not_a_digit()?;
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let whole = i64::from(hour * 3600 + minute * 60 + second) * SECOND_NS;
        Some(whole + self.fraction())
    }

    fn fraction(&mut self) -> i64 {
        let back = self.at;
        if self.one_of(b".,").is_none() {
            return 0;
        }
        let (mut ns, mut unit) = (0, SECOND_NS);
        while let Some(b @ b'0'..=b'9') = self.peek() {
            unit /= 10;
            ns += i64::from(b - b'0') * unit;
            self.at += 1;
        }
        if self.at == back + 1 {
            self.at = back;
        }
        ns
    }

    /// `Z`, ` UTC`, `+01:00`, ` +0100`, or nothing.
    fn zone(&mut self) -> Zone {
        let back = self.at;
        let _ = self.byte(b' ');
        let rest = &self.text[self.at..];
        for name in [&b"UTC"[..], b"GMT", b"Z"] {
            let after = rest.get(name.len());
            if rest.starts_with(name) && !after.is_some_and(u8::is_ascii_alphanumeric) {
                self.at += name.len();
                return Zone::Offset(0);
            }
        }
        self.offset().unwrap_or_else(|| {
            self.at = back;
            Zone::Unknown
        })
    }

    fn offset(&mut self) -> Option<Zone> {
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.number(2)?;
        let back = self.at;
        let _ = self.byte(b':');
        let minutes = self.number(2).unwrap_or_else(|| {
            self.at = back;
            0
        });
        self.not_a_digit()?;
        let seconds = (hours * 3600 + minutes * 60) as i32;
        (hours < 24 && minutes < 60).then_some(Zone::Offset(sign * seconds))
    }

    fn date(&mut self) -> Option<(i64, u32, u32)> {
        let year = self.number(4)?;
        let mark = self.one_of(b"-/.")?;
        let month = self.number(2)?;
        self.byte(mark)?;
        Some((i64::from(year), month, self.number(2)?))
    }

    fn stamp(&self, date: Option<(i64, u32, u32)>, clock_ns: i64, zone: Zone) -> Option<Stamp> {
        let Some((year, month, day)) = date else {
            return Some(Stamp { local_ns: None, zone, has_year: false, len: self.at });
        };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // A leap year stands for one that is not told.
        let has_year = year != 0;
        let year = if has_year { year } else { 1972 };
        let local_ns = days(year, month, day).checked_mul(DAY_NS)?.checked_add(clock_ns)?;
        Some(Stamp { local_ns: Some(local_ns), zone, has_year, len: self.at })
    }

    /// `2026-01-31T12:00:00.123Z`, `2026/01/31 12:00:00`, with a comma for the fraction, …
    fn iso(&mut self) -> Option<Stamp> {
        let date = self.date()?;
        self.one_of(b"T _t")?;
        let clock = self.clock()?;
        let zone = self.zone();
        self.stamp(Some(date), clock, zone)
    }

    /// `31/Jan/2026:12:00:00 +0100`.
    fn common_log(&mut self) -> Option<Stamp> {
        let day = self.number(2)?;
        self.byte(b'/')?;
        let month = self.month()?;
        self.byte(b'/')?;
        let year = self.number(4)?;
        self.byte(b':')?;
        let clock = self.clock()?;
        let zone = self.zone();
        self.stamp(Some((i64::from(year), month, day)), clock, zone)
    }

    /// `31 Jan 2026 12:00:00.123`, also after `Sat, `.
    fn day_first(&mut self) -> Option<Stamp> {
        let day = self.number(2)?;
        let mark = self.one_of(b" -")?;
        let month = self.month()?;
        self.byte(mark)?;
        let year = self.number(4)?;
        self.byte(b' ')?;
        let clock = self.clock()?;
        let zone = self.zone();
        self.stamp(Some((i64::from(year), month, day)), clock, zone)
    }

    /// `Jan 31 12:00:00`, where the year may follow.
    fn month_first(&mut self) -> Option<Stamp> {
        let month = self.month()?;
        self.byte(b' ')?;
        let day = match self.peek()? {
            b' ' => {
                self.at += 1;
                self.number(1)?
            }
            _ => self.number(2).or_else(|| self.number(1))?,
        };
        self.byte(b' ')?;
        let year_first = self.text.get(self.at + 4) == Some(&b' ');
        let mut year = 0;
        if year_first {
            year = self.number(4)?;
            self.byte(b' ')?;
        }
        let clock = self.clock()?;
        let back = self.at;
        if !year_first {
            let told = self.byte(b' ').and_then(|()| self.number(4));
            match told.filter(|y| (1970..2200).contains(y) && self.not_a_digit().is_some()) {
                Some(told) => year = told,
                None => self.at = back,
            }
        }
        let zone = if year == 0 { Zone::Unknown } else { self.zone() };
        self.stamp(Some((i64::from(year), month, day)), clock, zone)
    }

    fn weekday(&mut self) -> Option<()> {
        const NAMES: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
        let name = self.text.get(self.at..self.at + 3)?;
        NAMES.iter().any(|n| n.as_slice() == name).then(|| self.at += 3)?;
        let _ = self.byte(b',');
        self.byte(b' ')
    }

    fn any(text: &[u8], start: usize) -> Option<Stamp> {
        let at = || Cursor { text, at: start };
        let is_digit = text.get(start)?.is_ascii_digit();
        if !is_digit {
            return at().month_first();
        }
        // What stands behind the first number tells the form.
        match text.get(start + 2)? {
            b':' => at().clock_alone(),
            b'/' => at().common_log(),
            b' ' | b'-' => at().day_first(),
            _ => at().iso(),
        }
    }

    fn clock_alone(&mut self) -> Option<Stamp> {
        let clock = self.clock()?;
        self.stamp(None, clock, Zone::Unknown)
    }
}

/// The time that a text begins with.
#[must_use]
pub fn parse_stamp(text: &[u8]) -> Option<Stamp> {
    let start = match text.first()? {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => {
            let mut cursor = Cursor { text, at: 0 };
            cursor.weekday().map_or(0, |()| cursor.at)
        }
        _ => return None,
    };
    Cursor::any(text, start)
}

/// The time of klog, `0131 12:00:00.123456`, without a year.
#[must_use]
pub fn parse_klog(text: &[u8]) -> Option<Stamp> {
    let mut cursor = Cursor { text, at: 0 };
    let month = cursor.number(2)?;
    let day = cursor.number(2)?;
    cursor.byte(b' ')?;
    let clock = cursor.clock()?;
    cursor.stamp(Some((0, month, day)), clock, Zone::Unknown)
}

/// A text that is a time from end to end: one of those above, a date, or a number.
#[must_use]
pub fn parse_time(text: &[u8], moment: Moment) -> Option<u64> {
    let text = text.trim_ascii();
    if let Some(stamp) = parse_stamp(text) {
        return if stamp.len == text.len() { stamp.resolve(moment) } else { None };
    }
    let number = |b: &u8| b.is_ascii_digit() || *b == b'.';
    if text.is_empty() || text.len() > 30 || !text.iter().all(number) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let mut ns = whole.checked_mul(unit_ns(whole))?;
    let mut unit = unit_ns(whole);
    for digit in fraction.bytes() {
        if !digit.is_ascii_digit() {
            return None;
        }
        unit /= 10;
        ns = ns.checked_add(i64::from(digit - b'0') * unit)?;
    }
    epoch(ns, moment)
}

/// A number of seconds, milliseconds, microseconds or nanoseconds since 1970, by its size.
#[must_use]
pub fn time_of_int(number: i64, moment: Moment) -> Option<u64> {
    epoch(number.checked_mul(unit_ns(number))?, moment)
}

/// The same with a fraction.
#[must_use]
pub fn time_of_double(number: f64, moment: Moment) -> Option<u64> {
    if !(0.0..9e18).contains(&number) {
        return None;
    }
    // Two steps, since a double has no room for nanoseconds since 1970.
    let whole = number.trunc() as i64;
    let unit = unit_ns(whole);
    let rest = ((number - whole as f64) * unit as f64).round() as i64;
    epoch(whole.checked_mul(unit)?.checked_add(rest)?, moment)
}

/// Small numbers are counters or durations rather than times.
fn epoch(ns: i64, moment: Moment) -> Option<u64> {
    const SINCE_NS: i64 = 315_532_800 * SECOND_NS;
    (ns >= SINCE_NS && moment.accepts(ns)).then_some(ns as u64)
}

/// Seconds until the year 5138, milliseconds from 1973 on, and so forth.
fn unit_ns(number: i64) -> i64 {
    if number < 100_000_000_000 {
        SECOND_NS
    } else if number < 100_000_000_000_000 {
        1_000_000
    } else if number < 100_000_000_000_000_000 {
        1_000
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-01-31T12:00:00Z.
    const NOON_S: i64 = 1_769_860_800;
    const MOMENT: Moment = Moment { now_ns: (NOON_S + 60) * SECOND_NS, offset_s: 3600 };

    fn seconds(text: &str) -> Option<f64> {
        parse_time(text.as_bytes(), MOMENT).map(|ns| (ns as i64 - NOON_S * SECOND_NS) as f64 / 1e9)
    }

    #[test]
    fn times_of_many_forms_are_the_same() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00.000Z",
            "2026-01-31 13:00:00,000",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31 12:00:00 UTC",
            "2026/01/31 13:00:00",
            "31/Jan/2026:13:00:00 +0100",
            "Jan 31 13:00:00",
            "Sat Jan 31 13:00:00 2026",
            "Sat, 31 Jan 2026 12:00:00 GMT",
            "31 Jan 2026 13:00:00.000",
            "1769860800",
            "1769860800000",
            "1769860800.000000",
            "1769860800000000000",
            "Jan 31 2026 13:00:00",
        ] {
            assert_eq!(seconds(text), Some(0.0), "{text}");
        }
        assert_eq!(seconds("2026-01-31T12:00:00.25Z"), Some(0.25));
        assert_eq!(seconds("1769860800.5"), Some(0.5));
    }

    #[test]
    fn a_year_that_is_not_told_is_the_one_that_fits() {
        let new_year = Moment { now_ns: 1_767_225_600 * SECOND_NS, offset_s: 0 };
        let of = |text: &str| {
            parse_stamp(text.as_bytes()).and_then(|s| s.resolve(new_year)).map(|ns| ns as i64)
        };
        assert_eq!(of("Dec 31 23:59:59"), Some(new_year.now_ns - SECOND_NS));
        assert_eq!(of("Jan  1 00:00:00"), Some(new_year.now_ns));
        assert_eq!(of("Feb 29 00:00:00").map(|ns| civil(ns / DAY_NS)), Some((2025, 3, 1)));
    }

    #[test]
    fn a_time_without_a_zone_may_be_of_a_container() {
        assert_eq!(seconds("2026-01-31 12:00:30"), Some(30.0));
        assert_eq!(seconds("2026-01-31 10:00:30"), Some(-3.0 * 3600.0 + 30.0));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "12",
            "2026-13-31T12:00:00Z",
            "2026-01-31T25:00:00Z",
            "2026-01-31T12:00:00Zx",
            "2031-01-31T12:00:00Z",
            "12:00:00",
            "Foo 31 12:00:00",
            "99999999999999999999",
            "1.2.3",
            "2026-01-31",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(parse_stamp(b"12:00:00.5 x").map(|s| s.len), Some(10));
    }

    proptest! {
        #[test]
        fn days_and_dates_invert(day in -1_000_000i64..1_000_000) {
            let (year, month, date) = civil(day);
            prop_assert_eq!(days(year, month, date), day);
        }

        #[test]
        fn any_bytes_are_a_time_or_not(bytes: Vec<u8>, now_ns: i64, offset_s: i32, n: i64, x: f64) {
            let moment = Moment { now_ns, offset_s };
            let _ = parse_time(&bytes, moment);
            let _ = parse_klog(&bytes).and_then(|s| s.resolve(moment));
            let _ = time_of_int(n, moment);
            let _ = time_of_double(x, moment);
        }
    }
}
