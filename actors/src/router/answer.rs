//! Answers of our own: refusals, challenges, the 200 to a keep-alive. One place writes them, so
//! that To-tags, Via and size follow the same rules.

use std::time::Instant;

use rempart_sip::edit::{self, Reply};
use rempart_sip::message::Method;
use rempart_sip::refusal::Refusal;
use rempart_sip::seal::Tag;
use rempart_sip::transaction::TransactionKey;
use tracing::{debug, info};

use super::{Arrival, Router};
use crate::decisions::Outcome;
use crate::transactions::{ANSWER_KEPT, Server, ServerTransaction, Stage};

/// Headers that go with an answer.
type Headers<'a> = &'a [(&'a str, &'a [u8])];

impl Router {
    /// Refuses a request that has no transaction; nothing is kept of it.
    pub(super) fn refuse(&mut self, arrival: &Arrival<'_>, refusal: &Refusal) {
        self.note(arrival, refusal);
        self.tell(arrival, Outcome::refused(refusal));
        if self.write_refusal(arrival, refusal) {
            self.outbox.send(&arrival.flow, &self.out, None);
        }
    }

    /// Answers a request that has no transaction.
    pub(super) fn answer(
        &mut self,
        arrival: &Arrival<'_>,
        status: u16,
        reason: &str,
        headers: Headers<'_>,
    ) {
        self.write_reply(arrival, status, reason, headers);
        self.outbox.send(&arrival.flow, &self.out, None);
    }

    /// Refuses a request that has a transaction: the answer is kept for retransmissions.
    pub(super) fn finish(
        &mut self,
        key: TransactionKey,
        mut transaction: Box<ServerTransaction>,
        refusal: &Refusal,
        now: Instant,
    ) {
        let Some(request) = transaction.request.take() else { return };
        let arrival = Arrival { message: request.view(), flow: transaction.flow, now };
        self.note(&arrival, refusal);
        self.tell_end(&mut transaction, &arrival, Outcome::refused(refusal));
        if self.write_refusal(&arrival, refusal) {
            self.keep_answer(&mut transaction, now);
        }
        transaction.stage = Stage::Answered;
        self.transactions.note_answered(key);
        self.transactions.put(key, transaction);
    }

    /// Sends what stands in the buffer as the last word on a request never relayed.
    pub(super) fn keep_answer(&mut self, transaction: &mut ServerTransaction, now: Instant) {
        transaction.machine = Server::Kept(now + ANSWER_KEPT);
        transaction.response = self.out.clone();
        self.outbox.send(&transaction.flow, &self.out, None);
    }

    /// Writes the refusal into the buffer; `false` where it is silence.
    pub(super) fn write_refusal(&mut self, arrival: &Arrival<'_>, refusal: &Refusal) -> bool {
        let Some(status) = refusal.status() else { return false };
        if !arrival.message.can_answer() {
            return false;
        }
        let seconds;
        let mut headers: Vec<(&str, &[u8])> = Vec::new();
        match refusal {
            Refusal::IntervalTooBrief { min } => {
                seconds = min.to_string();
                headers.push(("Min-Expires", seconds.as_bytes()));
            }
            Refusal::BadExtension(names) => headers.push(("Unsupported", names)),
            _ => {
                if let Some(after) = refusal.retry_after() {
                    seconds = after.to_string();
                    headers.push(("Retry-After", seconds.as_bytes()));
                }
            }
        }
        self.write_reply(arrival, status, refusal.reason(), &headers);
        true
    }

    /// Writes a response of ours into the buffer.
    pub(super) fn write_reply(
        &mut self,
        arrival: &Arrival<'_>,
        status: u16,
        reason: &str,
        headers: Headers<'_>,
    ) {
        let tag = (status > 100).then(|| self.to_tag(arrival));
        let reply = Reply {
            status,
            reason,
            to_tag: tag.as_ref().map(Tag::as_bytes),
            headers,
            received: Some(arrival.flow.remote),
        };
        edit::reply(&mut self.out, arrival.message, &reply);
    }

    /// The same request gets the same tag, with nothing kept (RFC 3261 section 8.2.7).
    pub(super) fn to_tag(&self, arrival: &Arrival<'_>) -> Tag {
        let message = arrival.message;
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let branch = message.via().and_then(|via| via.branch).unwrap_or_default();
        let from_tag = message.from_tag().unwrap_or_default();
        let source = arrival.flow.source();
        self.shared.sealer.to_tag(message.call_id(), from_tag, cseq, branch, source)
    }

    /// One line and one count per refusal.
    fn note(&self, arrival: &Arrival<'_>, refusal: &Refusal) {
        self.shared.counters.refused(refusal.id());
        let (source, id) = (arrival.flow.remote.ip(), refusal.id());
        let method = String::from_utf8_lossy(arrival.message.method().as_bytes());
        let call_id = String::from_utf8_lossy(arrival.message.call_id());
        match refusal {
            Refusal::NotRelaying
            | Refusal::NotAllowed
            | Refusal::PreloadedRoute
            | Refusal::EgressDenied => info!(
                event = "relay.refuse", %source, method = ?method, call_id = ?call_id,
                reason = id, "not relayed"
            ),
            Refusal::TryLater | Refusal::GuessBudget | Refusal::Spray => info!(
                event = "guard.refuse", %source, method = ?method, call_id = ?call_id,
                reason = id, "suspended"
            ),
            _ => debug!(%source, method = ?method, call_id = ?call_id, reason = id, "refused"),
        }
    }
}

/// Whether a request of this method opens a dialog, so that its route is recorded and sealed.
pub(super) fn forms_dialog(method: Method<'_>) -> bool {
    matches!(method, Method::Invite | Method::Subscribe | Method::Refer)
}
