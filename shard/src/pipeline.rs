//! The pipeline file: streams, views and boards, read from TOML, checked and resolved.
//!
//! Names are resolved to indexes and units to milliseconds, so that nothing behind this module
//! looks anything up. `docs/formats/pipeline.md` is the reference of the file.

mod aggregate;
mod board;
mod call;
mod computed;
mod decimal;
mod declared;
mod dedupe;
mod duration;
mod field;
mod fit;
mod forecast;
mod former;
pub mod keys;
mod parse;
mod plan;
mod problem;
mod retract;
mod section;
mod stream;
mod test;
mod view;
mod window;

use crate::expression::Expression;
use crate::schema::{FieldType, Schema};
use crate::suggest;
use crate::wire::Level;

pub use board::{Board, RankStyle, Score, ScoreRule, Season, Ties};
pub use declared::{Declaration, Declarations, Kind, Place};
pub use dedupe::{DedupeMode, DedupeRule};
pub use duration::{QuantityError, duration_text, parse_duration_ms, parse_size_bytes};
pub use forecast::{Forecast, ForecastLine};
pub use former::{Former, Schemas, SchemasError};
pub use plan::{Fate, Plan, Step};
pub use problem::Problem;
pub use retract::Retract;
pub use test::{Expect, Question, Send, Test, TestCorrection};
pub use window::{After, CalendarUnit, Window, WindowKind, zone_rules_version};

/// A file without a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What it declares.
    pub pipeline: Pipeline,
    /// Its `[[test]]` blocks.
    pub tests: Vec<Test>,
    /// What is allowed and most likely not meant, in the order of the file.
    pub warnings: Vec<Problem>,
    /// Where its objects stand, and what they were called before.
    pub declarations: Declarations,
}

/// A checked pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Settings of the process; no part of the state.
    pub engine: EngineSection,
    /// Streams, in the order of the file; everywhere else a stream is its index in this list.
    pub streams: Vec<Stream>,
    /// Views, in the order of the file.
    pub views: Vec<View>,
    /// Boards, in the order of the file.
    pub boards: Vec<Board>,
}

impl Pipeline {
    /// Reads and checks a file; on failure every problem of it, in the order of the file.
    pub fn parse(text: &str) -> Result<Pipeline, Vec<Problem>> {
        Self::check(text).map(|checked| checked.pipeline)
    }

    /// [`Pipeline::parse`], with the `[[test]]` blocks of the file. They are no part of the pipeline.
    pub fn parse_with_tests(text: &str) -> Result<(Pipeline, Vec<Test>), Vec<Problem>> {
        Self::check(text).map(|checked| (checked.pipeline, checked.tests))
    }

    /// [`Pipeline::parse`], with everything else that the file says.
    pub fn check(text: &str) -> Result<Checked, Vec<Problem>> {
        parse::parse(text)
    }

    /// XXH3-128 of everything but `[engine]`: of streams, views and boards.
    pub fn digest(&self) -> u128 {
        xxhash_rust::xxh3::xxh3_128(fit::describe(self).as_bytes())
    }

    /// [`Pipeline::parse`], with the places of its objects in the file and their former names.
    pub fn parse_declared(text: &str) -> Result<(Pipeline, Declarations), Vec<Problem>> {
        Self::check(text).map(|checked| (checked.pipeline, checked.declarations))
    }

    /// What this pipeline would make of a store that was written with `stored`.
    pub fn plan(&self, declarations: &Declarations, stored: &Pipeline) -> Plan {
        plan::plan(self, declarations, stored)
    }

    /// Whether the pipeline means the same on so many shards, which the command line may ask for:
    /// dense ranks need one.
    pub fn fits_shards(&self, shards: usize) -> Result<(), Problem> {
        fit::check_shards(self, shards)
    }

    /// Memory that this pipeline takes with so many keys per stream.
    pub fn forecast(&self, keys: u64) -> Forecast {
        forecast::forecast(self, keys)
    }

    /// The columns of a stream that its views and boards read and that no cell of a row holds as
    /// they need it: computed ones, and whatever stands in a `where`.
    pub(crate) fn evaluated_columns(&self, stream: usize) -> Vec<usize> {
        let views = self.views.iter().filter(|view| view.stream == stream);
        let boards = self.boards.iter().filter(|board| board.stream == stream);
        let (mut filters, mut read) = (Vec::new(), Vec::new());
        for view in views {
            filters.extend(view.filter);
            read.extend(&view.group);
            read.extend(
                view.columns
                    .iter()
                    .filter_map(|column| column.aggregate.field()),
            );
        }
        for board in boards {
            filters.extend(board.filter);
            read.extend(board.columns_read());
        }
        read.retain(|&column| self.streams[stream].is_computed(column));
        read.extend(filters);
        read.sort_unstable();
        read.dedup();
        read
    }

    /// The index of a stream by name.
    pub fn stream(&self, name: &str) -> Option<usize> {
        self.streams.iter().position(|stream| stream.name == name)
    }

    /// The index of a view by name.
    pub fn view(&self, name: &str) -> Option<usize> {
        self.views.iter().position(|view| view.name == name)
    }

    /// The index of a board by name.
    pub fn board(&self, name: &str) -> Option<usize> {
        self.boards.iter().position(|board| board.name == name)
    }
}

/// `[engine]`: defaults that command-line options override.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineSection {
    /// How many cores to use.
    pub cores: Option<Cores>,
    /// Memory budget in bytes.
    pub memory_bytes: Option<u64>,
    /// Data directory.
    pub data: Option<String>,
}

/// `cores`: a number, `"all"` (that is all but 0) or `"all-but-N"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// Exactly so many, at least 1.
    Count(u16),
    /// All that the process may use but so many.
    AllBut(u16),
}

/// `[stream.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Name.
    pub name: String,
    /// Field whose value routes an event to its owner; may be optional.
    pub key: usize,
    /// Event time.
    pub time: TimeRule,
    /// When an event is acknowledged.
    pub durability: Durability,
    /// What its events are told apart by, beside the sequences of their producers.
    pub dedupe: Option<DedupeRule>,
    /// Fields and row layout.
    pub schema: Schema,
    /// What rows had before: known to a store, and no part of what the pipeline means.
    pub former: Vec<Former>,
    /// Computed columns; each may use those before it. Those of `[stream.NAME.computed]` come
    /// first, then what views and boards compute in place.
    pub computed: Vec<Computed>,
}

/// A column that is computed from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computed {
    /// Its name; `None` if it stands in a view or board.
    pub name: Option<String>,
    /// How it is computed.
    pub expression: Expression,
}

/// What a view or board may read of an event: a field or a computed column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamColumn<'a> {
    /// Its name; the text of the expression if it has none.
    pub name: &'a str,
    /// Its type.
    pub kind: FieldType,
    /// Whether it may be null.
    pub optional: bool,
}

impl Stream {
    /// The column at an index: first the fields of the schema, then the computed columns.
    ///
    /// # Panics
    /// If there is none.
    pub fn column(&self, index: usize) -> StreamColumn<'_> {
        let fields = &self.schema.fields;
        if let Some(field) = fields.get(index) {
            return StreamColumn {
                name: &field.name,
                kind: field.kind,
                optional: field.optional,
            };
        }
        let Computed { name, expression } = &self.computed[index - fields.len()];
        StreamColumn {
            name: name.as_deref().unwrap_or(expression.text()),
            kind: expression.kind(),
            optional: expression.optional(),
        }
    }

    /// Whether the column at an index is a computed one.
    pub fn is_computed(&self, index: usize) -> bool {
        index >= self.schema.fields.len()
    }
}

/// Event time of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRule {
    /// The field that holds it: required, of type `time`.
    pub field: usize,
    /// How far events may be out of order, in ms.
    pub disorder_ms: i64,
    /// How far ahead of the clock an event may be, in ms.
    pub max_future_ms: i64,
    /// Silence after which the clock moves the watermark, in ms.
    pub idle_ms: i64,
}

/// When an event of a stream is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In memory.
    Memory,
    /// Handed to the disk, not flushed.
    Written,
    /// Handed to the disk, which is flushed at this interval.
    Interval {
        /// Interval in ms.
        ms: u64,
    },
    /// Flushed.
    Commit,
}

impl Durability {
    /// The level that acknowledgements name.
    pub const fn level(self) -> Level {
        match self {
            Durability::Memory => Level::Memory,
            Durability::Written => Level::Written,
            Durability::Interval { .. } => Level::Interval,
            Durability::Commit => Level::Commit,
        }
    }
}

/// `[view.NAME]`: aggregates per window and group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Name.
    pub name: String,
    /// The stream that it reads.
    pub stream: usize,
    /// Column of truths; only events for which it is true count.
    pub filter: Option<usize>,
    /// Columns that it groups by; empty for one group.
    pub group: Vec<usize>,
    /// Its windows, and what becomes of late events.
    pub window: Window,
    /// Columns, in the order of the file.
    pub columns: Vec<Column>,
    /// What it does with corrections.
    pub retract: Retract,
}

/// One column of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// What it computes.
    pub aggregate: Aggregate,
}

/// An aggregate over a column. Nulls are passed over, but `Count` counts every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Number of events.
    Count,
    /// Sum of u64, i64 or f64.
    Sum(usize),
    /// Least u64, i64, f64 or time.
    Min(usize),
    /// Greatest u64, i64, f64 or time.
    Max(usize),
    /// Mean of u64, i64 or f64.
    Avg(usize),
    /// The first value by event time, then in recorded order.
    First(usize),
    /// The last value by event time, then in recorded order.
    Last(usize),
    /// Number of different values.
    Distinct {
        /// The field.
        field: usize,
        /// Greatest relative error of about 95 of 100 answers, in millionths.
        within_ppm: u32,
    },
    /// The number at a place in ascending order, of u64, i64 or f64.
    Quantile {
        /// The field.
        field: usize,
        /// The place: 0 is the least, 1,000,000 the greatest.
        q_ppm: u32,
        /// Greatest relative error, in millionths.
        within_ppm: u32,
    },
    /// The most frequent values.
    Top {
        /// The field.
        field: usize,
        /// How many.
        k: u16,
    },
}

impl Aggregate {
    /// The name of its function.
    pub const fn name(self) -> &'static str {
        match self {
            Aggregate::Count => "count",
            Aggregate::Sum(_) => "sum",
            Aggregate::Min(_) => "min",
            Aggregate::Max(_) => "max",
            Aggregate::Avg(_) => "avg",
            Aggregate::First(_) => "first",
            Aggregate::Last(_) => "last",
            Aggregate::Distinct { .. } => "distinct",
            Aggregate::Quantile { .. } => "quantile",
            Aggregate::Top { .. } => "top",
        }
    }

    /// The column that it reads.
    pub const fn field(self) -> Option<usize> {
        match self {
            Aggregate::Count => None,
            Aggregate::Sum(field)
            | Aggregate::Min(field)
            | Aggregate::Max(field)
            | Aggregate::Avg(field)
            | Aggregate::First(field)
            | Aggregate::Last(field)
            | Aggregate::Distinct { field, .. }
            | Aggregate::Quantile { field, .. }
            | Aggregate::Top { field, .. } => Some(field),
        }
    }

    /// As it stands in a file; `field` is the name of its field.
    pub fn text(self, field: &str) -> String {
        let name = self.name();
        match self {
            Aggregate::Count => "count()".to_owned(),
            Aggregate::Distinct { within_ppm, .. } => {
                format!(
                    "{name}({field}) within {}",
                    decimal::percent_text(within_ppm)
                )
            }
            Aggregate::Quantile {
                q_ppm, within_ppm, ..
            } => format!(
                "{name}({field}, {}) within {}",
                decimal::share_text(q_ppm),
                decimal::percent_text(within_ppm)
            ),
            Aggregate::Top { k, .. } => format!("{name}({field}, {k})"),
            _ => format!("{name}({field})"),
        }
    }
}
