//! Writing latency dumps: at an interval, on demand, and at the end.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use crate::dump::Dumper;
use crate::metrics::{CoreMetrics, CoreSnapshot};

const NO_DUMPS: &str = "there are no latency dumps now: the last one has been written, or they \
     could not be begun, which the server has said at its start";

/// The dump files of this process. Clones share them. Files may be slow, so that all work on them
/// is done off the control plane's thread.
#[derive(Clone)]
pub(crate) struct Dumps {
    /// `None` once the last dump is written, or if none could be begun.
    dumper: Arc<Mutex<Option<Dumper>>>,
    metrics: Arc<[Arc<CoreMetrics>]>,
}

impl Dumps {
    pub(crate) fn new(dumper: Option<Dumper>, metrics: &[Arc<CoreMetrics>]) -> Dumps {
        Dumps {
            dumper: Arc::new(Mutex::new(dumper)),
            metrics: metrics.into(),
        }
    }

    /// Writes an interval now and returns the directory of the dumps.
    pub(crate) async fn dump_now(&self) -> io::Result<PathBuf> {
        let Dumps { dumper, metrics } = self.clone();
        off_thread(move || {
            // A panic of an earlier dump has left at worst a half-written line.
            let mut dumper = dumper.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *dumper {
                Some(dumper) => dumper.interval(&snapshots(&metrics)).map(PathBuf::from),
                None => return Err(io::Error::other(NO_DUMPS)),
            }
            .map_err(io::Error::other)
        })
        .await
    }

    /// Starts writing an interval, unless a dump is being written already. Errors are printed:
    /// latency dumps are no reason to stop serving.
    pub(crate) fn start(&self) {
        if let Err(TryLockError::WouldBlock) = self.dumper.try_lock() {
            return;
        }
        let dumps = self.clone();
        tokio::spawn(async move { report(dumps.dump_now().await) });
    }

    /// Writes the last interval and marks the run as ended in order.
    pub(crate) async fn finish(&self) {
        let Dumps { dumper, metrics } = self.clone();
        let finished = off_thread(move || {
            let mut dumper = dumper.lock().unwrap_or_else(PoisonError::into_inner);
            match dumper.take() {
                Some(dumper) => dumper
                    .finish(&snapshots(&metrics))
                    .map_err(io::Error::other),
                None => Ok(PathBuf::new()),
            }
        });
        report(finished.await);
    }
}

fn snapshots(metrics: &[Arc<CoreMetrics>]) -> Vec<CoreSnapshot> {
    metrics.iter().map(|core| core.snapshot()).collect()
}

async fn off_thread(
    work: impl FnOnce() -> io::Result<PathBuf> + Send + 'static,
) -> io::Result<PathBuf> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn report(result: io::Result<PathBuf>) {
    if let Err(error) = result {
        say!("ringmill: {error}");
    }
}
