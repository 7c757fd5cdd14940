//! Writes bans and suspensions to the store in a thread of its own: the network's pace must never
//! wait for a disk, and a ban is in force before it is durable.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rempart_storage::{Ban, Row, Store, Suspension, put_ban, put_suspension};
use tokio::sync::Notify;
use tracing::warn;

/// Records waiting for the disk; past it the record stays in memory only.
const WAITING_MAX: usize = 8_192;

/// One thing to remember over a restart.
#[derive(Clone, Debug)]
pub enum Record {
    /// A ban.
    Ban(Ban),
    /// A suspension.
    Suspension(Suspension),
    /// A suspension that an operator ended.
    Unsuspend(Suspension),
    /// Nothing to remember: says that everything before it was written.
    Fence(Arc<Notify>),
}

/// The sending side.
#[derive(Clone, Debug)]
pub struct Scribe {
    records: SyncSender<Record>,
}

impl Scribe {
    /// Starts the writing thread; it ends when every sender is gone.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(store: Arc<dyn Store>) -> std::io::Result<Self> {
        let (records, waiting) = sync_channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("scribe".to_owned())
            .spawn(move || write_all(&*store, &waiting))?;
        Ok(Self { records })
    }

    /// Hands a record over; `false` when too many wait.
    pub fn write(&self, record: Record) -> bool {
        self.records.try_send(record).is_ok()
    }
}

fn write_all(store: &dyn Store, waiting: &Receiver<Record>) {
    while let Ok(record) = waiting.recv() {
        let written = match &record {
            Record::Ban(ban) => put_ban(store, ban),
            Record::Suspension(suspension) => put_suspension(store, suspension),
            Record::Fence(passed) => {
                passed.notify_one();
                Ok(())
            }
            Record::Unsuspend(suspension) => {
                let mut batch = rempart_storage::Batch::new();
                batch.delete(Suspension::TABLE, suspension.key());
                store.commit(batch)
            }
        };
        if let Err(error) = written {
            warn!(%error, "a ban or suspension is kept in memory only");
        }
    }
}
