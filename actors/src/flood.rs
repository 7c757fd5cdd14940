//! One actor per busy source: owns its meter and the timer that ends both. Requests that pass
//! travel on; nobody waits for an answer.

use std::time::Instant;

use actix::prelude::*;
use rempart_sip::flow::{Flow, SourceKey};

use crate::clock::now;
use crate::directory::Retire;
use crate::gate::{Banned, Gate};
use crate::meter::{Meter, Verdict};
use crate::router::{Admitted, Router};
use crate::wire::Batch;

/// Requests of the metered source.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Metered {
    /// The requests.
    pub batch: Batch,
    /// When the gate took them: one clock reading serves the table and the meter.
    pub at: Instant,
}

/// Meters one source (R23 to R26, R68). An embedder gives it any next stage.
pub struct Flood {
    source: SourceKey,
    meter: Meter,
    next: Addr<Router>,
    gate: Addr<Gate>,
    untold: Option<Offence>,
}

/// What crossed the limit: told in the alert.
#[derive(Clone, Copy, Debug)]
pub struct Offence {
    /// The flow it came by.
    pub flow: Flow,
}

impl Flood {
    /// A flood actor for `source` that passes requests to `next` and reports bans to `gate`.
    pub fn new(source: SourceKey, meter: Meter, next: Addr<Router>, gate: Addr<Gate>) -> Self {
        Self { source, meter, next, gate, untold: None }
    }

    fn stop_when_idle(&mut self, ctx: &mut Context<Self>) {
        let left = self.meter.idle_at().saturating_duration_since(now());
        if left.is_zero() {
            return ctx.stop();
        }
        ctx.run_later(left, Self::stop_when_idle);
    }

    /// A full gate is told again at the next request: the ban holds here meanwhile.
    fn tell(&mut self) {
        if let Some(offence) = self.untold
            && self.gate.try_send(Banned { source: self.source, offence }).is_ok()
        {
            self.untold = None;
        }
    }
}

impl Actor for Flood {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.stop_when_idle(ctx);
    }
}

impl Handler<Metered> for Flood {
    type Result = ();

    fn handle(&mut self, Metered { mut batch, at }: Metered, _: &mut Self::Context) {
        batch.retain(|flow, _| match self.meter.hit(at) {
            Verdict::Pass => true,
            Verdict::Drop => false,
            Verdict::Ban => {
                self.untold = Some(Offence { flow: *flow });
                false
            }
        });
        if !batch.is_empty() {
            // A full next stage sheds these requests; UDP senders retransmit.
            drop(self.next.try_send(Admitted(batch)));
        }
        self.tell();
    }
}

impl Handler<Retire> for Flood {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
