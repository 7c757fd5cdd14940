//! Sending a request on (RFC 3261 section 16.6): one branch per target, each with its Via, its
//! sealed Record-Route and its client transaction.

use std::time::Instant;

use rempart_sip::edit::{self, Forward, Routes};
use rempart_sip::flow::{Flow, Transport};
use rempart_sip::message::{HeaderName, Message, Method, OwnedMessage};
use rempart_sip::proxy::{ResponseContext, breadth_share};
use rempart_sip::refusal::Refusal;
use rempart_sip::transaction::{InviteClient, NonInviteClient, TransactionKey};
use tracing::{debug, info};

use super::dialog::SEAL;
use super::gateways::UNREACHABLE;
use super::secure::is_sips;
use super::{Arrival, NameResolved, Router};
use crate::decisions::Who;
use crate::egress;
use crate::relay::{Branch, Hop, Plan, Relay, Target};
use crate::transactions::{
    Client, ClientTransaction, Owner, ServerTransaction, Stage, Transactions,
};
use crate::wire::SendToken;

/// Over this size a request to a resolved target goes over TCP (RFC 3261 section 18.1.1).
const DATAGRAM_MAX: usize = 1300;

/// What identifies a caller that is no configured peer says nothing here.
const IDENTITY: [HeaderName; 3] =
    [HeaderName::PAssertedIdentity, HeaderName::PPreferredIdentity, HeaderName::RemotePartyId];

impl Router {
    /// Makes the transaction of a new request and relays it.
    pub(super) fn admit_and_relay(
        &mut self,
        arrival: &Arrival<'_>,
        key: TransactionKey,
        plan: Plan,
        who: Who,
    ) {
        if !self.transactions.has_room() {
            return self.refuse(arrival, &Refusal::Overloaded);
        }
        let mut transaction = self.arrived(arrival);
        transaction.note = Some(self.tell_open(who, arrival));
        self.relay(key, transaction, plan);
    }

    /// Relays a request that has a transaction.
    pub(super) fn relay(
        &mut self,
        key: TransactionKey,
        mut transaction: Box<ServerTransaction>,
        plan: Plan,
    ) {
        let now = crate::clock::now();
        let Some(request) = transaction.request.take() else { return };
        let arrival = Arrival { message: request.view(), flow: transaction.flow, now };
        let invite = matches!(arrival.message.method(), Method::Invite);
        if invite {
            self.write_reply(&arrival, 100, "Trying", &[]);
            self.respond(key, &mut transaction, 100);
        }
        transaction.request = Some(request);
        let timing = &self.shared.settings().timing;
        let context = ResponseContext::new(invite, timing.answer);
        let mut relay = Box::new(Relay::new(context, plan));
        if !self.next_group(key, &mut transaction, &mut relay) {
            let nobody =
                if relay.plan.by_gateways { Refusal::GatewaysFailed } else { Refusal::Unavailable };
            self.refuse_relayed(key, &mut transaction, &nobody);
        }
        self.tell_more(&transaction);
        self.keep_relay(key, &mut transaction, relay);
        self.transactions.put(key, transaction);
    }

    /// A relay stays as long as something can come back to it.
    pub(super) fn keep_relay(
        &mut self,
        key: TransactionKey,
        transaction: &mut ServerTransaction,
        relay: Box<Relay>,
    ) {
        let pending = relay.context.pending_branches().next().is_some() || relay.resolving > 0;
        if pending || !matches!(transaction.stage, Stage::Answered) {
            transaction.stage = Stage::Relayed(relay);
        } else {
            transaction.request = None;
            self.transactions.note_answered(key);
        }
    }

    /// Sends to the next group of targets that can be sent to; `false` when none is left.
    pub(super) fn next_group(
        &mut self,
        key: TransactionKey,
        transaction: &mut ServerTransaction,
        relay: &mut Relay,
    ) -> bool {
        while let Some(group) = relay.plan.groups.pop_front() {
            let started = self.send_group(key, transaction, relay, group);
            if started || relay.resolving > 0 {
                return true;
            }
        }
        false
    }

    fn send_group(
        &mut self,
        key: TransactionKey,
        transaction: &mut ServerTransaction,
        relay: &mut Relay,
        group: Vec<Target>,
    ) -> bool {
        let (mut started, branches) = (false, group.len());
        for (branch, target) in group.into_iter().enumerate() {
            // Targets beyond the breadth left are not tried (RFC 5393 section 5.3.3).
            let Ok(share) = breadth_share(relay.plan.breadth, branches, branch) else { continue };
            relay.plan.share = share;
            started |= match &target.hop {
                Hop::Name(_, name, _) => {
                    relay.resolving += 1;
                    self.ask_name(key, name.clone(), target);
                    false
                }
                _ => self.send_branch(key, transaction, relay, target, false),
            };
        }
        started
    }

    fn ask_name(&self, key: TransactionKey, name: String, target: Target) {
        let (shared, shard) = (self.shared.clone(), self.shard);
        let done = move |result| {
            let target = Box::new(target);
            shared.tell(shard, NameResolved { transaction: key, target, result });
        };
        self.shared.resolver.resolve(name, Box::new(done));
    }

    /// A name was found, or not. The address checked is the address used.
    pub(super) fn on_resolved(&mut self, found: NameResolved) {
        let NameResolved { transaction, target, result } = found;
        self.with_relay(transaction, |router, key, transaction, relay| {
            relay.resolving = relay.resolving.saturating_sub(1);
            router.rule_resolved(&target, &result);
            if relay.context.cancelled() {
                return router.refuse_relayed(key, transaction, &Refusal::RequestTerminated);
            }
            let refusal = match router.at_address(&target, &result) {
                Ok(target) => {
                    if router.send_branch(key, transaction, relay, target, false) {
                        return;
                    }
                    Refusal::NextHopFailed
                }
                // The owner's gateway has no address: that is not the callee who is unknown.
                Err(_) if target.peer => Refusal::NextHopFailed,
                Err(refusal) => refusal,
            };
            router.note_no_way(&target);
            let refusal = if relay.plan.by_gateways { Refusal::GatewaysFailed } else { refusal };
            if relay.context.pending_branches().next().is_none()
                && !router.next_group(key, transaction, relay)
            {
                router.refuse_relayed(key, transaction, &refusal);
            }
        });
    }

    fn at_address(
        &mut self,
        target: &Target,
        result: &crate::wire::Resolved,
    ) -> Result<Target, Refusal> {
        let Hop::Name(transport, name, port) = &target.hop else { return Ok(target.clone()) };
        let (transport, port) = (*transport, *port);
        let addresses = result.as_ref().map_err(|_| Refusal::Unresolved)?;
        let settings = self.shared.settings();
        let mut denied = Refusal::Unresolved;
        for ip in addresses {
            let to = std::net::SocketAddr::new(*ip, port);
            let checked = if target.peer { Ok(()) } else { egress::check(&settings, to) };
            match checked {
                Ok(()) if self.outbox.local_for(transport, *ip).is_some() => {
                    let (hop, name) = (Hop::Address(transport, to), Some(name.as_str().into()));
                    return Ok(Target { hop, name, ..target.clone() });
                }
                Ok(()) => denied = Refusal::NextHopFailed,
                Err(refusal) => denied = refusal,
            }
        }
        Err(denied)
    }

    /// Sends one branch; `false` when there is no way there.
    fn send_branch(
        &mut self,
        key: TransactionKey,
        transaction: &ServerTransaction,
        relay: &mut Relay,
        target: Target,
        datagram: bool,
    ) -> bool {
        let now = crate::clock::now();
        let Some(request) = &transaction.request else { return false };
        let Some(mut flow) = self.flow_to(&target) else {
            self.note_no_way(&target);
            return false;
        };
        let (message, from) = (request.view(), transaction.flow);
        let serial = self.transactions.next_serial();
        self.write_branch(message, from, &relay.plan, &target, &flow, serial);
        let oversize =
            !datagram && self.out.len() > DATAGRAM_MAX && self.prefer_stream(&mut flow, &target);
        if oversize {
            self.write_branch(message, from, &relay.plan, &target, &flow, serial);
        }
        self.rule_branch(&target, message, &flow);
        self.log_start(message, &flow);
        let branch = relay.context.add_branch(now);
        let machine = self.client_machine(message, &flow, now);
        self.outbox.send(&flow, &self.out, Some(SendToken(serial)));
        let owner = Owner::Relay { server: key, branch, upstream: from };
        let mut client = ClientTransaction::new(flow, machine, self.out.clone(), owner);
        client.gateway.clone_from(&target.gateway);
        client.patience = self.patience(&relay.plan, &client, now);
        self.transactions.put_client(serial, client);
        let (response, heard, failed) = (Vec::new(), false, false);
        relay.branches.push(Branch { serial, target, response, oversize, heard, failed });
        true
    }

    fn client_machine(&self, message: Message<'_>, flow: &Flow, now: Instant) -> Client {
        let (reliable, timing) = (flow.transport.reliable(), &self.shared.settings().timing);
        match message.method() {
            Method::Invite => Client::Invite(InviteClient::new(reliable, timing, now)),
            _ => Client::NonInvite(NonInviteClient::new(reliable, timing, now)),
        }
    }

    pub(super) fn flow_to(&mut self, target: &Target) -> Option<Flow> {
        match target.hop {
            // A registered connection that has closed leads nowhere: its far end was a phone's
            // ephemeral port. A sealed side names no connection and may be dialled.
            Hop::Flow(flow) if flow.connection != 0 && !self.outbox.is_open(&flow) => None,
            Hop::Flow(flow) => Some(flow),
            Hop::Address(transport, remote) => {
                self.outbox.connection_to(transport, remote, target.name.as_deref())
            }
            Hop::Name(..) => None,
        }
    }

    /// RFC 3261 section 18.1.1: a large request to a resolved target prefers TCP.
    fn prefer_stream(&mut self, flow: &mut Flow, target: &Target) -> bool {
        let resolved = matches!(target.hop, Hop::Address(Transport::Udp, _));
        let local = resolved.then(|| self.outbox.local_for(Transport::Tcp, flow.remote.ip()));
        if let Some(Some(local)) = local {
            *flow = Flow { transport: Transport::Tcp, local, ..*flow };
            return true;
        }
        false
    }

    /// Writes the request as it goes to `flow` into the buffer.
    pub(super) fn write_branch(
        &mut self,
        message: Message<'_>,
        from: Flow,
        plan: &Plan,
        target: &Target,
        flow: &Flow,
        serial: u64,
    ) {
        let branch = self.shared.sealer.branch(self.shard as u8, serial, plan.loop_hash);
        let here = self.shared.advertised(flow);
        let via = format!("SIP/2.0/{} {here};branch={branch}", flow.transport.token());
        let record_routes = match plan.record_route {
            true => self.record_routes(message, from, plan, target, flow, &here),
            false => Vec::new(),
        };
        let share = breadth(plan);
        let mut add: Vec<(&str, &[u8])> = Vec::new();
        let mut remove: Vec<HeaderName> = Vec::new();
        if let Some(share) = &share {
            remove.push(HeaderName::MaxBreadth);
            add.push(("Max-Breadth", share.as_bytes()));
        }
        if !plan.caller_peer {
            remove.extend(IDENTITY);
        }
        if plan.caller_local {
            remove.push(HeaderName::ProxyAuthorization);
        }
        let restored = plan.restored.as_ref();
        let routes = match (plan.routes_kept && target.path.is_empty(), restored) {
            (true, None) => Routes::Keep { skip: plan.routes_skipped, push: None },
            (true, Some(restored)) => Routes::Replace(&restored.routes),
            (false, _) => Routes::Replace(&target.path),
        };
        let hidden = restored.map(|restored| restored.request_uri.as_slice());
        let forward = Forward {
            request_uri: target.request_uri.as_deref().or(hidden),
            via: via.as_bytes(),
            received: Some(from.remote),
            record_routes: &record_routes,
            routes,
            max_forwards: plan.max_forwards,
            remove: &remove,
            add: &add,
        };
        edit::forward_request(&mut self.out, message, &forward);
    }

    /// One sealed Record-Route, or two where the sides differ (RFC 5658): the callee's side on top.
    fn record_routes(
        &self,
        message: Message<'_>,
        from: Flow,
        plan: &Plan,
        target: &Target,
        flow: &Flow,
        here: &str,
    ) -> Vec<Vec<u8>> {
        let seal = self.seal(message, from, *flow, plan, target);
        let there = self.shared.advertised(&from);
        // RFC 5630 section 5.3: sips stays sips, and says by itself that it is TLS.
        let route = |host: &str, transport: Transport, sips: bool| {
            let end = format!("lr;{SEAL}={seal}>");
            match sips {
                true => format!("<sips:{host};{end}").into_bytes(),
                false => format!("<sip:{host};transport={};{end}", transport.param()).into_bytes(),
            }
        };
        let restored = plan.restored.as_ref().map(|restored| restored.request_uri.as_slice());
        let came = is_sips(restored.unwrap_or(message.request_uri()));
        let goes = came || target.request_uri.as_deref().is_some_and(is_sips);
        let outer = route(here, flow.transport, goes);
        match here == there && flow.transport == from.transport && came == goes {
            true => vec![outer],
            false => vec![outer, route(&there, from.transport, came)],
        }
    }

    /// Sends CANCEL where the context wants one (RFC 3261 section 9.1).
    pub(super) fn send_cancels(&mut self, relay: &mut Relay, now: Instant) {
        for branch in relay.context.take_cancels() {
            let Some(serial) = relay.branches.get(branch).map(|branch| branch.serial) else {
                continue;
            };
            let Some(mut client) = self.transactions.take_client(serial) else { continue };
            if let Client::Invite(machine) = &mut client.machine {
                machine.on_cancel(now);
            }
            self.send_cancel(serial, &client, now);
            self.transactions.put_client(serial, client);
        }
    }

    /// A CANCEL is repeated until it is answered: a lost one leaves a phone ringing.
    pub(super) fn send_cancel(&mut self, serial: u64, invite: &ClientTransaction, now: Instant) {
        let Ok(sent) = OwnedMessage::new(invite.sent.clone()) else { return };
        edit::cancel(&mut self.out, sent.view());
        self.outbox.send(&invite.flow, &self.out, None);
        let reliable = invite.flow.transport.reliable();
        let machine = NonInviteClient::new(reliable, &self.shared.settings().timing, now);
        let (machine, out) = (Client::NonInvite(machine), self.out.clone());
        let cancel = ClientTransaction::new(invite.flow, machine, out, invite.owner);
        self.transactions.put_client(Transactions::cancel_serial(serial), cancel);
    }

    /// A message with a token did not leave: RFC 3261 section 16.9.
    pub(super) fn on_send_failed(&mut self, SendToken(serial): SendToken) {
        let Some(mut client) = self.transactions.take_client(serial) else { return };
        let now = crate::clock::now();
        let todo = client.machine.on_transport_error(now);
        let (owner, gateway) = (client.owner, client.gateway.clone());
        debug!(to = %client.flow.remote, transport = %client.flow.transport, "not sent");
        if !todo.done {
            self.transactions.put_client(serial, client);
        }
        if !(todo.up || todo.done) {
            return;
        }
        match owner {
            Owner::HangUp => {}
            Owner::Probe => self.probe_failed(gateway.as_deref(), UNREACHABLE),
            Owner::Relay { server, branch, .. } => {
                self.with_relay(server, |router, key, transaction, relay| {
                    router.branch_failed(key, transaction, relay, branch);
                });
            }
        }
    }

    pub(super) fn branch_failed(
        &mut self,
        key: TransactionKey,
        transaction: &mut ServerTransaction,
        relay: &mut Relay,
        branch: usize,
    ) {
        let again = relay.branches.get(branch).filter(|branch| branch.oversize);
        let target = again.map(|branch| branch.target.clone());
        // TCP was refused to a large request: UDP after all (RFC 3261 section 18.1.1).
        let resent =
            target.is_some_and(|target| self.send_branch(key, transaction, relay, target, true));
        match relay.branches.get_mut(branch) {
            Some(entry) if resent => entry.failed = true,
            _ => self.note_silent(relay, branch, UNREACHABLE),
        }
        let verdict = relay.context.on_transport_error(branch);
        if !resent || !matches!(verdict, rempart_sip::proxy::Verdict::Final(_)) {
            self.conclude(key, transaction, relay, verdict);
        }
    }

    fn log_start(&self, message: Message<'_>, flow: &Flow) {
        if matches!(message.method(), Method::Invite) && message.to_tag().is_none() {
            let call_id = String::from_utf8_lossy(message.call_id());
            info!(event = "call.start", call_id = ?call_id, to = %flow.remote, "call relayed");
        }
    }
}

/// The Max-Breadth that a branch carries, where it says anything new.
fn breadth(plan: &Plan) -> Option<String> {
    (plan.share != rempart_sip::proxy::BREADTH_DEFAULT).then(|| plan.share.to_string())
}
