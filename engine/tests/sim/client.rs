//! A producer and its connections: sends, retries, reconnects, forgets, and breaks the rules now
//! and then, over a byte stream that is cut anywhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ringmill_engine::net::sim::{SharedPipe, SimPipe};
use ringmill_shard::entry::ProducerId;
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::wire::{
    Ack, ErrorCode, ErrorReply, Frame, FrameKind, FrameReader, Hello, HelloAck, Level,
    encode_publish,
};

use super::book::Book;
use super::cover::{Cover, Point};
use super::model::generate::random_event;
use super::model::random::Random;

/// Bytes received at a time, at most about so many.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// Chunks under way to the engine before the client waits, as a socket's buffer makes it.
const WINDOW_CHUNKS: usize = 200;

pub(crate) struct Connection {
    pub(crate) pipe: SharedPipe,
    reader: FrameReader,
    ready: bool,
    /// Everything sent here: sequence and place in the book.
    sent: Vec<(u64, usize)>,
    acked: u64,
    /// Frames without a word, neither acknowledged nor refused: first and last sequence.
    open: BTreeMap<u64, u64>,
    /// Sequence of a refused frame that was not acknowledged since: what followed it was refused
    /// for the gap alone.
    refused: Option<u64>,
    /// Sequences went back once, so acknowledgements may, too.
    rewound: bool,
    broke_rules: bool,
    over: bool,
}

pub(crate) struct Producer {
    pub(crate) name: String,
    pub(crate) id: ProducerId,
    pub(crate) epoch: u32,
    /// Places in the book of this epoch's events, the first has sequence 1.
    pub(crate) history: Vec<usize>,
    /// Everything up to here was acknowledged or given up.
    acked: u64,
    /// Sequence to send next.
    cursor: u64,
    pub(crate) connection: Option<Connection>,
    /// Connections that were left behind.
    pub(crate) old: Vec<Connection>,
}

/// What a step of a client needs from around it.
pub(crate) struct Around<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) book: &'a mut Book,
    pub(crate) cover: &'a mut Cover,
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) now_ms: i64,
    pub(crate) keys: u64,
    pub(crate) frame_rows_bytes: usize,
    /// Most events of a usual frame.
    pub(crate) frame_events_max: u64,
    /// Events that may wait for their ack before a producer sends more.
    pub(crate) unacked_max: usize,
    /// No mischief and nothing new: only what is open is brought to its end.
    pub(crate) calm: bool,
    pub(crate) any_failed: bool,
    pub(crate) every_commit: bool,
}

fn in_pieces(random: &mut Random, pipe: &SharedPipe, bytes: &[u8]) {
    let mut pipe = pipe.borrow_mut();
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = if random.chance(85) {
            rest.len()
        } else {
            rest.len().min(40)
        };
        let (piece, behind) = rest.split_at(1 + random.below(most as u64) as usize);
        match pipe.to_engine.back_mut() {
            // What waits in a socket's buffer is received together.
            Some(waiting) if waiting.len() < CHUNK_BYTES_MAX && random.chance(60) => {
                waiting.extend_from_slice(piece);
            }
            _ => pipe.to_engine.push_back(piece.to_vec()),
        }
        rest = behind;
    }
}

impl Producer {
    pub(crate) fn new(index: usize) -> Producer {
        let name = format!("shop-{index}");
        Producer {
            id: ProducerId::of_name(&name),
            name,
            epoch: 0,
            history: Vec::new(),
            acked: 0,
            cursor: 1,
            connection: None,
            old: Vec::new(),
        }
    }

    /// Whether everything sent was acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.acked >= self.history.len() as u64
    }

    /// Whether the connection still waits for a word of the server.
    pub(crate) fn waits(&self) -> bool {
        let waits = |c: &Connection| !c.over && (!c.ready || !c.open.is_empty());
        self.connection.as_ref().is_some_and(waits)
    }

    pub(crate) fn describe(&self) -> String {
        let connection = self.connection.as_ref().map(|c| {
            let pipe = c.pipe.borrow();
            format!(
                "ready {} over {} acked {} unread chunks {} closed {}",
                c.ready,
                c.over,
                c.acked,
                pipe.to_engine.len(),
                pipe.closed_by_engine
            )
        });
        format!(
            "{} epoch {} sent {} acked {} cursor {} [{connection:?}]",
            self.name,
            self.epoch,
            self.history.len(),
            self.acked,
            self.cursor
        )
    }

    /// Says Hello over a new pipe, which the caller connects to a core.
    pub(crate) fn connect(&mut self, around: &mut Around<'_>, slow: bool) -> SharedPipe {
        let pipe = Rc::new(RefCell::new(SimPipe {
            slow,
            ..SimPipe::default()
        }));
        let epoch = match around.random.below(20) {
            0 if !around.calm => self.epoch + 1,
            1..8 => self.epoch,
            _ => 0,
        };
        let mut hello = Vec::new();
        Hello {
            epoch,
            name: &self.name,
        }
        .encode(&mut hello);
        in_pieces(around.random, &pipe, &hello);
        if let Some(old) = self.connection.take() {
            self.old.push(old);
        }
        self.connection = Some(Connection {
            pipe: Rc::clone(&pipe),
            reader: FrameReader::new(),
            ready: false,
            sent: Vec::new(),
            acked: 0,
            open: BTreeMap::new(),
            refused: None,
            rewound: false,
            broke_rules: false,
            over: false,
        });
        pipe
    }

    /// Whether the producer has no connection that it could use.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.connection
            .as_ref()
            .is_none_or(|connection| connection.over)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.ready && !connection.over)
    }

    /// The server has died: what had left it may still arrive, all else is gone.
    pub(crate) fn server_died(&mut self, around: &mut Around<'_>) -> Result<(), String> {
        if around.random.chance(50) {
            self.read(around, true)?;
        }
        self.connection = None;
        self.old.clear();
        Ok(())
    }

    /// Sends a frame or breaks a rule.
    pub(crate) fn send(&mut self, around: &mut Around<'_>) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if !connection.ready || connection.over {
            return;
        }
        if connection.pipe.borrow().to_engine.len() > WINDOW_CHUNKS {
            return;
        }
        let last = self.history.len() as u64;
        if around.calm && self.cursor > last {
            return;
        }
        if self.cursor.saturating_sub(self.acked) as usize > around.unacked_max {
            if around.random.chance(2) {
                self.cursor = self.acked + 1;
                connection.rewound = true;
            }
            return;
        }
        let long = around.frame_events_max > 1 && around.random.chance(30);
        let most = if long { 60 } else { around.frame_events_max };
        let count = 1 + around.random.below(most);
        if self.cursor <= last {
            self.send_again(around, count as usize);
        } else if !around.calm && around.random.below(120) == 0 {
            self.break_a_rule(around);
        } else {
            self.send_new(around, count as usize);
        }
    }

    fn send_new(&mut self, around: &mut Around<'_>, count: usize) {
        let stream = around.random.below(around.pipeline.streams.len() as u64) as usize;
        let declared = &around.pipeline.streams[stream];
        let row_bytes = declared.schema.row_len();
        let count = count.min(around.frame_rows_bytes / row_bytes).max(1);
        for _ in 0..count {
            let time_ms = match around.random.below(100) {
                0..=2 => around.now_ms - around.random.below(100_000) as i64,
                3..=5 => around.now_ms + around.random.below(30_000) as i64,
                6..=30 => around.now_ms - around.random.below(2_000) as i64,
                _ => around.now_ms - around.random.below(50) as i64,
            };
            let event = random_event(around.random, declared, time_ms, around.keys);
            let sequence = self.history.len() as u64 + 1;
            let index = around
                .book
                .add(self.id, self.epoch, sequence, stream, event);
            self.history.push(index);
        }
        self.send_again(around, count);
    }

    /// Sends what stands in the history from the cursor on: as it was sent before or cut anew.
    fn send_again(&mut self, around: &mut Around<'_>, count: usize) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let first = self.cursor;
        let indexes = &self.history[first as usize - 1..];
        let stream = around.book.sent[indexes[0]].stream;
        let declared = &around.pipeline.streams[stream];
        let most = (around.frame_rows_bytes / declared.schema.row_len()).max(1);
        let mut rows = Vec::new();
        let mut taken = 0;
        for &index in indexes.iter().take(count.min(most)) {
            let sent = &around.book.sent[index];
            if sent.stream != stream {
                break;
            }
            rows.extend_from_slice(&sent.event.row);
            connection.sent.push((sent.sequence, index));
            taken += 1;
        }
        let last = connection.open.entry(first).or_default();
        *last = (first + u64::from(taken) - 1).max(*last);
        let mut frame = Vec::new();
        encode_publish(
            &mut frame,
            stream as u16,
            declared.schema.id,
            first,
            taken,
            &rows,
        );
        in_pieces(around.random, &connection.pipe, &frame);
        self.cursor += u64::from(taken);
    }

    /// Leaves a gap, or sends a frame that was damaged on its way. Neither may take effect.
    fn break_a_rule(&mut self, around: &mut Around<'_>) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let declared = &around.pipeline.streams[0];
        let event = random_event(around.random, declared, around.now_ms, around.keys);
        let gap = around.random.chance(60);
        let first = self.cursor + if gap { 1 + around.random.below(9) } else { 0 };
        let mut frame = Vec::new();
        encode_publish(&mut frame, 0, declared.schema.id, first, 1, &event.row);
        if !gap {
            let at = around.random.below(frame.len() as u64) as usize;
            frame[at] ^= 1 << around.random.below(8);
            connection.broke_rules = true;
        }
        in_pieces(around.random, &connection.pipe, &frame);
    }

    /// Reads what has arrived on every connection.
    pub(crate) fn read(&mut self, around: &mut Around<'_>, all: bool) -> Result<(), String> {
        if let Some(mut connection) = self.connection.take() {
            self.read_one(&mut connection, around, all, true)?;
            self.connection = Some(connection);
        }
        for mut old in std::mem::take(&mut self.old) {
            self.read_one(&mut old, around, all, false)?;
            if !old.over {
                self.old.push(old);
            }
        }
        Ok(())
    }

    fn read_one(
        &mut self,
        connection: &mut Connection,
        around: &mut Around<'_>,
        all: bool,
        current: bool,
    ) -> Result<(), String> {
        let bytes = {
            let mut pipe = connection.pipe.borrow_mut();
            let there = pipe.from_engine.len();
            if there == 0 {
                connection.over |= pipe.closed_by_engine;
                return Ok(());
            }
            let take = if all || around.random.chance(60) {
                there
            } else {
                1 + around.random.below(there as u64) as usize
            };
            pipe.from_engine.drain(..take).collect::<Vec<u8>>()
        };
        let mut reader = std::mem::take(&mut connection.reader);
        let mut consumed = 0;
        while let Some(frame) = reader.next(&bytes, &mut consumed) {
            let frame = frame.map_err(|error| format!("{}: {error}", self.name))?;
            self.on_frame(connection, &frame, around, current)
                .map_err(|error| format!("{}: {error}", self.describe()))?;
        }
        connection.reader = reader;
        Ok(())
    }

    fn on_frame(
        &mut self,
        connection: &mut Connection,
        frame: &Frame<'_>,
        around: &mut Around<'_>,
        current: bool,
    ) -> Result<(), String> {
        match frame.header.kind {
            FrameKind::HelloAck => {
                let ack = HelloAck::decode(frame.payload).map_err(|error| error.to_string())?;
                around
                    .cover
                    .add(Point::GreetingAcrossShards, u64::from(ack.shards > 1));
                if current {
                    self.on_hello_ack(connection, &ack, around)?;
                }
                Ok(())
            }
            FrameKind::Ack => {
                let ack = Ack::decode(&frame.header).map_err(|error| error.to_string())?;
                self.on_ack(connection, &ack, around, current)
            }
            FrameKind::Error => {
                let error = ErrorReply::decode(&frame.header, frame.payload);
                let error = error.map_err(|error| error.to_string())?;
                self.on_error(connection, &error, around, current)
            }
            kind => Err(format!("a frame of kind {kind:?}")),
        }
    }

    fn on_hello_ack(
        &mut self,
        connection: &mut Connection,
        ack: &HelloAck,
        around: &mut Around<'_>,
    ) -> Result<(), String> {
        connection.ready = true;
        if ack.epoch < self.epoch {
            return Err(format!("epoch {} after epoch {}", ack.epoch, self.epoch));
        }
        if ack.epoch > self.epoch {
            around.cover.hit(Point::NewEpoch);
            for index in self.history.drain(..) {
                around.book.sent[index].given_up = true;
            }
            self.epoch = ack.epoch;
            self.acked = 0;
        }
        let last = self.history.len() as u64;
        if ack.highest_seen > last {
            return Err(format!("{} seen, {last} sent", ack.highest_seen));
        }
        if ack.durable_through > ack.highest_seen {
            return Err(format!(
                "{} durable, {} seen",
                ack.durable_through, ack.highest_seen
            ));
        }
        if around.every_commit && ack.highest_seen < self.acked && !self.gave_up_last(around) {
            return Err(format!(
                "{} seen, {} acknowledged",
                ack.highest_seen, self.acked
            ));
        }
        for &index in &self.history[..ack.durable_through as usize] {
            if !around.book.sent[index].given_up {
                around
                    .book
                    .acked(around.pipeline, index, "durable_through")?;
            }
        }
        self.acked = self.acked.max(ack.durable_through);
        let forgets = !around.calm && around.random.chance(15);
        if ack.highest_seen < self.acked || forgets {
            self.forget_unacked(ack.highest_seen, around);
        }
        let next = (self.acked + 1).min(ack.highest_seen + 1);
        self.cursor = match around.random.below(4) {
            0 => 1 + around.random.below(next),
            _ => next,
        };
        Ok(())
    }

    fn gave_up_last(&self, around: &Around<'_>) -> bool {
        self.acked > 0 && around.book.sent[self.history[self.acked as usize - 1]].given_up
    }

    /// The producer goes on behind what the server has seen, with other events than before.
    fn forget_unacked(&mut self, highest: u64, around: &mut Around<'_>) {
        for (position, &index) in self.history.iter().enumerate() {
            let sent = &mut around.book.sent[index];
            if position as u64 >= highest {
                // Nothing of this is in any log, and no connection may bring it there any more.
                sent.dead = !sent.safe;
                sent.given_up = true;
                around.cover.hit(Point::FreshAfterLoss);
            } else if position as u64 >= self.acked {
                sent.given_up = true;
            }
        }
        self.history.truncate(highest as usize);
        self.acked = highest;
    }

    fn on_ack(
        &mut self,
        connection: &mut Connection,
        ack: &Ack,
        around: &mut Around<'_>,
        current: bool,
    ) -> Result<(), String> {
        if ack.sequence < connection.acked && !connection.rewound {
            return Err(format!(
                "ack {} after ack {}",
                ack.sequence, connection.acked
            ));
        }
        let sent = connection.sent.iter().map(|(sequence, _)| *sequence);
        let most = sent.max().unwrap_or(0);
        if ack.sequence > most {
            return Err(format!("ack {} of {most} sent", ack.sequence));
        }
        connection.acked = connection.acked.max(ack.sequence);
        connection.open.retain(|_, last| *last > ack.sequence);
        connection.refused = connection.refused.filter(|refused| *refused > ack.sequence);
        if ack.level != Level::Commit {
            if around.every_commit {
                return Err(format!("ack {} at level {:?}", ack.sequence, ack.level));
            }
            around.cover.hit(Point::LossyAck);
        }
        around
            .cover
            .add(Point::RejectedEvent, u64::from(ack.rejected));
        for &(sequence, index) in &connection.sent {
            if sequence <= ack.sequence && !around.book.sent[index].given_up {
                around.book.acked(around.pipeline, index, "ack")?;
            } else if sequence <= ack.sequence && around.book.sent[index].dead {
                return Err(format!(
                    "ack {} covers what the server denied",
                    ack.sequence
                ));
            }
        }
        // A rewound connection may have acks of the first round under way.
        if current {
            self.acked = self.acked.max(ack.sequence.min(self.history.len() as u64));
        }
        Ok(())
    }

    fn on_error(
        &mut self,
        connection: &mut Connection,
        error: &ErrorReply,
        around: &mut Around<'_>,
        current: bool,
    ) -> Result<(), String> {
        let allowed = match error.code {
            ErrorCode::Rejected => true,
            ErrorCode::SequenceGap => {
                around.cover.hit(Point::GapRefused);
                true
            }
            ErrorCode::DiskFull => {
                around.cover.hit(Point::DiskFullRefused);
                true
            }
            ErrorCode::Fenced => {
                around.cover.hit(Point::Fenced);
                true
            }
            ErrorCode::ShardFailed => {
                around.cover.hit(Point::UnknownToClient);
                around.any_failed
            }
            ErrorCode::ShuttingDown => true,
            _ => {
                around.cover.hit(Point::BadFrameRefused);
                connection.broke_rules
            }
        };
        if !allowed {
            return Err(format!(
                "unexpected error {:?}: {}",
                error.code, error.message
            ));
        }
        if error.code != ErrorCode::Rejected {
            connection.open.remove(&error.sequence);
        }
        if error.fatal {
            connection.over = true;
        } else if current
            && error.code != ErrorCode::Rejected
            && error.sequence <= self.history.len() as u64
            && connection
                .refused
                .is_none_or(|refused| error.sequence <= refused)
        {
            // A retry from the first that this connection did not acknowledge is right, whatever
            // was refused first and whatever an older connection has heard.
            let first = connection.sent.first().map_or(1, |(sequence, _)| *sequence);
            let from = error.sequence.min(first.max(connection.acked + 1)).max(1);
            connection.refused = Some(from);
            connection.rewound = true;
            self.cursor = self.cursor.min(from);
        }
        Ok(())
    }
}
