//! From lanes to whoever is waiting.

use super::super::cores::{PublishError, ReadError};
use super::{ANSWER_BYTES_MAX, Driver, Flight};
use crate::message::{AckReply, AckStatus, AnswerHeader, ProducerTell, reply, request};

impl Driver {
    pub(super) fn receive(&mut self) {
        for shard in 0..self.queues.len() {
            self.receive_replies(shard);
            self.receive_answers(shard);
        }
    }

    fn receive_replies(&mut self, shard: usize) {
        loop {
            let lane = self.ports.replies_in[shard]
                .as_mut()
                .expect("invariant: a lane");
            let Some(record) = lane.peek() else {
                lane.release();
                return;
            };
            match record.kind {
                reply::ACK => {
                    let ack = AckReply::read(record.body);
                    lane.advance();
                    self.acknowledged(ack);
                }
                reply::PRODUCER_TELL => {
                    let tell = ProducerTell::read(record.body);
                    lane.advance();
                    self.told(tell);
                }
                kind => panic!("invariant: reply kind {kind} is never sent to the control plane"),
            }
            self.ports.give_credit(shard);
        }
    }

    fn acknowledged(&mut self, ack: AckReply) {
        let Some(Flight::Chunk { shard, chunk, rest }) = self.flights.remove(&ack.ticket) else {
            panic!("invariant: ticket {} is a chunk in flight", ack.ticket);
        };
        let error = match ack.status {
            AckStatus::Ok => None,
            AckStatus::Unknown => Some(PublishError::OutcomeUnknown { shard }),
            AckStatus::DiskFull => Some(PublishError::DiskFull { shard }),
            AckStatus::IdsFull => Some(PublishError::IdsFull { shard }),
            AckStatus::Fenced => Some(PublishError::Fenced),
            AckStatus::ShuttingDown => Some(PublishError::ShuttingDown),
        };
        if let Some(error) = error {
            self.publishes.part_failed(rest.publish, error);
            return;
        }
        self.publishes.chunk_stored(&rest, &chunk, &ack);
        if rest.left() > 0 {
            self.queues[shard].chunks.push_back(rest);
        } else {
            self.publishes.part_stored(rest.publish);
        }
    }

    fn told(&mut self, tell: ProducerTell) {
        let Some(Flight::Ask { shard, done, .. }) = self.flights.remove(&tell.ticket) else {
            panic!("invariant: ticket {} is a question in flight", tell.ticket);
        };
        if let Some(done) = done {
            self.queues[shard].reads_in_flight -= 1;
            // Whoever asked may have gone.
            let _ = done.send(Ok(tell));
        }
    }

    fn receive_answers(&mut self, shard: usize) {
        let Driver {
            ports,
            flights,
            queues,
            ..
        } = self;
        let lane = ports.requests_in[shard]
            .as_mut()
            .expect("invariant: a lane");
        while let Some(record) = lane.peek() {
            assert_eq!(record.kind, request::ANSWER, "invariant: cores only answer");
            let (header, piece) = AnswerHeader::read(record.body);
            // The ticket is gone when the query timed out.
            if let Some(Flight::Query { answer, .. }) = flights.get_mut(&header.ticket) {
                assert!(
                    answer.len() + piece.len() <= ANSWER_BYTES_MAX,
                    "invariant: a page"
                );
                answer.extend_from_slice(piece);
                if header.last
                    && let Some(Flight::Query { answer, done, .. }) = flights.remove(&header.ticket)
                {
                    queues[shard].reads_in_flight -= 1;
                    // A shard that has failed answers nothing: what it holds may not come back.
                    let failed = ReadError::ShardFailed { shard };
                    let _ = done.send(if answer.is_empty() {
                        Err(failed)
                    } else {
                        Ok(answer)
                    });
                }
            }
            lane.advance();
        }
        lane.release();
    }
}
