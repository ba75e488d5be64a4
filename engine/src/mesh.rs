//! All lanes between all peers, and what one peer holds of them.
//!
//! Peers are the shards 0 to n - 1 and the control peer n. Between every ordered pair there is a
//! request lane and a reply lane, each a [`ring`]. A request that wants a reply takes a credit; the
//! credits of a pair are as many as its reply lane has slots and a reply takes one slot, so a reply
//! lane is never full and no peer ever waits for another one to send a reply.
//!
//! Nothing that is sent is seen before [`Ports::publish_all`], which a core calls once per turn.
//! The control peer looks at its lanes on a timer: a core never pays a system call to wake it.

use std::io;
use std::os::fd::BorrowedFd;

use thiserror::Error;

use crate::ring::{Consumer, HEADER_BYTES, Producer, SLOT_BYTES, SLOTS_MAX, SLOTS_MIN, ring};
use crate::wake::{Sleeper, Waker, fence_before_claim, sleeper};

/// The most memory that the lanes of a mesh may take together.
pub const MESH_BYTES_MAX: usize = 1 << 30;
/// The longest body of a reply: it takes exactly one slot.
pub const REPLY_BODY_BYTES_MAX: usize = SLOT_BYTES - HEADER_BYTES;

/// Sizes of the lanes, the same for every pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshOptions {
    /// 64-byte slots of a request lane, a power of two.
    pub request_slots: usize,
    /// 64-byte slots of a reply lane, a power of two; also the credits of a pair.
    pub reply_slots: usize,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self {
            request_slots: 4096,
            reply_slots: 1024,
        }
    }
}

impl MeshOptions {
    /// Bytes that the lanes of a mesh of `shards` shards and the control peer take.
    #[must_use]
    pub fn bytes(&self, shards: usize) -> usize {
        let pairs = shards.saturating_mul(shards + 1);
        let slots = self.request_slots.saturating_add(self.reply_slots);
        pairs.saturating_mul(slots).saturating_mul(SLOT_BYTES)
    }

    /// These options with both lanes halved until a mesh of `shards` fits [`MESH_BYTES_MAX`].
    #[must_use]
    pub fn fitted(mut self, shards: usize) -> Self {
        while self.bytes(shards) > MESH_BYTES_MAX && self.reply_slots.min(self.request_slots) > 64 {
            self.request_slots /= 2;
            self.reply_slots /= 2;
        }
        self
    }

    fn check(&self, shards: usize) -> Result<(), MeshError> {
        let lanes = [
            ("request_slots", self.request_slots),
            ("reply_slots", self.reply_slots),
        ];
        for (lane, slots) in lanes {
            if !slots.is_power_of_two() || !(SLOTS_MIN..=SLOTS_MAX).contains(&slots) {
                return Err(MeshError::Slots { lane, slots });
            }
        }
        if shards == 0 {
            return Err(MeshError::NoShards);
        }
        let bytes = self.bytes(shards);
        if bytes > MESH_BYTES_MAX {
            return Err(MeshError::Memory { shards, bytes });
        }
        Ok(())
    }
}

/// Why a mesh cannot be made.
#[derive(Debug, Error)]
pub enum MeshError {
    /// There is nothing to connect.
    #[error("a mesh needs at least one shard")]
    NoShards,
    /// A lane's size is not possible.
    #[error("{lane} must be a power of two from {SLOTS_MIN} to {SLOTS_MAX}, not {slots}")]
    Slots {
        /// The option.
        lane: &'static str,
        /// Its value.
        slots: usize,
    },
    /// The lanes together are too large.
    #[error(
        "the lanes of {shards} shards take {bytes} bytes, over the limit of {MESH_BYTES_MAX}; \
         use fewer shards or smaller lanes"
    )]
    Memory {
        /// Shards asked for.
        shards: usize,
        /// Bytes that their lanes would take.
        bytes: usize,
    },
    /// The kernel gave no eventfd.
    #[error("no eventfd for a core (open file limit reached?): {0}")]
    Eventfd(#[from] io::Error),
}

/// Makes the lanes of `shards` shards and the control peer. The index in the result is the peer's.
///
/// # Errors
/// If the options are impossible, too large together, or the kernel is out of descriptors.
pub fn mesh(shards: usize, options: &MeshOptions) -> Result<Vec<Ports>, MeshError> {
    options.check(shards)?;
    let peers = shards + 1;
    let (mut sleepers, mut wakers) = (Vec::with_capacity(peers), Vec::with_capacity(peers));
    for _ in 0..peers {
        let (sleeper, waker) = sleeper()?;
        sleepers.push(sleeper);
        wakers.push(waker);
    }
    let mut ports: Vec<Ports> = sleepers
        .into_iter()
        .enumerate()
        .map(|(me, sleeper)| Ports::new(me, sleeper, &wakers, options.reply_slots))
        .collect();
    for from in 0..peers {
        for to in (0..peers).filter(|&to| to != from) {
            let (producer, consumer) = ring(options.request_slots);
            ports[from].requests_out[to] = Some(producer);
            ports[to].requests_in[from] = Some(consumer);
            let (producer, consumer) = ring(options.reply_slots);
            ports[from].replies_out[to] = Some(producer);
            ports[to].replies_in[from] = Some(consumer);
        }
    }
    Ok(ports)
}

/// What a peer keeps about another one. Two lines wide, so that the lists of two peers whose
/// allocations are neighbours share none.
#[derive(Debug)]
#[repr(align(128))]
struct Other {
    waker: Waker,
    /// Requests that may still be sent.
    credits: usize,
    /// Credits given back whose reply slots the producer may not have back yet.
    returned: usize,
    /// Has something new since the last publish and may need a wake-up.
    got: bool,
}

/// One peer's ends of all its lanes. The lists are indexed by peer and empty at `me`.
#[derive(Debug)]
pub struct Ports {
    /// This peer.
    pub me: usize,
    /// Requests to others.
    pub requests_out: Vec<Option<Producer>>,
    /// Requests of others.
    pub requests_in: Vec<Option<Consumer>>,
    /// Replies to the requests of others.
    pub replies_out: Vec<Option<Producer>>,
    /// Replies to own requests.
    pub replies_in: Vec<Option<Consumer>>,
    others: Vec<Other>,
    credits_max: usize,
    sleeper: Sleeper,
}

impl Ports {
    fn new(me: usize, sleeper: Sleeper, wakers: &[Waker], credits_max: usize) -> Self {
        let peers = wakers.len();
        let other = |waker: &Waker| Other {
            waker: waker.clone(),
            credits: credits_max,
            returned: 0,
            got: false,
        };
        Self {
            me,
            requests_out: (0..peers).map(|_| None).collect(),
            requests_in: (0..peers).map(|_| None).collect(),
            replies_out: (0..peers).map(|_| None).collect(),
            replies_in: (0..peers).map(|_| None).collect(),
            others: wakers.iter().map(other).collect(),
            credits_max,
            sleeper,
        }
    }

    /// Number of peers, the control peer included.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.others.len()
    }

    /// The control peer's index.
    #[must_use]
    pub fn control(&self) -> usize {
        self.others.len() - 1
    }

    /// Takes the right to send `peer` one request that it answers with one reply. False: none is
    /// left until replies have come.
    ///
    /// # Panics
    /// If `peer` is this peer, which has no lane to itself.
    #[must_use]
    pub fn take_credit(&mut self, peer: usize) -> bool {
        assert!(peer != self.me, "no lane to oneself");
        if self.others[peer].credits == 0 && !self.renew_credits(peer) {
            return false;
        }
        self.others[peer].credits -= 1;
        true
    }

    /// Gives a credit back: the reply has been taken from its lane, or the request was not sent.
    ///
    /// # Panics
    /// If more credits come back than were taken.
    pub fn give_credit(&mut self, peer: usize) {
        let other = &mut self.others[peer];
        other.returned += 1;
        assert!(
            other.credits + other.returned <= self.credits_max,
            "credit given back twice"
        );
    }

    /// Credited requests to `peer` that were not replied to yet.
    #[must_use]
    pub fn outstanding(&self, peer: usize) -> usize {
        self.credits_max - self.others[peer].credits - self.others[peer].returned
    }

    /// A returned credit is good only once the reply's slot has gone back to the other side, or
    /// the reply lane could be full after all.
    fn renew_credits(&mut self, peer: usize) -> bool {
        if let Some(lane) = &mut self.replies_in[peer] {
            lane.release();
        }
        let other = &mut self.others[peer];
        other.credits = std::mem::take(&mut other.returned);
        other.credits > 0
    }

    /// Stages a reply to `peer`; its body is at most [`REPLY_BODY_BYTES_MAX`] bytes.
    ///
    /// # Panics
    /// If the lane is full: the requests that are answered took no credit.
    pub fn reply(&mut self, peer: usize, kind: u32, body: &[u8]) {
        assert!(body.len() <= REPLY_BODY_BYTES_MAX);
        let lane = self.replies_out[peer]
            .as_mut()
            .expect("invariant: a lane to every other peer");
        let room = lane
            .reserve(kind, body.len())
            .expect("invariant: credits keep replies in room");
        room.copy_from_slice(body);
        lane.commit();
    }

    /// Makes everything staged on all lanes visible, then wakes those parked shards that got
    /// something. Returns how many were woken.
    pub fn publish_all(&mut self) -> usize {
        let control = self.control();
        let mut any = false;
        for (peer, other) in self.others.iter_mut().enumerate() {
            let requests = self.requests_out[peer]
                .as_mut()
                .is_some_and(Producer::publish);
            let replies = self.replies_out[peer]
                .as_mut()
                .is_some_and(Producer::publish);
            other.got = (requests || replies) && peer != control;
            any |= other.got;
        }
        if !any {
            return 0;
        }
        fence_before_claim();
        self.others
            .iter()
            .filter(|other| other.got && other.waker.claim())
            .count()
    }

    /// About to wait: true if nothing has arrived on any lane, and from now on whoever sends
    /// something signals [`Ports::wake_fd`]. False: stay awake, there is work.
    ///
    /// Everything staged has to be published before. [`Ports::unpark`] when the wait is over.
    #[must_use]
    pub fn prepare_park(&mut self) -> bool {
        debug_assert!(
            !self.has_staged(),
            "a peer would wait for what is staged here"
        );
        self.sleeper.announce();
        if self.has_inbound() {
            self.sleeper.withdraw();
            return false;
        }
        true
    }

    /// The wait is over, for whatever reason: signals are not needed now, and those that came are
    /// cleared.
    pub fn unpark(&mut self) {
        self.sleeper.withdraw();
        self.sleeper.clear();
    }

    /// Whether a record waits on any inbound lane.
    #[must_use]
    pub fn has_inbound(&mut self) -> bool {
        let lanes = self.requests_in.iter_mut().chain(&mut self.replies_in);
        lanes.flatten().any(|lane| !lane.is_empty())
    }

    /// Whether anything is staged that [`Ports::publish_all`] would publish.
    #[must_use]
    pub fn has_staged(&self) -> bool {
        let lanes = self.requests_out.iter().chain(&self.replies_out);
        lanes.flatten().any(Producer::has_staged)
    }

    /// The eventfd that becomes readable when this peer has to wake up; poll it for input.
    #[must_use]
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.sleeper.fd()
    }

    /// Wakes this peer from elsewhere, such as a background thread or a signal handler's.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.others[self.me].waker.clone()
    }

    /// Waits for the signal as the models do it.
    #[cfg(ringmill_loom)]
    pub fn wait(&mut self) {
        self.sleeper.wait();
    }
}
