//! Pages of boards, and the numbers of their rows.

use crate::pipeline::RankStyle;
use crate::query::{BoardRow, NeighboursAnswer, TopAnswer};

/// Ascending order of rows over all shards: order key, then member, which decides only where the
/// key does not hold the whole of it.
fn sort_rows(rows: &mut [BoardRow]) {
    rows.sort_unstable_by(|a, b| (a.key, &a.member).cmp(&(b.key, &b.member)));
}

/// A page of a board.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardPage {
    /// 0-based place of the first row.
    pub first_rank: u64,
    /// Rows, best first.
    pub rows: Vec<BoardRow>,
    /// Members of the board on all shards.
    pub members: u64,
}

/// What stands above a row, over all shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Above {
    /// Members with a better score.
    pub members: u64,
    /// Different better scores; only needed for [`RankStyle::Dense`].
    pub scores: u64,
}

/// The number of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RankNumber {
    /// From 1.
    Place(u64),
    /// Percent.
    Percent(f64),
}

impl RankNumber {
    /// The number of a row at 0-based `place`, below `above`, on a board of so many members.
    pub fn new(style: RankStyle, place: u64, above: Above, members: u64) -> Self {
        match style {
            RankStyle::Ordinal => Self::Place(place + 1),
            RankStyle::Competition => Self::Place(above.members + 1),
            RankStyle::Dense => Self::Place(above.scores + 1),
            RankStyle::Percentile => {
                // Answers of shards are some moments apart.
                let at_or_below = members.saturating_sub(above.members);
                Self::Percent(at_or_below as f64 * 100.0 / members.max(1) as f64)
            }
        }
    }
}

/// Rows `offset .. offset + n` of a board whose scores take so many words, and what stands above
/// the first of them. Every shard must have been asked for its first `offset + n` rows.
pub fn merge_tops(
    answers: Vec<TopAnswer>,
    score_words: usize,
    offset: usize,
    n: usize,
) -> (BoardPage, Above) {
    let members = answers.iter().map(|answer| answer.members).sum();
    let mut rows: Vec<_> = answers.into_iter().flat_map(|answer| answer.rows).collect();
    sort_rows(&mut rows);
    let mut above = Above::default();
    let before = rows.iter().take(offset.saturating_add(1));
    for (at, (row, better)) in before.clone().skip(1).zip(before).enumerate() {
        if row.key.words[..score_words] != better.key.words[..score_words] {
            above = Above {
                members: at as u64 + 1,
                scores: above.scores + 1,
            };
        }
    }
    let rows = rows.into_iter().skip(offset).take(n).collect();
    let first_rank = offset as u64;
    let page = BoardPage {
        first_rank,
        rows,
        members,
    };
    (page, above)
}

/// The page of `n` rows around a place: half of them better ones, and shifted at both ends so that
/// it has `n` rows if the board has. Every shard must have been asked for `n` rows above and `n`
/// below.
pub fn merge_neighbours(answers: Vec<NeighboursAnswer>, n: usize) -> BoardPage {
    let members = answers.iter().map(|answer| answer.members).sum();
    let better: u64 = answers.iter().map(|answer| answer.better).sum();
    let (mut above, mut below) = (Vec::new(), Vec::new());
    for answer in answers {
        above.extend(answer.above);
        below.extend(answer.below);
    }
    sort_rows(&mut above);
    sort_rows(&mut below);
    let wanted_above = (n / 2).max(n.saturating_sub(below.len()));
    let mut rows = above.split_off(above.len().saturating_sub(wanted_above));
    let first_rank = better - rows.len() as u64;
    below.truncate(n - rows.len());
    rows.extend(below);
    BoardPage {
        first_rank,
        rows,
        members,
    }
}

impl BoardPage {
    /// Rows from any shards as a board of their own.
    pub fn among(mut rows: Vec<BoardRow>) -> Self {
        sort_rows(&mut rows);
        Self {
            first_rank: 0,
            members: rows.len() as u64,
            rows,
        }
    }

    /// The numbers of the rows, given what stands above the first of them.
    pub fn numbers(&self, style: RankStyle, score_words: usize, first: Above) -> Vec<RankNumber> {
        let mut above = first;
        let mut numbers = Vec::with_capacity(self.rows.len());
        for (nth, row) in self.rows.iter().enumerate() {
            let place = self.first_rank + nth as u64;
            let better = nth.checked_sub(1).map(|before| &self.rows[before]);
            if better.is_some_and(|better| {
                row.key.words[..score_words] != better.key.words[..score_words]
            }) {
                above = Above {
                    members: place,
                    scores: above.scores + 1,
                };
            }
            numbers.push(RankNumber::new(style, place, above, self.members));
        }
        numbers
    }
}
