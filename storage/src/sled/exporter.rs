//! The thread that exports a store from time to time while it changes, and once more when it is
//! closed and the last export has become old.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Shared;
use crate::{StoreError, now_unix};

/// Ends its thread when it is dropped.
#[derive(Debug)]
pub(super) struct Exporter {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    told: Mutex<bool>,
    telling: Condvar,
}

impl Exporter {
    pub(super) fn start(store: Arc<Shared>, every: Duration) -> Result<Self, StoreError> {
        let stop = Arc::new(Stop::default());
        let seen = stop.clone();
        let folder = store.folder.clone();
        let thread = thread::Builder::new()
            .name("rempart-export".into())
            .spawn(move || run(&store, &seen, every))
            .map_err(|error| StoreError::io(&folder, "start the exporting thread", error))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        *self.stop.told.lock() = true;
        self.stop.telling.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was printed; there is nobody left to tell.
            drop(thread.join());
        }
    }
}

fn run(store: &Shared, stop: &Stop, every: Duration) {
    loop {
        let stopped = {
            let mut told = stop.told.lock();
            stop.telling.wait_while_for(&mut told, |told| !*told, every);
            *told
        };
        let age = now_unix().saturating_sub(store.exports.newest_at());
        let due = store.exports.is_changed() && (!stopped || age >= every.as_secs());
        if due && let Err(error) = store.export_now() {
            tracing::error!(%error, "export failed, the next one tries again");
        }
        if stopped {
            return;
        }
    }
}
