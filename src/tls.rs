//! TLS as the config asks for it: profiles for connections that come in and for those we open,
//! read from their files and swapped when a file changes (R36 to R51).

mod error;
mod files;
mod identity;
mod profile;
mod self_signed;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rempart_actors::identity::Identity;
use rempart_sip::flow::Transport;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::server::ProducesTickets;
use rustls::sign::CertifiedKey;

pub use self::error::TlsError;
pub use self::profile::{ClientProfile, ServerProfile};
pub use self::self_signed::PairFiles;

use self::profile::Wanted;
use crate::config::Config;
use crate::config::listen::{canonical_host, socket_address};
use crate::config::names::LocalNames;

/// The profiles in force. Clones are the same profiles.
#[derive(Clone)]
pub struct Profiles {
    set: Arc<ArcSwap<Set>>,
}

/// Everything that one reading of the config and its files gave.
struct Set {
    servers: Vec<(Matcher, Arc<ServerProfile>)>,
    clients: Vec<(Matcher, Arc<ClientProfile>)>,
    /// The top-level keys; `None` where nothing listens on TLS.
    server: Option<Arc<ServerProfile>>,
    client: Arc<ClientProfile>,
}

/// Whom a profile is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Matcher {
    Address(SocketAddr),
    Name(String),
}

impl Matcher {
    fn read(text: &str) -> Option<Self> {
        let address = socket_address(text, Transport::Tls.default_port());
        address.map(Self::Address).or_else(|| canonical_host(text).map(Self::Name))
    }

    fn is_address(&self, address: SocketAddr) -> bool {
        match self {
            Self::Address(own) => {
                own.port() == address.port()
                    && (own.ip() == address.ip()
                        || own.ip().is_unspecified() && own.is_ipv4() == address.is_ipv4())
            }
            Self::Name(_) => false,
        }
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self, Self::Name(own) if own == name)
    }
}

/// A name as profiles are found by it.
fn canonical(name: Option<&str>) -> Option<String> {
    name.and_then(canonical_host)
}

impl Profiles {
    /// Reads what the config names, and makes the self-signed pair where it names nothing.
    ///
    /// # Errors
    ///
    /// A file that is missing, unreadable, encrypted, or does not fit the others.
    pub fn load(config: &Config) -> Result<Self, TlsError> {
        let set = Set::read(config, true, None)?;
        Ok(Self { set: Arc::new(ArcSwap::from_pointee(set)) })
    }

    /// Reads what `load` would, and makes nothing.
    ///
    /// # Errors
    ///
    /// Those of `load`.
    pub fn inspect(config: &Config) -> Result<(), TlsError> {
        Set::read(config, false, None).map(drop)
    }

    /// How a connection to our address `local` is taken in, where the client asks for `name`
    /// (RFC 6066 section 3). A profile for the address comes before one for the name, so that a
    /// client cannot choose its way around what a listener demands.
    pub fn server(&self, local: SocketAddr, name: Option<&str>) -> Option<Arc<ServerProfile>> {
        let set = self.set.load();
        let of_address = || set.servers.iter().find(|(matcher, _)| matcher.is_address(local));
        let name = canonical(name);
        let of_name = || {
            let name = name.as_deref()?;
            set.servers.iter().find(|(matcher, _)| matcher.is_name(name))
        };
        let found = of_address().or_else(of_name).map(|(_, profile)| profile);
        found.or(set.server.as_ref()).cloned()
    }

    /// How a connection to `remote`, that is to prove to be `name`, is opened.
    pub fn client(&self, remote: SocketAddr, name: Option<&str>) -> Arc<ClientProfile> {
        let set = self.set.load();
        let of_address = || set.clients.iter().find(|(matcher, _)| matcher.is_address(remote));
        let name = canonical(name);
        let of_name = || {
            let name = name.as_deref()?;
            set.clients.iter().find(|(matcher, _)| matcher.is_name(name))
        };
        let found = of_address().or_else(of_name).map(|(_, profile)| profile);
        found.unwrap_or(&set.client).clone()
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

impl Set {
    /// Reads everything; `make` also makes the self-signed pair where one is needed.
    fn read(
        config: &Config,
        make: bool,
        tickets: Option<Arc<dyn ProducesTickets>>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let listens = config.listen.iter().any(|one| one.transport == Transport::Tls);
        let mut set = Self {
            servers: Vec::new(),
            clients: Vec::new(),
            server: None,
            client: Arc::new(ClientProfile::build(&Wanted::top(&config.tls), &provider)?),
        };
        if listens {
            let named = config.tls.certificate.is_some();
            let spare = if named { None } else { Some(spare(config, make, &provider)?) };
            let top = Wanted { spare: spare.clone(), ..Wanted::top(&config.tls) };
            let built = ServerProfile::build(&top, config.tls.verify, &provider, tickets.clone())?;
            set.server = Some(Arc::new(built));
            set.add_servers(config, spare, &provider, tickets)?;
        }
        set.add_clients(config, &provider)?;
        Ok(set)
    }

    fn add_servers(
        &mut self,
        config: &Config,
        spare: Option<Arc<CertifiedKey>>,
        provider: &Arc<CryptoProvider>,
        tickets: Option<Arc<dyn ProducesTickets>>,
    ) -> Result<(), TlsError> {
        for (index, profile) in config.tls.profiles.iter().enumerate() {
            let Some(server) = &profile.server else { continue };
            let wanted = Wanted::of(&config.tls, index, profile);
            let wanted = Wanted { spare: spare.clone(), ..wanted };
            let matcher = matcher(&wanted, server)?;
            let verify = wanted.verify.unwrap_or(config.tls.verify);
            let built = ServerProfile::build(&wanted, verify, provider, tickets.clone())?;
            self.servers.push((matcher, Arc::new(built)));
        }
        Ok(())
    }

    fn add_clients(
        &mut self,
        config: &Config,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), TlsError> {
        for (index, profile) in config.tls.profiles.iter().enumerate() {
            let Some(client) = &profile.client else { continue };
            let wanted = Wanted::of(&config.tls, index, profile);
            let matcher = matcher(&wanted, client)?;
            let built = ClientProfile::build(&wanted, provider)?;
            self.clients.push((matcher, Arc::new(built)));
        }
        Ok(())
    }
}

fn matcher(wanted: &Wanted, text: &str) -> Result<Matcher, TlsError> {
    let what = || format!("\"{text}\" is neither \"ip:port\" nor a host name");
    Matcher::read(text).ok_or_else(|| TlsError::of_key(&wanted.key, what()))
}

/// The self-signed pair, for profiles that name no certificate. Where it may not be made, or there
/// is no folder to keep it in, one that ends with the process.
fn spare(
    config: &Config,
    make: bool,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let kept = config.storage.folder().map(PairFiles::beside);
    if let (Some(pair), true) = (&kept, make) {
        pair.ensure(&names(config))?;
    }
    let pair = match kept {
        Some(pair) if pair.exist()? => {
            files::certified("tls", &pair.certificate, &pair.key, provider)?
        }
        _ => self_signed::Pair::make(&names(config))?.certified(provider)?,
    };
    Ok(Arc::new(pair))
}

/// What our own certificate is made out to.
fn names(config: &Config) -> Vec<String> {
    let names = LocalNames::here(config);
    let all = names.domains().iter().map(String::as_str).chain(names.aliases());
    all.filter(|name| !matches!(*name, "0.0.0.0" | "[::]")).map(str::to_owned).collect()
}
