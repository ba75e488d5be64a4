//! Boards: what scores their members, what decides between equal scores, how rows are numbered.

mod columns;
mod read;
mod score;
mod season;

pub(super) use read::read_board;

use super::{Retract, Stream, WindowKind};

/// `[board.NAME]`: members in the order of their scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Name.
    pub name: String,
    /// The stream that it reads.
    pub stream: usize,
    /// Column of truths; only events for which it is true count.
    pub filter: Option<usize>,
    /// Field that names the member.
    pub member: usize,
    /// Score columns: the first decides, each further one between equals of those before it.
    pub scores: Vec<Score>,
    /// What decides between members that are equal in all columns.
    pub ties: Ties,
    /// How answers number the rows.
    pub rank: RankStyle,
    /// After which time all scores begin anew; `None` for never.
    pub season: Option<Season>,
    /// Columns, one board for each of whose values there is beside the whole; empty for none.
    pub split: Vec<usize>,
    /// How many splits there may be, on each shard and in each season.
    pub splits: u32,
    /// Columns of the latest event of a member that are shown beside its score.
    pub with: Vec<usize>,
    /// What it does with corrections.
    pub retract: Retract,
}

impl Board {
    /// The columns that the board reads beside its member and filter.
    pub(crate) fn columns_read(&self) -> impl Iterator<Item = usize> {
        let scores = self.scores.iter().filter_map(|score| score.field);
        let beside = self.split.iter().chain(&self.with);
        scores.chain(beside.copied())
    }

    /// How many words of an order key are of scores: those that decide before ties do.
    pub fn score_words(&self) -> usize {
        self.scores.iter().map(|score| score.rule.words()).sum()
    }

    /// Whether its members are the keys of its stream and their scores are all that is kept of
    /// them. Everything else is kept as partials, which are merged, and can be taken back.
    pub fn is_kept_by_key(&self, stream: &Stream) -> bool {
        self.member == stream.key && self.retract != Retract::Exact
    }
}

/// Seasons of a board: an event belongs to that of its event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Season {
    /// Which spans of time: windows of equal length, or of the calendar.
    pub every: WindowKind,
    /// How long behind its end a season takes late events, in ms.
    pub grace_ms: i64,
    /// How many final seasons stay readable.
    pub keep: u32,
}

/// How events become one column of the score of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Rule.
    pub rule: ScoreRule,
    /// Column that it reads; `None` is `count()`, a sum of ones.
    pub field: Option<usize>,
    /// Whether the greatest score comes first.
    pub descending: bool,
}

/// The rule of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreRule {
    /// Sum of all.
    Sum,
    /// Greatest if descending, else least.
    Best,
    /// Value of the last event.
    Latest,
    /// Mean of the best values: the greatest if descending, else the least.
    MeanBest {
        /// Of how many at most, 1 to `MEAN_BEST_MAX`.
        n: u16,
    },
}

impl ScoreRule {
    /// Words of an order key that the score takes: a mean is compared as a fraction.
    pub const fn words(self) -> usize {
        match self {
            ScoreRule::Sum | ScoreRule::Best | ScoreRule::Latest => 1,
            ScoreRule::MeanBest { .. } => 2,
        }
    }

    /// The name of its function.
    pub const fn name(self) -> &'static str {
        match self {
            ScoreRule::Sum => "sum",
            ScoreRule::Best => "best",
            ScoreRule::Latest => "latest",
            ScoreRule::MeanBest { .. } => "mean_best",
        }
    }
}

/// The order of members with equal scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// Who reached the score first, in recorded ingest order.
    #[default]
    FirstToReach,
    /// Who reached the score last, in recorded ingest order.
    LastToReach,
    /// The lesser member.
    Member,
    /// None is better: they share a rank, and are listed by member.
    Shared,
}

impl Ties {
    /// All, the default first.
    pub const ALL: [Ties; 4] = [
        Ties::FirstToReach,
        Ties::LastToReach,
        Ties::Member,
        Ties::Shared,
    ];

    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Ties::FirstToReach => "first-to-reach",
            Ties::LastToReach => "last-to-reach",
            Ties::Member => "member",
            Ties::Shared => "shared",
        }
    }

    /// How rows are numbered unless the file says it.
    pub const fn usual_rank(self) -> RankStyle {
        match self {
            Ties::FirstToReach | Ties::LastToReach | Ties::Member => RankStyle::Ordinal,
            Ties::Shared => RankStyle::Competition,
        }
    }
}

/// How rows are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankStyle {
    /// 1 2 3 4: the place in the order, ties decided.
    Ordinal,
    /// 1 2 2 4: one more than there are members with a better score.
    Competition,
    /// 1 2 2 3: one more than there are better scores.
    Dense,
    /// The share of the members, in percent, whose score is no better: the best have 100.
    Percentile,
}

impl RankStyle {
    /// All.
    pub const ALL: [RankStyle; 4] = [
        RankStyle::Ordinal,
        RankStyle::Competition,
        RankStyle::Dense,
        RankStyle::Percentile,
    ];

    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            RankStyle::Ordinal => "ordinal",
            RankStyle::Competition => "competition",
            RankStyle::Dense => "dense",
            RankStyle::Percentile => "percentile",
        }
    }
}
