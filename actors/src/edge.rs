//! The whole edge in one handle: starts the shards, each on an arbiter of its own, and speaks for
//! all of them to operators.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use rempart_sip::flow::SourceKey;
use rempart_sip::registrar::Binding;
use rempart_sip::uri::Aor;
use rempart_storage::{Ban, StoreError, Suspension, bans};
use tokio::sync::oneshot;

use crate::bans::{Bans, source_of};
use crate::clock::{now, now_unix};
use crate::decisions::{Asked, Memory, Told};
use crate::door::{Door, Pool, shard_of};
use crate::gate::{BanSource, CountDecisions, Explain, Gate, ListBans, UnbanSource};
use crate::gateways::GatewayState;
use crate::router::{ForgetFailures, Router};
use crate::scribe::Record;
use crate::settings::Settings;
use crate::shared::{Homes, Shared};
use crate::subscriber::ForgetBindings;
use crate::ticket::InFlight;
use crate::wire::Wire;

/// One shard's actors, as the edge reaches them.
struct Shard {
    gate: Addr<Gate>,
    router: Addr<Router>,
}

/// The running edge.
pub struct Edge {
    shared: Arc<Shared>,
    shards: Vec<Shard>,
    arbiters: Vec<Arbiter>,
    in_flight: InFlight,
}

/// What a start needs on a shard's arbiter.
pub(crate) struct Plug {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) in_flight: InFlight,
    pub(crate) bans: Arc<Vec<Ban>>,
}

impl Edge {
    /// Starts `shards` shards that speak through `wire`.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn start(
        settings: Settings,
        homes: Homes,
        wire: Arc<dyn Wire>,
        shards: usize,
    ) -> Result<Self, StoreError> {
        let in_flight = InFlight::new(settings.limits.in_flight);
        let shared = Arc::new(Shared::load(settings, homes, shards)?);
        let bans = Arc::new(bans(&*shared.store)?);
        let arbiters: Vec<Arbiter> = (0..shards).map(|_| Arbiter::new()).collect();
        let mut doors = Vec::new();
        for (shard, arbiter) in arbiters.iter().enumerate() {
            let plug = Plug {
                shared: shared.clone(),
                wire: wire.clone(),
                in_flight: in_flight.clone(),
                bans: bans.clone(),
            };
            doors.push(start_shard(arbiter, shard, plug).await);
        }
        let started: Vec<Shard> = doors.into_iter().flatten().collect();
        shared.introduce(started.iter().map(|shard| shard.router.clone()).collect());
        let edge = Self { shared, shards: started, arbiters, in_flight };
        edge.open(&wire).await;
        Ok(edge)
    }

    /// Opens the transports once every shard knows every other.
    async fn open(&self, wire: &Arc<dyn Wire>) {
        for (shard, arbiter) in self.arbiters.iter().enumerate() {
            let wire = wire.clone();
            let (done, opened) = oneshot::channel();
            arbiter.spawn_fn(move || {
                DOOR.with_borrow(|door| {
                    if let Some(door) = door {
                        wire.open(shard, door.clone());
                    }
                });
                done.send(()).ok();
            });
            drop(opened.await);
        }
    }

    /// What the shards share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The gate that serves `source`; none once the edge has stopped. Its messages:
    /// [`BanSource`], [`UnbanSource`], [`ListBans`] and what [`gate`](crate::gate) has besides.
    pub fn gate(&self, source: SourceKey) -> Option<&Addr<Gate>> {
        let shard = self.shards.get(shard_of(source, self.shards.len()));
        shard.map(|shard| &shard.gate).filter(|gate| gate.connected())
    }

    /// The router where `aor` is at home; none once the edge has stopped. Its messages:
    /// [`ForgetBindings`], [`ForgetFailures`] and what [`router`](crate::router) has besides.
    pub fn router(&self, aor: &Aor) -> Option<&Addr<Router>> {
        let hash = self.shared.sealer.loop_hash(&[aor.as_str().as_bytes()]) as usize;
        let shard = self.shards.get(hash % self.shards.len().max(1));
        shard.map(|shard| &shard.router).filter(|router| router.connected())
    }

    /// Every ban that stands.
    pub async fn bans(&self) -> Vec<Ban> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.gate.send(ListBans).await.unwrap_or_default());
        }
        all
    }

    /// What the shards remember about what is asked.
    pub async fn explain(&self, asked: &Asked) -> Told {
        let mut told = Told::default();
        for shard in &self.shards {
            told.join(shard.gate.send(Explain(asked.clone())).await.unwrap_or_default());
        }
        told
    }

    /// Decisions remembered: on those we know, and on strangers.
    pub async fn decisions(&self) -> (usize, usize) {
        let mut all = (0, 0);
        for shard in &self.shards {
            let (known, strangers) = shard.gate.send(CountDecisions).await.unwrap_or_default();
            all = (all.0 + known, all.1 + strangers);
        }
        all
    }

    /// Every suspension that stands.
    pub async fn suspensions(&self) -> Vec<Suspension> {
        self.shared.suspensions.rows(now())
    }

    /// Puts a ban in force. Persisting it is the caller's business.
    pub async fn ban(&self, ban: &Ban) {
        if let Some(gate) = self.gate(source_of(&ban.source)) {
            gate.send(BanSource(ban.clone())).await.ok();
        }
    }

    /// Lifts bans and suspensions: of a source, of a user, or of the user at that source. Returns
    /// how many stood.
    pub async fn unban(&self, source: Option<SourceKey>, user: Option<String>) -> usize {
        let mut lifted = 0;
        if let (Some(source), None) = (source, &user)
            && let Some(gate) = self.gate(source)
        {
            lifted += usize::from(gate.send(UnbanSource(source)).await.unwrap_or_default());
        }
        let forget = ForgetFailures { user, source };
        for shard in &self.shards {
            shard.router.send(forget.clone()).await.ok();
        }
        let suspended = self.shared.suspensions.lift(|key| forget.names(key), now());
        lifted += suspended.len();
        suspended.into_iter().for_each(|row| self.shared.write(Record::Unsuspend(row)));
        // What the caller deletes from the store next must not be written after it.
        self.shared.written().await;
        lifted
    }

    /// The bindings of a subscriber.
    pub fn bindings(&self, aor: &Aor) -> Vec<Binding> {
        self.shared.location.bindings(aor, now_unix())
    }

    /// Removes every binding of a subscriber, durably.
    ///
    /// # Errors
    ///
    /// What kept the journal from holding it.
    pub async fn forget_bindings(&self, aor: &Aor) -> Result<usize, String> {
        let home = self.router(aor).ok_or("no shard runs")?;
        home.send(ForgetBindings(aor.clone())).await.map_err(|error| error.to_string())?
    }

    /// Reads one subscriber from the store again.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn reload_subscriber(&self, aor: &Aor) -> Result<(), StoreError> {
        self.shared.accounts.reload(&*self.shared.store, aor)
    }

    /// How every gateway is, in the order of the settings.
    pub fn gateways(&self) -> Vec<GatewayState> {
        self.shared.gateway_health.lock().states().to_vec()
    }

    /// Messages admitted and not yet done with.
    pub fn in_flight(&self) -> usize {
        self.in_flight.count()
    }

    /// Transactions now.
    pub fn transactions(&self) -> u64 {
        self.shared.counters.transactions.load(Ordering::Relaxed)
    }

    /// Stops every shard, and waits for their threads: then the wire's sockets are closed. Not to
    /// be called on an arbiter of the edge's own.
    pub fn close(self) {
        self.stop();
        for arbiter in self.arbiters {
            // A thread that panicked has ended as well.
            arbiter.join().ok();
        }
    }

    /// Stops every shard, soon; what is journalled stays.
    pub fn stop(&self) {
        if let Err(error) = self.shared.journal.flush() {
            tracing::error!(%error, "bindings cannot be made durable");
        }
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

thread_local! {
    /// The door of the shard that runs on this arbiter, between its start and its opening.
    static DOOR: RefCell<Option<Door>> = const { RefCell::new(None) };
}

async fn start_shard(arbiter: &Arbiter, shard: usize, plug: Plug) -> Option<Shard> {
    let (done, started) = oneshot::channel();
    arbiter.spawn_fn(move || {
        let door = door(shard, plug);
        let shard = Shard { gate: door.gate.clone(), router: door.router.clone() };
        DOOR.set(Some(door));
        drop(done.send(shard));
    });
    started.await.ok()
}

/// Builds one shard in walk order, on its own arbiter.
pub(crate) fn door(shard: usize, plug: Plug) -> Door {
    let Plug { shared, wire, in_flight, bans } = plug;
    let (pool, shards) = (Pool::default(), shared.shards());
    let (outbox, decisions) = (wire.outbox(shard), Memory::default());
    let router = Router::new(shared.clone(), shard, outbox, pool.clone(), decisions.clone());
    let router = router.start();
    let own = bans.iter().filter(|ban| shard_of(source_of(&ban.source), shards) == shard);
    let mut standing = Bans::default();
    own.for_each(|ban| standing.insert(source_of(&ban.source), ban.clone(), now(), now_unix()));
    let bans = Rc::new(RefCell::new(standing));
    let (passed, lent) = (router.clone(), pool.clone());
    let gate = Gate::new(shared.clone(), bans.clone(), decisions, lent, passed).start();
    Door { bans, gate, router, pool, in_flight, shared, shards }
}
