//! TLS settings: one default profile and others by address or name.

use std::fmt;
use std::path::{Path, PathBuf};

use rempart_actors::identity::Fingerprint;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// Whether the other side must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// None is asked for, and none is checked.
    #[default]
    None,
    /// One that is shown must be valid.
    Optional,
    /// A valid one must be shown.
    #[serde(alias = "require")]
    Required,
}

/// What a client's certificate must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateMatch {
    /// Its common name equals the user in From; anything else is refused with 403.
    FromUser,
    /// A subject alternative name is `sip:user@domain` as in From; else it is refused with 403.
    FromAor,
}

/// One file, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Files {
    /// One file.
    One(PathBuf),
    /// Several, read as one.
    Many(Vec<PathBuf>),
}

impl Files {
    /// The files, in order.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }

    fn resolve(&mut self, folder: &Path) {
        match self {
            Self::One(path) => *path = folder.join(&*path),
            Self::Many(paths) => paths.iter_mut().for_each(|path| *path = folder.join(&*path)),
        }
    }
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(FilesVisitor)
    }
}

/// Told apart by hand, so that an error says what is expected.
struct FilesVisitor;

impl<'de> de::Visitor<'de> for FilesVisitor {
    type Value = Files;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a file or a list of files")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Files, E> {
        Ok(Files::One(value.into()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Files, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Files::Many)
    }
}

/// SHA-256 of a certificate in hexadecimal digits, colons between them or not, as
/// `openssl x509 -noout -fingerprint -sha256` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Pin(pub [u8; 32]);

impl TryFrom<String> for Pin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || {
            format!(
                "\"{text}\" is no SHA-256 fingerprint; \
                 `openssl x509 -noout -fingerprint -sha256 -in FILE` prints one"
            )
        };
        let digits: String = text.chars().filter(|one| *one != ':').collect();
        let mut octets = [0; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(bad());
        }
        for (octet, at) in octets.iter_mut().zip((0..64).step_by(2)) {
            let pair = digits.get(at..at + 2).ok_or_else(bad)?;
            *octet = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(octets))
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> Self {
        Fingerprint(&pin.0).to_string()
    }
}

/// TLS for listeners and for connections we open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Our certificate chain, PEM; null: a self-signed pair beside the store.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM; null only where `certificate` is.
    pub key: Option<PathBuf>,
    /// Whether clients must show a certificate: `none`, `optional` or `required`. Servers that we
    /// connect to always must.
    pub verify: Verify,
    /// The authorities that certificates must come from, a file or a list of files; null: for
    /// servers that we connect to those of the system.
    pub ca: Option<Files>,
    /// Revocation lists of these authorities: a file or a list of files.
    pub crl: Option<Files>,
    /// SHA-256 fingerprints of which the other side's certificate must have one.
    pub pinned: Vec<Pin>,
    /// `from-user`: a client's certificate must name the user in From; `from-aor`: his whole
    /// address.
    pub certificate_must_match: Option<CertificateMatch>,
    /// Whether a client's certificate replaces the password of the user whose whole address it
    /// names. Needs `verify: required`, `certificate_must_match: from-aor` and `ca` or `pinned`.
    pub certificate_as_digest: bool,
    /// Users and domains of ours, `"101@example.org"` or `"example.org"`, who are served over TLS
    /// alone: what they send otherwise is refused with 403, and calls reach them over TLS or not
    /// at all. Entries of `trusted` may still write them into From.
    pub require_tls: Vec<String>,
    /// Different settings for single peers, matched by address or name.
    pub profiles: Vec<TlsProfile>,
}

impl Tls {
    pub(super) fn resolve(&mut self, folder: &Path) {
        resolve(folder, [&mut self.certificate, &mut self.key], [&mut self.ca, &mut self.crl]);
        for profile in &mut self.profiles {
            resolve(
                folder,
                [&mut profile.certificate, &mut profile.key],
                [&mut profile.ca, &mut profile.crl],
            );
        }
    }
}

fn resolve(folder: &Path, paths: [&mut Option<PathBuf>; 2], files: [&mut Option<Files>; 2]) {
    for path in paths.into_iter().flatten() {
        *path = folder.join(&*path);
    }
    for files in files.into_iter().flatten() {
        files.resolve(folder);
    }
}

/// TLS for one peer or one of our names; exactly one of `server` and `client` is set. What is left
/// out is as the top-level keys say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsProfile {
    /// Applies to connections we accept: our `ip:port`, or the name the client asks for.
    pub server: Option<String>,
    /// Applies to connections we open: the peer's `ip:port` or name.
    pub client: Option<String>,
    /// Our certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// Whether the other side must show a good certificate: `none`, `optional` or `required`; left
    /// out: as the top level says for clients, required of servers.
    pub verify: Option<Verify>,
    /// The authorities that its certificate must come from: a file or a list of files.
    pub ca: Option<Files>,
    /// Revocation lists of these authorities: a file or a list of files.
    pub crl: Option<Files>,
    /// SHA-256 fingerprints of which its certificate must have one; without `ca` that is enough.
    pub pinned: Option<Vec<Pin>>,
    /// `from-user`: a client's certificate must name the user in From; `from-aor`: his whole
    /// address.
    pub certificate_must_match: Option<CertificateMatch>,
    /// Whether a client's certificate replaces the password of the user whose whole address it
    /// names. Needs `verify: required`, `certificate_must_match: from-aor`, and `ca` or `pinned`
    /// of the profile's own.
    pub certificate_as_digest: Option<bool>,
}
