//! The first look at a message: parse, screen, match a transaction. What is malformed or repeated
//! ends here, before any rule is asked.

use std::time::Instant;

use rempart_sip::flow::Flow;
use rempart_sip::message::{Index, Message, Method};
use rempart_sip::refusal::{Malformed, Refusal};
use rempart_sip::scan::scan;
use rempart_sip::screen::screen;
use rempart_sip::transaction::{TransactionKey, invite_key, server_key};
use tracing::{debug, info};

use super::{Arrival, Router};
use crate::counters::Counters;
use crate::decisions::{Outcome, Verdict};
use crate::transactions::{Server, Stage};

impl Router {
    /// One message from the network.
    pub(super) fn receive(&mut self, flow: Flow, octets: &[u8], now: Instant) {
        self.decisions.borrow_mut().start();
        let mut index = std::mem::take(&mut self.index);
        match scan(octets, &mut index) {
            Ok(()) => self.dispatch(flow, octets, &index, now),
            Err(malformed) => self.on_malformed(flow, octets, &index, malformed, now),
        }
        self.index = index;
    }

    fn dispatch(&mut self, flow: Flow, octets: &[u8], index: &Index, now: Instant) {
        let message = Message::new(octets, index);
        if !message.is_request() {
            Counters::one(&self.shared.counters.responses);
            return self.on_response(flow, message, now);
        }
        self.shared.counters.request(message.method(), flow.transport);
        self.on_request(&Arrival { message, flow, now });
    }

    fn on_malformed(
        &mut self,
        flow: Flow,
        octets: &[u8],
        index: &Index,
        malformed: Malformed,
        now: Instant,
    ) {
        debug!(source = %flow.remote.ip(), reason = malformed.reason, "malformed message");
        let arrival = Arrival { message: Message::new(octets, index), flow, now };
        if arrival.message.is_request() {
            self.rule("parser", format_args!("{}", malformed.reason));
            self.refuse(&arrival, &Refusal::from(malformed));
        }
    }

    fn on_request(&mut self, arrival: &Arrival<'_>) {
        let method = arrival.message.method();
        if matches!(method, Method::Ack) {
            return self.on_ack(arrival);
        }
        let Some(key) = server_key(&self.shared.hash_key, arrival.message) else {
            return self.refuse(arrival, &Refusal::bad_request("Bad Via"));
        };
        if self.is_retransmission(key, arrival.now) {
            return;
        }
        if matches!(method, Method::Cancel) {
            return self.on_cancel(arrival);
        }
        if self.is_scanner(arrival) {
            return;
        }
        match screen(arrival.message) {
            Ok(()) => self.classify(arrival, key),
            Err(refusal) => self.refuse(arrival, &refusal),
        }
    }

    fn is_retransmission(&mut self, key: TransactionKey, now: Instant) -> bool {
        if !self.transactions.knows(&key) {
            return false;
        }
        let Some(mut transaction) = self.transactions.take(&key) else { return false };
        let todo = transaction.on_request(now);
        if todo.send && !transaction.response.is_empty() {
            self.outbox.send(&transaction.flow, &transaction.response, None);
        }
        self.transactions.put(key, transaction);
        true
    }

    /// R33, R34: known attack tools get a 200, or silence, and nothing else happens.
    fn is_scanner(&mut self, arrival: &Arrival<'_>) -> bool {
        use rempart_sip::message::HeaderName;
        let settings = self.shared.settings();
        let Some(rule) = &settings.scanners else { return false };
        let agent = arrival.message.header(HeaderName::UserAgent);
        if !agent.is_some_and(|agent| rule.names.matches(agent)) {
            return false;
        }
        let agent = agent.map(String::from_utf8_lossy).unwrap_or_default();
        let source = arrival.flow.remote.ip();
        info!(event = "scanner", %source, user_agent = ?agent, "known attack tool");
        self.shared.counters.refused(Refusal::Scanner.id());
        self.rule("scanners", format_args!("User-Agent {agent} is in the list"));
        let answered = rule.answered && arrival.message.can_answer();
        let (verdict, status) = match answered {
            true => (Verdict::Answered, 200),
            false => (Verdict::Dropped, 0),
        };
        self.tell(arrival, Outcome { verdict, status, reason: Refusal::Scanner.id() });
        if answered {
            self.answer(arrival, 200, "OK", &[]);
        }
        true
    }

    /// An ACK ends its INVITE's transaction, or follows its dialog's seal; any other is dropped.
    fn on_ack(&mut self, arrival: &Arrival<'_>) {
        let key = server_key(&self.shared.hash_key, arrival.message);
        if let Some(key) = key
            && let Some(mut transaction) = self.transactions.take(&key)
        {
            let absorbed = match &mut transaction.machine {
                Server::Invite(machine) => !machine.on_ack(arrival.now).up,
                _ => true,
            };
            self.transactions.put(key, transaction);
            if absorbed {
                return;
            }
        }
        match screen(arrival.message).is_ok() {
            true => self.forward_ack(arrival),
            false => self.drop_ack(arrival),
        }
    }

    /// Drops an ACK. One that carries our own To-tag ends an INVITE that was refused with nothing
    /// kept of it (RFC 3261 section 17.1.1.3); any other is a stray.
    pub(super) fn drop_ack(&self, arrival: &Arrival<'_>) {
        let ours = self.to_tag(arrival);
        if arrival.message.to_tag() != Some(ours.as_bytes()) {
            self.drop_stray(arrival, &Refusal::StrayAck);
        }
    }

    /// Drops a request that is not answered.
    pub(super) fn drop_stray(&self, arrival: &Arrival<'_>, refusal: &Refusal) {
        self.shared.counters.refused(refusal.id());
        self.tell_dropped(arrival.flow, arrival.message, refusal);
    }

    /// A CANCEL from its INVITE's source ends that INVITE; any other is dropped.
    fn on_cancel(&mut self, arrival: &Arrival<'_>) {
        let key = invite_key(&self.shared.hash_key, arrival.message);
        let known = key.filter(|key| {
            self.transactions.get(key).is_some_and(|transaction| {
                transaction.flow.source() == arrival.flow.source()
                    && !matches!(transaction.machine, Server::NonInvite(_))
            })
        });
        let Some(key) = known else {
            return self.drop_stray(arrival, &Refusal::StrayCancel);
        };
        self.answer(arrival, 200, "OK", &[]);
        self.cancel(key, arrival.now);
    }

    fn cancel(&mut self, key: TransactionKey, now: Instant) {
        let Some(mut transaction) = self.transactions.take(&key) else { return };
        self.rule("cancel", format_args!("by the caller"));
        self.tell_more(&transaction);
        match std::mem::take(&mut transaction.stage) {
            Stage::Judging(_) => {
                self.finish(key, transaction, &Refusal::RequestTerminated, now);
            }
            Stage::Relayed(mut relay) => {
                relay.context.on_cancel();
                self.send_cancels(&mut relay, now);
                // Nothing was sent yet: a name is being looked up.
                if relay.branches.is_empty() {
                    self.refuse_relayed(key, &mut transaction, &Refusal::RequestTerminated);
                } else {
                    transaction.stage = Stage::Relayed(relay);
                }
                self.transactions.put(key, transaction);
            }
            stage => {
                transaction.stage = stage;
                self.transactions.put(key, transaction);
            }
        }
    }
}
