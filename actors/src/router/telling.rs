//! What the router remembers of its decisions, for `rempart explain`: the rules as they are asked,
//! the outcome when it is known.

use std::fmt;
use std::time::Instant;

use rempart_sip::flow::Flow;
use rempart_sip::message::Message;
use rempart_sip::refusal::Refusal;

use super::{Arrival, Router};
use crate::decisions::{Note, Outcome, Seen, Verdict, Who, seen};
use crate::relay::{Hop, Target};
use crate::transactions::ServerTransaction;
use crate::wire::Resolved;

impl Router {
    /// A rule was asked: its name, and what it compared.
    pub(super) fn rule(&self, name: &'static str, value: fmt::Arguments<'_>) {
        self.decisions.borrow_mut().rule(name, value);
    }

    /// Unix milliseconds at `now`.
    fn at_ms(&self, now: Instant) -> u64 {
        self.shared.clock.unix_ms(now)
    }

    /// The ring of a sender who has shown nothing but his address.
    pub(super) fn who(&self, flow: &Flow) -> Who {
        if self.shared.is_peer(flow) { Who::Known } else { Who::Stranger }
    }

    /// Remembers a decision on a request of which nothing else is kept.
    pub(super) fn tell(&self, arrival: &Arrival<'_>, outcome: Outcome) {
        let who = match outcome.reason {
            "suspended" => Who::Known,
            _ => self.who(&arrival.flow),
        };
        let seen = seen(arrival.message, arrival.flow);
        self.decisions.borrow_mut().note(who, &seen, outcome, self.at_ms(arrival.now));
    }

    /// Remembers a message that was dropped, response or request.
    pub(super) fn tell_dropped(&self, flow: Flow, message: Message<'_>, refusal: &Refusal) {
        let seen = Seen { target: b"", ..seen(message, flow) };
        let (who, now_ms) = (self.who(&flow), self.at_ms(crate::clock::now()));
        let outcome = Outcome { status: 0, verdict: Verdict::Dropped, reason: refusal.id() };
        self.decisions.borrow_mut().note(who, &seen, outcome, now_ms);
    }

    /// Remembers a request whose outcome is open.
    pub(super) fn tell_open(&self, who: Who, arrival: &Arrival<'_>) -> Note {
        let seen = seen(arrival.message, arrival.flow);
        self.decisions.borrow_mut().open(who, &seen, self.at_ms(arrival.now))
    }

    /// Adds what the rules said since to the record of a transaction.
    pub(super) fn tell_more(&self, transaction: &ServerTransaction) {
        if let Some(note) = transaction.note {
            self.decisions.borrow_mut().add(note);
        }
    }

    /// The outcome of a request with a transaction, once.
    pub(super) fn tell_end(
        &self,
        transaction: &mut ServerTransaction,
        arrival: &Arrival<'_>,
        outcome: Outcome,
    ) {
        match transaction.note.take() {
            Some(note) => {
                let now_ms = self.at_ms(arrival.now);
                self.decisions.borrow_mut().close(note, outcome, now_ms);
            }
            None => self.tell(arrival, outcome),
        }
    }

    /// The final response of a callee goes back.
    pub(super) fn tell_final(&self, transaction: &mut ServerTransaction, status: u16) {
        let request = transaction.request.as_deref();
        let in_dialog = request.is_some_and(|request| request.view().to_tag().is_some());
        self.tell_relayed(transaction, Outcome::relayed(status, in_dialog));
    }

    /// The same after the caller's CANCEL.
    pub(super) fn tell_cancelled(&self, transaction: &mut ServerTransaction, status: u16) {
        let reason = Refusal::RequestTerminated.id();
        self.tell_relayed(transaction, Outcome { verdict: Verdict::Relayed, reason, status });
    }

    fn tell_relayed(&self, transaction: &mut ServerTransaction, outcome: Outcome) {
        if let Some(note) = transaction.note.take() {
            let now_ms = self.at_ms(crate::clock::now());
            self.decisions.borrow_mut().close(note, outcome, now_ms);
        }
    }

    /// A branch goes out.
    pub(super) fn rule_branch(&self, target: &Target, message: Message<'_>, flow: &Flow) {
        let uri = target.request_uri.as_deref().unwrap_or(message.request_uri());
        let (uri, transport) = (String::from_utf8_lossy(uri), flow.transport);
        let what = if target.peer { "peer" } else { "branch" };
        self.rule(what, format_args!("{uri} by {transport} to {}", flow.remote));
    }

    /// What came of a way that was tried.
    pub(super) fn rule_failed(&self, target: &Target, what: fmt::Arguments<'_>) {
        let name = if target.peer { "peer" } else { "branch" };
        self.rule(name, format_args!("{} {what}", target.hop));
    }

    /// A name was looked up.
    pub(super) fn rule_resolved(&self, target: &Target, result: &Resolved) {
        let Hop::Name(_, name, _) = &target.hop else { return };
        match result {
            Ok(addresses) => self.rule("dns", format_args!("{name} has {addresses:?}")),
            Err(error) => self.rule("dns", format_args!("{name}: {error}")),
        }
    }
}
