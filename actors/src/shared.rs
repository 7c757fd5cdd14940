//! What the shards share: settings, secrets, the memory image of the store. All of it is read on
//! the packet path and changed rarely.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use actix::dev::{MessageResponse, ToEnvelope};
use actix::prelude::*;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rempart_sip::flow::{Flow, canonical_ip};
use rempart_sip::seal::{Keys, Sealer};
use rempart_sip::uri::{Host, Uri};
use rempart_storage::{Journal, Store, StoreError, load_or_create_keys, suspensions, trusted};

use tokio::sync::Notify;

use crate::accounts::Accounts;
use crate::clock::{Clock, now, now_unix};
use crate::counters::Counters;
use crate::gateways::Health;
use crate::location::Location;
use crate::router::Router;
use crate::scribe::{Record, Scribe};
use crate::settings::{GuardRule, Listener, Settings};
use crate::suspensions::Suspensions;
use crate::trusted::TrustedTable;
use crate::wire::Resolver;

/// Opened stores and a resolver, as the outside brings them.
pub struct Homes {
    /// Subscribers, address table, bans, suspensions, keys.
    pub store: Arc<dyn Store>,
    /// Bindings.
    pub journal: Journal,
    /// The bindings that the journal replayed.
    pub location: Location,
    /// Looks names up.
    pub resolver: Arc<dyn Resolver>,
}

/// See the module.
pub struct Shared {
    settings: ArcSwap<Settings>,
    trusted: ArcSwap<TrustedTable>,
    gateways: ArcSwap<Vec<IpAddr>>,
    shards: usize,
    scribe: Scribe,
    routers: OnceLock<Vec<Addr<Router>>>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Makes bindings survive.
    pub journal: Journal,
    /// Who is suspended.
    pub suspensions: Suspensions,
    /// Digest secrets.
    pub accounts: Accounts,
    /// Bindings.
    pub location: Location,
    /// Nonces, tags, branches, dialog seals.
    pub sealer: Sealer,
    /// Keys the transaction table's hashes.
    pub hash_key: [u8; 16],
    /// Time since the start.
    pub clock: Clock,
    /// What happened, in numbers.
    pub counters: Arc<Counters>,
    /// Which gateways work. Asked once per call to the telephone network, not per message.
    pub gateway_health: Mutex<Health>,
    /// Looks names up.
    pub resolver: Arc<dyn Resolver>,
}

impl Shared {
    /// Reads the store and makes everything ready for `shards` shards.
    ///
    /// # Errors
    ///
    /// What the store says, or a missing thread as [`StoreError::Io`].
    pub fn load(settings: Settings, homes: Homes, shards: usize) -> Result<Self, StoreError> {
        let keys = load_or_create_keys(&*homes.store)?;
        let secret = half(&keys);
        let scribe = Scribe::start(homes.store.clone()).map_err(|source| StoreError::Io {
            path: Default::default(),
            doing: "starting the thread that writes bans",
            source,
        })?;
        let shared = Self {
            settings: ArcSwap::from_pointee(settings),
            trusted: ArcSwap::default(),
            gateways: ArcSwap::default(),
            shards,
            scribe,
            routers: OnceLock::new(),
            suspensions: Suspensions::default(),
            accounts: Accounts::load(&*homes.store, &secret)?,
            journal: homes.journal,
            location: homes.location,
            sealer: Sealer::new(&keys),
            hash_key: rand::random(),
            clock: Clock::start(),
            counters: Arc::default(),
            gateway_health: Mutex::default(),
            resolver: homes.resolver,
            store: homes.store,
        };
        shared.suspensions.load(suspensions(&*shared.store)?, now(), now_unix());
        shared.reload_trusted()?;
        Ok(shared)
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The guard's rule in force.
    pub(crate) fn guard_rule(&self) -> GuardRule {
        self.settings.load().guard
    }

    /// Puts new settings in force.
    ///
    /// # Errors
    ///
    /// What the store says of the address table; the settings are in force all the same.
    pub fn replace_settings(&self, settings: Settings) -> Result<(), StoreError> {
        self.settings.store(Arc::new(settings));
        self.reload_trusted()
    }

    /// Reads the address table again.
    ///
    /// # Errors
    ///
    /// What the store says; the table in force stays.
    pub fn reload_trusted(&self) -> Result<(), StoreError> {
        let settings = self.settings();
        let rows = trusted(&*self.store)?;
        let table = TrustedTable::new(settings.trusted.iter().cloned().chain(rows));
        self.trusted.store(Arc::new(table));
        let gateways = settings.pstn.gateways.iter().filter_map(|gateway| literal(&gateway.uri));
        self.gateways.store(Arc::new(gateways.map(|address| address.ip()).collect()));
        let uris = settings.pstn.gateways.iter().map(|gateway| gateway.uri.as_str());
        self.gateway_health.lock().keep(uris, now());
        Ok(())
    }

    /// The address table in force.
    pub fn trusted(&self) -> arc_swap::Guard<Arc<TrustedTable>> {
        self.trusted.load()
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Whether the flood rule leaves this sender alone: trusted, a gateway, or ourselves
    /// (R28 to R30).
    pub fn is_exempt(&self, flow: &Flow) -> bool {
        let ip = canonical_ip(flow.remote.ip());
        self.is_peer(flow) || self.settings.load().names.is_own(ip)
    }

    /// Whether this side is one the owner configured: trusted or a gateway.
    pub fn is_peer(&self, flow: &Flow) -> bool {
        self.trusted.load().find(flow).is_some()
            || self.gateways.load().contains(&canonical_ip(flow.remote.ip()))
    }

    /// Names the shards to each other, once all of them run.
    pub(crate) fn introduce(&self, routers: Vec<Addr<Router>>) {
        // A second introduction would mean two edges on one Shared; the first stands.
        drop(self.routers.set(routers));
    }

    /// The router of `shard`.
    pub(crate) fn router(&self, shard: usize) -> Option<&Addr<Router>> {
        self.routers.get().and_then(|routers| routers.get(shard))
    }

    /// Answers the router of `shard` about a transaction that waits there.
    ///
    /// Not bounded by the mailbox but by the transactions that wait: each is answered once, and a
    /// lost answer would leave it waiting for ever.
    pub(crate) fn tell<M>(&self, shard: usize, message: M)
    where
        M: Message + Send + 'static,
        M::Result: Send + MessageResponse<Router, M>,
        Router: Handler<M>,
        Context<Router>: ToEnvelope<Router, M>,
    {
        if let Some(router) = self.router(shard) {
            router.do_send(message);
        }
    }

    /// Persists a ban or suspension soon.
    pub fn write(&self, record: Record) {
        if !self.scribe.write(record) {
            self.counters.shed("scribe", 1);
        }
    }

    /// Waits until every ban and suspension noted so far is written.
    pub async fn written(&self) {
        let passed = Arc::new(Notify::new());
        if self.scribe.write(Record::Fence(passed.clone())) {
            passed.notified().await;
        }
    }

    /// What Via and Record-Route carry for the local end of a flow.
    pub fn advertised(&self, local: &Flow) -> String {
        let settings = self.settings.load();
        let listener = settings.listeners.iter().find(|listener| serves(listener, local));
        match listener.and_then(|listener| listener.advertise.as_ref()) {
            Some(name) if name.ends_with(']') || !name.contains(':') => {
                format!("{name}:{}", local.local.port())
            }
            Some(name) => name.clone(),
            None => local.local.to_string(),
        }
    }
}

fn serves(listener: &Listener, flow: &Flow) -> bool {
    listener.transport == flow.transport
        && listener.address.port() == flow.local.port()
        && (listener.address.ip() == flow.local.ip()
            || listener.address.ip().is_unspecified()
                && listener.address.is_ipv4() == flow.local.is_ipv4())
}

fn half(keys: &Keys) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&keys.current[..16]);
    half
}

/// The socket address of a URI whose host is an address.
pub fn literal(uri: &str) -> Option<SocketAddr> {
    let uri = Uri::parse(uri.as_bytes()).ok()?;
    match uri.host_canonical().ok()? {
        Host::Ip(ip) => Some(SocketAddr::new(ip, uri.port.unwrap_or(5060))),
        Host::Name(_) => None,
    }
}
