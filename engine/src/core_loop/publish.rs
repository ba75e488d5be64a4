//! Publications: checked at the edge, then routed to the shards that own their rows.

use ringmill_shard::wire::{ErrorCode, ErrorReply, Frame, Publish};
use ringmill_storage::disk::Disk;

use super::receive::{Flow, NO_FIELD};
use super::{Core, Floor};
use crate::clock::Clock;
use crate::commit::Waiter;
use crate::connection::{Connection, INFLIGHT_FRAMES_MAX, Publication, Session, Ticket, Times};
use crate::core_loop::apply::{Batch, Stored};
use crate::message::AckStatus;
use crate::net::SocketId;
use crate::recovery::KIND_FLOOR;

impl<D: Disk, C: Clock> Core<D, C> {
    /// Takes a publication in, as a whole or up to where room ends.
    pub(super) fn on_publish(&mut self, socket: SocketId, frame: &Frame<'_>, rx_ns: u64) -> Flow {
        let parse_ns = self.clock.mono_ns();
        let Some(connection) = self.connection(socket) else {
            return Flow::Over;
        };
        if connection.greeting.is_some() || connection.publications.len() >= INFLIGHT_FRAMES_MAX {
            return Flow::Stalled;
        }
        let resumed = connection.stalled.routed > 0;
        let Some(session) = connection.session.clone() else {
            let message = "say Hello first: it names the producer";
            return self.refuse(
                socket,
                ErrorCode::HelloRequired,
                frame.header.sequence,
                message,
            );
        };
        if self.floor.is_some() {
            return self.floor_publish(socket, frame, rx_ns, parse_ns);
        }
        let stream = usize::from(frame.header.stream);
        let Some(declared) = self.pipeline.streams.get(stream) else {
            let message = format!(
                "no stream {stream}: this server has {}",
                self.pipeline.streams.len()
            );
            return self.refuse(
                socket,
                ErrorCode::UnknownStream,
                frame.header.sequence,
                &message,
            );
        };
        // A client that has not heard of a wider schema goes on with the one that it knows.
        let written = Publish::schema_of(frame).and_then(|id| declared.written_with(id));
        let (schema, _) = written.unwrap_or((&declared.schema, declared.key));
        let publish = match Publish::decode(frame, schema) {
            Ok(publish) => publish,
            Err(error) => {
                let sequence = frame.header.sequence;
                return self.refuse(socket, error.code(), sequence, &error.to_string());
            }
        };
        if !resumed && let Some(error) = self.refused_for_now(&session, &publish) {
            return self.put_off(socket, &publish, error);
        }
        if resumed && self.flags.failed() {
            self.end_for(socket, AckStatus::Unknown);
            return Flow::Over;
        }
        let times = Times {
            rx_ns,
            parse_ns,
            parsed_ns: self.clock.mono_ns(),
            ..Times::default()
        };
        if self.shards == 1 {
            self.publish_here(socket, &session, &publish, times)
        } else {
            self.publish_across(socket, &session, &publish, times)
        }
    }

    /// Refuses a publication that the client may send again. What follows leaves a gap until this
    /// one has come again, also where it repeats what a shard may have: behind a later row an
    /// earlier one counts as a duplicate. What this connection has brought before is not asked for
    /// twice.
    fn put_off(&mut self, socket: SocketId, publish: &Publish<'_>, error: ErrorReply) -> Flow {
        self.queue_error(socket, error);
        if let Some(session) = self.connection(socket).and_then(|c| c.session.as_mut()) {
            let due = publish.first_sequence.max(session.taken_through + 1);
            session.next_sequence = session.next_sequence.min(due);
        }
        Flow::Taken
    }

    fn ids_full(&self, publish: &Publish<'_>) -> ErrorReply {
        let stream = &self.pipeline.streams[usize::from(publish.stream)].name;
        ErrorReply {
            code: ErrorCode::Overloaded,
            fatal: false,
            sequence: publish.first_sequence,
            field: NO_FIELD,
            message: format!("the `memory` of `dedupe` of stream `{stream}` is full"),
        }
    }

    /// A publication that is refused without ending the connection: the client may send it again.
    fn refused_for_now(&self, session: &Session, publish: &Publish<'_>) -> Option<ErrorReply> {
        let (code, message) = if publish.first_sequence > session.next_sequence {
            let message = format!(
                "sequence {} leaves a gap: {} is next",
                publish.first_sequence, session.next_sequence
            );
            (ErrorCode::SequenceGap, message)
        } else if self.flags.failed() {
            let message = "this shard's log has failed: restart the server to recover it";
            (ErrorCode::ShardFailed, message.to_owned())
        } else if self.flags.disk_full() {
            let message = "no space left for the log on the data directory's filesystem";
            (ErrorCode::DiskFull, message.to_owned())
        } else if self.stopping {
            (
                ErrorCode::ShuttingDown,
                "the server is shutting down".to_owned(),
            )
        } else {
            return None;
        };
        let sequence = publish.first_sequence;
        Some(ErrorReply {
            code,
            fatal: false,
            sequence,
            field: NO_FIELD,
            message,
        })
    }

    /// The only shard owns every row: straight from the receive buffer to log and state.
    fn publish_here(
        &mut self,
        socket: SocketId,
        session: &Session,
        publish: &Publish<'_>,
        mut times: Times,
    ) -> Flow {
        let stream = usize::from(publish.stream);
        let batch = Batch {
            producer: session.producer,
            epoch: session.epoch,
            stream: publish.stream,
            schema_id: publish.schema_id,
            first_sequence: publish.first_sequence,
            count: publish.count,
            offsets: None,
            rows: publish.rows,
        };
        let stored = match self.store(&batch) {
            Stored::NoRoom => return Flow::Stalled,
            Stored::Fenced { epoch } => return self.fence(socket, session.epoch, epoch),
            Stored::IdsFull => return self.put_off(socket, publish, self.ids_full(publish)),
            Stored::Done(done) => done,
        };
        times.applied_ns = self.clock.mono_ns();
        let number = self.open_publication(socket, session, publish, times);
        let level = self.level(stream);
        if let Some(publication) = self.publication(socket, number) {
            publication.note_part(stored.rejected, stored.first_reject, level.code());
        }
        self.wait_for(level, stored.lsn, Waiter::Publication { socket, number });
        Flow::Taken
    }

    /// Adds the publication to its connection and moves the session on. Returns its number.
    pub(super) fn open_publication(
        &mut self,
        socket: SocketId,
        session: &Session,
        publish: &Publish<'_>,
        times: Times,
    ) -> u16 {
        let last_sequence = publish.first_sequence + u64::from(publish.count) - 1;
        let connection = self.connection_or_new(socket);
        connection.session = Some(Session {
            next_sequence: session.next_sequence.max(last_sequence + 1),
            taken_through: session.taken_through.max(last_sequence),
            ..session.clone()
        });
        let publication = Publication {
            stream: publish.stream,
            schema_id: publish.schema_id,
            last_sequence,
            count: publish.count,
            parts: 1,
            level: u8::MAX,
            times,
            ..Publication::default()
        };
        push_publication(connection, publication)
    }

    pub(super) fn publication(
        &mut self,
        socket: SocketId,
        number: u16,
    ) -> Option<&mut Publication> {
        self.connection(socket)?.publication(number)
    }

    pub(super) fn fence(&mut self, socket: SocketId, epoch: u32, newer: u32) -> Flow {
        let message = format!("epoch {epoch} of this producer was replaced by {newer}");
        self.refuse(socket, ErrorCode::Fenced, 0, &message)
    }

    /// The floor that the real path is measured against: framing, and for [`Floor::Log`] the log.
    fn floor_publish(
        &mut self,
        socket: SocketId,
        frame: &Frame<'_>,
        rx_ns: u64,
        parse_ns: u64,
    ) -> Flow {
        let parsed_ns = self.clock.mono_ns();
        let lsn = match self.floor {
            Some(Floor::Log) => match self.log.append(KIND_FLOOR, &[frame.payload]) {
                Some(lsn) => lsn,
                None => return Flow::Stalled,
            },
            _ => self.log.durable_lsn(),
        };
        let times = Times {
            rx_ns,
            parse_ns,
            parsed_ns,
            applied_ns: parsed_ns,
            ..Times::default()
        };
        let publication = Publication {
            last_sequence: frame.header.sequence + u64::from(frame.header.count) - 1,
            count: frame.header.count,
            parts: 1,
            level: ringmill_shard::wire::Level::Commit.code(),
            times,
            ..Publication::default()
        };
        let connection = self.connection_or_new(socket);
        let number = push_publication(connection, publication);
        self.durable
            .push(lsn, Waiter::Publication { socket, number });
        Flow::Taken
    }

    /// The ticket of a publication, for peers to echo.
    pub(super) fn ticket(socket: SocketId, number: u16) -> u64 {
        Ticket { socket, number }.pack()
    }
}

fn push_publication(connection: &mut Connection, publication: Publication) -> u16 {
    let number = connection.next_number();
    connection.publications.push_back(publication);
    number
}

impl Publication {
    /// Notes what one part brought. The level of the whole is that of its weakest part.
    pub(super) fn note_part(
        &mut self,
        rejected: u32,
        first_reject: Option<(u64, u8, u8)>,
        level: u8,
    ) {
        self.rejected += rejected;
        self.level = self.level.min(level);
        self.first_reject = match (self.first_reject, first_reject) {
            (Some(known), Some(new)) => Some(if new.0 < known.0 { new } else { known }),
            (known, new) => known.or(new),
        };
    }
}
