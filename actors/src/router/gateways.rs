//! Calls through gateways: which are tried, what their failing or answering teaches, when another
//! is tried instead, and the probes that find out between calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::{AsyncContext, Context};
use rempart_sip::edit::{self, InDialog};
use rempart_sip::flow::{Flow, Transport};
use rempart_sip::message::{Message, OwnedMessage};
use rempart_sip::transaction::{
    InviteClientState, InviteServerState, NonInviteClient, TransactionKey,
};
use rempart_sip::uri::{Scheme, Uri};
use rempart_sip::vocabulary::{Probe, probe};
use tracing::{info, warn};

use super::locate::hop_of;
use super::{GatewayResolved, Returned, Router};
use crate::clock::now;
use crate::gateways::order;
use crate::relay::{Hop, Plan, Relay, Target};
use crate::settings::Settings;
use crate::transactions::{Client, ClientTransaction, Owner, Server, Transactions};
use crate::wire::SendToken;

/// Why a gateway failed: it said nothing in time.
pub(super) const SILENT: &str = "no answer";

/// Why a gateway failed: nothing can be sent there, or it came back.
pub(super) const UNREACHABLE: &str = "unreachable";

/// Why a gateway failed: it is overloaded or out of service (RFC 3261 section 21.5.4).
const UNAVAILABLE: &str = "503 Service Unavailable";

/// Why a gateway failed a probe: a proxy before it heard nothing from it.
const TIMED_OUT: &str = "408 Request Timeout";

/// Before the first probe the shards get to know each other and the transports open.
const PROBES_BEGIN: Duration = Duration::from_millis(100);

/// A new list of gateways is noticed after this long at the latest.
const PROBES_LOOK: Duration = Duration::from_secs(1);

impl Router {
    /// The gateways for a number, those known to be down left out unless all are.
    pub(super) fn gateway_targets(&self, number: &str, settings: &Settings) -> Vec<Target> {
        let mut draw = |below: u64| rand::random_range(0..below);
        let mut tried = order(&settings.pstn.gateways, number, &mut draw);
        // What no probe would bring back must not be left out.
        if settings.pstn.probe.is_some() {
            let health = self.shared.gateway_health.lock();
            if tried.iter().any(|gateway| !health.is_down(&gateway.uri)) {
                tried.retain(|gateway| !health.is_down(&gateway.uri));
            }
        }
        tried.iter().filter_map(|gateway| gateway_target(&gateway.uri, number)).collect()
    }

    /// When the silence of a gateway means to try the next one. The last one has all the time that
    /// the transaction has, and so has a request that need not be answered at once (RFC 4320).
    pub(super) fn patience(
        &self,
        plan: &Plan,
        client: &ClientTransaction,
        now: Instant,
    ) -> Option<Instant> {
        let next = client.gateway.is_some() && !plan.groups.is_empty();
        let invite = matches!(client.machine, Client::Invite(_));
        (next && invite).then(|| now + self.shared.settings().pstn.try_next_after)
    }

    /// A gateway was silent for too long: its transaction stays for a late answer, and the request
    /// goes elsewhere.
    pub(super) fn give_up(&mut self, serial: u64, mut client: Box<ClientTransaction>) {
        client.give_up();
        let (owner, gateway) = (client.owner, client.gateway.clone());
        self.transactions.put_client(serial, client);
        match owner {
            Owner::HangUp => {}
            Owner::Probe => self.probe_failed(gateway.as_deref(), SILENT),
            Owner::Relay { server, branch, .. } => self.branch_silent(server, branch),
        }
    }

    /// A branch got no answer.
    pub(super) fn branch_silent(&mut self, server: TransactionKey, branch: usize) {
        self.with_relay(server, |router, key, transaction, relay| {
            let oversize = relay.branches.get(branch).is_some_and(|branch| branch.oversize);
            if oversize && !relay.plan.groups.is_empty() {
                // Nobody may listen there on TCP; that is not the gateway's silence yet.
                return router.branch_failed(key, transaction, relay, branch);
            }
            router.note_silent(relay, branch, SILENT);
            let verdict = relay.context.on_timeout(branch);
            router.conclude(key, transaction, relay, verdict);
        });
    }

    /// A gateway given up answers after all. Whether the caller is to hear of it: of a success
    /// while he has no answer, or another success (RFC 3261 section 16.7, step 5). What rings is
    /// cancelled; a success that comes after he was told of a failure is ours to end.
    pub(super) fn wants_late(
        &mut self,
        serial: u64,
        client: &mut ClientTransaction,
        response: Message<'_>,
        now: Instant,
    ) -> bool {
        match (response.status(), client.owner) {
            (..200, Owner::Relay { .. }) => self.cancel_late(serial, client, now),
            (200..300, Owner::Relay { server, .. }) if self.was_refused(&server) => {
                self.hang_up(serial, client, response, now);
            }
            (status, _) => return status < 300,
        }
        false
    }

    fn was_refused(&self, server: &TransactionKey) -> bool {
        use InviteServerState::{Accepted, Proceeding};
        !self.transactions.get(server).is_some_and(|transaction| {
            matches!(&transaction.machine, Server::Invite(machine)
                if matches!(machine.state(), Proceeding | Accepted))
        })
    }

    /// Acknowledges a success and ends its call with a BYE: it costs money, and nobody is there.
    fn hang_up(
        &mut self,
        serial: u64,
        client: &ClientTransaction,
        response: Message<'_>,
        now: Instant,
    ) {
        let Ok(sent) = OwnedMessage::new(client.sent.clone()) else { return };
        let (sent, number) = (sent.view(), sent.view().cseq().map_or(1, |cseq| cseq.number));
        let fresh = self.transactions.next_serial();
        let via = self.own_via(&client.flow, fresh);
        let ack = InDialog { method: "ACK", cseq: number, via: &via };
        if edit::in_dialog(&mut self.out, &ack, sent, response) {
            self.outbox.send(&client.flow, &self.out, None);
        }
        let serial = Transactions::bye_serial(serial);
        if self.transactions.client(serial).is_some() {
            // The success is repeated until its ACK arrives; one BYE is enough.
            return;
        }
        let via = self.own_via(&client.flow, serial);
        let bye = InDialog { method: "BYE", cseq: number.saturating_add(1), via: &via };
        if edit::in_dialog(&mut self.out, &bye, sent, response) {
            self.outbox.send(&client.flow, &self.out, None);
            let machine = self.non_invite_machine(&client.flow, now);
            let out = self.out.clone();
            let bye = ClientTransaction::new(client.flow, machine, out, Owner::HangUp);
            self.transactions.put_client(serial, bye);
        }
    }

    fn own_via(&self, flow: &Flow, serial: u64) -> String {
        let here = self.shared.advertised(flow);
        let branch = self.shared.sealer.branch(self.shard as u8, serial, 0);
        format!("SIP/2.0/{} {here};branch={branch}", flow.transport.token())
    }

    fn non_invite_machine(&self, flow: &Flow, now: Instant) -> Client {
        let timing = &self.shared.settings().timing;
        Client::NonInvite(NonInviteClient::new(flow.transport.reliable(), timing, now))
    }

    /// A gateway given up rings after all: nobody waits for that any more.
    fn cancel_late(&mut self, serial: u64, client: &mut ClientTransaction, now: Instant) {
        if let Client::Invite(machine) = &mut client.machine
            && machine.state() == InviteClientState::Proceeding
            && machine.deadline().is_none()
        {
            machine.on_cancel(now);
            self.send_cancel(serial, client, now);
        }
    }

    /// A branch ended unanswered: if it went to a gateway, that gateway failed.
    pub(super) fn note_silent(&self, relay: &mut Relay, branch: usize, reason: &'static str) {
        let Some(entry) = relay.branches.get_mut(branch) else { return };
        self.rule_failed(&entry.target, format_args!("failed, {reason}"));
        let Some(gateway) = entry.target.gateway.as_deref() else { return };
        if !entry.heard && !entry.failed {
            entry.failed = true;
            self.call_failed(gateway, reason);
        }
    }

    /// There is no way to a gateway: no address, no listener for its transport.
    pub(super) fn note_no_way(&self, target: &Target) {
        self.rule_failed(target, format_args!("failed, {UNREACHABLE}"));
        if let Some(gateway) = target.gateway.as_deref() {
            self.call_failed(gateway, UNREACHABLE);
        }
    }

    /// A branch answered: a 503 is the gateway's failing (RFC 3263 section 4.3), all else is the
    /// call's fate, and shows that the gateway works.
    pub(super) fn note_answer(&self, relay: &mut Relay, branch: usize, status: u16) {
        let Some(entry) = relay.branches.get_mut(branch) else { return };
        entry.heard = true;
        if status >= 300 {
            self.rule_failed(&entry.target, format_args!("answered {status}"));
        }
        let Some(gateway) = entry.target.gateway.as_deref() else { return };
        match status {
            503 => {
                entry.failed = true;
                self.call_failed(gateway, UNAVAILABLE);
            }
            // The next hop alone says 100; a 408 is another's silence.
            ..=100 | 408 => {}
            _ => {
                if self.shared.gateway_health.lock().on_call_answered(gateway, now()) {
                    log_up(gateway);
                }
            }
        }
    }

    fn call_failed(&self, gateway: &str, reason: &'static str) {
        if self.shared.gateway_health.lock().on_call_failed(gateway, reason, now()) {
            log_down(gateway, reason);
        }
    }

    /// A datagram came back. Only what went to a gateway may fail for it: there is another way
    /// then, and no phone can be harmed.
    pub(super) fn on_returned(&mut self, Returned { serial, to }: Returned) {
        let concerned = self.transactions.client(serial).is_some_and(|client| {
            let there = client.flow.remote;
            client.flow.transport == Transport::Udp
                && (there.ip(), there.port()) == (to.ip(), to.port())
                && client.gateway.is_some()
        });
        if concerned {
            self.on_send_failed(SendToken(serial));
        }
    }

    /// Sends the probes that are due, and looks again later.
    pub(super) fn probe_gateways(&mut self, ctx: &mut Context<Self>) {
        let interval = self.shared.settings().pstn.probe;
        if let Some(interval) = interval {
            let due = self.shared.gateway_health.lock().take_due(now(), interval);
            due.into_iter().for_each(|uri| self.contain(|router| router.probe(uri)));
            self.settle(ctx);
        }
        let again = interval.map_or(PROBES_LOOK, |interval| interval.min(PROBES_LOOK));
        ctx.run_later(again, Self::probe_gateways);
    }

    /// The first look for probes that are due.
    pub(super) fn begin_probes(ctx: &mut Context<Self>) {
        ctx.run_later(PROBES_BEGIN, Self::probe_gateways);
    }

    fn probe(&mut self, uri: Arc<str>) {
        match Uri::parse(uri.as_bytes()).map(|uri| hop_of(&uri)) {
            Ok(Hop::Address(transport, to)) => self.send_probe(uri, transport, to, None),
            Ok(Hop::Name(_, name, _)) => {
                let (shared, shard) = (self.shared.clone(), self.shard);
                let done = move |result| shared.tell(shard, GatewayResolved { uri, result });
                self.shared.resolver.resolve(name, Box::new(done));
            }
            _ => self.probe_failed(Some(&uri), UNREACHABLE),
        }
    }

    pub(super) fn on_gateway_resolved(&mut self, found: GatewayResolved) {
        let GatewayResolved { uri, result } = found;
        let hop = Uri::parse(uri.as_bytes()).map(|uri| hop_of(&uri));
        let Ok(Hop::Name(transport, name, port)) = hop else { return };
        let addresses = result.unwrap_or_default();
        let reached = |ip: &std::net::IpAddr| self.outbox.local_for(transport, *ip).is_some();
        match addresses.into_iter().find(reached) {
            Some(ip) => {
                self.send_probe(uri, transport, SocketAddr::new(ip, port), Some(&name));
            }
            None => self.probe_failed(Some(&uri), UNREACHABLE),
        }
    }

    fn send_probe(
        &mut self,
        uri: Arc<str>,
        transport: Transport,
        remote: SocketAddr,
        name: Option<&str>,
    ) {
        let Some(flow) = self.outbox.connection_to(transport, remote, name) else {
            return self.probe_failed(Some(&uri), UNREACHABLE);
        };
        let serial = self.transactions.next_serial();
        self.write_probe(&uri, &flow, serial);
        self.outbox.send(&flow, &self.out, Some(SendToken(serial)));
        let now = now();
        let machine = self.non_invite_machine(&flow, now);
        let mut client = ClientTransaction::new(flow, machine, self.out.clone(), Owner::Probe);
        client.gateway = Some(uri);
        client.patience = Some(now + self.shared.settings().pstn.try_next_after);
        self.transactions.put_client(serial, client);
    }

    fn write_probe(&mut self, uri: &str, flow: &Flow, serial: u64) {
        let here = self.shared.advertised(flow);
        let message = Probe {
            uri,
            from: &format!("sip:{here}"),
            tag: &format!("{:016x}", rand::random::<u64>()),
            via: &self.own_via(flow, serial),
            call_id: &format!("{:032x}", rand::random::<u128>()),
            cseq: 1,
        };
        probe(&mut self.out, &message);
    }

    /// Any final answer shows that the gateway lives, but those that say that it does not work.
    pub(super) fn probe_answered(&mut self, gateway: Option<&str>, status: u16) {
        let Some(gateway) = gateway else { return };
        match status {
            ..200 => {}
            408 => self.probe_failed(Some(gateway), TIMED_OUT),
            503 => self.probe_failed(Some(gateway), UNAVAILABLE),
            _ => {
                if self.shared.gateway_health.lock().on_probe_answered(gateway, now()) {
                    log_up(gateway);
                }
            }
        }
    }

    pub(super) fn probe_failed(&mut self, gateway: Option<&str>, reason: &'static str) {
        let Some(gateway) = gateway else { return };
        if self.shared.gateway_health.lock().on_probe_failed(gateway, reason, now()) {
            log_down(gateway, reason);
        }
    }
}

fn log_down(gateway: &str, reason: &str) {
    warn!(event = "gateway.down", gateway, reason, "calls take another way");
}

fn log_up(gateway: &str) {
    info!(event = "gateway.up", gateway, "calls go there again");
}

fn gateway_target(gateway: &str, number: &str) -> Option<Target> {
    let uri = Uri::parse(gateway.as_bytes()).ok()?;
    let host = String::from_utf8_lossy(uri.host).into_owned();
    let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport =
        uri.transport().map(|name| format!(";transport={}", String::from_utf8_lossy(name)));
    let scheme = if matches!(uri.scheme, Scheme::Sips) { "sips" } else { "sip" };
    let request_uri = format!("{scheme}:{number}@{host}{port}{}", transport.unwrap_or_default());
    Some(Target {
        request_uri: Some(request_uri.into_bytes()),
        peer: true,
        gateway: Some(gateway.into()),
        ..Target::by(hop_of(&uri))
    })
}
