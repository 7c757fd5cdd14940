//! The server in the foreground: opens the stores, the sockets and the control socket, starts the
//! actors, and waits for a signal. Nothing is served before everything is open.

mod live;
mod metrics;
mod settings;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use rempart_actors::Edge;
use rempart_actors::location::Location;
use rempart_actors::shared::Homes;
use rempart_storage::{Journal, MemoryStore, SledStore, Store, StoreError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::admin::{AdminError, Done, Office};
use crate::config::Config;
use crate::control;
use crate::tls::Profiles;
use crate::transport::resolve::Dns;
use crate::transport::{Limits, ListenSpec, Transports};
use live::{LiveServer, Reload};

type Failed = Box<dyn Error>;

/// Runs the server until SIGTERM or SIGINT. SIGHUP reads `file` again.
///
/// # Errors
///
/// Whatever keeps it from starting: a store in use, a port in use, a second server on the control
/// socket. One line: what, where, what to do.
pub fn run(config: Config, file: &Path) -> Result<(), Failed> {
    actix::System::new().block_on(async move {
        // Before anything answers: a SIGHUP that finds no handler ends the process.
        let signals = Signals::listen()?;
        let server = Server::start(config).await?;
        server.serve(file, signals).await;
        Ok(())
    })
}

/// A started server.
pub struct Server {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    transports: Transports,
    profiles: Profiles,
    live: Rc<LiveServer>,
    control: JoinHandle<()>,
    reloads: mpsc::Receiver<Reload>,
}

/// Operators who wait for the config to be read again; more wait to be heard.
const RELOADS_MAX: usize = 8;

impl Server {
    /// Opens everything and starts serving. Must be called inside an actix system.
    ///
    /// # Errors
    ///
    /// See [`run`].
    pub async fn start(config: Config) -> Result<Self, Failed> {
        let config = Arc::new(config);
        let listener = control::bind(&config.control)?;
        let (store, journal, location) = open(&config)?;
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        let listen: Vec<ListenSpec> = config.listen.iter().map(ListenSpec::from).collect();
        let profiles = Profiles::load(config.clone(), store.clone())?;
        let limits = Limits::from(&config.limits);
        let transports = Transports::bind(&listen, shards, limits, profiles.clone())?;
        let servers: Vec<_> = config.dns.servers.iter().map(|server| server.0).collect();
        let resolver = Arc::new(Dns::new(&servers));
        let homes = Homes { store: store.clone(), journal, location, resolver };
        let settings = settings::settings(&config, transports.listeners());
        let edge = Edge::start(settings, homes, Arc::new(transports.clone()), shards).await?;
        let (asking, reloads) = mpsc::channel(RELOADS_MAX);
        actix_rt::spawn(profiles.clone().watch());
        let live = Rc::new(LiveServer::new(edge, transports.clone(), profiles.clone(), asking));
        let office = Office::new(config.clone(), store.clone());
        let control = actix_rt::spawn(control::serve(listener, office, live.clone()));
        if let Some(address) = config.admin.listen {
            actix_rt::spawn(metrics::serve(address, live.clone()));
        }
        announce(&transports);
        Ok(Self { config, store, transports, profiles, live, control, reloads })
    }

    /// Serves until a signal ends it.
    pub async fn serve(mut self, file: &Path, mut signals: Signals) {
        loop {
            tokio::select! {
                stop = signals.say_stop() => match stop {
                    true => break,
                    false => drop(self.reload(file)),
                },
                Some(answer) = self.reloads.recv() => {
                    // Whoever asked may have gone; the log has it too.
                    answer.send(self.reload(file)).ok();
                }
            }
        }
        self.stop().await;
    }

    /// Reads the config again. A bad one is refused and the old one stays.
    fn reload(&mut self, file: &Path) -> Result<Done, AdminError> {
        let config = Config::load(file).map(Arc::new).map_err(|error| kept(&error))?;
        self.profiles.replace(config.clone()).map_err(|error| kept(&error))?;
        let waiting = self.fixed_keys(&config);
        let settings = settings::settings(&config, self.transports.listeners());
        let replaced = self.live.edge().shared().replace_settings(settings);
        self.config = config;
        self.reopen_control();
        replaced.map_err(|error| {
            error!(%error, "config in force, but the address table could not be read");
            AdminError(format!("config in force, but the address table is the old one: {error}"))
        })?;
        info!(file = %file.display(), "config reloaded");
        Ok(Done::new(reloaded(file, &waiting), 1))
    }

    /// What was changed and only a restart brings into force.
    fn fixed_keys(&self, new: &Config) -> Vec<&'static str> {
        let old = &*self.config;
        let fixed = [
            ("listen", old.listen != new.listen),
            ("storage", old.storage != new.storage),
            ("limits", old.limits != new.limits),
            ("dns", old.dns != new.dns),
            ("admin", old.admin != new.admin),
        ];
        let changed: Vec<_> =
            fixed.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect();
        for key in &changed {
            warn!(key, "changed in the config; takes effect at the next start");
        }
        changed
    }

    /// The control socket answers by the new config.
    fn reopen_control(&mut self) {
        self.control.abort();
        let (config, store, live) = (self.config.clone(), self.store.clone(), self.live.clone());
        self.control = actix_rt::spawn(async move {
            // The aborted one is dropped, and its socket removed, at the next turn.
            tokio::task::yield_now().await;
            match control::bind(&config.control) {
                Ok(listener) => {
                    let office = Office::new(config, store);
                    control::serve(listener, office, live).await;
                }
                Err(error) => error!(%error, "no control socket"),
            }
        });
    }

    async fn stop(self) {
        info!("stopping");
        self.control.abort();
        self.transports.close().await;
        self.live.edge().stop();
        // The control socket's file goes with its task.
        tokio::task::yield_now().await;
    }
}

/// The signals that an operator sends.
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// When the system lets nobody listen.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one: whether it ends the server.
    async fn say_stop(&mut self) -> bool {
        tokio::select! {
            _ = self.hangup.recv() => false,
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
        }
    }
}

/// A reload that was refused.
fn kept(error: &dyn std::fmt::Display) -> AdminError {
    error!(%error, "config refused, the old one stays in force");
    AdminError(format!("{error}; the old config stays in force"))
}

/// A reload in one line for people.
fn reloaded(file: &Path, waiting: &[&str]) -> String {
    let file = file.display();
    match waiting {
        [] => format!("{file} is in force"),
        keys => format!("{file} is in force, but {} only after a restart", keys.join(", ")),
    }
}

type Opened = (Arc<dyn Store>, Journal, Location);

fn open(config: &Config) -> Result<Opened, StoreError> {
    let location = Location::default();
    let Some(folder) = config.storage.folder() else {
        return Ok((Arc::new(MemoryStore::new()), Journal::in_memory(), location));
    };
    let folder: PathBuf = folder.to_owned();
    let store = SledStore::open(&folder)?;
    let journal = Journal::open(&folder, |aor, bindings| location.put(aor, &bindings))?;
    Ok((Arc::new(store), journal, location))
}

fn announce(transports: &Transports) {
    for listener in transports.listeners() {
        info!(transport = %listener.transport, address = %listener.address, "listening");
    }
    info!(version = env!("CARGO_PKG_VERSION"), "ready");
}
