//! Responses on their way back (RFC 3261 section 16.7): only those that match a transaction of
//! ours (R4), through the choice of the best, to whoever asked.

use std::time::Instant;

use rempart_sip::edit;
use rempart_sip::flow::Flow;
use rempart_sip::message::{Message, Method, OwnedMessage};
use rempart_sip::proxy::Verdict;
use rempart_sip::refusal::Refusal;
use rempart_sip::transaction::{InviteServerState, TransactionKey};
use tracing::info;

use super::{Arrival, Router};
use crate::decisions::Outcome;
use crate::relay::Relay;
use crate::router::Admitted;
use crate::transactions::{
    Client, ClientTransaction, Owner, Server, ServerTransaction, Stage, Transactions,
};
use crate::wire::Batch;

impl Router {
    /// A response from the network.
    pub(super) fn on_response(&mut self, flow: Flow, response: Message<'_>, now: Instant) {
        let branch = response.via().and_then(|via| via.branch);
        let token = branch.and_then(|branch| self.shared.sealer.open_branch(branch));
        let Some(token) = token else { return self.stray(flow, response) };
        if usize::from(token.shard) != self.shard {
            return self.to_shard(usize::from(token.shard), flow, response);
        }
        if matches!(response.method(), Method::Cancel) {
            return self.on_cancel_answered(token.serial, flow, response, now);
        }
        let Some(client) = self.transactions.take_client(token.serial) else {
            return self.stray(flow, response);
        };
        let invite = matches!(client.machine, Client::Invite(_));
        if invite != matches!(response.method(), Method::Invite) {
            self.stray(flow, response);
            return self.transactions.put_client(token.serial, client);
        }
        self.on_matched(token.serial, client, response, now);
    }

    /// The answer to a CANCEL of ours ends its repetition; what counts is the INVITE's answer.
    fn on_cancel_answered(&mut self, invite: u64, flow: Flow, response: Message<'_>, now: Instant) {
        let serial = Transactions::cancel_serial(invite);
        let Some(mut client) = self.transactions.take_client(serial) else {
            return self.stray(flow, response);
        };
        if !client.machine.on_response(response.status(), now).done {
            self.transactions.put_client(serial, client);
        }
    }

    fn stray(&self, flow: Flow, response: Message<'_>) {
        self.shared.counters.refused(Refusal::StrayResponse.id());
        self.tell_dropped(flow, response, &Refusal::StrayResponse);
    }

    fn to_shard(&self, shard: usize, flow: Flow, response: Message<'_>) {
        let Some(router) = self.shared.router(shard) else { return self.stray(flow, response) };
        if router.try_send(Admitted(Batch::of(flow, response.raw()))).is_err() {
            self.shared.counters.shed("router-mailbox", 1);
        }
    }

    fn on_matched(
        &mut self,
        serial: u64,
        mut client: Box<ClientTransaction>,
        response: Message<'_>,
        now: Instant,
    ) {
        client.patience = None;
        let todo = client.machine.on_response(response.status(), now);
        if todo.ack {
            self.ack_failure(&client, response);
        }
        let wanted = !client.given_up || self.wants_late(serial, &mut client, response, now);
        let (owner, gateway) = (client.owner, client.gateway.clone());
        if !todo.done {
            self.transactions.put_client(serial, client);
        }
        match owner {
            Owner::Probe if todo.up => self.probe_answered(gateway.as_deref(), response.status()),
            Owner::Relay { server, branch, upstream } if todo.up && wanted => {
                self.pass_up(server, branch, upstream, response, now);
            }
            _ => {}
        }
    }

    fn ack_failure(&mut self, client: &ClientTransaction, response: Message<'_>) {
        if let Ok(sent) = OwnedMessage::new(client.sent.clone()) {
            edit::ack_failure(&mut self.out, sent.view(), response);
            self.outbox.send(&client.flow, &self.out, None);
        }
    }

    fn pass_up(
        &mut self,
        server: TransactionKey,
        branch: usize,
        upstream: Flow,
        response: Message<'_>,
        now: Instant,
    ) {
        let relayed = self
            .transactions
            .get(&server)
            .is_some_and(|transaction| matches!(transaction.stage, Stage::Relayed(_)));
        if !relayed {
            return self.pass_late(upstream, response);
        }
        self.with_relay(server, |router, key, transaction, relay| {
            let status = response.status();
            router.note_answer(relay, branch, status);
            let verdict = relay.context.on_response(branch, status, now);
            if status >= 300
                && let Some(branch) = relay.branches.get_mut(branch)
            {
                branch.response = response.raw().to_vec();
            }
            match verdict {
                Verdict::Forward => router.forward_response(key, transaction, response),
                verdict => router.conclude(key, transaction, relay, verdict),
            }
            router.send_cancels(relay, now);
        });
    }

    /// Every 2xx of an INVITE reaches the caller, however late (RFC 6026 section 7.2).
    fn pass_late(&mut self, upstream: Flow, response: Message<'_>) {
        let success = (200..300).contains(&response.status());
        if success && matches!(response.method(), Method::Invite) {
            edit::forward_response(&mut self.out, response, None);
            self.outbox.send(&upstream, &self.out, None);
        }
    }

    fn forward_response(
        &mut self,
        key: TransactionKey,
        transaction: &mut ServerTransaction,
        response: Message<'_>,
    ) {
        edit::forward_response(&mut self.out, response, None);
        let status = response.status();
        self.log_calls(transaction, response);
        self.respond(key, transaction, status);
    }

    /// Sends what stands in the buffer on the server transaction, with the given status.
    pub(super) fn respond(
        &mut self,
        key: TransactionKey,
        transaction: &mut ServerTransaction,
        status: u16,
    ) {
        let now = crate::clock::now();
        let todo = transaction.on_response(status, now);
        let late = !todo.send && (200..300).contains(&status);
        if todo.send || late {
            self.outbox.send(&transaction.flow, &self.out, None);
        }
        if todo.send {
            transaction.response.clear();
            transaction.response.extend_from_slice(&self.out);
        }
        if status >= 200 {
            self.tell_final(transaction, status);
        }
        if status >= 200 && !matches!(transaction.stage, Stage::Answered) {
            transaction.stage = Stage::Answered;
            self.transactions.note_answered(key);
        }
    }

    /// What the context decided after an event on a branch.
    pub(super) fn conclude(
        &mut self,
        key: TransactionKey,
        transaction: &mut ServerTransaction,
        relay: &mut Relay,
        verdict: Verdict,
    ) {
        let now = crate::clock::now();
        if let Verdict::Final(best) = verdict
            && !matches!(transaction.stage, Stage::Answered)
        {
            let decisive = relay.decisive(best);
            if !(tries_on(relay, decisive) && self.next_group(key, transaction, relay)) {
                match decisive {
                    Some(branch) => self.deliver(key, transaction, relay, branch),
                    None => self.refuse_relayed(key, transaction, &Refusal::GatewaysFailed),
                }
            }
        }
        self.tell_more(transaction);
        self.send_cancels(relay, now);
    }

    /// The best final response goes to the caller.
    fn deliver(
        &mut self,
        key: TransactionKey,
        transaction: &mut ServerTransaction,
        relay: &Relay,
        best: usize,
    ) {
        let Some(branch) = relay.branches.get(best) else { return };
        let status = relay.context.status(best).unwrap_or(500);
        if matches!(status, 401 | 407) && !branch.target.peer {
            return self.refuse_relayed(key, transaction, &Refusal::CallRefused);
        }
        let Ok(response) = OwnedMessage::new(branch.response.clone()) else {
            let refusal = local_failure(status, branch.target.local, relay.context.cancelled());
            return self.refuse_relayed(key, transaction, &refusal);
        };
        let response = response.view();
        let changed = (response.status() != status).then_some((status, reason(status)));
        edit::forward_response(&mut self.out, response, changed);
        if relay.context.cancelled() {
            self.tell_cancelled(transaction, status);
        }
        self.respond(key, transaction, status);
    }

    /// A final answer of our own to a request that was relayed.
    pub(super) fn refuse_relayed(
        &mut self,
        key: TransactionKey,
        transaction: &mut ServerTransaction,
        refusal: &Refusal,
    ) {
        let now = crate::clock::now();
        let Some(request) = transaction.request.take() else { return };
        let arrival = Arrival { message: request.view(), flow: transaction.flow, now };
        self.shared.counters.refused(refusal.id());
        self.tell_end(transaction, &arrival, Outcome::refused(refusal));
        if self.write_refusal(&arrival, refusal) {
            self.respond(key, transaction, refusal.status().unwrap_or(500));
        }
        transaction.request = Some(request);
    }

    /// A call begins with the first 2xx to an INVITE outside a dialog, and ends with its BYE's.
    fn log_calls(&self, transaction: &ServerTransaction, response: Message<'_>) {
        use std::sync::atomic::Ordering;
        if !(200..300).contains(&response.status()) {
            return;
        }
        let calls = &self.shared.counters.calls;
        let unanswered = matches!(&transaction.machine, Server::Invite(machine)
            if machine.state() == InviteServerState::Proceeding);
        let outside = |request: &OwnedMessage| request.view().to_tag().is_none();
        let begins = unanswered && transaction.request.as_deref().is_some_and(outside);
        match response.method() {
            Method::Invite if begins => drop(calls.fetch_add(1, Ordering::Relaxed)),
            Method::Bye => {
                let less = |calls: u64| Some(calls.saturating_sub(1));
                calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
                let call_id = String::from_utf8_lossy(response.call_id());
                info!(event = "call.end", call_id = ?call_id, "call ended");
            }
            _ => {}
        }
    }
}

/// Whether another group is worth trying: not after a decline for good or a cancel, and of the
/// gateways only while all of them failed (RFC 3263 section 4.3).
fn tries_on(relay: &Relay, decisive: Option<usize>) -> bool {
    let Some(branch) = decisive else { return true };
    let status = relay.context.status(branch).unwrap_or(500);
    !relay.context.cancelled() && !relay.plan.by_gateways && status < 600
}

fn local_failure(status: u16, local: bool, cancelled: bool) -> Refusal {
    match status {
        _ if cancelled => Refusal::RequestTerminated,
        408 => Refusal::RequestTimeout,
        487 => Refusal::RequestTerminated,
        _ if local => Refusal::Unavailable,
        _ => Refusal::NextHopFailed,
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        408 => "Request Timeout",
        487 => "Request Terminated",
        _ => "Server Internal Error",
    }
}
