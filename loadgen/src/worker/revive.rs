//! Making lost connections again without stopping the thread that keeps the schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::event::epoll;

use super::Worker;
use crate::connection::Lost;
use crate::error::LoadError;
use crate::greet::{Greeting, greet};

/// First pause between attempts; each one doubles it.
const BACK_OFF_MIN: Duration = Duration::from_millis(10);
/// Longest pause between attempts.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

type Revived = (usize, Result<Greeting, LoadError>);

/// Connects in threads of its own.
pub(super) struct Reviver {
    addr: Option<String>,
    done: Arc<AtomicBool>,
    sender: Sender<Revived>,
    receiver: Receiver<Revived>,
    waiting: usize,
}

impl Reviver {
    pub(super) fn new(addr: Option<String>) -> Reviver {
        let (sender, receiver) = channel();
        Reviver {
            addr,
            done: Arc::default(),
            sender,
            receiver,
            waiting: 0,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Starts attempts for one connection; they go on until one works or the run ends.
    pub(super) fn ask(&mut self, which: usize, name: &str, timeout_ns: u64) {
        let Some(addr) = self.addr.clone() else {
            return;
        };
        let (done, sender, name) = (self.done.clone(), self.sender.clone(), name.to_owned());
        let timeout = Duration::from_nanos(timeout_ns.max(1_000_000));
        let attempts = move || {
            let mut pause = BACK_OFF_MIN;
            while !done.load(Ordering::Relaxed) {
                match greet(&addr, &name, timeout) {
                    Err(error) if is_passing(&error) => {
                        std::thread::sleep(pause);
                        pause = (pause * 2).min(BACK_OFF_MAX);
                    }
                    result => {
                        // The receiver is gone once the run has ended.
                        let _ = sender.send((which, result));
                        return;
                    }
                }
            }
        };
        let spawned = std::thread::Builder::new()
            .name("revive".to_owned())
            .spawn(attempts);
        if spawned.is_ok() {
            self.waiting += 1;
        }
    }

    /// Ends all attempts.
    pub(super) fn end(&self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Whether a later attempt may work: the server may be starting, stopping or out of room.
fn is_passing(error: &LoadError) -> bool {
    match error {
        LoadError::Connect { .. } | LoadError::Greeting { .. } => true,
        LoadError::Refused { code, .. } => {
            matches!(
                *code,
                "shutting_down" | "overloaded" | "shard_failed" | "disk_full"
            )
        }
        _ => false,
    }
}

impl Worker {
    /// Takes connections that were made again. Returns whether there were any.
    pub(super) fn revive(&mut self, now_ns: u64) -> bool {
        let mut any = false;
        while let Ok((which, result)) = self.reviver.receiver.try_recv() {
            self.reviver.waiting -= 1;
            any = true;
            match result {
                Ok(greeting) => {
                    self.tally.set.counts.reconnects += 1;
                    if let Err(lost) = self.adopt(which, greeting, now_ns) {
                        self.lose(which, lost);
                    }
                }
                Err(error) => self.lose(which, Lost::ForGood(error.to_string())),
            }
        }
        any
    }

    /// Attaches a socket to its connection and watches it.
    pub(crate) fn adopt(
        &mut self,
        which: usize,
        greeting: Greeting,
        now_ns: u64,
    ) -> Result<(), Lost> {
        let connection = &mut self.connections[which];
        connection.attach(greeting.socket, &greeting.ack, now_ns, &mut self.tally)?;
        let socket = connection.socket().expect("invariant: attached above");
        let data = epoll::EventData::new_u64(which as u64);
        epoll::add(&self.poll, socket, data, epoll::EventFlags::IN)
            .map_err(|error| Lost::ForGood(format!("epoll_ctl: {error}")))
    }
}
