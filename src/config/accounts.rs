//! Settings of authentication and registration.

use std::collections::BTreeMap;
use std::time::Duration;

use rempart_sip::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::period;

/// A digest algorithm a challenge may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RFC 3261's, understood by every phone.
    #[serde(rename = "MD5")]
    Md5,
    /// RFC 8760's; common phones fail when it is offered.
    #[serde(rename = "SHA-256")]
    Sha256,
}

impl From<Algorithm> for digest::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5,
            Algorithm::Sha256 => Self::Sha256,
        }
    }
}

/// The quality of protection a challenge offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Qop {
    /// `qop="auth"`: a nonce serves several requests, each counted.
    #[default]
    Auth,
    /// No qop: every nonce serves one request.
    None,
}

/// Digest authentication (RFC 3261 section 22).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// How long a nonce may be used.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub nonce_life: Duration,
    /// The algorithms offered, one header each, strongest first.
    pub algorithms: Vec<Algorithm>,
    /// `auth`, or `none` for phones that fail on qop.
    pub qop: Qop,
    /// What single domains offer instead: `{ "example.org": { "algorithms": ["SHA-256"] } }`.
    pub domains: BTreeMap<String, DomainAuth>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            nonce_life: Duration::from_secs(300),
            algorithms: vec![Algorithm::Md5],
            qop: Qop::Auth,
            domains: BTreeMap::new(),
        }
    }
}

impl Auth {
    /// The algorithms offered in `domain`, strongest first; the domain in canonical form.
    pub fn algorithms(&self, domain: &str) -> &[Algorithm] {
        match self.domains.get(domain) {
            Some(own) => &own.algorithms,
            None => &self.algorithms,
        }
    }
}

/// What one domain has different.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DomainAuth {
    /// The algorithms offered in this domain, strongest first.
    pub algorithms: Vec<Algorithm>,
}

impl Default for DomainAuth {
    fn default() -> Self {
        Self { algorithms: vec![Algorithm::Md5] }
    }
}

/// How long a registration may last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expires {
    /// Less than this is refused with 423.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub min: Duration,
    /// Taken where the phone names none.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub default: Duration,
    /// More than this is shortened to it.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub max: Duration,
}

impl Default for Expires {
    fn default() -> Self {
        Self {
            min: Duration::from_secs(60),
            default: Duration::from_secs(3_600),
            max: Duration::from_secs(3_600),
        }
    }
}

/// The registrar (RFC 3261 section 10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Registrar {
    /// How long a registration may last.
    pub expires: Expires,
    /// How many contacts one user may have; one more is refused with 403.
    pub contacts_max: usize,
}

impl Default for Registrar {
    fn default() -> Self {
        Self { expires: Expires::default(), contacts_max: 10 }
    }
}
