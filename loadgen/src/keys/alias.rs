//! Walker's alias method: one table look-up per draw from any discrete distribution.

/// One column: itself below the threshold, its alias above it. 8 bytes, so that a draw touches one
/// cache line.
#[derive(Clone, Copy, Debug)]
struct Column {
    threshold: u32,
    alias: u32,
}

/// A prepared distribution over `0..columns`.
#[derive(Debug)]
pub(super) struct AliasTable {
    columns: Vec<Column>,
}

impl AliasTable {
    /// Builds the table from positive weights (Vose's method, linear time).
    pub(super) fn new(weights: &[f64]) -> AliasTable {
        assert!(!weights.is_empty() && weights.len() < u32::MAX as usize);
        let total: f64 = weights.iter().sum();
        let scale = weights.len() as f64 / total;
        let mut scaled: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..weights.len() as u32).partition(|&index| scaled[index as usize] < 1.0);
        let mut columns: Vec<Column> = (0..weights.len() as u32)
            .map(|index| Column {
                threshold: u32::MAX,
                alias: index,
            })
            .collect();
        while let (Some(low), Some(&high)) = (small.pop(), large.last()) {
            let kept = scaled[low as usize];
            columns[low as usize] = Column {
                threshold: (kept * f64::from(u32::MAX)) as u32,
                alias: high,
            };
            scaled[high as usize] -= 1.0 - kept;
            if scaled[high as usize] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        AliasTable { columns }
    }

    /// The index for 64 random bits: the high half picks the column, the low half the side.
    #[inline]
    pub(super) fn pick(&self, bits: u64) -> u64 {
        let index = ((bits >> 32) * self.columns.len() as u64) >> 32;
        let column = self.columns[index as usize];
        if (bits as u32) <= column.threshold {
            index
        } else {
            u64::from(column.alias)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    #[test]
    fn shares_follow_the_weights() {
        let weights = [5.0, 1.0, 0.5, 3.5];
        let table = AliasTable::new(&weights);
        let mut rng = SplitMix64::new(9);
        let mut counts = [0u32; 4];
        for _ in 0..100_000 {
            counts[table.pick(rng.next_bits()) as usize] += 1;
        }
        for (count, weight) in counts.iter().zip(weights) {
            assert!((f64::from(*count) / 1e4 - weight).abs() < 0.1, "{counts:?}");
        }
    }
}
