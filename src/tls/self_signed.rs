//! The pair that a first start makes, so that TLS works before anyone bought a certificate (R38).

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::error::TlsError;

/// How long it is valid: phones that were told to trust it should not have to be told again.
const LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);

/// How far clocks of phones may be behind.
const LEEWAY: Duration = Duration::from_secs(86_400);

/// The config key that stands for the pair in messages.
const KEY: &str = "tls.certificate";

/// Where the pair is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl PairFiles {
    /// In the folder of the store.
    pub fn beside(store: &Path) -> Self {
        Self { certificate: store.join("self-signed.pem"), key: store.join("self-signed.key") }
    }

    /// Whether both are there; an error if one is.
    pub(super) fn exist(&self) -> Result<bool, TlsError> {
        match (self.certificate.exists(), self.key.exists()) {
            (false, false) => Ok(false),
            (true, true) => Ok(true),
            (true, false) => Err(half(&self.certificate, &self.key)),
            (false, true) => Err(half(&self.key, &self.certificate)),
        }
    }

    /// Makes the pair where it is not there yet.
    pub(super) fn ensure(&self, names: &[String]) -> Result<(), TlsError> {
        if self.exist()? {
            return Ok(());
        }
        let pair = Pair::make(names)?;
        write_new(&self.key, &pair.key, 0o600)?;
        write_new(&self.certificate, &pair.certificate, 0o644)?;
        let certificate = self.certificate.display();
        tracing::info!(%certificate, "made a self-signed certificate, since none is configured");
        Ok(())
    }
}

fn half(there: &Path, missing: &Path) -> TlsError {
    let what = format!(
        "its other half, {}, is gone; bring that back, or remove this one, and both are made anew",
        missing.display()
    );
    TlsError::of_file(KEY, there, what)
}

/// Writes a file that was not there, whole and safe from a power cut, or not at all.
fn write_new(file: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let part = file.with_extension("part");
    let write = || {
        let mut options = OpenOptions::new();
        let mut opened = options.write(true).create(true).truncate(true).mode(mode).open(&part)?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        std::fs::rename(&part, file)
    };
    write().map_err(|error| {
        let what = format!("cannot write it: {error}; make its folder writable for the server");
        TlsError::of_file(KEY, file, what)
    })
}

/// A certificate and its key, in PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Pair {
    /// An ECDSA P-256 pair for hosts of these names and addresses.
    pub(super) fn make(names: &[String]) -> Result<Self, TlsError> {
        let failed = |error: rcgen::Error| {
            TlsError::of_key(KEY, format!("cannot make a self-signed certificate: {error}"))
        };
        let bare = |name: &String| name.trim_matches(['[', ']']).to_owned();
        let mut params =
            CertificateParams::new(names.iter().map(bare).collect::<Vec<_>>()).map_err(failed)?;
        let first = names.first().map_or("rempart", String::as_str);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, first);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let now = SystemTime::now();
        params.not_before = (now - LEEWAY).into();
        params.not_after = (now + LIFE).into();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Ready to be shown.
    pub(super) fn certified(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let failed = |_| TlsError::of_key(KEY, "cannot read the self-signed pair just made");
        let chain = CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(failed)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(failed)?;
        let key = provider.key_provider.load_private_key(key);
        Ok(CertifiedKey::new(vec![chain], key.map_err(|error| TlsError::of_key(KEY, error))?))
    }
}
