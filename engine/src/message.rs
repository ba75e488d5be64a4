//! What travels over the lanes between peers: record kinds and their byte layouts.
//!
//! A lane record is `(kind, body)`. Requests flow towards the shard that owns the keys, replies
//! flow back. Bodies are little-endian and live only inside one process, but they are decoded with
//! checked slices all the same, so that a defect shows as a named panic and not as garbage.

/// Kinds of records on a request lane.
pub mod request {
    /// A part of one published batch: [`super::SubBatchHeader`], offsets, rows. Credited.
    pub const SUB_BATCH: u32 = 1;
    /// `ticket u64`, then an archived query. Answered by [`ANSWER`] chunks.
    pub const QUERY: u32 = 2;
    /// [`super::WatermarkNote`]: another shard's progress in event time.
    pub const WATERMARK: u32 = 3;
    /// [`super::Adopt`]: a freshly accepted socket for this core.
    pub const ADOPT: u32 = 4;
    /// [`super::DeltaHeader`], then bytes: a piece of a board delta for a member that the receiving
    /// shard owns. Those of one sender follow each other.
    pub const DELTA: u32 = 5;
    /// [`super::ProducerAsk`] and its name: what is known of a producer. Credited.
    pub const PRODUCER_ASK: u32 = 6;
    /// `ticket u64`, then a part of a correction, as its log entry. Answered by [`ANSWER`] chunks.
    pub const CORRECTION: u32 = 8;
    /// Finish: drain, make durable, acknowledge, leave.
    pub const STOP: u32 = 7;
    /// [`super::AnswerHeader`], then bytes: a piece of the answer to a query.
    pub const ANSWER: u32 = 16;
}

/// Kinds of records on a reply lane; each fits one slot.
pub mod reply {
    /// [`super::AckReply`].
    pub const ACK: u32 = 1;
    /// [`super::ProducerTell`].
    pub const PRODUCER_TELL: u32 = 2;
}

/// A cursor that writes fixed-size fields one after the other.
struct Put<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Put<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Put { bytes, at: 0 }
    }

    fn put<const N: usize>(&mut self, field: [u8; N]) -> &mut Self {
        self.bytes[self.at..self.at + N].copy_from_slice(&field);
        self.at += N;
        self
    }
}

/// A cursor that reads fixed-size fields one after the other.
struct Take<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Take<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Take { bytes, at: 0 }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        field
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u8(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }
}

/// Header of a [`request::SUB_BATCH`] body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubBatchHeader {
    /// Chosen by the sender, echoed in the reply.
    pub ticket: u64,
    /// Durable identity of the producer.
    pub producer: u128,
    /// Epoch of the producer.
    pub epoch: u32,
    /// Index of the stream in the pipeline.
    pub stream: u16,
    /// Bit 0: explicit sequence offsets stand before the rows.
    pub flags: u16,
    /// Sequence of the first row (the base of the offsets).
    pub first_sequence: u64,
    /// Number of rows.
    pub count: u32,
    /// Layout of the rows.
    pub schema_id: u32,
    /// Monotonic clock when the record was staged, for the hop histogram.
    pub sent_ns: u64,
}

impl SubBatchHeader {
    /// Bytes of the header.
    pub const BYTES: usize = 64;
    /// Flag: offsets are explicit.
    pub const EXPLICIT: u16 = 1;

    /// Bytes of the offsets block for `count` rows, padded to eight.
    pub const fn offsets_bytes(count: usize) -> usize {
        (count * 4).next_multiple_of(8)
    }

    /// Writes the header to the start of `body`.
    pub fn write(&self, body: &mut [u8]) {
        Put::new(body)
            .put(self.ticket.to_le_bytes())
            .put(self.producer.to_le_bytes())
            .put(self.epoch.to_le_bytes())
            .put(self.stream.to_le_bytes())
            .put(self.flags.to_le_bytes())
            .put(self.first_sequence.to_le_bytes())
            .put(self.count.to_le_bytes())
            .put(self.schema_id.to_le_bytes())
            .put(self.sent_ns.to_le_bytes())
            .put([0; 8]);
    }

    /// Reads the header and splits the rest into offsets (if explicit) and rows.
    pub fn read(body: &[u8]) -> (SubBatchHeader, Option<&[u8]>, &[u8]) {
        let mut take = Take::new(body);
        let header = SubBatchHeader {
            ticket: take.u64(),
            producer: u128::from_le_bytes(take.take()),
            epoch: take.u32(),
            stream: take.u16(),
            flags: take.u16(),
            first_sequence: take.u64(),
            count: take.u32(),
            schema_id: take.u32(),
            sent_ns: take.u64(),
        };
        let rest = &body[Self::BYTES..];
        if header.flags & Self::EXPLICIT == 0 {
            return (header, None, rest);
        }
        let (offsets, rows) = rest.split_at(Self::offsets_bytes(header.count as usize));
        (header, Some(&offsets[..header.count as usize * 4]), rows)
    }
}

/// How a sub-batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AckStatus {
    /// Safe at the stream's level.
    Ok = 0,
    /// The shard's log failed: the outcome is unknown until it is recovered.
    Unknown = 1,
    /// Refused before anything was stored: no space left for the log.
    DiskFull = 2,
    /// Refused: a newer epoch of the producer exists.
    Fenced = 3,
    /// Refused: the shard is shutting down.
    ShuttingDown = 4,
    /// Refused before anything was stored: no room for the ids that tell duplicates apart.
    IdsFull = 5,
}

impl AckStatus {
    fn from_byte(byte: u8) -> AckStatus {
        match byte {
            0 => AckStatus::Ok,
            2 => AckStatus::DiskFull,
            3 => AckStatus::Fenced,
            4 => AckStatus::ShuttingDown,
            5 => AckStatus::IdsFull,
            _ => AckStatus::Unknown,
        }
    }
}

/// Body of [`reply::ACK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckReply {
    /// The ticket of the request.
    pub ticket: u64,
    /// Rows that took effect, duplicates of earlier ones included.
    pub accepted: u32,
    /// Rows refused for their content.
    pub rejected: u32,
    /// Sequence of the first refused row, 0 when there is none.
    pub reject_sequence: u64,
    /// Reason of the first refusal as `RejectReason as u8`, 0 when there is none.
    pub reject_reason: u8,
    /// Field of the first refusal, 255 when none is to blame.
    pub reject_field: u8,
    /// How it ended.
    pub status: AckStatus,
    /// Durability level that was reached: 0 memory, 1 written, 2 interval, 3 commit.
    pub level: u8,
    /// Rows that had been stored before.
    pub duplicates: u32,
    /// Where the owner's time went.
    pub spent: OwnerTimes,
}

/// Where a sub-batch spent its time on the owner's core, ns each, saturating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerTimes {
    /// Drained from the lane until applied.
    pub apply_ns: u32,
    /// Applied until its log frame was submitted.
    pub batch_ns: u32,
    /// Submitted until written.
    pub write_ns: u32,
    /// Written until flushed.
    pub sync_ns: u32,
}

impl AckReply {
    /// Bytes of the body.
    pub const BYTES: usize = 48;

    /// Writes the reply to the start of `body`.
    pub fn write(&self, body: &mut [u8]) {
        Put::new(body)
            .put(self.ticket.to_le_bytes())
            .put(self.accepted.to_le_bytes())
            .put(self.rejected.to_le_bytes())
            .put(self.reject_sequence.to_le_bytes())
            .put([
                self.reject_reason,
                self.reject_field,
                self.status as u8,
                self.level,
            ])
            .put(self.duplicates.to_le_bytes())
            .put(self.spent.apply_ns.to_le_bytes())
            .put(self.spent.batch_ns.to_le_bytes())
            .put(self.spent.write_ns.to_le_bytes())
            .put(self.spent.sync_ns.to_le_bytes());
    }

    /// Reads a reply.
    pub fn read(body: &[u8]) -> AckReply {
        let mut take = Take::new(body);
        AckReply {
            ticket: take.u64(),
            accepted: take.u32(),
            rejected: take.u32(),
            reject_sequence: take.u64(),
            reject_reason: take.u8(),
            reject_field: take.u8(),
            status: AckStatus::from_byte(take.u8()),
            level: take.u8(),
            duplicates: take.u32(),
            spent: OwnerTimes {
                apply_ns: take.u32(),
                batch_ns: take.u32(),
                write_ns: take.u32(),
                sync_ns: take.u32(),
            },
        }
    }
}

/// Body of [`request::PRODUCER_ASK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerAsk {
    /// Chosen by the sender, echoed in the reply.
    pub ticket: u64,
    /// Durable identity of the producer.
    pub producer: u128,
    /// Epoch that the producer announces; 0 asks for nothing, higher than known opens a new one.
    pub epoch: u32,
}

impl ProducerAsk {
    /// Bytes of the body.
    pub const BYTES: usize = 32;

    /// Writes the request to the start of `body`.
    pub fn write(&self, body: &mut [u8]) {
        Put::new(body)
            .put(self.ticket.to_le_bytes())
            .put(self.producer.to_le_bytes())
            .put(self.epoch.to_le_bytes())
            .put([0; 4]);
    }

    /// Reads a request and the producer's name behind it, which may be empty.
    pub fn read(body: &[u8]) -> (ProducerAsk, &str) {
        let mut take = Take::new(body);
        let ask = ProducerAsk {
            ticket: take.u64(),
            producer: u128::from_le_bytes(take.take()),
            epoch: take.u32(),
        };
        (ask, std::str::from_utf8(&body[Self::BYTES..]).unwrap_or(""))
    }
}

/// Body of [`reply::PRODUCER_TELL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerTell {
    /// The ticket of the request.
    pub ticket: u64,
    /// Sequence of the last row of this producer and epoch that this shard holds; 0 for none.
    pub last_sequence: u64,
    /// Of the rows of this shard's keys none is missing up to here. Less than `last_sequence`
    /// where that comes from the logs of older layouts: one of them may end before another.
    pub complete_through: u64,
    /// Epoch that this shard knows; 0 for an unknown producer.
    pub epoch: u32,
}

impl ProducerTell {
    /// Bytes of the body.
    pub const BYTES: usize = 32;

    /// Writes the reply to the start of `body`.
    pub fn write(&self, body: &mut [u8]) {
        Put::new(body)
            .put(self.ticket.to_le_bytes())
            .put(self.last_sequence.to_le_bytes())
            .put(self.complete_through.to_le_bytes())
            .put(self.epoch.to_le_bytes())
            .put([0; 4]);
    }

    /// Reads a reply.
    pub fn read(body: &[u8]) -> ProducerTell {
        let mut take = Take::new(body);
        ProducerTell {
            ticket: take.u64(),
            last_sequence: take.u64(),
            complete_through: take.u64(),
            epoch: take.u32(),
        }
    }
}

/// Body of [`request::WATERMARK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkNote {
    /// Index of the stream in the pipeline.
    pub stream: u16,
    /// Watermark that the sending shard's own events would allow, ms.
    pub allowed_ms: i64,
    /// Watermark in effect on the sending shard, ms.
    pub recorded_ms: i64,
}

impl WatermarkNote {
    /// Bytes of the body.
    pub const BYTES: usize = 24;

    /// Writes the note to the start of `body`.
    pub fn write(&self, body: &mut [u8]) {
        Put::new(body)
            .put(self.allowed_ms.to_le_bytes())
            .put(self.recorded_ms.to_le_bytes())
            .put(self.stream.to_le_bytes())
            .put([0; 6]);
    }

    /// Reads a note.
    pub fn read(body: &[u8]) -> WatermarkNote {
        let mut take = Take::new(body);
        WatermarkNote {
            allowed_ms: i64::from_le_bytes(take.take()),
            recorded_ms: i64::from_le_bytes(take.take()),
            stream: take.u16(),
        }
    }
}

/// Body of [`request::ADOPT`]: the accepted socket changes hands with the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopt {
    /// File descriptor of the connected socket.
    pub fd: i32,
}

impl Adopt {
    /// Bytes of the body.
    pub const BYTES: usize = 8;

    /// Writes the record to the start of `body`.
    pub fn write(&self, body: &mut [u8]) {
        Put::new(body).put(self.fd.to_le_bytes()).put([0; 4]);
    }

    /// Reads a record.
    pub fn read(body: &[u8]) -> Adopt {
        Adopt {
            fd: i32::from_le_bytes(Take::new(body).take()),
        }
    }
}

/// Header of a [`request::ANSWER`] body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHeader {
    /// The ticket of the query.
    pub ticket: u64,
    /// Whether this piece ends the answer.
    pub last: bool,
}

impl AnswerHeader {
    /// Bytes of the header; the piece follows.
    pub const BYTES: usize = 16;

    /// Writes the header to the start of `body`.
    pub fn write(&self, body: &mut [u8]) {
        Put::new(body)
            .put(self.ticket.to_le_bytes())
            .put([u8::from(self.last)])
            .put([0; 7]);
    }

    /// Reads the header and the piece behind it.
    pub fn read(body: &[u8]) -> (AnswerHeader, &[u8]) {
        let mut take = Take::new(body);
        let header = AnswerHeader {
            ticket: take.u64(),
            last: take.u8() != 0,
        };
        (header, &body[Self::BYTES..])
    }
}

/// Header of a [`request::DELTA`] body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaHeader {
    /// Whether this piece ends the delta.
    pub last: bool,
}

impl DeltaHeader {
    /// Bytes of the header; the piece follows.
    pub const BYTES: usize = 1;

    /// Writes the header to the start of `body`.
    pub fn write(&self, body: &mut [u8]) {
        Put::new(body).put([u8::from(self.last)]);
    }

    /// Reads the header and the piece behind it.
    pub fn read(body: &[u8]) -> (DeltaHeader, &[u8]) {
        let last = Take::new(body).u8() != 0;
        (DeltaHeader { last }, &body[Self::BYTES..])
    }
}

/// Body of [`request::QUERY`]: `ticket u64`, then the archived query.
pub fn read_query(body: &[u8]) -> (u64, &[u8]) {
    (Take::new(body).u64(), &body[8..])
}

#[cfg(test)]
mod tests;
