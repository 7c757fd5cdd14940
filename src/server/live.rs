//! What the control socket and the metrics see of the running server.

use std::collections::BTreeMap;

use rempart_actors::Edge;
use rempart_actors::decisions::{Asked, Told};
use rempart_actors::gateways::GatewayState;
use rempart_sip::uri::Aor;
use rempart_storage::Ban;
use tokio::sync::{mpsc, oneshot};

use crate::admin::{
    AdminError, BanRow, BindingRow, DecisionsRow, Done, GatewayRow, Lift, Live, StatusRow,
};
use crate::timestamp::{now_unix, rfc3339};
use crate::tls::Profiles;
use crate::transport::Transports;

/// The running server as operators reach it.
pub struct LiveServer {
    edge: Edge,
    transports: Transports,
    profiles: Profiles,
    reloads: mpsc::Sender<Reload>,
}

/// The wish that the config be read again, and where the answer goes.
pub type Reload = oneshot::Sender<Result<Done, AdminError>>;

impl LiveServer {
    /// Speaks for the parts; hands on the wish for another config to `reloads`.
    pub fn new(
        edge: Edge,
        transports: Transports,
        profiles: Profiles,
        reloads: mpsc::Sender<Reload>,
    ) -> Self {
        Self { edge, transports, profiles, reloads }
    }

    /// The actors.
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Every counter by name, those of the transports among them.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = self.edge.shared().counters.snapshot();
        let counts = self.transports.counts();
        counters.insert("shed:send-buffer".to_owned(), counts.datagrams_dropped);
        counters.insert("refusal:unsendable".to_owned(), counts.datagrams_refused);
        counters.insert("shed:connections".to_owned(), counts.connections_refused);
        counters.insert("shed:newcomers".to_owned(), counts.connections_displaced);
        counters.insert("refusal:tls-handshake".to_owned(), counts.handshakes_failed);
        counters.insert("tls-reload-failures".to_owned(), self.profiles.failures());
        counters.insert("connections".to_owned(), counts.connections as u64);
        counters
    }

    /// Messages admitted and not yet done with.
    pub fn in_flight(&self) -> u64 {
        self.edge.in_flight() as u64
    }

    fn listeners(&self) -> Vec<String> {
        let listeners = self.transports.listeners().iter();
        listeners.map(|listener| format!("{}:{}", listener.transport, listener.address)).collect()
    }

    fn gateways(&self) -> Vec<GatewayRow> {
        let clock = &self.edge.shared().clock;
        let row = |state: GatewayState| GatewayRow {
            uri: state.uri.to_string(),
            state: if state.up { "up" } else { "down" }.to_owned(),
            since: rfc3339(clock.unix_ms(state.since) / 1_000),
            reason: state.reason.map(str::to_owned),
        };
        self.edge.gateways().into_iter().map(row).collect()
    }

    /// How the server is.
    pub async fn status_row(&self) -> StatusRow {
        let shared = self.edge.shared();
        let uptime_secs = shared.clock.uptime().as_secs();
        let read = |counter: &std::sync::atomic::AtomicU64| {
            counter.load(std::sync::atomic::Ordering::Relaxed)
        };
        let (known, strangers) = self.edge.decisions().await;
        let counters = self.counters();
        let refusals = by_reason(&counters);
        StatusRow {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: rfc3339(now_unix().saturating_sub(uptime_secs)),
            uptime_secs,
            listeners: self.listeners(),
            registrations: shared.location.count() as u64,
            transactions: self.edge.transactions(),
            calls: read(&shared.counters.calls),
            bans: self.edge.bans().await.len() as u64,
            suspensions: self.edge.suspensions().await.len() as u64,
            certificates: self.profiles.certificates(),
            gateways: self.gateways(),
            refused: refusals.values().sum(),
            refusals,
            decisions: DecisionsRow { known: known as u64, strangers: strangers as u64 },
            counters,
        }
    }
}

/// The refusals among the counters, by their identifiers.
fn by_reason(counters: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let refusal = |(name, count): (&String, &u64)| {
        name.strip_prefix("refusal:").map(|id| (id.to_owned(), *count))
    };
    counters.iter().filter_map(refusal).filter(|(_, count)| *count > 0).collect()
}

impl Live for LiveServer {
    async fn subscriber_changed(&self, aors: &[Aor]) -> Result<(), AdminError> {
        for aor in aors {
            self.edge.reload_subscriber(aor)?;
            if !self.edge.shared().accounts.knows(aor) {
                self.edge.forget_bindings(aor).await?;
            }
        }
        Ok(())
    }

    async fn trusted_changed(&self) -> Result<(), AdminError> {
        Ok(self.edge.shared().reload_trusted()?)
    }

    async fn bans(&self) -> Result<Vec<BanRow>, AdminError> {
        let mut rows: Vec<BanRow> = self.edge.bans().await.iter().map(BanRow::from).collect();
        rows.extend(self.edge.suspensions().await.iter().map(BanRow::from));
        Ok(rows)
    }

    async fn explain(&self, asked: &Asked) -> Result<Told, AdminError> {
        let mut told = self.edge.explain(asked).await;
        let counters = self.counters();
        let shed = counters.iter().filter(|(name, _)| name.starts_with("shed:"));
        told.shed = shed.map(|(_, count)| count).sum();
        Ok(told)
    }

    async fn ban(&self, ban: &Ban) -> Result<(), AdminError> {
        self.edge.ban(ban).await;
        Ok(())
    }

    async fn unban(&self, lift: &Lift) -> Result<u64, AdminError> {
        let lifted = self.edge.unban(lift.source(), lift.user.clone()).await;
        Ok(lifted as u64)
    }

    async fn locations(&self, aor: &Aor) -> Result<Vec<BindingRow>, AdminError> {
        let bindings = self.edge.bindings(aor);
        Ok(bindings.iter().map(|binding| BindingRow::of(aor, binding)).collect())
    }

    async fn remove_location(&self, aor: &Aor) -> Result<u64, AdminError> {
        Ok(self.edge.forget_bindings(aor).await? as u64)
    }

    async fn status(&self) -> Result<StatusRow, AdminError> {
        Ok(self.status_row().await)
    }

    async fn reload(&self) -> Result<Done, AdminError> {
        let stopping = |_| AdminError("the server is stopping".to_owned());
        let (answer, answered) = oneshot::channel();
        self.reloads.send(answer).await.map_err(|_| stopping(()))?;
        answered.await.map_err(|_| stopping(()))?
    }
}
