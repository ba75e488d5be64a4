//! The part of the control peer in a run: questions and corrections now and then, and their answers.

use ringmill_shard::query::{BoardSeason, Query};

use super::Run;
use crate::client::Producer;
use crate::cover::Point;
use crate::engine::Engine;

impl Run<'_> {
    pub(super) fn control(&mut self, engine: &mut Engine, calm: bool) -> Result<(), String> {
        if !calm && engine.control.waiting() < 20 && self.random.chance(20) {
            let shard = self.random.below(engine.shards() as u64) as usize;
            let boards = self.plan.pipeline.boards.len() as u64;
            let query = match self.random.below(3) {
                0 => {
                    let board = self.random.below(boards) as u16;
                    Query::Top {
                        board: BoardSeason::current(board),
                        offset: 0,
                        n: 1_000,
                    }
                }
                1 => Query::Producer {
                    id: self.random.pick(&self.producers).id.0,
                },
                _ => Query::Windows {
                    view: 0,
                    from_ms: i64::MIN,
                    to_ms: i64::MAX,
                    // Rows with sketches are large, and lanes are small here.
                    limit: 200,
                    after: None,
                },
            };
            engine.control.ask(shard, &query);
        }
        if !calm {
            let producers = self.producers.iter();
            let names: Vec<_> = producers.map(Producer::next_name).collect();
            let (plan, random) = (&self.plan, &mut self.random);
            self.corrector
                .step(engine, &self.world, plan, random, &names);
        }
        if calm || self.random.chance(50) {
            for answered in engine.control.drain(if calm { 100 } else { 3 })? {
                self.outcome.answers += 1;
                self.cover
                    .add(Point::AnswerInPieces, u64::from(answered.pieces > 1));
                if let (true, Some(answer)) = (answered.is_part, &answered.answer) {
                    self.corrector.answered(engine, answered.shard, answer);
                }
                let own_stream = engine.layout.own_stream(answered.shard);
                self.book.shown(&self.plan.pipeline, own_stream, &answered);
                if answered.answer.is_none() && !engine.any_failed() {
                    return Err("an empty answer of a healthy shard".to_owned());
                }
            }
        }
        Ok(())
    }
}
