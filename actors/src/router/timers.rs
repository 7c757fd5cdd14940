//! The one timer of a shard's transactions.

use std::sync::atomic::Ordering;
use std::time::Instant;

use actix::prelude::*;
use rempart_sip::refusal::Refusal;
use rempart_sip::transaction::TransactionKey;

use super::Router;
use super::gateways::SILENT;
use crate::clock::now;
use crate::transactions::{Due, Owner, Stage};

impl Router {
    /// Arms the timer for the earliest deadline, if it is earlier than the armed one.
    pub(super) fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.transactions.next_deadline() else { return };
        if let Some((armed, handle)) = self.armed {
            if armed <= next {
                return;
            }
            ctx.cancel_future(handle);
        }
        let handle = ctx.run_later(next.saturating_duration_since(now()), Self::on_timer);
        self.armed = Some((next, handle));
    }

    fn on_timer(&mut self, ctx: &mut Context<Self>) {
        self.armed = None;
        let now = now();
        while let Some(due) = self.transactions.next_due(now) {
            self.contain(|router| match due {
                Due::Server(key) => router.on_server_timer(key, now),
                Due::Client(serial) => router.on_client_timer(serial, now),
                Due::Relay(key) => router.on_relay_timer(key, now),
            });
        }
        self.settle(ctx);
    }

    fn on_server_timer(&mut self, key: TransactionKey, now: Instant) {
        let Some(mut transaction) = self.transactions.take(&key) else { return };
        if transaction.is_overdue(now) {
            return self.finish(key, transaction, &Refusal::Overloaded, now);
        }
        let todo = transaction.on_deadline(now);
        if todo.send && !transaction.response.is_empty() {
            self.outbox.send(&transaction.flow, &transaction.response, None);
        }
        if !todo.done {
            self.transactions.put(key, transaction);
        }
    }

    fn on_client_timer(&mut self, serial: u64, now: Instant) {
        let Some(mut client) = self.transactions.take_client(serial) else { return };
        if client.is_silent(now) {
            return self.give_up(serial, client);
        }
        let todo = client.machine.on_deadline(now);
        if todo.send {
            self.outbox.send(&client.flow, &client.sent, None);
        }
        let (owner, gateway, given_up) = (client.owner, client.gateway.clone(), client.given_up);
        if !todo.done {
            self.transactions.put_client(serial, client);
        }
        match owner {
            _ if !todo.timed_out => {}
            Owner::Relay { server, branch, .. } => self.branch_silent(server, branch),
            Owner::HangUp => {}
            Owner::Probe if given_up => {}
            Owner::Probe => self.probe_failed(gateway.as_deref(), SILENT),
        }
    }

    fn on_relay_timer(&mut self, key: TransactionKey, now: Instant) {
        self.with_relay(key, |router, key, transaction, relay| {
            let verdict = relay.context.on_deadline(now);
            router.conclude(key, transaction, relay, verdict);
        });
    }

    /// Tells the shared gauge how many transactions this shard has.
    pub(super) fn count_transactions(&mut self) {
        let count = self.transactions.count();
        let gauge = &self.shared.counters.transactions;
        gauge.fetch_add((count as u64).wrapping_sub(self.counted as u64), Ordering::Relaxed);
        self.counted = count;
    }

    /// Works on a relayed request out of the table and puts it back.
    pub(super) fn with_relay(
        &mut self,
        key: TransactionKey,
        work: impl FnOnce(
            &mut Self,
            TransactionKey,
            &mut crate::transactions::ServerTransaction,
            &mut crate::relay::Relay,
        ),
    ) {
        let Some(mut transaction) = self.transactions.take(&key) else { return };
        match std::mem::take(&mut transaction.stage) {
            Stage::Relayed(mut relay) => {
                work(self, key, &mut transaction, &mut relay);
                self.keep_relay(key, &mut transaction, relay);
            }
            stage => transaction.stage = stage,
        }
        self.transactions.put(key, transaction);
    }
}
