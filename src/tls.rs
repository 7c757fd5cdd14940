//! TLS as the config asks for it: profiles for connections that come in and for those we open,
//! read from their files and swapped when a file changes (R36 to R51).

mod error;
mod expiry;
mod files;
mod identity;
mod profile;
mod self_signed;
mod set;
mod tickets;
mod verify;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rempart_actors::identity::Identity;
use rempart_sip::flow::Transport;
use rempart_storage::Store;
use rustls::pki_types::CertificateDer;
use tokio::time::sleep;

pub use self::error::TlsError;
pub use self::expiry::CertificateRow;
pub use self::profile::{ClientProfile, ServerProfile};
pub use self::self_signed::PairFiles;

use self::set::{Reading, Set, files_of, make_spare};
use self::tickets::Ring;
use self::watch::Watch;
use crate::config::Config;
use crate::timestamp::now_unix;

/// Between two looks at the files. A change is in force after two of them, three at most.
const LOOK: Duration = Duration::from_secs(1);

/// Looks between two warnings of the same certificate: a day.
const LOOKS_A_DAY: u64 = 86_400;

/// The profiles in force. Clones are the same profiles.
#[derive(Clone)]
pub struct Profiles {
    shared: Arc<Shared>,
}

struct Shared {
    set: ArcSwap<Set>,
    source: Mutex<Source>,
    tickets: Arc<Ring>,
    store: Arc<dyn Store>,
    /// Whether something listens on TLS; only a restart changes it.
    listens: bool,
    failures: AtomicU64,
}

/// What the set in force was read from.
struct Source {
    config: Arc<Config>,
    watch: Watch,
}

impl Source {
    /// Looks at the files before they are read, so that a change in between is not missed.
    fn of(config: Arc<Config>, listens: bool) -> Result<Self, TlsError> {
        if listens {
            make_spare(&config)?;
        }
        let watch = Watch::over(files_of(&config));
        Ok(Self { config, watch })
    }
}

fn listens(config: &Config) -> bool {
    config.listen.iter().any(|one| one.transport == Transport::Tls)
}

impl Profiles {
    /// Reads what the config names, and makes the self-signed pair where it names nothing. The
    /// keys of session tickets are kept in `store`.
    ///
    /// # Errors
    ///
    /// A file that is missing, unreadable, encrypted, or does not fit the others.
    pub fn load(config: Arc<Config>, store: Arc<dyn Store>) -> Result<Self, TlsError> {
        let tickets = Arc::new(Ring::default());
        let listens = listens(&config);
        if listens {
            tickets.load(&*store, now_unix());
        }
        let source = Source::of(config.clone(), listens)?;
        let set = Set::read(&config, Reading { listens, tickets: &tickets })?;
        let (set, source) = (ArcSwap::from_pointee(set), Mutex::new(source));
        let failures = AtomicU64::new(0);
        let shared = Shared { set, source, tickets, store, listens, failures };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Reads what `load` would, makes nothing, and says which certificates are shown.
    ///
    /// # Errors
    ///
    /// Those of `load`.
    pub fn inspect(config: &Config) -> Result<Vec<CertificateRow>, TlsError> {
        let tickets = Arc::new(Ring::default());
        let reading = Reading { listens: listens(config), tickets: &tickets };
        Ok(Set::read(config, reading)?.certificates(now_unix()))
    }

    /// How a connection to our address `local` is taken in, where the client asks for `name`
    /// (RFC 6066 section 3). A profile for the address comes before one for the name, so that a
    /// client cannot choose its way around what a listener demands.
    pub fn server(&self, local: SocketAddr, name: Option<&str>) -> Option<Arc<ServerProfile>> {
        self.shared.set.load().server(local, name)
    }

    /// How a connection to `remote`, that is to prove to be `name`, is opened.
    pub fn client(&self, remote: SocketAddr, name: Option<&str>) -> Arc<ClientProfile> {
        self.shared.set.load().client(remote, name)
    }

    /// The certificates we show.
    pub fn certificates(&self) -> Vec<CertificateRow> {
        self.shared.set.load().certificates(now_unix())
    }

    /// How often changed files were refused and the old ones stayed in force.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Takes another config into force for the next handshakes. Connections keep what they have.
    ///
    /// # Errors
    ///
    /// Those of `load`; the old profiles then stay.
    pub fn replace(&self, config: Arc<Config>) -> Result<(), TlsError> {
        let mut source = self.shared.source.lock();
        let new = Source::of(config, self.shared.listens)?;
        self.read(&new.config)?;
        *source = new;
        Ok(())
    }

    fn read(&self, config: &Config) -> Result<(), TlsError> {
        let Shared { listens, tickets, .. } = &*self.shared;
        let set = Set::read(config, Reading { listens: *listens, tickets })?;
        self.shared.set.store(Arc::new(set));
        Ok(())
    }

    /// Looks at the files; changed ones are taken into force, or refused with a warning.
    fn look(&self) {
        let mut source = self.shared.source.lock();
        if !source.watch.settled() {
            return;
        }
        match self.read(&source.config) {
            Ok(()) => tracing::info!("changed TLS files are in force"),
            Err(error) => {
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "changed TLS files refused, the old ones stay in force");
            }
        }
    }

    fn warn_of_expiry(&self) {
        for row in self.certificates() {
            if let Some(warning) = row.warning() {
                tracing::warn!(key = %row.key, subject = row.subject, warning, "certificate");
            }
        }
    }

    /// Keeps the profiles up to date for as long as it is polled.
    pub async fn watch(self) {
        for looks in 0_u64.. {
            if looks % LOOKS_A_DAY == 0 {
                self.warn_of_expiry();
            }
            sleep(LOOK).await;
            let profiles = self.clone();
            // Files may be on a disk that keeps us waiting.
            let looking = tokio::task::spawn_blocking(move || {
                if profiles.shared.listens {
                    profiles.shared.tickets.turn(&*profiles.shared.store, now_unix());
                }
                profiles.look();
            });
            looking.await.ok();
        }
    }
}

/// Who a peer is by the certificate it showed in a finished handshake.
pub fn peer_identity(
    certificates: Option<&[CertificateDer<'_>]>,
    verified: bool,
) -> Option<Arc<Identity>> {
    let certificate = certificates?.first()?;
    identity::identity(certificate, verified).ok().map(Arc::new)
}
