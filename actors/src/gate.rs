//! Stage 1: trusted sources pass, banned ones are dropped, the rest are counted (R28). The table
//! counts everyone; a source past half the limit gets a flood actor of its own.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use rempart_sip::flow::SourceKey;
use rempart_sip::refusal::Refusal;
use rempart_storage::Ban;
use tracing::{debug, warn};

use crate::bans::Bans;
use crate::clock::{now, now_unix};
use crate::decisions::{Asked, Memory, Outcome, Seen, Told, Verdict, Who};
use crate::directory::Directory;
use crate::door::{Pool, recycle};
use crate::flood::{Banned, Flood, Metered, Offence};
use crate::meter::{Meter, threshold};
use crate::router::{Admitted, Router};
use crate::scribe::Record;
use crate::settings::FloodRule;
use crate::shared::Shared;
use crate::sources::{Counted, Sources};
use crate::wire::Batch;

/// Flood actors per shard.
pub const FLOOD_ACTORS_MAX: usize = 10_000;

/// Senders remembered of a batch that is shed.
const SHED_TOLD_MAX: usize = 8;

/// Batches that wait for the gate.
pub const GATE_MAILBOX: usize = 4_096;

/// Messages from the network, as a reader hands them over.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Inbound(pub Batch);

/// Bans a source; asked by an operator.
#[derive(Message)]
#[rtype(result = "()")]
pub struct BanSource(pub Ban);

/// Lifts the ban of a source, with a fresh window; says whether there was one.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct UnbanSource(pub SourceKey);

/// Asks what the shard remembers.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Told")]
pub struct Explain(pub Asked);

/// Asks how many decisions the shard remembers: on those we know, and on strangers.
#[derive(Debug, Message)]
#[rtype(result = "(usize, usize)")]
pub struct CountDecisions;

/// Asks for the bans that stand.
#[derive(Message)]
#[rtype(result = "Vec<Ban>")]
pub struct ListBans;

/// The gate of one shard.
pub struct Gate {
    shared: Arc<Shared>,
    bans: Rc<RefCell<Bans>>,
    decisions: Memory,
    pool: Pool,
    sources: Sources,
    floods: Directory<SourceKey, Flood>,
    router: Addr<Router>,
}

impl Gate {
    /// A gate that hands what passes to `router`, with the shard's bans and memory.
    pub fn new(
        shared: Arc<Shared>,
        bans: Rc<RefCell<Bans>>,
        decisions: Memory,
        pool: Pool,
        router: Addr<Router>,
    ) -> Self {
        let sources = shared.settings().limits.sources / shared.shards();
        let sources = Sources::new(sources, now());
        let floods = Directory::new(FLOOD_ACTORS_MAX);
        Self { shared, bans, decisions, pool, sources, floods, router }
    }

    /// Keeps what may go on at once; what a flood actor has to count goes to that actor, in one
    /// message however much it is, so that no burst fills the mailbox.
    fn sort(&mut self, batch: &mut Batch, rule: Option<&FloodRule>, ctx: &mut Context<Self>) {
        let now = now();
        let mut metered: Vec<(SourceKey, Batch)> = Vec::new();
        batch.retain(|flow, message| {
            let source = flow.source();
            let bans = self.bans.borrow();
            if bans.is_banned(source, now) {
                let passes = self.shared.is_exempt(flow);
                if !passes {
                    bans.count_dropped(source);
                    self.shared.counters.refused("banned");
                }
                return passes;
            }
            drop(bans);
            let Some(rule) = rule else { return true };
            is_response(message)
                || self.shared.is_exempt(flow)
                || self.passes_table(source, rule, now, ctx)
                || {
                    batch_of(&mut metered, source).push(*flow, message);
                    false
                }
        });
        for (source, mut part) in metered {
            batch.lend_places(&mut part);
            self.to_flood_actor(source, Metered { batch: part, at: now });
        }
    }

    /// Whether the source is quiet enough to need no actor; starts its actor otherwise.
    fn passes_table(
        &mut self,
        source: SourceKey,
        rule: &FloodRule,
        now: Instant,
        ctx: &mut Context<Self>,
    ) -> bool {
        if self.floods.get(&source).is_some() {
            return false;
        }
        match self.sources.hit(source, rule, threshold(rule), now) {
            Counted::Pass | Counted::Full => true,
            Counted::Hot { times, count } => {
                let meter = Meter::new(*rule, times.into_iter().take(count), now);
                let (next, gate) = (self.router.clone(), ctx.address().recipient());
                self.floods.get_or_start(&source, || Flood::new(source, meter, next, gate));
                false
            }
        }
    }

    fn to_flood_actor(&self, source: SourceKey, metered: Metered) {
        let Some(flood) = self.floods.get(&source) else { return };
        if let Err(refused) = flood.try_send(metered) {
            let (SendError::Full(metered) | SendError::Closed(metered)) = refused;
            self.shed("flood-mailbox", &metered.batch);
        }
    }

    /// Counts what the next stage has no room for, and remembers the first few senders: there is
    /// no time for more now.
    fn shed(&self, mailbox: &'static str, batch: &Batch) {
        self.shared.counters.shed(mailbox, batch.len());
        let now_ms = self.shared.clock.unix_ms(now());
        let outcome = Outcome::refused(&Refusal::Shed);
        let mut decisions = self.decisions.borrow_mut();
        for (flow, _) in batch.iter().take(SHED_TOLD_MAX) {
            decisions.start();
            decisions.rule("overload", format_args!("{mailbox} is full"));
            decisions.note(Who::Stranger, &Seen::unread(flow), outcome, now_ms);
        }
    }

    /// Remembers the message that crossed the limit; nothing was read of it.
    fn tell_banned(&self, offence: &Offence, rule: &FloodRule) {
        let (requests, window) = (rule.requests, rule.window);
        let mut decisions = self.decisions.borrow_mut();
        decisions.start();
        decisions.rule(
            "flood",
            format_args!("{} requests in {window:?}, limit {requests}", u64::from(requests) + 1),
        );
        decisions.rule("ban", format_args!("for {:?}", rule.ban));
        let now_ms = self.shared.clock.unix_ms(now());
        let outcome =
            Outcome { verdict: Verdict::Banned, reason: Refusal::Flooding.id(), status: 0 };
        decisions.note(Who::Stranger, &Seen::unread(offence.flow), outcome, now_ms);
    }

    fn ban(&mut self, ban: Ban, now_unix: u64) {
        let source = crate::bans::source_of(&ban.source);
        self.bans.borrow_mut().insert(source, ban, now(), now_unix);
    }

    fn sweep(&mut self, _: &mut Context<Self>) {
        self.floods.sweep();
        self.bans.borrow_mut().sweep(now());
    }
}

impl Actor for Gate {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(GATE_MAILBOX);
        ctx.run_interval(Duration::from_secs(10), Self::sweep);
    }
}

impl Handler<Inbound> for Gate {
    type Result = ();

    fn handle(&mut self, Inbound(mut batch): Inbound, ctx: &mut Self::Context) {
        let settings = self.shared.settings();
        self.sort(&mut batch, settings.flood.as_ref(), ctx);
        if batch.is_empty() {
            return recycle(&self.pool, batch);
        }
        if let Err(refused) = self.router.try_send(Admitted(batch)) {
            let (SendError::Full(Admitted(batch)) | SendError::Closed(Admitted(batch))) = refused;
            self.shed("router-mailbox", &batch);
        }
    }
}

impl Handler<Banned> for Gate {
    type Result = ();

    fn handle(&mut self, banned: Banned, _: &mut Self::Context) {
        let Some(rule) = self.shared.settings().flood else { return };
        let (since, ip) = (now_unix(), banned.source.address());
        let ban = banned.row(&rule, since);
        alert(ip, &banned.offence, &rule);
        self.tell_banned(&banned.offence, &rule);
        self.shared.write(Record::Ban(ban.clone()));
        self.ban(ban, since);
    }
}

/// The alert of R24: one line per ban, the address a field of its own.
fn alert(source: IpAddr, offence: &Offence, rule: &FloodRule) {
    warn!(
        event = "flood.ban", %source, port = offence.flow.remote.port(),
        transport = %offence.flow.transport,
        requests = rule.requests, ban_secs = rule.ban.as_secs(), alert = true, "source banned"
    );
}

impl Handler<BanSource> for Gate {
    type Result = ();

    fn handle(&mut self, BanSource(ban): BanSource, _: &mut Self::Context) {
        self.ban(ban, now_unix());
    }
}

impl Handler<UnbanSource> for Gate {
    type Result = bool;

    fn handle(&mut self, UnbanSource(source): UnbanSource, _: &mut Self::Context) -> bool {
        self.sources.remove(source);
        let metered = self.floods.remove(&source);
        let banned = self.bans.borrow_mut().remove(source, now());
        debug!(event = "flood.unban", source = %source.address(), banned, metered, "ban lifted");
        banned
    }
}

impl Handler<ListBans> for Gate {
    type Result = Vec<Ban>;

    fn handle(&mut self, _: ListBans, _: &mut Self::Context) -> Vec<Ban> {
        self.bans.borrow().rows(now())
    }
}

impl Handler<Explain> for Gate {
    type Result = MessageResult<Explain>;

    fn handle(&mut self, Explain(asked): Explain, _: &mut Self::Context) -> Self::Result {
        let settings = self.shared.settings();
        let mut told = self.decisions.borrow().told(&asked, &settings.names);
        let source = asked.source;
        told.dropped = source.map_or(0, |source| self.bans.borrow().dropped(source));
        MessageResult(told)
    }
}

impl Handler<CountDecisions> for Gate {
    type Result = MessageResult<CountDecisions>;

    fn handle(&mut self, _: CountDecisions, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.decisions.borrow().counts())
    }
}

/// A status line. Only requests are counted (R3, R23): responses match a transaction or vanish.
fn is_response(message: &[u8]) -> bool {
    message.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/2.0 "))
}

/// The batch that collects the requests of `source`.
fn batch_of(metered: &mut Vec<(SourceKey, Batch)>, source: SourceKey) -> &mut Batch {
    let known = metered.iter().position(|(key, _)| *key == source);
    let place = known.unwrap_or_else(|| {
        metered.push((source, Batch::new()));
        metered.len() - 1
    });
    &mut metered[place].1
}
