//! The background plane: file work that may wait, on glommio's executor in a thread of its own.
//!
//! A core pushes a request for a segment and goes on; it never wakes this thread. The thread looks
//! at its lanes every few milliseconds, writes the zeros with direct I/O, and pushes the number
//! back. Nothing here can block a core or take the process down.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringmill_storage::segment::{PreparedSegment, segment_path};

use crate::ring::{Consumer, Producer, ring};

mod prepare;
mod space;

const LANE_SLOTS: usize = 64;
/// A request: the sequence of the segment to prepare.
const WANT: u32 = 1;
/// The segment with this sequence is ready.
const READY: u32 = 2;
/// It could not be made; ask again later.
const FAILED: u32 = 3;

/// How often the plane looks at its lanes. A core asks long before it needs.
const TICK: Duration = Duration::from_millis(4);

/// Pause after a segment could not be made: the core asks again at once.
const FAILED_PAUSE: Duration = Duration::from_millis(250);

/// The core's end: asks for segments, takes them.
#[derive(Debug)]
pub struct SegmentPort {
    wants: Producer,
    ready: Consumer,
    dir: PathBuf,
    segment_bytes: u64,
    asked: bool,
}

/// The background's end for one shard.
#[derive(Debug)]
pub struct SegmentDesk {
    wants: Consumer,
    ready: Producer,
    dir: PathBuf,
}

/// The two ends of one shard's lane for segments of the log in `dir`.
pub fn segment_lane(dir: &Path, segment_bytes: u64) -> (SegmentPort, SegmentDesk) {
    let (wants_in, wants_out) = ring(LANE_SLOTS);
    let (ready_in, ready_out) = ring(LANE_SLOTS);
    let dir = dir.to_owned();
    let port = SegmentPort {
        wants: wants_in,
        ready: ready_out,
        dir: dir.clone(),
        segment_bytes,
        asked: false,
    };
    (
        port,
        SegmentDesk {
            wants: wants_out,
            ready: ready_in,
            dir,
        },
    )
}

fn put_sequence(lane: &mut Producer, kind: u32, sequence: u64) {
    // One request is under way at a time, so both lanes always have room for one record.
    let body = lane
        .reserve(kind, 8)
        .expect("invariant: one record at a time");
    body.copy_from_slice(&sequence.to_le_bytes());
    lane.commit();
    lane.publish();
}

fn take_sequence(lane: &mut Consumer) -> Option<(u32, u64)> {
    let record = lane.peek()?;
    let sequence = u64::from_le_bytes(record.body.try_into().expect("invariant: eight bytes"));
    let taken = (record.kind, sequence);
    lane.advance();
    lane.release();
    Some(taken)
}

impl SegmentPort {
    /// Asks for the segment with this sequence, unless one is being made.
    pub fn ask(&mut self, segment_sequence: u64) {
        if !self.asked {
            put_sequence(&mut self.wants, WANT, segment_sequence);
            self.asked = true;
        }
    }

    /// The next segment that is ready.
    pub fn take(&mut self) -> Option<PreparedSegment> {
        if !self.asked {
            return None;
        }
        let (kind, segment_sequence) = take_sequence(&mut self.ready)?;
        self.asked = false;
        (kind == READY).then(|| PreparedSegment {
            path: segment_path(&self.dir, segment_sequence),
            segment_sequence,
            segment_bytes: self.segment_bytes,
        })
    }
}

impl SegmentDesk {
    fn wanted(&mut self) -> Option<u64> {
        take_sequence(&mut self.wants).map(|(_, sequence)| sequence)
    }

    fn deliver(&mut self, kind: u32, segment_sequence: u64) {
        put_sequence(&mut self.ready, kind, segment_sequence);
    }
}

/// What the background plane is told.
#[derive(Debug)]
pub struct BackgroundOptions {
    /// One desk per shard.
    pub desks: Vec<SegmentDesk>,
    /// Set while there is too little space left for more log.
    pub disk_full: Arc<AtomicBool>,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// The data directory, whose filesystem's free space is watched.
    pub data_dir: PathBuf,
    /// New events are refused below this many free bytes.
    pub free_bytes_min: u64,
    /// CPUs that the plane may run on; empty for any.
    pub cpus: Vec<usize>,
    /// Whether glommio's executor may be used; false where io_uring is blocked.
    pub uring: bool,
}

/// The running background plane.
#[derive(Debug)]
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Background {
    /// Starts the plane.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(options: BackgroundOptions) -> std::io::Result<Background> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("ringmill-files".to_owned())
            .spawn(move || run(options, &stopped))?;
        Ok(Background { stop, thread })
    }

    /// Ends the plane once the segment that it is writing is done.
    pub fn stop(self) {
        // Ordering: Relaxed, the flag carries no data.
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            say!("the background plane ended with a panic; no data is affected");
        }
    }
}

fn run(mut options: BackgroundOptions, stop: &AtomicBool) {
    crate::placement::confine(&options.cpus);
    let mut preparer = prepare::Preparer::new(options.uring);
    let mut watch = space::SpaceWatch::new(options.data_dir.clone(), options.free_bytes_min);
    let mut failing = false;
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        for desk in &mut options.desks {
            let Some(sequence) = desk.wanted() else {
                continue;
            };
            idle = false;
            let kind = match preparer.prepare(&desk.dir, sequence, options.segment_bytes) {
                Ok(()) => {
                    failing = false;
                    READY
                }
                Err(error) => {
                    // Said once: it is tried again until it works.
                    if !failing {
                        say!("cannot prepare log segment {sequence}: {error}");
                    }
                    failing = true;
                    // Without a segment the shard would wait for ever: refuse until space is back.
                    watch.note_failure();
                    FAILED
                }
            };
            desk.deliver(kind, sequence);
        }
        // Ordering: Relaxed, a flag on its own.
        options.disk_full.store(watch.is_full(), Ordering::Relaxed);
        if failing {
            std::thread::sleep(FAILED_PAUSE);
        } else if idle {
            std::thread::sleep(TICK);
        }
    }
}
