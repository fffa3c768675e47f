//! Compensated summation. Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation
//! endlicher Summen", ZAMM 54 (1974).

/// A sum, and the rounding errors that it lost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kahan {
    pub sum: f64,
    pub lost: f64,
}

impl Kahan {
    pub fn new(sum: f64) -> Self {
        Self { sum, lost: 0.0 }
    }

    #[inline]
    pub fn plus(self, term: f64) -> Self {
        let sum = self.sum + term;
        if sum.is_infinite() {
            return Self { sum, lost: 0.0 };
        }
        let error = if self.sum.abs() >= term.abs() {
            (self.sum - sum) + term
        } else {
            (term - sum) + self.sum
        };
        Self { sum, lost: self.lost + error }
    }

    #[inline]
    pub fn add(&mut self, term: f64) {
        *self = self.plus(term);
    }

    pub fn total(self) -> f64 {
        self.sum + self.lost
    }
}
