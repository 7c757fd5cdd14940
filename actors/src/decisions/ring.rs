//! A bounded ring of records. The oldest makes room; what repeats a recent record of its source is
//! counted there and gives its slot back.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::Outcome;
use super::record::Record;

/// Records of one source, method and reason that stand for themselves before they are counted
/// together: an operator who tries something a few times finds each of his calls.
pub(super) const SINGLES_MAX: u32 = 8;

/// How long after the last one a record with another Call-ID counts as a repetition.
const OTHER_CALL_MS: u64 = 60_000;

/// The same of one with the same Call-ID: a phone that refreshes its registration, for one.
const SAME_CALL_MS: u64 = 3_600_000;

/// Places of the table that finds the last record of a source; a collision only costs a slot.
const RECENT: usize = 1_024;

/// Names a record as long as its slot is not taken by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordId {
    slot: usize,
    serial: u64,
}

/// The last record of a source, method and reason.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    hash: u64,
    record: RecordId,
    singles: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    records: Vec<Record>,
    records_max: usize,
    oldest: usize,
    serial: u64,
    spare: Vec<usize>,
    recent: Box<[Recent]>,
    hasher: RandomState,
    forgotten_before_ms: u64,
}

impl Ring {
    /// Room for `records_max` records; it is taken as they come.
    pub fn new(records_max: usize) -> Self {
        Self {
            records: Vec::new(),
            records_max,
            oldest: 0,
            serial: 0,
            spare: Vec::new(),
            recent: vec![Recent::default(); RECENT].into_boxed_slice(),
            hasher: RandomState::default(),
            forgotten_before_ms: 0,
        }
    }

    /// Takes a slot and has it written.
    pub fn open(&mut self, write: impl FnOnce(&mut Record)) -> RecordId {
        let slot = self.free_slot();
        self.serial += 1;
        let record = &mut self.records[slot];
        write(record);
        record.serial = self.serial;
        RecordId { slot, serial: self.serial }
    }

    fn free_slot(&mut self) -> usize {
        if let Some(slot) = self.spare.pop() {
            return slot;
        }
        if self.records.len() < self.records_max {
            self.records.push(Record::default());
            return self.records.len() - 1;
        }
        let slot = self.oldest;
        self.oldest = (slot + 1) % self.records_max;
        self.forgotten_before_ms = self.forgotten_before_ms.max(self.records[slot].last_ms);
        slot
    }

    /// The record, if it is still there.
    pub fn get_mut(&mut self, id: RecordId) -> Option<&mut Record> {
        self.records.get_mut(id.slot).filter(|record| record.serial == id.serial)
    }

    /// Ends a record, or counts it as a repetition of another.
    pub fn close(&mut self, id: RecordId, outcome: Outcome, now_ms: u64, turn: u64) {
        let record = self.records.get_mut(id.slot).filter(|record| record.serial == id.serial);
        let Some(record) = record else { return };
        (record.outcome, record.last_ms, record.turn) = (outcome, now_ms, turn);
        let (source, method) = (record.flow().source(), record.method());
        let hash = self.hasher.hash_one((source, method, outcome.reason, outcome.status));
        let place = hash as usize % RECENT;
        let recent = self.recent[place];
        let singles = if recent.hash == hash { recent.singles } else { 0 };
        match self.repeated(recent.record, id, singles, now_ms).filter(|_| recent.hash == hash) {
            Some(true) => self.merge(recent.record, id),
            Some(false) => self.recent[place] = Recent { hash, record: id, singles: singles + 1 },
            None => self.recent[place] = Recent { hash, record: id, singles: 1 },
        }
    }

    /// Whether the record repeats the earlier one; `None` where that is gone or long ago.
    fn repeated(&self, earlier: RecordId, id: RecordId, singles: u32, now_ms: u64) -> Option<bool> {
        let record = self.records.get(id.slot)?;
        let earlier = self.records.get(earlier.slot).filter(|it| it.serial == earlier.serial)?;
        let age_ms = now_ms.saturating_sub(earlier.last_ms);
        let same_call = earlier.call_id() == record.call_id();
        if age_ms > if same_call { SAME_CALL_MS } else { OTHER_CALL_MS } {
            return None;
        }
        Some(same_call || singles >= SINGLES_MAX)
    }

    /// The record's text goes to the earlier one, its slot is free.
    fn merge(&mut self, earlier: RecordId, id: RecordId) {
        let Ok([earlier, record]) = self.records.get_disjoint_mut([earlier.slot, id.slot]) else {
            return;
        };
        earlier.repeat(record);
        record.serial = 0;
        self.spare.push(id.slot);
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.records.len() - self.spare.len()
    }

    /// What is remembered, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.serial != 0)
    }

    /// Unix milliseconds up to which something was forgotten; 0: nothing was.
    pub fn forgotten_before_ms(&self) -> u64 {
        self.forgotten_before_ms
    }
}
