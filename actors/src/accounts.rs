//! The subscribers' digest secrets, served from memory. The store is the truth; this is its image,
//! split over locks so that shards do not wait for each other.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use parking_lot::RwLock;
use rempart_sip::digest::Ha1;
use rempart_sip::uri::Aor;
use rempart_storage::{Store, StoreError, for_each_subscriber, subscriber};

const PARTS: usize = 64;

type Part = RwLock<HashMap<Aor, Ha1, RandomState>>;

/// Every subscriber's HA1 by address of record.
pub struct Accounts {
    parts: Vec<Part>,
    hasher: RandomState,
    dummy: Ha1,
}

impl Accounts {
    /// Reads every subscriber of `store`. `secret` makes the dummy that unknown users are checked
    /// against, so that they cost the same time (I7).
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn load(store: &dyn Store, secret: &[u8; 16]) -> Result<Self, StoreError> {
        let accounts = Self {
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            hasher: RandomState::default(),
            dummy: Ha1::dummy(secret),
        };
        for_each_subscriber(store, |row| accounts.put(row.aor, row.ha1))?;
        Ok(accounts)
    }

    /// Reads one subscriber again, after a change.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn reload(&self, store: &dyn Store, aor: &Aor) -> Result<(), StoreError> {
        match subscriber(store, aor)? {
            Some(row) => self.put(row.aor, row.ha1),
            None => drop(self.part(aor).write().remove(aor)),
        }
        Ok(())
    }

    fn put(&self, aor: Aor, ha1: Ha1) {
        self.part(&aor).write().insert(aor, ha1);
    }

    /// Whether there is such a subscriber.
    pub fn knows(&self, aor: &Aor) -> bool {
        self.part(aor).read().contains_key(aor)
    }

    /// Calls `check` with the subscriber's HA1, or with a dummy: never tells which by its time.
    pub fn check(&self, aor: &Aor, check: impl FnOnce(&Ha1) -> bool) -> bool {
        let part = self.part(aor).read();
        match part.get(aor) {
            Some(ha1) => check(ha1),
            None => {
                check(&self.dummy);
                false
            }
        }
    }

    /// How many subscribers there are.
    pub fn count(&self) -> usize {
        self.parts.iter().map(|part| part.read().len()).sum()
    }

    fn part(&self, aor: &Aor) -> &Part {
        &self.parts[self.hasher.hash_one(aor) as usize % PARTS]
    }
}
