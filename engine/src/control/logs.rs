//! Reading the logs of the running store beside the shards that write them: what corrections and
//! receipts look events up in.
//!
//! Only entries that a shard has said to be durable are read, with the steps of recovery. Whoever
//! owns a disk serves the requests: the control plane on a thread that may block, a simulation
//! between the turns of its cores.

use ringmill_shard::dedupe::Layout as ShardLayout;
use ringmill_storage::disk::Disk;
use ringmill_storage::error::{ReplayError, StorageError};
use ringmill_storage::follow::Follower;
use ringmill_storage::verify::read_dir;
use tokio::sync::{mpsc, oneshot};

use crate::recovery::Layout;

/// Requests that may wait.
const REQUESTS_MAX: usize = 16;

/// Takes every entry: its log stream, LSN, kind and bytes.
pub(crate) type Visit = Box<dyn FnMut(u32, u64, u32, &[u8]) + Send>;

/// Why the logs cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogsError {
    /// Nobody serves requests.
    #[error("the logs are not read here")]
    Absent,
    /// A log is damaged or cannot be read.
    #[error("a log cannot be read: {0}")]
    Storage(#[from] StorageError),
}

/// A request to read some logs, one after the other.
pub(crate) struct LogRequest {
    layout: Layout,
    /// Log streams, oldest layout first, and up to where they are read; `None` for the whole.
    logs: Vec<(u32, Option<u64>)>,
    visit: Visit,
    done: oneshot::Sender<Result<(), StorageError>>,
}

impl LogRequest {
    /// Reads the logs from a disk.
    pub(crate) fn serve<D: Disk>(mut self, disk: &mut D) {
        let result = self.read(disk);
        // Whoever asked may have gone. What was visited is let go before the answer.
        drop(self.visit);
        let _ = self.done.send(result);
    }

    fn read<D: Disk>(&mut self, disk: &mut D) -> Result<(), StorageError> {
        for &(stream, through) in &self.logs {
            let dir = self.layout.dir_of(stream);
            let visit = &mut self.visit;
            let mut each = |lsn: u64, kind: u32, entry: &[u8]| -> Result<(), ReplayError> {
                visit(stream, lsn, kind, entry);
                Ok(())
            };
            match through {
                Some(0) => {}
                Some(durable) => {
                    let mut bounded = |lsn: u64, kind: u32, entry: &[u8]| match lsn <= durable {
                        true => each(lsn, kind, entry),
                        false => Ok(()),
                    };
                    let identity = self.layout.identity(stream);
                    let mut follower = Follower::open(disk, &dir, identity)?;
                    let read = follower.read_through(disk, durable, &mut bounded);
                    read.map(drop).and(follower.close(disk))?;
                }
                None => {
                    read_dir(disk, &dir, &mut each)?;
                }
            }
        }
        Ok(())
    }
}

/// A handle to whoever reads the logs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    reader: Option<(Layout, mpsc::Sender<LogRequest>)>,
}

impl Logs {
    /// A handle, and where its requests arrive.
    pub(crate) fn new(layout: Layout) -> (Logs, mpsc::Receiver<LogRequest>) {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let reader = Some((layout, requests));
        (Logs { reader }, inbox)
    }

    /// The layouts before the newest, oldest first.
    pub(crate) fn older(&self) -> Vec<ShardLayout> {
        let reader = self.reader.as_ref();
        reader.map_or_else(Vec::new, |(layout, _)| layout.place(0).older)
    }

    /// Reads all logs of older layouts, then those that are written now, each up to its durable LSN.
    pub(crate) async fn read(&self, through: &[u64], visit: Visit) -> Result<(), LogsError> {
        let (layout, requests) = self.reader.as_ref().ok_or(LogsError::Absent)?;
        let older = layout
            .all_older_streams()
            .into_iter()
            .map(|log| (log, None));
        let own = through.iter().enumerate();
        let own = own.map(|(shard, &lsn)| (layout.own_stream(shard), Some(lsn)));
        let (done, outcome) = oneshot::channel();
        let request = LogRequest {
            layout: layout.clone(),
            logs: older.chain(own).collect(),
            visit,
            done,
        };
        let sent = requests.send(request).await;
        sent.map_err(|_| LogsError::Absent)?;
        Ok(outcome.await.map_err(|_| LogsError::Absent)??)
    }
}
