//! Connections that have shown nothing yet: no whole message. They share a part of all places,
//! and where that is full, one of them makes room for the next, so that stalled peers cost nobody
//! else a place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rempart_sip::flow::SourceKey;
use tokio::time::Instant;

use super::connections::Handle;

/// How long the first message takes a peer that means it, its handshake included. Who needed
/// longer makes room first, whoever he is.
const HASTE: Duration = Duration::from_secs(1);

/// The newcomers, found by age and by source.
#[derive(Default)]
pub(super) struct Newcomers {
    /// By id, which is by age.
    all: BTreeMap<u64, Newcomer>,
    by_source: HashMap<SourceKey, BTreeSet<u64>>,
    /// Sources by how many newcomers they have.
    by_count: BTreeSet<(usize, SourceKey)>,
}

struct Newcomer {
    handle: Arc<Handle>,
    source: SourceKey,
    since: Instant,
}

impl Newcomers {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Takes one in.
    pub(super) fn add(&mut self, handle: Arc<Handle>, now: Instant) {
        let (id, source) = (handle.id, SourceKey::of(handle.remote.ip()));
        let ids = self.by_source.entry(source).or_default();
        self.by_count.remove(&(ids.len(), source));
        ids.insert(id);
        self.by_count.insert((ids.len(), source));
        self.all.insert(id, Newcomer { handle, source, since: now });
    }

    /// Lets one go that has shown something, or is gone.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(Newcomer { source, .. }) = self.all.remove(&id) else { return };
        let Some(ids) = self.by_source.get_mut(&source) else { return };
        self.by_count.remove(&(ids.len(), source));
        ids.remove(&id);
        if ids.is_empty() {
            self.by_source.remove(&source);
        } else {
            self.by_count.insert((ids.len(), source));
        }
    }

    /// The oldest of one source.
    pub(super) fn oldest_of(&self, source: SourceKey) -> Option<Arc<Handle>> {
        let id = self.by_source.get(&source)?.first()?;
        self.all.get(id).map(|newcomer| newcomer.handle.clone())
    }

    /// Who makes room: the oldest that has had its time, else the oldest of the source that has the
    /// most.
    pub(super) fn dispensable(&self, now: Instant) -> Option<Arc<Handle>> {
        let (_, oldest) = self.all.first_key_value()?;
        if now.duration_since(oldest.since) >= HASTE {
            return Some(oldest.handle.clone());
        }
        let (_, source) = self.by_count.last()?;
        self.oldest_of(*source)
    }
}
