//! One profile: what the config says of it, read from its files and made ready for handshakes.

use std::path::PathBuf;
use std::sync::Arc;

use rempart_actors::identity::{CertificateMatch, Identity};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::error::TlsError;
use super::tickets::{Ring, Ticketer};
use super::verify::{Clients, Measure, Servers};
use super::{files, identity};
use crate::config::tls::{self, Files, TlsProfile, Verify};

/// TLS 1.2 and 1.3 and nothing older (RFC 8996). The provider's suites for 1.2 all have ECDHE and
/// AEAD.
const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// What the config says of one profile, what it leaves out taken from the top level.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// `tls` or `tls.profiles[2]`.
    pub(super) key: Arc<str>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) private: Option<PathBuf>,
    /// What is shown where no certificate is named.
    pub(super) spare: Option<Arc<CertifiedKey>>,
    pub(super) verify: Option<Verify>,
    pub(super) ca: Vec<PathBuf>,
    pub(super) crl: Vec<PathBuf>,
    pub(super) pinned: Vec<[u8; 32]>,
    pub(super) must_match: Option<CertificateMatch>,
    pub(super) as_digest: bool,
}

fn paths(files: Option<&Files>) -> Vec<PathBuf> {
    files.map(|files| files.paths().to_vec()).unwrap_or_default()
}

fn matching(rule: tls::CertificateMatch) -> CertificateMatch {
    match rule {
        tls::CertificateMatch::FromUser => CertificateMatch::FromUser,
        tls::CertificateMatch::FromAor => CertificateMatch::FromAor,
    }
}

impl Wanted {
    /// The top-level keys.
    pub(super) fn top(tls: &tls::Tls) -> Self {
        Self {
            key: "tls".into(),
            certificate: tls.certificate.clone(),
            private: tls.key.clone(),
            spare: None,
            verify: None,
            ca: paths(tls.ca.as_ref()),
            crl: paths(tls.crl.as_ref()),
            pinned: tls.pinned.iter().map(|pin| pin.0).collect(),
            must_match: tls.certificate_must_match.map(matching),
            as_digest: tls.certificate_as_digest,
        }
    }

    /// Number `index` of the profiles.
    pub(super) fn of(tls: &tls::Tls, index: usize, profile: &TlsProfile) -> Self {
        let pinned = profile.pinned.as_ref().unwrap_or(&tls.pinned);
        Self {
            key: format!("tls.profiles[{index}]").into(),
            certificate: profile.certificate.clone().or_else(|| tls.certificate.clone()),
            private: profile.key.clone().or_else(|| tls.key.clone()),
            spare: None,
            verify: profile.verify,
            ca: paths(profile.ca.as_ref().or(tls.ca.as_ref())),
            crl: paths(profile.crl.as_ref().or(tls.crl.as_ref())),
            pinned: pinned.iter().map(|pin| pin.0).collect(),
            must_match: profile.certificate_must_match.or(tls.certificate_must_match).map(matching),
            as_digest: profile.certificate_as_digest.unwrap_or(tls.certificate_as_digest),
        }
    }

    /// Every file it is read from.
    pub(super) fn files(self) -> impl Iterator<Item = PathBuf> {
        let pair = self.certificate.into_iter().chain(self.private);
        pair.chain(self.ca).chain(self.crl)
    }

    fn certified(&self, provider: &CryptoProvider) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
        let Some((chain, private)) = self.certificate.as_deref().zip(self.private.as_deref())
        else {
            return Ok(self.spare.clone());
        };
        files::certified(&self.key, chain, private, provider).map(|pair| Some(Arc::new(pair)))
    }

    /// By what certificates are measured: a chain, unless a pin stands alone.
    fn measure(&self, otherwise: Option<fn() -> RootCertStore>) -> Result<Measure, TlsError> {
        let authorities = match (self.ca.is_empty(), self.pinned.is_empty(), otherwise) {
            (false, ..) => Some(files::authorities(&self.key, &self.ca)?),
            (true, true, Some(otherwise)) => Some(otherwise()),
            (true, ..) => None,
        };
        Ok(Measure {
            authorities: authorities.map(Arc::new),
            revocations: files::revocations(&self.key, &self.crl)?,
            pinned: self.pinned.clone(),
        })
    }
}

/// How connections are taken in.
#[derive(Clone, Debug)]
pub struct ServerProfile {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// Where it stands in the config.
    pub key: Arc<str>,
    /// Our certificate.
    pub own: Option<Arc<Identity>>,
    /// What a client's certificate must agree with.
    pub must_match: Option<CertificateMatch>,
    /// Whether it then stands in for a password.
    pub as_digest: bool,
}

impl ServerProfile {
    /// Reads the files of `wanted`; clients are asked for what `verify` says. `tickets` let them
    /// come back without a full handshake.
    pub(super) fn build(
        wanted: &Wanted,
        verify: Verify,
        provider: &Arc<CryptoProvider>,
        tickets: &Arc<Ring>,
    ) -> Result<Self, TlsError> {
        let Some(pair) = wanted.certified(provider)? else {
            let what = "no certificate is named; name \"certificate\" and \"key\"";
            return Err(TlsError::of_key(&wanted.key, what));
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&VERSIONS)
            .map_err(|error| TlsError::of_key(&wanted.key, error))?;
        let judge = match verify {
            Verify::None => WebPkiClientVerifier::no_client_auth(),
            asked => Arc::new(Self::judge(wanted, asked, provider)?),
        };
        let own = own_identity(wanted, &pair)?;
        let resolver = Arc::new(SingleCertAndKey::from(Arc::unwrap_or_clone(pair)));
        let mut config = builder.with_client_cert_verifier(judge).with_cert_resolver(resolver);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // A client that shows a certificate shows it anew each time: a ticket would outlive the
        // day on which its certificate expires or is revoked.
        if verify == Verify::None {
            let (ring, profile) = (tickets.clone(), wanted.key.clone());
            config.ticketer = Arc::new(Ticketer { ring, profile });
            config.send_tls13_tickets = 1;
        }
        let Wanted { key, must_match, as_digest, .. } = wanted;
        let (key, config) = (key.clone(), Arc::new(config));
        Ok(Self { config, key, own, must_match: *must_match, as_digest: *as_digest })
    }

    fn judge(
        wanted: &Wanted,
        verify: Verify,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Clients, TlsError> {
        let measure = wanted.measure(None)?;
        if !measure.proves() {
            let what = "verify asks for certificates, but neither \"ca\" nor \"pinned\" says which \
                        are good; name one, or write \"verify\": \"none\"";
            return Err(TlsError::of_key(&wanted.key, what));
        }
        Clients::new(measure, verify == Verify::Required, provider)
            .map_err(|error| TlsError::of_key(&wanted.key, error))
    }
}

/// How connections are opened.
#[derive(Clone, Debug)]
pub struct ClientProfile {
    /// For the handshake.
    pub config: Arc<ClientConfig>,
    /// Where it stands in the config.
    pub key: Arc<str>,
    /// The certificate we show when asked.
    pub own: Option<Arc<Identity>>,
    /// Whether a finished handshake has proven who the peer is.
    pub proves: bool,
}

impl ClientProfile {
    /// Reads the files of `wanted`. A server's certificate is checked, chain and name, unless the
    /// profile itself says `"verify": "none"`.
    pub(super) fn build(wanted: &Wanted, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let measure = match wanted.verify {
            Some(Verify::None) => Measure { pinned: wanted.pinned.clone(), ..Measure::default() },
            _ => wanted.measure(Some(files::system_authorities))?,
        };
        let proves = measure.proves();
        let failed = |error: String| TlsError::of_key(&wanted.key, error);
        let judge = Servers::new(measure, provider).map_err(failed)?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&VERSIONS)
            .map_err(|error| failed(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge));
        let pair = wanted.certified(provider)?;
        let own = pair.as_ref().map(|pair| own_identity(wanted, pair)).transpose()?.flatten();
        let mut config = match pair {
            Some(pair) => {
                let resolver = SingleCertAndKey::from(Arc::unwrap_or_clone(pair));
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        };
        // Connections to servers live long; each new one looks at the certificate anew.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), key: wanted.key.clone(), own, proves })
    }
}

fn own_identity(wanted: &Wanted, pair: &CertifiedKey) -> Result<Option<Arc<Identity>>, TlsError> {
    let Some(certificate) = pair.cert.first() else { return Ok(None) };
    match identity::identity(certificate, true) {
        Ok(identity) => Ok(Some(Arc::new(identity))),
        Err(_) => {
            let what = "a name in our own certificate holds control characters, or it contradicts \
                        itself; name another";
            Err(TlsError::of_key(&wanted.key, what))
        }
    }
}
