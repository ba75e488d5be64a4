//! The receipt of a score: the stored events that it is made of, and those that it is not.

use crate::board::Origin;
use crate::board::order::OrderPlan;
use crate::board::score::ScorePlan;
use crate::cells::CellsPlan;
use crate::dedupe::DuplicateCause;
use crate::entry::CorrectedEvent;
use crate::expression::{Evaluator, Expression};
use crate::gate::Gate;
use crate::pipeline::{Board, Pipeline, Stream};
use crate::query::Scalar;
use crate::rank::{OrderKey, Tie};
use crate::reject::RejectReason;
use crate::season::SeasonPlan;
use crate::selection::{Found, Void};
use crate::watermark::ClockMove;
use crate::window::Accepted;
use crate::window::grid::Span;

/// What an event is to a score, if no correction has taken it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It counts.
    Counted,
    /// It came after its season was final.
    Late,
    /// `where` is not true for it.
    Filtered,
    /// A score has no value for it: it is null, or an error.
    Valueless,
    /// It was refused when it came.
    Refused(RejectReason),
    /// It repeats an event that took effect.
    Duplicate(DuplicateCause),
}

impl Part {
    /// The name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Counted => "counted",
            Part::Late => "late",
            Part::Filtered => "filtered",
            Part::Valueless => "valueless",
            Part::Refused(_) => "refused",
            Part::Duplicate(_) => "duplicate",
        }
    }
}

/// What an event is on a board.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiptLine {
    /// Canonical bytes of its member.
    pub member: Vec<u8>,
    /// Its season; `None` on a board without.
    pub season: Option<Span>,
    /// Its split, as [`crate::cells`]; empty if it is in none.
    pub split: Vec<u8>,
    /// What it is to the score.
    pub part: Part,
    /// What it gives each score; empty unless it counts or is late.
    pub values: Vec<Scalar>,
}

/// Reads events as a board does.
#[derive(Debug)]
pub struct BoardReader<'a> {
    stream: &'a Stream,
    board: &'a Board,
    evaluator: Evaluator,
    gate: Gate,
    order: OrderPlan,
    season: Option<SeasonPlan>,
    cells: CellsPlan,
}

impl<'a> BoardReader<'a> {
    /// A reader of board number `board`.
    pub fn new(pipeline: &'a Pipeline, board: usize) -> Self {
        let board = &pipeline.boards[board];
        let stream = &pipeline.streams[board.stream];
        let computed: Vec<&Expression> = stream.computed.iter().map(|c| &c.expression).collect();
        let wanted = pipeline.evaluated_columns(board.stream);
        Self {
            stream,
            board,
            evaluator: Evaluator::new(&stream.schema, &computed, &wanted),
            gate: Gate::new(stream, board.filter, &[], board.columns_read()),
            order: OrderPlan::new(stream, board),
            season: board.season.as_ref().map(SeasonPlan::new),
            cells: CellsPlan::new(stream, &board.split),
        }
    }

    /// What an event is on the board; `None` if it names no member.
    pub fn line(&mut self, found: &Found) -> Option<ReceiptLine> {
        let (schema, row, member) = (&self.stream.schema, &found.row[..], self.board.member);
        if schema.fields[member].optional && schema.is_null(row, member) {
            return None;
        }
        let season = self.season.as_ref().map(|plan| plan.at(found.time_ms));
        let mut split = Vec::new();
        let (part, values) = match found.void {
            Some(Void::Refused(reason)) => (Part::Refused(reason), Vec::new()),
            Some(Void::Repeats(cause)) => (Part::Duplicate(cause), Vec::new()),
            None => self.judge(found, season, &mut split),
        };
        Some(ReceiptLine {
            member: schema.canonical_bytes(row, member).to_vec(),
            season,
            split,
            part,
            values,
        })
    }

    fn judge(
        &mut self,
        found: &Found,
        season: Option<Span>,
        split: &mut Vec<u8>,
    ) -> (Part, Vec<Scalar>) {
        let (schema, row) = (&self.stream.schema, &found.row[..]);
        let CorrectedEvent {
            place,
            stamp_ns,
            watermark_ms,
        } = found.event;
        self.evaluator.evaluate(schema, row);
        let times_ms = [found.time_ms];
        let event = Accepted {
            rows: row,
            picks: &[0],
            times_ms: &times_ms,
            members: &[],
            computed: self.evaluator.evaluated(),
            watermark_ms,
            origin: Origin {
                stamp_ns,
                log_stream: place.log_stream,
                lsn: place.lsn,
            },
            clock_move: ClockMove::NONE,
        };
        if !self.gate.lets(&event) {
            return (Part::Filtered, Vec::new());
        }
        if !self.cells.append(schema, &event, 0, split) {
            split.clear();
        }
        let value = |column: &ScorePlan| {
            let bits = column.bits(schema, &event, row, 0)?;
            Some(column.value(bits))
        };
        let values: Option<Vec<Scalar>> = self.order.columns.iter().map(value).collect();
        let Some(values) = values else {
            return (Part::Valueless, Vec::new());
        };
        let plan = self.season.as_ref().zip(season);
        let is_late = plan.is_some_and(|(plan, span)| plan.is_final(span, watermark_ms));
        let part = if is_late { Part::Late } else { Part::Counted };
        (part, values)
    }

    /// The place in the order of the board that scores of integers give, reached just now.
    pub fn place(&self, scores: &[i128], stamp_ns: u64, member: &[u8]) -> OrderKey {
        let columns = self.order.columns.iter().zip(scores);
        let sort_keys: Vec<u64> = columns.map(|(column, score)| column.held(*score)).collect();
        let tie = Tie {
            stamp_ns,
            log_stream: 0,
            index: 0,
        };
        self.order.key(&sort_keys, tie, member)
    }
}
