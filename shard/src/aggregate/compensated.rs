//! Sums of `f64` with Neumaier's compensation, for scores: one owner adds in recorded order.

/// A compensated sum: its value is `sum + compensation`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CompensatedSum {
    pub(crate) sum: f64,
    pub(crate) compensation: f64,
}

impl CompensatedSum {
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.compensation += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    #[inline]
    pub(crate) fn value(self) -> f64 {
        self.sum + self.compensation
    }
}

impl CompensatedSum {
    #[inline]
    pub(crate) fn from_words(words: [u64; 2]) -> Self {
        Self {
            sum: f64::from_bits(words[0]),
            compensation: f64::from_bits(words[1]),
        }
    }

    #[inline]
    pub(crate) fn to_words(self) -> [u64; 2] {
        [self.sum.to_bits(), self.compensation.to_bits()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compensation_keeps_what_a_plain_sum_loses() {
        let mut sum = CompensatedSum::default();
        for value in [1.0, 1e100, 1.0, -1e100] {
            sum.add(value);
        }
        assert_eq!(sum.value(), 2.0);
    }
}
