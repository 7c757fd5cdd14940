//! Everything that one reading of the config and its files gave: the profiles, and which of them
//! is for whom.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rempart_sip::flow::Transport;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;

use super::error::TlsError;
use super::expiry::CertificateRow;
use super::files;
use super::profile::{ClientProfile, ServerProfile, Wanted};
use super::self_signed::{Pair, PairFiles};
use super::tickets::Ring;
use crate::config::Config;
use crate::config::listen::{canonical_host, socket_address};
use crate::config::names::LocalNames;

/// The profiles of one reading.
pub(super) struct Set {
    servers: Vec<(Matcher, Arc<ServerProfile>)>,
    clients: Vec<(Matcher, Arc<ClientProfile>)>,
    /// The top-level keys; `None` where nothing listens on TLS.
    server: Option<Arc<ServerProfile>>,
    client: Arc<ClientProfile>,
}

/// How a reading is done.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    /// Whether something listens on TLS.
    pub(super) listens: bool,
    /// What session tickets are sealed with.
    pub(super) tickets: &'a Arc<Ring>,
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

impl Set {
    /// The profile for connections to our address `local` that ask for `name`.
    pub(super) fn server(
        &self,
        local: SocketAddr,
        name: Option<&str>,
    ) -> Option<Arc<ServerProfile>> {
        find(&self.servers, local, name).or(self.server.as_ref()).cloned()
    }

    /// The profile for connections that we open to `remote`, called `name`.
    pub(super) fn client(&self, remote: SocketAddr, name: Option<&str>) -> Arc<ClientProfile> {
        find(&self.clients, remote, name).unwrap_or(&self.client).clone()
    }

    /// Our certificates, each profile that shows its own once.
    pub(super) fn certificates(&self, now: u64) -> Vec<CertificateRow> {
        let servers = self.server.iter().chain(self.servers.iter().map(|(_, profile)| profile));
        let servers = servers.map(|profile| (&profile.key, &profile.own));
        let clients = self.clients.iter().map(|(_, profile)| (&profile.key, &profile.own));
        let mut rows: Vec<CertificateRow> = Vec::new();
        for (key, own) in servers.chain(clients) {
            let row = own.as_ref().map(|own| CertificateRow::of(key, own, now));
            let new = |row: &CertificateRow| {
                rows.iter().all(|other| other.fingerprint != row.fingerprint)
            };
            if let Some(row) = row.filter(new) {
                rows.push(row);
            }
        }
        rows
    }

    /// Reads everything.
    pub(super) fn read(config: &Config, reading: Reading<'_>) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let mut set = Self {
            servers: Vec::new(),
            clients: Vec::new(),
            server: None,
            client: Arc::new(ClientProfile::build(&Wanted::top(&config.tls), &provider)?),
        };
        if reading.listens {
            set.add_servers(config, reading, &provider)?;
        }
        for (index, profile) in config.tls.profiles.iter().enumerate() {
            let Some(client) = &profile.client else { continue };
            let wanted = Wanted::of(&config.tls, index, profile);
            let built = ClientProfile::build(&wanted, &provider)?;
            set.clients.push((matcher(&wanted, client)?, Arc::new(built)));
        }
        Ok(set)
    }

    fn add_servers(
        &mut self,
        config: &Config,
        reading: Reading<'_>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), TlsError> {
        let named = config.tls.certificate.is_some();
        let spare = if named { None } else { Some(spare(config, provider)?) };
        let build = |wanted: Wanted| {
            let wanted = Wanted { spare: spare.clone(), ..wanted };
            let verify = wanted.verify.unwrap_or(config.tls.verify);
            ServerProfile::build(&wanted, verify, provider, reading.tickets).map(Arc::new)
        };
        self.server = Some(build(Wanted::top(&config.tls))?);
        for (index, profile) in config.tls.profiles.iter().enumerate() {
            let Some(server) = &profile.server else { continue };
            let wanted = Wanted::of(&config.tls, index, profile);
            let matcher = matcher(&wanted, server)?;
            self.servers.push((matcher, build(wanted)?));
        }
        Ok(())
    }
}

/// The profile for an address, else the one for a name.
fn find<'a, P>(
    profiles: &'a [(Matcher, P)],
    address: SocketAddr,
    name: Option<&str>,
) -> Option<&'a P> {
    let of_address = || profiles.iter().find(|(matcher, _)| matcher.is_address(address));
    let of_name = || {
        let name = name.and_then(canonical_host)?;
        profiles.iter().find(|(matcher, _)| matcher.is_name(&name))
    };
    of_address().or_else(of_name).map(|(_, profile)| profile)
}

/// Every file that the profiles are read from.
pub(super) fn files_of(config: &Config) -> Vec<PathBuf> {
    let profiles = config.tls.profiles.iter().enumerate();
    let wanted = profiles.map(|(index, profile)| Wanted::of(&config.tls, index, profile));
    let all = std::iter::once(Wanted::top(&config.tls)).chain(wanted);
    let mut files: Vec<PathBuf> = all.flat_map(|wanted| wanted.files()).collect();
    if let (None, Some(folder)) = (&config.tls.certificate, config.storage.folder()) {
        let pair = PairFiles::beside(folder);
        files.extend([pair.certificate, pair.key]);
    }
    files.sort_unstable();
    files.dedup();
    files
}

fn matcher(wanted: &Wanted, text: &str) -> Result<Matcher, TlsError> {
    let what = || format!("\"{text}\" is neither \"ip:port\" nor a host name");
    Matcher::read(text).ok_or_else(|| TlsError::of_key(&wanted.key, what()))
}

/// Makes the self-signed pair, where profiles need one and it is not there yet.
pub(super) fn make_spare(config: &Config) -> Result<(), TlsError> {
    match (&config.tls.certificate, config.storage.folder()) {
        (None, Some(folder)) => PairFiles::beside(folder).ensure(&names(config)),
        _ => Ok(()),
    }
}

/// The self-signed pair, for profiles that name no certificate. Where none was made, one that ends
/// with the process.
fn spare(config: &Config, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let pair = match config.storage.folder().map(PairFiles::beside) {
        Some(pair) if pair.exist()? => {
            files::certified("tls", &pair.certificate, &pair.key, provider)?
        }
        _ => Pair::make(&names(config))?.certified(provider)?,
    };
    Ok(Arc::new(pair))
}

/// What our own certificate is made out to.
fn names(config: &Config) -> Vec<String> {
    let names = LocalNames::here(config);
    let all = names.domains().iter().map(String::as_str).chain(names.aliases());
    all.filter(|name| !matches!(*name, "0.0.0.0" | "[::]")).map(str::to_owned).collect()
}
