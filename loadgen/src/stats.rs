//! Statistics of paired blocks: the median of their ratios, with an exact interval.
//!
//! The interval comes from the signed-rank distribution: it assumes neither a normal shape nor a
//! known spread, only that noise is as likely to help one side as the other.

/// Wanted confidence of an interval.
const CONFIDENCE: f64 = 0.95;
/// Most pairs: the Walsh averages of more would not be worth their memory.
pub const PAIRS_MAX: usize = 2_000;

/// A ratio with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Median of the ratios of the pairs.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Confidence of the interval: 95% or more, less only with fewer than 6 pairs.
    pub confidence: f64,
    /// Pairs whose ratio is below 1.
    pub below_one: usize,
    /// Number of pairs.
    pub pairs: usize,
}

impl Ratio {
    /// Whether the interval excludes 1 and the change is larger than `noise`.
    pub fn is_change(&self, noise: f64) -> bool {
        let excludes_one = self.low > 1.0 || self.high < 1.0;
        excludes_one && (self.median - 1.0).abs() > noise && self.confidence >= CONFIDENCE
    }
}

/// The ratio b/a over pairs of positive values; `None` without any.
pub fn paired_ratio(pairs: &[(f64, f64)]) -> Option<Ratio> {
    let logs: Vec<f64> = pairs
        .iter()
        .take(PAIRS_MAX)
        .filter(|(a, b)| *a > 0.0 && *b > 0.0)
        .map(|(a, b)| (b / a).ln())
        .collect();
    if logs.is_empty() {
        return None;
    }
    let mut walsh = Vec::with_capacity(logs.len() * (logs.len() + 1) / 2);
    for (index, first) in logs.iter().enumerate() {
        walsh.extend(logs[index..].iter().map(|second| (first + second) / 2.0));
    }
    walsh.sort_by(f64::total_cmp);
    let (dropped, confidence) = dropped_walsh(logs.len());
    let mut sorted = logs.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    };
    Some(Ratio {
        median: median.exp(),
        low: walsh[dropped].exp(),
        high: walsh[walsh.len() - 1 - dropped].exp(),
        confidence,
        below_one: logs.iter().filter(|log| **log < 0.0).count(),
        pairs: logs.len(),
    })
}

/// How many Walsh averages lie outside the interval at each end, and its exact confidence.
fn dropped_walsh(pairs: usize) -> (usize, f64) {
    let counts = signed_rank_distribution(pairs);
    let total: f64 = counts.iter().sum();
    let mut below = 0.0;
    let mut dropped = 0;
    // Dropping k at each end leaves out the values whose rank sum is below k.
    while dropped + 1 < counts.len() {
        let next = below + counts[dropped] / total;
        if 2.0 * next > 1.0 - CONFIDENCE {
            break;
        }
        below = next;
        dropped += 1;
    }
    // With few pairs even the widest interval, from the least to the greatest, covers less.
    let confidence = if dropped == 0 {
        1.0 - 2.0 * counts[0] / total
    } else {
        1.0 - 2.0 * below
    };
    (dropped.saturating_sub(1), confidence)
}

/// How many of the 2^n sign patterns give each rank sum from 0 to n(n+1)/2.
fn signed_rank_distribution(pairs: usize) -> Vec<f64> {
    // Beyond 60 pairs the counts leave the exact range of f64, and far inside what matters.
    let mut counts = vec![1.0];
    for rank in 1..=pairs {
        let mut next = vec![0.0; counts.len() + rank];
        for (sum, count) in counts.iter().enumerate() {
            // Halved, so that many pairs do not overflow.
            next[sum] += count / 2.0;
            next[sum + rank] += count / 2.0;
        }
        counts = next;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_that_of_the_tables() {
        // Published two-sided 5 % critical values: n = 6 -> 0, 8 -> 3, 10 -> 8, 20 -> 52.
        for (pairs, critical) in [(6, 0), (8, 3), (10, 8), (20, 52)] {
            let (dropped, confidence) = dropped_walsh(pairs);
            assert_eq!(dropped, critical, "{pairs} pairs");
            assert!((0.95..0.99).contains(&confidence), "{confidence}");
        }
        let (dropped, confidence) = dropped_walsh(5);
        assert_eq!(dropped, 0);
        assert!((confidence - 0.9375).abs() < 1e-9);
    }

    #[test]
    fn a_clear_change_is_told_from_noise() {
        let faster: Vec<(f64, f64)> = (0..8)
            .map(|n| (100.0 + f64::from(n), 90.0 + f64::from(n) * 1.1))
            .collect();
        let ratio = paired_ratio(&faster).unwrap();
        assert!(ratio.is_change(0.02) && !ratio.is_change(0.2), "{ratio:?}");
        assert!(ratio.low <= ratio.median && ratio.median <= ratio.high);
        assert_eq!(ratio.below_one, 8);
        let same = [
            (1.0, 1.1),
            (1.0, 0.9),
            (1.0, 1.05),
            (1.0, 0.95),
            (1.0, 1.0),
            (1.0, 1.01),
        ];
        assert!(!paired_ratio(&same).unwrap().is_change(0.0));
        let few = [(1.0, 2.0), (1.0, 2.0)];
        assert!(
            !paired_ratio(&few).unwrap().is_change(0.0),
            "two pairs prove nothing"
        );
        assert_eq!(paired_ratio(&[(0.0, 1.0)]), None);
    }
}
