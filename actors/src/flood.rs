//! One actor per busy source: owns its meter and the timer that ends both.
//!
//! In the edge it stands between the gate and the router: requests that pass travel on, nobody
//! waits for an answer ([`Metered`]). Alone it guards anything that has a source and can be asked
//! too often: it answers each [`Hit`] with a verdict.
//!
//! ```
//! use actix::prelude::*;
//! use rempart_actors::flood::{Banned, Flood, Hit};
//! use rempart_actors::meter::{SEED_RULE, Verdict};
//! use rempart_sip::flow::{Flow, Transport};
//!
//! /// Hears of bans.
//! struct Watchman;
//!
//! impl Actor for Watchman {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<Banned> for Watchman {
//!     type Result = ();
//!
//!     fn handle(&mut self, ban: Banned, _: &mut Self::Context) {
//!         println!("{} is banned", ban.source);
//!     }
//! }
//!
//! actix::System::new().block_on(async {
//!     let (local, remote) = (([192, 0, 2, 1], 80).into(), ([192, 0, 2, 7], 40_000).into());
//!     let flow = Flow { transport: Transport::Tcp, local, remote, connection: 0 };
//!     let flood = Flood::alone(flow.source(), SEED_RULE, Watchman.start().recipient()).start();
//!     for _ in 0..16 {
//!         assert_eq!(flood.send(Hit(flow)).await, Ok(Verdict::Pass));
//!     }
//!     assert_eq!(flood.send(Hit(flow)).await, Ok(Verdict::Ban));
//!     assert_eq!(flood.send(Hit(flow)).await, Ok(Verdict::Drop));
//! });
//! ```

use std::time::Instant;

use actix::prelude::*;
use rempart_sip::flow::{Flow, SourceKey};
use rempart_storage::{Ban, Evidence};

use crate::bans::network;
use crate::clock::now;
use crate::directory::Retire;
use crate::meter::{Meter, Verdict};
use crate::router::{Admitted, Router};
use crate::settings::FloodRule;
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

/// One request of the metered source, of any protocol: answered with a [`Verdict`].
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Verdict")]
pub struct Hit(pub Flow);

/// A flood actor's word that its source crossed the limit. Said once a ban.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Banned {
    /// The source.
    pub source: SourceKey,
    /// What crossed the limit.
    pub offence: Offence,
}

impl Banned {
    /// The ban as it is kept, listed and persisted. `now_unix` is in seconds since 1970.
    pub fn row(&self, rule: &FloodRule, now_unix: u64) -> Ban {
        let evidence = match self.offence.flow.transport.reliable() {
            true => Evidence::Proven,
            false => Evidence::Unproven,
        };
        Ban {
            source: network(self.source),
            reason: "flooding".to_owned(),
            evidence,
            since: now_unix,
            until: now_unix + rule.ban.as_secs_f64().ceil() as u64,
            level: 0,
        }
    }
}

/// Meters one source (R23 to R26, R68). `N` is the next stage of the requests that pass; a flood
/// actor alone has none.
pub struct Flood<N = Addr<Router>> {
    source: SourceKey,
    meter: Meter,
    next: N,
    bans: Recipient<Banned>,
    untold: Option<Offence>,
}

/// What crossed the limit: told in the alert.
#[derive(Clone, Copy, Debug)]
pub struct Offence {
    /// The flow it came by.
    pub flow: Flow,
}

impl Flood {
    /// A flood actor for `source` that passes requests to `next` and reports bans to `bans`.
    pub fn new(
        source: SourceKey,
        meter: Meter,
        next: Addr<Router>,
        bans: Recipient<Banned>,
    ) -> Self {
        Self { source, meter, next, bans, untold: None }
    }
}

impl Flood<()> {
    /// A flood actor that only answers, and reports bans to `bans`.
    pub fn alone(source: SourceKey, rule: FloodRule, bans: Recipient<Banned>) -> Self {
        Self { source, meter: Meter::new(rule, [], now()), next: (), bans, untold: None }
    }
}

impl<N: Unpin + 'static> Flood<N> {
    fn stop_when_idle(&mut self, ctx: &mut Context<Self>) {
        let left = self.meter.idle_at().saturating_duration_since(now());
        if left.is_zero() {
            return ctx.stop();
        }
        ctx.run_later(left, Self::stop_when_idle);
    }

    /// A full mailbox is told again at the next request: the ban holds here meanwhile.
    fn tell(&mut self) {
        if let Some(offence) = self.untold
            && self.bans.try_send(Banned { source: self.source, offence }).is_ok()
        {
            self.untold = None;
        }
    }
}

impl<N: Unpin + 'static> Actor for Flood<N> {
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

impl<N: Unpin + 'static> Handler<Hit> for Flood<N> {
    type Result = Verdict;

    fn handle(&mut self, Hit(flow): Hit, _: &mut Self::Context) -> Verdict {
        let verdict = self.meter.hit(now());
        if verdict == Verdict::Ban {
            self.untold = Some(Offence { flow });
        }
        self.tell();
        verdict
    }
}

impl<N: Unpin + 'static> Handler<Retire> for Flood<N> {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
