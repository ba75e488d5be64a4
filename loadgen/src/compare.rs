//! Two sets of paired runs side by side.

use crate::paired::{FIGURES, Pair};
use crate::report::Document;
use crate::stats::{Ratio, paired_ratio};
use crate::units::{human_ns, short_count};

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name.
    pub name: &'static str,
    /// Whether more of it is better.
    pub more_is_better: bool,
    /// Median over the runs of A.
    pub a: f64,
    /// Median over the runs of B.
    pub b: f64,
    /// B over A.
    pub ratio: Ratio,
}

impl Row {
    /// How much worse B is: 0.1 for 10%; negative if it is better.
    pub fn worse_by(&self) -> f64 {
        if self.more_is_better {
            1.0 / self.ratio.median - 1.0
        } else {
            self.ratio.median - 1.0
        }
    }

    /// Pairs in which B is better.
    pub fn better(&self) -> usize {
        let below = self.ratio.below_one;
        if self.more_is_better {
            self.ratio.pairs - below
        } else {
            below
        }
    }
}

type Values = Vec<(f64, f64)>;

/// Compares live pairs.
pub fn of_pairs(pairs: &[Pair]) -> Vec<Row> {
    let values = |index: usize| -> Values {
        pairs
            .iter()
            .map(|pair| ((FIGURES[index].of)(&pair.a), (FIGURES[index].of)(&pair.b)))
            .collect()
    };
    rows(&values)
}

/// Compares documents in the order A B, A B, ...
pub fn of_documents(documents: &[Document]) -> Vec<Row> {
    let figure = |document: &Document, index: usize| match index {
        0 => document.acked_per_s,
        1 => document.response_ns.p50 as f64,
        2 => document.response_ns.p99 as f64,
        _ => document.response_ns.p999 as f64,
    };
    let values = |index: usize| -> Values {
        let pairs = documents.chunks_exact(2);
        pairs
            .map(|pair| (figure(&pair[0], index), figure(&pair[1], index)))
            .collect()
    };
    rows(&values)
}

fn rows(values: &dyn Fn(usize) -> Values) -> Vec<Row> {
    let row = |(index, figure): (usize, &crate::paired::Figure)| {
        let values = values(index);
        let ratio = paired_ratio(&values)?;
        Some(Row {
            name: figure.name,
            more_is_better: figure.more_is_better,
            a: median(values.iter().map(|(a, _)| *a).collect()),
            b: median(values.iter().map(|(_, b)| *b).collect()),
            ratio,
        })
    };
    FIGURES.iter().enumerate().filter_map(row).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Whether B is worse by more than `fail_over`, beyond noise.
pub fn is_regression(rows: &[Row], fail_over: f64, noise: f64) -> bool {
    rows.iter()
        .any(|row| row.ratio.is_change(noise) && row.worse_by() > fail_over)
}

/// The table.
pub fn text(rows: &[Row], fail_over: Option<f64>, noise: f64) -> String {
    let mut out = format!(
        "{:<7} {:>10} {:>10} {:>8}  {:<18} {:>13}   verdict\n",
        "", "A", "B", "B/A", "interval", "B better in"
    );
    for row in rows {
        let show = |value: f64| match row.name {
            "rate" => short_count(value.round()),
            _ => human_ns(value as u64),
        };
        let ratio = &row.ratio;
        let worse = row.worse_by();
        let verdict = match (ratio.is_change(noise), worse > 0.0) {
            (false, _) if ratio.pairs < 6 => "too few pairs".to_owned(),
            (false, _) => "same".to_owned(),
            (true, false) => "better".to_owned(),
            (true, true) => match fail_over {
                Some(limit) if worse > limit => format!("WORSE (over {:.0}%)", limit * 100.0),
                _ => "worse".to_owned(),
            },
        };
        let interval = format!(
            "{:.3}..{:.3} {:.1}%",
            ratio.low,
            ratio.high,
            ratio.confidence * 100.0
        );
        out.push_str(&format!(
            "{:<7} {:>10} {:>10} {:>8.3}  {interval:<18} {:>10}/{:<2}   {verdict}\n",
            row.name,
            show(row.a),
            show(row.b),
            ratio.median,
            row.better(),
            ratio.pairs,
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_is_one_that_is_worse_and_sure() {
        let values = |index: usize| -> Values {
            (0..8)
                .map(|n| {
                    let noise = 1.0 + f64::from(n) * 0.001;
                    match index {
                        0 => (100.0 * noise, 100.0 * noise),
                        2 => (100.0, 120.0 * noise),
                        _ => (100.0 * noise, 90.0),
                    }
                })
                .collect()
        };
        let rows = rows(&values);
        assert!(is_regression(&rows, 0.1, 0.0));
        assert!(!is_regression(&rows, 0.5, 0.0));
        assert!(
            !is_regression(&rows, 0.1, 0.3),
            "inside the noise of the machine"
        );
        let table = text(&rows, Some(0.1), 0.0);
        assert!(
            table.contains("WORSE (over 10%)") && table.contains("better"),
            "{table}"
        );
        assert_eq!(rows[1].better(), 8);
    }
}
