//! Places in a request: what is decoded stays where it came.

/// A place in some bytes of at most 4 GiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    start: u32,
    end: u32,
}

impl Place {
    /// The place of `part`, which lies in `whole`.
    #[must_use]
    pub fn of(whole: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        if part.is_empty() || start > whole.len() {
            return Self::default();
        }
        Self { start: start as u32, end: (start + part.len()) as u32 }
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes there.
    #[must_use]
    #[inline]
    pub fn get(self, whole: &[u8]) -> &[u8] {
        whole.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}
