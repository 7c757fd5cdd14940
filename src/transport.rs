//! The sockets: UDP, TCP and TLS listeners, read on the shard that a message's source belongs to
//! and written from any.
//!
//! `bind` opens everything before anything is served. The actors then take an outbox per shard
//! and open each shard with a door; see [`Wire`].

mod bind;
mod connections;
mod descriptors;
mod intake;
pub mod interfaces;
mod mmsg;
mod newcomers;
mod opened;
mod outbox;
pub mod resolve;
mod returned;
mod routes;
mod station;
mod steering;
mod stream;
mod tcp;
mod tls;
mod udp;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rempart_actors::door::Door;
use rempart_actors::wire::{Outbox, Wire};
use rempart_sip::flow::Transport;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

pub use bind::{BindError, ListenSpec, Listening};

use crate::config;
use crate::tls::Profiles;

use bind::Bound;
use connections::{Bounds, Connections, Reports};
use intake::Intake;
use outbox::ShardOutbox;
use station::{Ends, JOBS_MAX, Job, Station};

/// Reports of unsent messages that may wait for one shard.
const REPORTS_MAX: usize = 1024;

/// How long closing waits for streams to be written out.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// Between two looks at whether the streams are written out.
const CLOSE_STEP: Duration = Duration::from_millis(10);

/// What transports hold at most, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, in octets.
    pub message: usize,
    /// How long a message begun on a stream may take to arrive.
    pub message_deadline: Duration,
    /// How long a peer that connected may take to say its first message or keep-alive.
    pub first_message_deadline: Duration,
    /// How long a peer may stay silent on a connection; longer than a registration lives.
    pub idle_deadline: Duration,
    /// Stream connections together, ours and theirs.
    pub connections: usize,
    /// Stream connections with one source.
    pub connections_per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 65_535,
            message_deadline: Duration::from_secs(10),
            first_message_deadline: Duration::from_secs(60),
            idle_deadline: Duration::from_secs(3_900),
            connections: 4_096,
            connections_per_source: 256,
        }
    }
}

impl From<&config::limits::Limits> for Limits {
    fn from(limits: &config::limits::Limits) -> Self {
        Self {
            message: limits.message,
            message_deadline: limits.message_deadline,
            connections: limits.tcp_connections,
            connections_per_source: limits.tcp_connections_per_source,
            ..Self::default()
        }
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams dropped because a socket's send buffer was full.
    pub datagrams_dropped: u64,
    /// Datagrams that the kernel refused: no route, too long.
    pub datagrams_refused: u64,
    /// Connections closed at once because a bound was reached.
    pub connections_refused: u64,
    /// Connections closed before their first message, because others needed the place.
    pub connections_displaced: u64,
    /// TLS handshakes that came to nothing, on connections of either side.
    pub handshakes_failed: u64,
    /// Stream connections that stand or are being opened, now.
    pub connections: usize,
}

#[derive(Default)]
struct Counters {
    datagrams_dropped: AtomicU64,
    datagrams_refused: AtomicU64,
    connections_refused: AtomicU64,
    handshakes_failed: AtomicU64,
}

/// The open transports. Clones are the same transports.
#[derive(Clone)]
pub struct Transports {
    shared: Arc<Shared>,
}

/// What all shards share.
struct Shared {
    limits: Limits,
    listening: Vec<Listening>,
    warnings: Vec<String>,
    udp: Vec<Arc<udp::Port>>,
    /// Taken by shard 0 when it opens.
    acceptors: Mutex<Vec<(Transport, TcpListener)>>,
    profiles: Profiles,
    connections: Arc<Connections>,
    jobs: Vec<mpsc::Sender<Job>>,
    /// Taken by each shard when it opens.
    ends: Mutex<Vec<Option<Ends>>>,
    close: watch::Sender<bool>,
    counts: Counters,
}

impl Transports {
    /// Binds every listener for `shards` shards (at least one); nothing is read before `open`.
    /// TLS connections of either side are made by `profiles`.
    ///
    /// An error names the listener, its key and a remedy, and leaves nothing bound. A listener on
    /// an IPv6 address of a host without IPv6 is a warning, logged and kept in `warnings`.
    pub fn bind(
        listen: &[ListenSpec],
        shards: usize,
        limits: Limits,
        profiles: Profiles,
    ) -> Result<Self, BindError> {
        let bound = bind::bind_all(listen, shards.max(1))?;
        let streams = listen.iter().any(|one| one.transport.reliable());
        let connections = match streams {
            true => descriptors::make_room(limits.connections),
            false => limits.connections,
        };
        let limits = Limits { connections, ..limits };
        Ok(Self { shared: Arc::new(Shared::new(bound, shards.max(1), limits, profiles)) })
    }

    /// The listeners that stand open, in the order of `listen`, with the ports they got.
    pub fn listeners(&self) -> &[Listening] {
        &self.shared.listening
    }

    /// What was not opened, and why.
    pub fn warnings(&self) -> &[String] {
        &self.shared.warnings
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        let counts = &self.shared.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            datagrams_dropped: read(&counts.datagrams_dropped),
            datagrams_refused: read(&counts.datagrams_refused),
            connections_refused: read(&counts.connections_refused),
            handshakes_failed: read(&counts.handshakes_failed),
            connections_displaced: self.shared.connections.displaced(),
            connections: self.shared.connections.count(),
        }
    }

    /// Stops reading and accepting, and returns when the streams have been written out, after a
    /// second at most.
    pub async fn close(&self) {
        self.shared.close.send_replace(true);
        let end = Instant::now() + CLOSE_DEADLINE;
        while self.shared.connections.count() > 0 && Instant::now() < end {
            sleep(CLOSE_STEP).await;
        }
    }

    fn open_into<I: Intake>(&self, shard: usize, intake: I) {
        let ends = self.shared.ends.lock().get_mut(shard).and_then(Option::take);
        match ends {
            Some(ends) => Station { shard, intake, shared: self.shared.clone() }.start(ends),
            None => tracing::error!(shard, "shard opened twice, or unknown"),
        }
    }
}

impl Wire for Transports {
    fn outbox(&self, shard: usize) -> Box<dyn Outbox> {
        Box::new(ShardOutbox::new(shard, self.shared.clone()))
    }

    fn open(&self, shard: usize, door: Door) {
        self.open_into(shard, door);
    }
}

/// Places for connections that have said nothing yet, out of all: enough for a power cut's worth of
/// phones, and the rest is for those that have spoken.
fn newcomers_max(connections: usize) -> usize {
    connections.div_ceil(4)
}

impl Shared {
    fn new(bound: Bound, shards: usize, limits: Limits, profiles: Profiles) -> Self {
        let (mut jobs, mut reports, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..shards {
            let (jobs_in, jobs_out) = mpsc::channel(JOBS_MAX);
            let (reports_in, reports_out) = mpsc::channel(REPORTS_MAX);
            jobs.push(jobs_in);
            reports.push(reports_in);
            ends.push(Some(Ends { jobs: jobs_out, reports: reports_out }));
        }
        let bounds = Bounds {
            connections_max: limits.connections,
            per_source_max: limits.connections_per_source,
            newcomers_max: newcomers_max(limits.connections),
        };
        Self {
            limits,
            listening: bound.listening,
            warnings: bound.warnings,
            udp: bound.udp,
            acceptors: bound.tcp,
            profiles,
            connections: Connections::new(bounds, Reports::new(reports)),
            jobs,
            ends: Mutex::new(ends),
            close: watch::Sender::new(false),
            counts: Counters::default(),
        }
    }

    fn shards(&self) -> usize {
        self.jobs.len()
    }

    fn listeners(&self) -> Vec<(Transport, SocketAddr)> {
        self.listening.iter().map(|listener| (listener.transport, listener.address)).collect()
    }

    /// The listeners that a shard accepts for: shard 0 has them all.
    fn acceptors_of(&self, shard: usize) -> Vec<(Transport, TcpListener)> {
        if shard == 0 { std::mem::take(&mut self.acceptors.lock()) } else { Vec::new() }
    }

    /// Our address `own` with the port of a listener that covers it.
    fn listener_like(&self, transport: Transport, own: SocketAddr) -> Option<SocketAddr> {
        let of_family = self.listening.iter().filter(|listener| {
            listener.transport == transport && listener.address.is_ipv4() == own.is_ipv4()
        });
        let covers = |ip: std::net::IpAddr| ip == own.ip() || ip.is_unspecified();
        let covering = of_family.filter(|listener| covers(listener.address.ip()));
        let nearest = covering.min_by_key(|listener| listener.address.ip().is_unspecified())?;
        Some(SocketAddr::new(own.ip(), nearest.address.port()))
    }

    /// Gives a job to a shard; false, the job dropped, when it has too many.
    fn hand_over(&self, shard: usize, job: Job) -> bool {
        self.jobs.get(shard).is_some_and(|jobs| jobs.try_send(job).is_ok())
    }

    /// Ends when the transports are told to close.
    async fn closing(&self) {
        // An error means that nobody can tell any more, which is as good.
        self.close.subscribe().wait_for(|closing| *closing).await.ok();
    }
}

#[cfg(test)]
mod tests;
