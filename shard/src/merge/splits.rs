//! The splits of a board over all shards.

use crate::query::{SplitRow, SplitsAnswer};
use std::collections::BTreeMap;

/// The splits of a board in a season.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitsPage {
    /// Those that have members, by their values.
    pub splits: Vec<SplitRow>,
    /// Events that count on the whole only, because a shard had too many splits.
    pub refused: u64,
    /// Whether some of these may be of the split that was asked for.
    pub lacking: bool,
}

/// Joins the splits that the shards have: each member of a split is on one of them.
pub fn merge_splits(answers: Vec<SplitsAnswer>) -> SplitsPage {
    let mut page = SplitsPage::default();
    let mut members = BTreeMap::<_, u64>::new();
    for answer in answers {
        page.refused += answer.refused;
        page.lacking |= answer.lacking;
        for row in answer.splits {
            *members.entry(row.split).or_default() += row.members;
        }
    }
    let row = |(split, members)| SplitRow { split, members };
    page.splits = members.into_iter().map(row).collect();
    page
}
