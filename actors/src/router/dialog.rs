//! Requests inside a dialog (guard.md section 6): a valid seal, and nothing else, lets them pass
//! without credentials, and it names the only flow they can reach.

use rempart_sip::flow::{Flow, Transport};
use rempart_sip::message::Message;
use rempart_sip::proxy::{self, Routed};
use rempart_sip::refusal::Refusal;
use rempart_sip::seal::{DialogSeal, RouteClass, Sender};
use rempart_sip::uri::Uri;

use super::secure::is_sips;
use super::{Arrival, Router};
use crate::relay::{Hop, Plan, Restored, Target};

/// The Record-Route parameter that carries the seal.
pub(super) const SEAL: &str = "s";

impl Router {
    /// The way of a request whose Route carries a valid seal.
    pub(super) fn dialog_plan(
        &self,
        arrival: &Arrival<'_>,
        routed: &Routed<'_>,
    ) -> Result<Option<Plan>, Refusal> {
        let Some((seal, sender)) = self.open_seal(arrival.message, routed) else {
            return Ok(None);
        };
        let mut plan = self.plan_of(arrival, routed)?;
        let to_local = match sender {
            Sender::Initiator => seal.responder_local,
            Sender::Responder => seal.initiator_local,
        };
        plan.class = seal.class;
        plan.routes_kept = true;
        plan.caller_local = match sender {
            Sender::Initiator => seal.initiator_local,
            Sender::Responder => seal.responder_local,
        };
        let flow = *seal.towards(sender);
        if is_sips(routed.request_uri) && flow.transport != Transport::Tls {
            return Err(Refusal::NoSecureWay);
        }
        plan.groups.push_back(vec![Target {
            local: to_local,
            peer: !to_local && seal.class == RouteClass::Gateway,
            ..Target::by(Hop::Flow(flow))
        }]);
        Ok(Some(plan))
    }

    fn open_seal(&self, message: Message<'_>, routed: &Routed<'_>) -> Option<(DialogSeal, Sender)> {
        let (from_tag, to_tag) = (message.from_tag()?, message.to_tag()?);
        routed.ours.iter().find_map(|uri| {
            let uri = Uri::parse(uri).ok()?;
            let seal = uri.params.get(SEAL)?;
            self.shared.sealer.open(seal, message.call_id(), from_tag, to_tag)
        })
    }

    /// An ACK to a 2xx follows its dialog; it makes no transaction. Without a seal it is dropped.
    pub(super) fn forward_ack(&mut self, arrival: &Arrival<'_>) {
        let settings = self.shared.settings();
        let plan = self
            .routed(arrival.message, &settings)
            .and_then(|routed| self.dialog_plan(arrival, &routed));
        match plan {
            Ok(Some(plan)) => self.send_ack(arrival, &plan),
            _ => self.drop_ack(arrival),
        }
    }

    fn send_ack(&mut self, arrival: &Arrival<'_>, plan: &Plan) {
        let Some(target) = plan.groups.front().and_then(|group| group.first()) else { return };
        let Hop::Flow(flow) = target.hop else { return };
        let serial = self.transactions.next_serial();
        self.write_branch(arrival.message, arrival.flow, plan, target, &flow, serial);
        self.outbox.send(&flow, &self.out, None);
    }

    /// What every relayed request starts from.
    pub(super) fn plan_of(
        &self,
        arrival: &Arrival<'_>,
        routed: &Routed<'_>,
    ) -> Result<Plan, Refusal> {
        let message = arrival.message;
        let max_forwards = proxy::max_forwards(message)?;
        let breadth = proxy::breadth(message);
        if breadth == 0 {
            return Err(Refusal::MaxBreadth);
        }
        let loop_hash = self.loop_hash(message);
        let sealer = &self.shared.sealer;
        let ours = message.vias().filter_map(|via| sealer.open_branch(via.branch?));
        if proxy::is_loop(ours, loop_hash) {
            return Err(Refusal::LoopDetected);
        }
        Ok(Plan {
            groups: Default::default(),
            by_gateways: false,
            class: RouteClass::Local,
            caller_local: false,
            caller_peer: false,
            record_route: false,
            routes_skipped: routed.skipped,
            routes_kept: false,
            restored: routed.took_last.then(|| Restored {
                request_uri: routed.request_uri.to_vec(),
                routes: routed.routes.iter().map(|value| value.to_vec()).collect(),
            }),
            max_forwards,
            loop_hash,
            breadth,
            share: breadth,
        })
    }

    /// The fields that say a request is the same one again (RFC 3261 section 16.6, step 8).
    fn loop_hash(&self, message: Message<'_>) -> u64 {
        use rempart_sip::message::HeaderName;
        let number = message.cseq().map_or(0, |cseq| cseq.number).to_be_bytes();
        let route = message.header(HeaderName::Route).unwrap_or_default();
        self.shared.sealer.loop_hash(&[
            message.request_uri(),
            message.call_id(),
            message.from_tag().unwrap_or_default(),
            message.to_tag().unwrap_or_default(),
            &number,
            message.method().as_bytes(),
            route,
        ])
    }

    /// The seal of a dialog between the caller's flow and a target's.
    pub(super) fn seal(
        &self,
        message: Message<'_>,
        caller: Flow,
        callee: Flow,
        plan: &Plan,
        target: &Target,
    ) -> String {
        let seal = DialogSeal {
            initiator: caller,
            responder: callee,
            class: plan.class,
            initiator_local: plan.caller_local,
            responder_local: target.local,
        };
        let tag = message.from_tag().unwrap_or_default();
        self.shared.sealer.seal(&seal, message.call_id(), tag)
    }
}
