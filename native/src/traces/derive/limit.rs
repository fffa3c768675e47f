//! How many series one project's spans may make, and which of them are no longer written to.

/// Room for series.
#[derive(Debug)]
pub struct Limit {
    max: usize,
    used: usize,
    /// Spans, edges and resources that found no room.
    pub overflowed: u64,
}

impl Limit {
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, used: 0, overflowed: 0 }
    }

    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Takes room for so many series; false where there is none.
    pub fn take(&mut self, series: usize) -> bool {
        let fits = self.used + series <= self.max;
        if fits {
            self.used += series;
        }
        fits
    }

    /// Takes room for what was there before, whatever the limit is now.
    pub fn take_anyway(&mut self, series: usize) {
        self.used += series;
    }

    pub fn give_back(&mut self, series: usize) {
        self.used = self.used.saturating_sub(series);
    }
}

/// How far a label set's series have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// No sample of them is stored for sure.
    Nothing,
    /// Samples were handed over, and are not stored for sure.
    HandedOver,
    /// They began at zero, which is stored.
    Stored,
}

/// When a label set came, and when last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The time of its zero: before its first value, so that this is an increase. It is kept, so
    /// that writing it again after a crash changes nothing.
    pub zero_ms: i64,
    pub used_ms: i64,
    pub written: Written,
}

impl Life {
    #[must_use]
    pub fn new(zero_ms: i64, now_ms: i64) -> Self {
        Self { zero_ms, used_ms: now_ms, written: Written::Nothing }
    }

    /// Whether the zero has to be written.
    pub fn hand_over(&mut self) -> bool {
        let is_new = self.written != Written::Stored;
        if is_new {
            self.written = Written::HandedOver;
        }
        is_new
    }

    /// What was handed over is stored; false where nothing was.
    pub fn confirm(&mut self) -> bool {
        let is_new = self.written == Written::HandedOver;
        if is_new {
            self.written = Written::Stored;
        }
        is_new
    }
}
