//! The control peer, played by the test: asks every shard, and keeps what the answers claim.

use ringmill_engine::mesh::Ports;
use ringmill_engine::message::{AnswerHeader, request};
use ringmill_shard::entry::{CorrectionAction, CorrectionEntry};
use ringmill_shard::query::{Answer, Query};

struct Asked {
    ticket: u64,
    shard: usize,
    query: Query,
    /// Whether it was a part of a correction instead.
    is_part: bool,
    bytes: Vec<u8>,
    pieces: u32,
}

pub(crate) struct Control {
    ports: Ports,
    shards: usize,
    next_ticket: u64,
    asked: Vec<Asked>,
    last_correction: Option<(u64, CorrectionAction)>,
}

/// An answer that has come whole.
pub(crate) struct Answered {
    pub(crate) shard: usize,
    pub(crate) query: Query,
    pub(crate) is_part: bool,
    /// `None` if the shard can give none.
    pub(crate) answer: Option<Answer>,
    pub(crate) pieces: u32,
}

impl Control {
    pub(crate) fn new(ports: Ports, shards: usize) -> Control {
        Control {
            ports,
            shards,
            next_ticket: 1,
            asked: Vec::new(),
            last_correction: None,
        }
    }

    /// Questions without an answer yet.
    pub(crate) fn waiting(&self) -> usize {
        self.asked.len()
    }

    /// Asks one shard; false if the lane has no room.
    pub(crate) fn ask(&mut self, shard: usize, query: &Query) -> bool {
        self.send(shard, request::QUERY, &query.to_bytes(), query)
    }

    /// Sends a part of a correction; false if the lane has no room now, `None` if it never has.
    pub(crate) fn correct(&mut self, shard: usize, part: &CorrectionEntry) -> Option<bool> {
        let bytes = part.to_bytes();
        if bytes.len() > self.room_bytes(shard) {
            return None;
        }
        self.last_correction = Some((part.id, part.action));
        // What is asked does not matter then.
        Some(self.send(shard, request::CORRECTION, &bytes, &Query::Stats))
    }

    /// Bytes of the largest part.
    pub(crate) fn room_bytes(&self, shard: usize) -> usize {
        let lane = self.ports.requests_out[shard].as_ref();
        let room = lane.expect("a lane to each shard").max_body() - 8;
        // Frames of the log are small here, too.
        room.min(3_000)
    }

    /// Whether a part has no answer yet.
    pub(crate) fn is_correcting(&self) -> bool {
        self.asked.iter().any(|asked| asked.is_part)
    }

    /// The correction that was last sent.
    pub(crate) fn last_correction(&self) -> Option<(u64, CorrectionAction)> {
        self.last_correction
    }

    fn send(&mut self, shard: usize, kind: u32, bytes: &[u8], query: &Query) -> bool {
        let lane = self.ports.requests_out[shard]
            .as_mut()
            .expect("a lane to each shard");
        let Some(body) = lane.reserve(kind, 8 + bytes.len()) else {
            return false;
        };
        body[..8].copy_from_slice(&self.next_ticket.to_le_bytes());
        body[8..].copy_from_slice(bytes);
        lane.commit();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let query = query.clone();
        self.asked.push(Asked {
            ticket,
            shard,
            query,
            is_part: kind == request::CORRECTION,
            bytes: Vec::new(),
            pieces: 0,
        });
        self.ports.publish_all();
        true
    }

    /// Takes at most `records` pieces of answers per shard.
    pub(crate) fn drain(&mut self, records: usize) -> Result<Vec<Answered>, String> {
        let mut whole = Vec::new();
        for shard in 0..self.shards {
            let lane = self.ports.requests_in[shard]
                .as_mut()
                .expect("a lane from each shard");
            for _ in 0..records {
                let Some(record) = lane.peek() else { break };
                if record.kind != request::ANSWER {
                    return Err(format!(
                        "the control peer got a record of kind {}",
                        record.kind
                    ));
                }
                let (header, piece) = AnswerHeader::read(record.body);
                let of_ticket = |asked: &Asked| asked.ticket == header.ticket;
                let Some(index) = self.asked.iter().position(of_ticket) else {
                    return Err(format!("an answer to no question: {}", header.ticket));
                };
                let asked = &mut self.asked[index];
                asked.bytes.extend_from_slice(piece);
                asked.pieces += 1;
                if header.last {
                    let Asked {
                        shard,
                        query,
                        is_part,
                        bytes,
                        pieces,
                        ..
                    } = self.asked.remove(index);
                    let answer = (!bytes.is_empty())
                        .then(|| Answer::from_bytes(&bytes).map_err(|error| error.to_string()))
                        .transpose()?;
                    whole.push(Answered {
                        shard,
                        query,
                        is_part,
                        answer,
                        pieces,
                    });
                }
                lane.advance();
            }
            lane.release();
        }
        Ok(whole)
    }
}
