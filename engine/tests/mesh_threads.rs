//! All peers of a mesh on real threads. Everybody asks everybody, in small bursts with rests, and
//! shards park on their eventfd whenever they find nothing. A wait that ends by its time limit
//! while nobody has woken the shard is a lost wake-up.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use ringmill_engine::mesh::{MeshOptions, Ports, mesh};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const ASK: u32 = 1;
const DONE: u32 = 2;
const ANSWER: u32 = 3;

const OPTIONS: MeshOptions = MeshOptions {
    request_slots: 256,
    reply_slots: 64,
};

struct Peer {
    ports: Ports,
    /// Requests still to be sent to each peer.
    to_ask: Vec<u64>,
    /// Next expected answer of each peer.
    expected: Vec<u64>,
    finished: Vec<bool>,
    told: bool,
    waiting: VecDeque<(usize, u64)>,
    random: u64,
    parks: u64,
    requests: u64,
}

fn body_of(number: u64) -> Vec<u8> {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut body = vec![mixed as u8; (mixed >> 40) as usize % 600 + 8];
    body[..8].copy_from_slice(&number.to_le_bytes());
    body
}

impl Peer {
    fn new(ports: Ports, requests: u64, seed: u64) -> Self {
        let peers = ports.peers();
        let mut to_ask = vec![requests; peers];
        to_ask[ports.me] = 0;
        let mut finished = vec![false; peers];
        finished[ports.me] = true;
        Self {
            random: seed ^ ports.me as u64,
            ports,
            to_ask,
            expected: vec![0; peers],
            finished,
            told: false,
            waiting: VecDeque::new(),
            parks: 0,
            requests,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695);
        (self.random >> 33) % bound
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let me = self.ports.me;
        (0..self.ports.peers()).filter(move |&peer| peer != me)
    }

    /// Sends a burst to everybody; true if anything is left to send and could be sent later.
    fn ask(&mut self) {
        for peer in self.others() {
            for _ in 0..self.below(6) {
                if self.to_ask[peer] == 0 || !self.ports.take_credit(peer) {
                    break;
                }
                let body = body_of(self.requests - self.to_ask[peer]);
                let lane = self.ports.requests_out[peer].as_mut().expect("a lane");
                let Some(room) = lane.reserve(ASK, body.len()) else {
                    self.ports.give_credit(peer);
                    break;
                };
                room.copy_from_slice(&body);
                lane.commit();
                self.to_ask[peer] -= 1;
            }
        }
    }

    fn serve(&mut self) {
        for peer in self.others() {
            let lane = self.ports.requests_in[peer].as_mut().expect("a lane");
            while let Some(record) = lane.peek() {
                if record.kind == DONE {
                    self.finished[peer] = true;
                } else {
                    let number = u64::from_le_bytes(record.body[..8].try_into().expect("8 bytes"));
                    assert_eq!(record.body, body_of(number), "contents");
                    self.waiting.push_back((peer, number));
                }
                lane.advance();
            }
            lane.release();
        }
        while let Some((peer, number)) = self.waiting.pop_front() {
            self.ports.reply(peer, ANSWER, &number.to_le_bytes());
        }
    }

    fn take_answers(&mut self) {
        for peer in self.others() {
            let lane = self.ports.replies_in[peer].as_mut().expect("a lane");
            let mut taken = 0;
            while let Some(record) = lane.peek() {
                assert_eq!(
                    record.body,
                    self.expected[peer].to_le_bytes(),
                    "order of answers"
                );
                self.expected[peer] += 1;
                taken += 1;
                lane.advance();
            }
            (0..taken).for_each(|_| self.ports.give_credit(peer));
        }
    }

    fn tell_when_done(&mut self) {
        if !self.told
            && self
                .others()
                .all(|peer| self.expected[peer] == self.requests)
        {
            for peer in self.others() {
                let lane = self.ports.requests_out[peer].as_mut().expect("a lane");
                assert!(
                    lane.reserve(DONE, 0).is_some(),
                    "every request has been taken"
                );
                lane.commit();
            }
            self.told = true;
        }
    }

    /// Waits as its kind of peer does: shards for a wake-up, the control peer for its timer.
    fn rest(&mut self) {
        if self.ports.me == self.ports.control() {
            thread::sleep(Duration::from_millis(1));
            return;
        }
        if !self.ports.prepare_park() {
            return;
        }
        self.parks += 1;
        let limit = Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        let wake_fd = self.ports.wake_fd();
        let ready = poll(&mut [PollFd::new(&wake_fd, PollFlags::IN)], Some(&limit)).expect("poll");
        assert_eq!(
            ready, 1,
            "no wake-up in 20 s although every peer has work to report"
        );
        self.ports.unpark();
    }

    fn run(mut self) -> u64 {
        loop {
            self.take_answers();
            self.serve();
            self.ask();
            self.tell_when_done();
            self.ports.publish_all();
            if self.told && self.finished.iter().all(|&finished| finished) {
                return self.parks;
            }
            // Something to send and the right to send it: no rest, now and then apart.
            let can_ask = self
                .others()
                .any(|p| self.to_ask[p] > 0 && self.ports.outstanding(p) < 32);
            if !can_ask {
                self.rest();
            }
        }
    }
}

#[test]
fn everybody_gets_every_answer_and_no_wake_up_is_lost() {
    let requests = std::env::var("RINGMILL_MESH_REQUESTS")
        .map_or(5_000, |text| text.parse().expect("a number"));
    let seed = 42;
    let peers = mesh(3, &OPTIONS).expect("a mesh");
    let threads: Vec<_> = peers
        .into_iter()
        .map(|ports| thread::spawn(move || Peer::new(ports, requests, seed).run()))
        .collect();
    let parks: Vec<u64> = threads
        .into_iter()
        .map(|thread| thread.join().expect("the peer ends"))
        .collect();
    assert!(
        parks[..3].iter().sum::<u64>() > 0,
        "nobody ever parked: {parks:?}"
    );
}
