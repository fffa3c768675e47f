//! A copy of bytes with other pieces in some places, which is made only once there is one.

use std::ops::Range;

#[derive(Debug)]
pub struct Edit<'a> {
    whole: &'a [u8],
    out: Vec<u8>,
    /// Up to where the original is in `out`, or has been left out.
    upto: usize,
    is_changed: bool,
}

impl<'a> Edit<'a> {
    #[must_use]
    pub fn new(whole: &'a [u8]) -> Self {
        Self { whole, out: Vec::new(), upto: 0, is_changed: false }
    }

    /// Makes room for another piece in place of `range`, which lies behind all before it. The piece
    /// is to be appended to what is returned.
    pub fn replace(&mut self, range: Range<usize>) -> &mut Vec<u8> {
        if !self.is_changed {
            self.is_changed = true;
            self.out.reserve(self.whole.len() + self.whole.len() / 4);
        }
        self.out.extend_from_slice(self.whole.get(self.upto..range.start).unwrap_or_default());
        self.upto = range.end;
        &mut self.out
    }

    /// The copy; `None` when nothing was replaced.
    #[must_use]
    pub fn finish(mut self) -> Option<Vec<u8>> {
        if !self.is_changed {
            return None;
        }
        self.out.extend_from_slice(self.whole.get(self.upto..).unwrap_or_default());
        Some(self.out)
    }
}
