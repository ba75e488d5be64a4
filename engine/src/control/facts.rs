//! What is known of the start of this process, for `/v1/status` and the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

/// How the engine was started.
#[derive(Clone, Debug, Serialize)]
pub struct ServeFacts {
    /// Number of shards.
    pub shards: usize,
    /// Back end of the disk and the sockets: `uring` or `posix`.
    pub backend: String,
    /// How log frames are made durable.
    pub sync_way: String,
    /// Address of the native protocol.
    pub listen: String,
    /// CPUs that shards are pinned to; empty if they are not.
    pub cpus: Vec<usize>,
    /// How long idle cores spin.
    pub spin: String,
    /// What is measured instead of the whole: `echo` or `log`.
    pub floor: Option<String>,
    /// Durability that overrides the one of every stream.
    pub durability: Option<String>,
    /// Events replayed at the start.
    pub recovered_events: u64,
    /// Duration of the recovery, in ms.
    pub recovery_ms: u64,
    /// Wall clock at the start, ns since the epoch.
    pub started_wall_ns: u64,
    /// Free bytes that the log asks for before it takes events after the disk was full.
    pub disk_needed_bytes: u64,
    /// Monotonic clock at the start.
    #[serde(skip)]
    pub started: Instant,
}

impl ServeFacts {
    /// Of an engine over simulated parts.
    pub(super) fn simulated(shards: usize) -> ServeFacts {
        ServeFacts {
            shards,
            backend: "simulated".to_owned(),
            sync_way: "simulated".to_owned(),
            listen: String::new(),
            cpus: Vec::new(),
            spin: "0".to_owned(),
            floor: None,
            durability: None,
            recovered_events: 0,
            recovery_ms: 0,
            started_wall_ns: 0,
            disk_needed_bytes: 0,
            started: Instant::now(),
        }
    }

    /// Time since the start, in ms.
    pub fn uptime_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// The order to stop, and word that it has been obeyed. Clones share both.
#[derive(Clone)]
pub struct ShutdownHandle {
    requested: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    on_request: Arc<dyn Fn() + Send + Sync>,
}

impl ShutdownHandle {
    /// `on_request` runs once, on the thread that asks first; it wakes whoever has to stop.
    pub fn new(on_request: impl Fn() + Send + Sync + 'static) -> ShutdownHandle {
        ShutdownHandle {
            requested: Arc::default(),
            stopped: Arc::default(),
            on_request: Arc::new(on_request),
        }
    }

    /// Asks the cores to stop.
    pub fn request(&self) {
        // Ordering: whoever sees the order also sees what was done before it was given.
        if !self.requested.swap(true, Ordering::AcqRel) {
            (self.on_request)();
        }
    }

    /// Whether the cores have been asked to stop.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Tells the control plane that the cores have stopped, so that its last dump is complete.
    pub fn mark_stopped(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether the cores have stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShutdownHandle")
            .field("requested", &self.is_requested())
            .finish()
    }
}
