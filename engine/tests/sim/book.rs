//! What was sent, what was promised: the facts that every recovered store is held against.

use std::collections::HashMap;

use ringmill_shard::entry::ProducerId;
use ringmill_shard::oracle::Event;
use ringmill_shard::pipeline::{Board, Durability, Pipeline, Retract, ScoreRule};
use ringmill_shard::query::{Answer, Query, Scalar};

use super::control::Answered;

/// One event as one producer sent it. Two may share a sequence: a producer that has forgotten what
/// it sent goes on with new ones.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
    pub(crate) stream: usize,
    pub(crate) event: Event,
    /// It must be there after any crash.
    pub(crate) safe: bool,
    /// What promised so.
    pub(crate) by: &'static str,
    /// It must never appear: the server has said that it holds nothing of it.
    pub(crate) dead: bool,
    /// Its producer has given it up: it may be there or not.
    pub(crate) given_up: bool,
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) sent: Vec<Sent>,
    pub(crate) by_sequence: HashMap<(ProducerId, u32, u64), Vec<usize>>,
    /// Per log and producer the greatest epoch and sequence that an answer has shown.
    pub(crate) shown_sequences: HashMap<(u32, u128), (u32, u64)>,
    /// Per counting board and member the greatest count that an answer has shown.
    pub(crate) shown_counts: HashMap<(u16, Vec<u8>), u64>,
}

impl Book {
    pub(crate) fn add(
        &mut self,
        producer: ProducerId,
        epoch: u32,
        sequence: u64,
        stream: usize,
        event: Event,
    ) -> usize {
        let index = self.sent.len();
        let (safe, by, dead, given_up) = (false, "", false, false);
        self.sent.push(Sent {
            producer,
            epoch,
            sequence,
            stream,
            event,
            safe,
            by,
            dead,
            given_up,
        });
        self.by_sequence
            .entry((producer, epoch, sequence))
            .or_default()
            .push(index);
        index
    }

    /// An acknowledgement covers the event: at the level `commit` that is a promise.
    pub(crate) fn acked(
        &mut self,
        pipeline: &Pipeline,
        index: usize,
        by: &'static str,
    ) -> Result<(), String> {
        let sent = &mut self.sent[index];
        if sent.dead {
            return Err(format!(
                "sequence {} was acknowledged on an old connection although a newer one was told \
                 that the server holds nothing of it",
                sent.sequence
            ));
        }
        sent.by = if sent.safe { sent.by } else { by };
        sent.safe |= pipeline.streams[sent.stream].durability == Durability::Commit;
        Ok(())
    }

    /// An answer must not show what a crash can undo, so what it shows is a promise, too.
    pub(crate) fn shown(&mut self, pipeline: &Pipeline, own_stream: u32, answered: &Answered) {
        match (&answered.query, &answered.answer) {
            (Query::Producer { id }, Some(Answer::Producer(Some(view)))) => {
                let shown = self.shown_sequences.entry((own_stream, *id)).or_default();
                // An epoch may be known from an older log alone.
                if view.last_sequence > 0 {
                    *shown = (*shown).max((view.epoch, view.last_sequence));
                }
            }
            (Query::Top { board, .. }, Some(Answer::Top(top))) => {
                let board = &board.board;
                if !counts_events(&pipeline.boards[usize::from(*board)]) {
                    return;
                }
                for row in &top.rows {
                    if let Scalar::U64(count) = row.scores[0] {
                        let shown = self.shown_counts.entry((*board, row.member.clone()));
                        let shown = shown.or_default();
                        *shown = (*shown).max(count);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether the first score of a board can only rise: `count()`, and never anew.
pub(crate) fn counts_events(board: &Board) -> bool {
    let score = &board.scores[0];
    // What follows corrections falls, too.
    let rises = board.season.is_none() && board.retract != Retract::Exact;
    rises && (score.rule, score.field) == (ScoreRule::Sum, None)
}
