//! REGISTER on its way to the subscriber's actor and back. The journal is flushed before the 200
//! leaves: an acknowledged binding survives `kill -9`.

use rempart_sip::refusal::Refusal;
use rempart_sip::registrar::{Binding, write_contacts};
use rempart_sip::transaction::TransactionKey;
use rempart_sip::uri::Aor;
use tracing::error;

use super::{Arrival, Registered, Router};
use crate::clock::{now, now_unix};
use crate::decisions::{Outcome, Verdict};
use crate::subscriber::WaitingRegister;
use crate::transactions::{ServerTransaction, Stage};

impl Router {
    /// Hands an authenticated REGISTER to its subscriber, at home.
    pub(super) fn register(
        &mut self,
        key: TransactionKey,
        mut transaction: Box<ServerTransaction>,
        aor: Aor,
    ) {
        let Some(request) = transaction.request.take() else { return };
        let flow = transaction.flow;
        transaction.stage = Stage::Registering;
        self.transactions.put(key, transaction);
        let home = self.home(&aor);
        let register = WaitingRegister { aor, transaction: key, shard: self.shard, request, flow };
        match home == self.shard {
            true => self.hand_to_subscriber(register),
            false => self.shared.tell(home, register),
        }
    }

    /// To the subscriber's actor. A full mailbox is one AOR registering faster than it is served:
    /// it is told to come back.
    pub(super) fn hand_to_subscriber(&mut self, register: WaitingRegister) {
        let aor = register.aor.clone();
        if let Err(refused) = self.subscriber(&aor).try_send(register) {
            let (actix::prelude::SendError::Full(register)
            | actix::prelude::SendError::Closed(register)) = refused;
            let outcome = Err(Refusal::Overloaded);
            let WaitingRegister { transaction, shard, request, .. } = register;
            self.shared.tell(shard, Registered { transaction, request, outcome });
        }
    }

    /// Answers every REGISTER that its subscriber has decided, once the journal holds it.
    pub(super) fn answer_registered(&mut self) {
        if self.registered.is_empty() {
            return;
        }
        let flushed = self.shared.journal.flush();
        if let Err(error) = &flushed {
            error!(%error, "bindings cannot be made durable");
        }
        for mut registered in std::mem::take(&mut self.registered) {
            if flushed.is_err() && registered.outcome.is_ok() {
                registered.outcome = Err(Refusal::StorageFailed);
            }
            self.contain(|router| router.on_registered(registered));
        }
    }

    fn on_registered(&mut self, registered: Registered) {
        let key = registered.transaction;
        let Some(mut transaction) = self.transactions.take(&key) else { return };
        match &registered.outcome {
            Err(refusal) => {
                transaction.request = Some(registered.request);
                self.finish(key, transaction, refusal, now());
            }
            Ok(bindings) => {
                let flow = transaction.flow;
                let arrival = Arrival { message: registered.request.view(), flow, now: now() };
                self.tell_registered(&mut transaction, &arrival, bindings.len());
                self.write_registered(&arrival, bindings);
                self.respond(key, &mut transaction, 200);
                self.transactions.put(key, transaction);
            }
        }
    }

    fn tell_registered(
        &self,
        transaction: &mut ServerTransaction,
        arrival: &Arrival<'_>,
        bindings: usize,
    ) {
        self.rule("registrar", format_args!("bindings now: {bindings}"));
        let reason = if bindings == 0 { "unregistered" } else { "registered" };
        let outcome = Outcome { verdict: Verdict::Registered, reason, status: 200 };
        self.tell_end(transaction, arrival, outcome);
    }

    fn write_registered(&mut self, arrival: &Arrival<'_>, bindings: &[Binding]) {
        self.write_reply(arrival, 200, "OK", &[]);
        let mut contacts = Vec::with_capacity(128 * bindings.len());
        write_contacts(&mut contacts, bindings, now_unix());
        let end = self.out.len().saturating_sub(2);
        self.out.splice(end..end, contacts);
    }
}
