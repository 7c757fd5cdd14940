//! What was decided lately and why, for `rempart explain`: two bounded rings per shard, one for
//! those we know and one for strangers, so that a stranger's flood washes out no user's history.
//!
//! Owned by one shard: no lock, and in the steady state no allocation. A rule writes one line of
//! text into a scratch buffer while a message is looked at; the verdict copies it, with a few cut
//! slices of the message, into a record whose buffer is reused.

mod reasons;
mod record;
mod ring;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use rempart_sip::flow::{Flow, SourceKey};
use rempart_sip::refusal::Refusal;
use rempart_sip::uri::Uri;

pub use reasons::{ACCEPTED, Reason, reason};
pub use record::{Decision, RULES_MAX, Seen, VALUE_MAX};
use record::{Record, cut, push_rule};
use ring::{RecordId, Ring};

use crate::names::Names;

/// Records kept per shard of users who showed credentials, and of configured peers. If every
/// message were as long as it may be, a record would take 2.2 KiB, and both rings 14 MiB per
/// shard; with messages as phones send them it is 0.5 KiB and 3 MiB.
pub const KNOWN_MAX: usize = 4_096;

/// Records kept per shard of everyone else.
pub const STRANGERS_MAX: usize = 2_048;

/// Records that one question is answered with, the latest ones, per shard.
pub const TOLD_MAX: usize = 200;

/// The memory of one shard, shared by its gate and its router.
pub type Memory = Rc<RefCell<Decisions>>;

/// Which ring a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A user who showed credentials on a nonce of ours, a configured peer, a sealed dialog.
    Known,
    /// Anyone else; a forged source address is enough to be one.
    Stranger,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is still being worked on.
    Pending,
    /// Answered by this server.
    Answered,
    /// Asked for credentials.
    Challenged,
    /// Bindings were changed or read.
    Registered,
    /// Sent on, and the other side's answer passed back.
    Relayed,
    /// Answered with a failure of ours.
    Refused,
    /// Not answered.
    Dropped,
    /// Its source was banned.
    Banned,
}

impl Verdict {
    /// As listings show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Answered => "answered",
            Self::Challenged => "challenged",
            Self::Registered => "registered",
            Self::Relayed => "relayed",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
            Self::Banned => "banned",
        }
    }
}

/// How a decision ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of the message.
    pub verdict: Verdict,
    /// Why, as an identifier of [`reason`]'s table.
    pub reason: &'static str,
    /// The status code on the wire; 0 is none.
    pub status: u16,
}

impl Outcome {
    /// Not decided yet.
    pub const PENDING: Self = Self { verdict: Verdict::Pending, reason: "pending", status: 0 };

    /// A refusal, by its own identifier.
    pub fn refused(refusal: &Refusal) -> Self {
        let verdict = match refusal.status() {
            None => Verdict::Dropped,
            Some(401 | 407) => Verdict::Challenged,
            Some(_) => Verdict::Refused,
        };
        Self { verdict, reason: refusal.id(), status: refusal.status().unwrap_or(0) }
    }

    /// The final response to a relayed request, as the other side gave it.
    pub fn relayed(status: u16, in_dialog: bool) -> Self {
        let reason = match (in_dialog, status) {
            (true, _) => "in-dialog",
            (false, ..300) => "relayed",
            (false, _) => "callee-declined",
        };
        Self { verdict: Verdict::Relayed, reason, status }
    }
}

/// Whose decisions are asked for; a record that fits any part is told.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The Call-ID, exactly.
    pub call_id: Option<String>,
    /// The source; of IPv6 the /64.
    pub source: Option<SourceKey>,
    /// `user@host` in canonical form: the caller, the callee, or whose credentials were shown.
    pub user: Option<String>,
}

impl Asked {
    fn names(&self, record: &Record, names: &Names) -> bool {
        let same_call = |id: &String| !id.is_empty() && record.call_id() == cut(id, VALUE_MAX);
        let names_user = |user: &String| {
            record.user() == user
                || is_user(record.from(), user, names)
                || is_user(record.target(), user, names)
        };
        self.call_id.as_ref().is_some_and(same_call)
            || self.source.is_some_and(|source| record.flow().source() == source)
            || self.user.as_ref().is_some_and(names_user)
    }
}

/// Whether a URI names the user, by any name of ours for his domain.
fn is_user(uri: &str, user: &str, names: &Names) -> bool {
    let Ok(uri) = Uri::parse(uri.as_bytes()) else { return false };
    names.aor(&uri).or_else(|| uri.aor()).is_some_and(|aor| aor.as_str() == user)
}

/// What is remembered about what was asked.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The decisions, oldest first.
    pub decisions: Vec<Decision>,
    /// Unix milliseconds before which decisions on known users are forgotten; 0: none is.
    pub known_since_ms: u64,
    /// The same of strangers.
    pub strangers_since_ms: u64,
    /// Datagrams dropped unread under the ban of the source asked for.
    pub dropped: u64,
    /// Messages of anyone dropped unread for want of room since the start.
    pub shed: u64,
}

impl Told {
    /// Takes in what another shard remembers.
    pub fn join(&mut self, other: Self) {
        self.decisions.extend(other.decisions);
        self.decisions.sort_by_key(Decision::when);
        self.known_since_ms = self.known_since_ms.max(other.known_since_ms);
        self.strangers_since_ms = self.strangers_since_ms.max(other.strangers_since_ms);
        self.dropped += other.dropped;
        self.shed += other.shed;
    }
}

/// Names a record that may yet change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    who: Who,
    record: RecordId,
}

/// See the module.
#[derive(Debug)]
pub struct Decisions {
    known: Ring,
    strangers: Ring,
    rules: String,
    user: String,
    turn: u64,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            known: Ring::new(KNOWN_MAX),
            strangers: Ring::new(STRANGERS_MAX),
            rules: String::with_capacity(RULES_MAX),
            user: String::with_capacity(VALUE_MAX),
            turn: 0,
        }
    }
}

impl Decisions {
    /// A new message is looked at: what was seen of the last one is forgotten.
    pub fn start(&mut self) {
        self.rules.clear();
        self.user.clear();
    }

    /// A rule was asked: its name, and the values it compared.
    pub fn rule(&mut self, name: &'static str, value: fmt::Arguments<'_>) {
        push_rule(&mut self.rules, name, value);
    }

    /// The message shows credentials of this user.
    pub fn credentials(&mut self, user: &str) {
        self.user.clear();
        self.user.push_str(cut(user, VALUE_MAX));
    }

    /// Remembers a decision that is made.
    pub fn note(&mut self, who: Who, seen: &Seen<'_>, outcome: Outcome, now_ms: u64) {
        let note = self.open(who, seen, now_ms);
        self.close(note, outcome, now_ms);
    }

    /// Remembers a message whose outcome is open.
    pub fn open(&mut self, who: Who, seen: &Seen<'_>, now_ms: u64) -> Note {
        let (user, rules) = (std::mem::take(&mut self.user), std::mem::take(&mut self.rules));
        self.turn += 1;
        let turn = self.turn;
        let record = self.ring(who).open(|record| {
            record.write(seen, &user, &rules, now_ms);
            record.turn = turn;
        });
        (self.user, self.rules) = (user, rules);
        self.start();
        Note { who, record }
    }

    /// Adds what the rules said since to a record that is still there.
    pub fn add(&mut self, note: Note) {
        let rules = std::mem::take(&mut self.rules);
        if let Some(record) = self.ring(note.who).get_mut(note.record) {
            record.add(&rules);
        }
        self.rules = rules;
        self.start();
    }

    /// Ends a record. One that says the same as a recent one of its source is counted there.
    pub fn close(&mut self, note: Note, outcome: Outcome, now_ms: u64) {
        self.add(note);
        self.turn += 1;
        let turn = self.turn;
        self.ring(note.who).close(note.record, outcome, now_ms, turn);
    }

    /// What is remembered about what was asked.
    pub fn told(&self, asked: &Asked, names: &Names) -> Told {
        let rings = [&self.known, &self.strangers];
        let all = rings.into_iter().flat_map(Ring::iter);
        let fitting = all.filter(|record| asked.names(record, names));
        let mut decisions: Vec<Decision> = fitting.map(Record::told).collect();
        decisions.sort_by_key(Decision::when);
        let surplus = decisions.len().saturating_sub(TOLD_MAX);
        decisions.drain(..surplus);
        Told {
            decisions,
            known_since_ms: self.known.forgotten_before_ms(),
            strangers_since_ms: self.strangers.forgotten_before_ms(),
            dropped: 0,
            shed: 0,
        }
    }

    /// Records now: of those we know, and of strangers.
    pub fn counts(&self) -> (usize, usize) {
        (self.known.len(), self.strangers.len())
    }

    fn ring(&mut self, who: Who) -> &mut Ring {
        match who {
            Who::Known => &mut self.known,
            Who::Stranger => &mut self.strangers,
        }
    }
}

/// What a record copies of a message: the caller, and whom he asks for.
pub fn seen<'a>(message: rempart_sip::message::Message<'a>, flow: Flow) -> Seen<'a> {
    use rempart_sip::message::Method;
    let from = message.from().map(|from| from.uri).unwrap_or_default();
    let register = matches!(message.method(), Method::Register);
    let to = if register { message.to().map(|to| to.uri) } else { None };
    Seen {
        flow,
        method: message.method().as_bytes(),
        call_id: message.call_id(),
        from,
        target: to.unwrap_or(message.request_uri()),
    }
}

#[cfg(test)]
mod tests;
