//! One client: its unread bytes, its session, and the publications that wait for their ack.
//!
//! No socket here: bytes come in as chunks of the back end and leave through `out`.

use std::collections::VecDeque;

use ringmill_shard::entry::ProducerId;
use ringmill_shard::wire::{FrameHeader, FrameReader};

use crate::message::OwnerTimes;
use crate::net::{Chunk, SocketId};

/// Publications of one connection that may wait for their ack. More stop the reading.
pub const INFLIGHT_FRAMES_MAX: usize = 4096;

/// What the Hello of a connection established.
#[derive(Clone, Debug)]
pub struct Session {
    /// Durable identity of the producer.
    pub producer: ProducerId,
    /// Epoch in force.
    pub epoch: u32,
    /// The greatest sequence that may start the next publication; anything above is a gap.
    pub next_sequence: u64,
    /// Greatest sequence that this connection has brought or was told to be durable; 0 for none.
    pub taken_through: u64,
}

/// A Hello that waits for what the shards know.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// Durable identity of the producer.
    pub producer: ProducerId,
    /// Epoch that the client announced, 0 for the one in force.
    pub epoch: u32,
    /// Shards that have not answered yet.
    pub missing: usize,
    /// Greatest epoch that a shard knows.
    pub epoch_seen: u32,
    /// Greatest sequence that a shard holds, per epoch seen.
    pub highest: u64,
    /// Least of what the shards hold without a gap.
    pub lowest: u64,
}

/// A publication that waits for its parts.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// Index of its stream.
    pub stream: u16,
    /// Schema of its rows.
    pub schema_id: u32,
    /// Sequence of the last row.
    pub last_sequence: u64,
    /// Rows.
    pub count: u32,
    /// Rows refused for their content.
    pub rejected: u32,
    /// The first refusal: sequence, reason, field.
    pub first_reject: Option<(u64, u8, u8)>,
    /// Parts that are not safe yet; the routing itself is one until it is done.
    pub parts: u32,
    /// Durability level reached: 0 memory, 1 written, 2 interval, 3 commit.
    pub level: u8,
    /// Some part went to another core.
    pub crossed: bool,
    /// Stamps, ns of the monotonic clock.
    pub times: Times,
}

/// Stamps of one publication.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// The turn that collected its last bytes began.
    pub rx_ns: u64,
    /// Its parsing began.
    pub parse_ns: u64,
    /// It was parsed and checked.
    pub parsed_ns: u64,
    /// Its local part was applied, or its last part was sent to another core.
    pub applied_ns: u64,
    /// Its log frame was submitted, written and flushed.
    pub submitted_ns: u64,
    /// Written.
    pub written_ns: u64,
    /// Flushed; the last part was safe.
    pub synced_ns: u64,
    /// What the owner of the last remote part reported.
    pub owner: OwnerTimes,
}

/// Received bytes that were not parsed yet.
#[derive(Debug)]
pub struct Unread {
    /// The back end's buffer.
    pub chunk: Chunk,
    /// Bytes of it that were parsed.
    pub parsed: usize,
    /// When the turn began that collected it.
    pub rx_ns: u64,
}

/// A whole frame that could not be taken in yet.
#[derive(Debug, Default)]
pub struct Stalled {
    /// Its header; `None` when nothing is stalled.
    pub header: Option<FrameHeader>,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Rows of it that were routed already.
    pub routed: usize,
    /// When its last bytes were collected.
    pub rx_ns: u64,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// Its socket.
    pub socket: SocketId,
    /// Cuts the byte stream into frames.
    pub reader: FrameReader,
    /// Received, not parsed.
    pub unread: VecDeque<Unread>,
    /// The frame that waits for room.
    pub stalled: Stalled,
    /// After Hello.
    pub session: Option<Session>,
    /// During Hello.
    pub greeting: Option<Greeting>,
    /// Publications in order; acknowledged from the front.
    pub publications: VecDeque<Publication>,
    /// Number of the front publication.
    pub front_number: u16,
    /// Bytes to send.
    pub out: Vec<u8>,
    /// Receiving is stopped.
    pub paused: bool,
    /// Waits in the core's list of blocked connections.
    pub blocked: bool,
    /// Waits in the core's list of connections with something to acknowledge or send.
    pub dirty: bool,
    /// Nothing more is read; closes when `out` has left.
    pub closing: bool,
    /// The peer has gone.
    pub gone: bool,
    /// Last time that a whole frame came or nothing was half read.
    pub progress_ns: u64,
}

impl Connection {
    /// A connection that has said nothing yet.
    pub fn new(socket: SocketId, now_ns: u64) -> Connection {
        Connection {
            socket,
            reader: FrameReader::default(),
            unread: VecDeque::new(),
            stalled: Stalled::default(),
            session: None,
            greeting: None,
            publications: VecDeque::new(),
            front_number: 0,
            out: Vec::new(),
            paused: false,
            blocked: false,
            dirty: false,
            closing: false,
            gone: false,
            progress_ns: now_ns,
        }
    }

    /// The number that the next publication will have.
    pub fn next_number(&self) -> u16 {
        self.front_number
            .wrapping_add(self.publications.len() as u16)
    }

    /// The publication with this number, if it still waits.
    pub fn publication(&mut self, number: u16) -> Option<&mut Publication> {
        let position = number.wrapping_sub(self.front_number);
        self.publications.get_mut(usize::from(position))
    }

    /// Takes the front publication if all its parts are safe.
    pub fn pop_safe(&mut self) -> Option<Publication> {
        if self.publications.front()?.parts != 0 {
            return None;
        }
        self.front_number = self.front_number.wrapping_add(1);
        self.publications.pop_front()
    }
}

/// A connection and one of its publications in 64 bits, to be echoed by other peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The connection.
    pub socket: SocketId,
    /// Number of the publication; 0 for a greeting.
    pub number: u16,
}

impl Ticket {
    /// `index` 24 bits, `generation` 24 bits, `number` 16 bits.
    pub fn pack(self) -> u64 {
        debug_assert!(self.socket.index < 1 << 24 && self.socket.generation < 1 << 24);
        u64::from(self.socket.index) << 40
            | u64::from(self.socket.generation) << 16
            | u64::from(self.number)
    }

    /// The reverse of [`Ticket::pack`].
    pub fn unpack(ticket: u64) -> Ticket {
        let index = (ticket >> 40) as u32;
        let generation = (ticket >> 16) as u32 & 0x00FF_FFFF;
        Ticket {
            socket: SocketId { index, generation },
            number: ticket as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: SocketId = SocketId {
        index: 0x12_3456,
        generation: 0xAB_CDEF,
    };

    #[test]
    fn a_ticket_survives_packing() {
        let ticket = Ticket {
            socket: SOCKET,
            number: 0xFEDC,
        };
        assert_eq!(Ticket::unpack(ticket.pack()), ticket);
    }

    #[test]
    fn publications_leave_in_order_and_numbers_wrap() {
        let mut connection = Connection::new(SOCKET, 0);
        connection.front_number = u16::MAX;
        for count in 1..=3 {
            connection.publications.push_back(Publication {
                count,
                parts: 1,
                ..Default::default()
            });
        }
        assert_eq!(connection.next_number(), 2);
        connection.publication(0).expect("second").parts = 0;
        assert!(connection.pop_safe().is_none(), "the first still waits");
        connection.publication(u16::MAX).expect("first").parts = 0;
        assert_eq!(connection.pop_safe().map(|p| p.count), Some(1));
        assert_eq!(connection.pop_safe().map(|p| p.count), Some(2));
        assert!(connection.pop_safe().is_none());
        assert!(
            connection.publication(u16::MAX).is_none(),
            "gone numbers are not found"
        );
    }
}
