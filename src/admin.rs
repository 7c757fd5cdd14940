//! What an operator can ask for, as the lines that travel over the control socket, and who does
//! it: [`Office`] changes the store, whether or not a server runs; [`Live`] is the running server.

mod explain;
mod import;
mod location;
mod office;
mod row;

use std::fmt;
use std::net::IpAddr;

use rempart_actors::decisions::{Asked, Told};
use rempart_sip::digest::Ha1;
use rempart_sip::flow::SourceKey;
use rempart_sip::uri::Aor;
use rempart_storage::{Ban, StoreError};
use serde::{Deserialize, Serialize};

pub(crate) use self::explain::running;
pub use self::explain::{About, DecisionRow, MemoryRow, RuleRow, StandingRow};
pub(crate) use self::location::removed;
pub(crate) use self::office::lifted;
pub use self::office::{Change, Done, Emit, Office, network};
pub use self::row::{
    BanRow, BindingRow, DecisionsRow, GatewayRow, Kind, Origin, RefusedRow, StatusRow,
    SubscriberRow, TrustedRow, source_text,
};
use crate::config::routing::Network;
use crate::config::trusted::{Protocol, TrustedEntry};

/// One request; a line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum AdminRequest {
    /// Adds a user; one that exists is refused.
    SubscriberAdd(Account),
    /// Gives a user another password.
    SubscriberPasswd(Account),
    /// Removes a user.
    SubscriberRemove(Who),
    /// Every user.
    SubscriberList,
    /// One user.
    SubscriberShow(Who),
    /// Adds or changes many users; what is wrong is refused line by line.
    SubscriberImport {
        /// The lines that could be read.
        rows: Vec<ImportRow>,
    },
    /// Adds an entry to the address table, or changes the one of the same network.
    TrustAdd(TrustedEntry),
    /// Removes the entries of a network.
    TrustRemove {
        /// The network, exactly as it was added.
        net: Network,
        /// Only those of this port.
        port: Option<u16>,
        /// Only those of this transport.
        transport: Option<Protocol>,
    },
    /// The address table, and what config.json adds to it.
    TrustList,
    /// Every ban and suspension.
    BanList,
    /// Bans a source.
    BanAdd {
        /// The source; of an IPv6 address its /64.
        address: IpAddr,
        /// For how long.
        secs: u64,
        /// Why, as the list will say.
        reason: String,
    },
    /// Lifts bans and suspensions.
    Unban(Lift),
    /// The bindings of a user.
    LocationShow(Who),
    /// Removes the bindings of a user.
    LocationRemove(Who),
    /// Why recent requests were refused or allowed.
    Explain {
        /// A Call-ID, an address or a user.
        about: String,
    },
    /// How the server is.
    Status,
    /// Reads the config again.
    Reload,
}

/// One user, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// `user@domain`.
    pub user: String,
}

/// A user and a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// `user@domain`.
    pub user: String,
    /// The password, or its digest.
    pub secret: Secret,
}

/// One line of an import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportRow {
    /// Its number in the file, from 1.
    pub line: u64,
    /// The user and the secret.
    #[serde(flatten)]
    pub account: Account,
}

/// What proves a user. Never shown: its `Debug` is blank.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Secret {
    /// A password.
    Password(String),
    /// The MD5 HA1 of another server, 32 hex digits; it holds for one realm only.
    Ha1(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads a password, or `ha1:` and hex digits.
    pub fn read(text: &str) -> Self {
        match text.strip_prefix("ha1:") {
            Some(hex) => Self::Ha1(hex.to_owned()),
            None => Self::Password(text.to_owned()),
        }
    }

    /// The HA1 of this secret for `aor`; the error says what is wrong with the secret.
    pub fn ha1(&self, aor: &Aor) -> Result<Ha1, String> {
        match self {
            Self::Password(text) if text.is_empty() => Err("the password is empty".to_owned()),
            Self::Password(text) if text.contains(char::is_control) => {
                Err("the password holds control characters".to_owned())
            }
            Self::Password(text) => Ok(Ha1::new(aor.user(), aor.domain(), text)),
            Self::Ha1(hex) => match md5_of_hex(hex) {
                Some(md5) => Ok(Ha1 { md5, sha256: None }),
                None => Err("ha1: is not followed by 32 hex digits".to_owned()),
            },
        }
    }
}

fn md5_of_hex(hex: &str) -> Option<[u8; 16]> {
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(hex, 16).ok().map(u128::to_be_bytes)
}

/// Whose bans and suspensions to lift: a source's, a user's, or a user's from one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lift {
    /// The source; without a user all its bans and every suspension from it.
    pub address: Option<IpAddr>,
    /// `user@domain` as it was suspended.
    pub user: Option<String>,
}

impl Lift {
    /// The source as bans are keyed.
    pub fn source(&self) -> Option<SourceKey> {
        self.address.map(SourceKey::of)
    }
}

impl fmt::Display for Lift {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (&self.user, self.source()) {
            (Some(user), Some(source)) => write!(f, "{user} from {source}"),
            (Some(user), None) => f.write_str(user),
            (None, Some(source)) => write!(f, "{source}"),
            (None, None) => f.write_str("nobody"),
        }
    }
}

/// One line of an answer. Rows come first, then exactly one `Done` or `Failed`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum AdminReply {
    /// A user.
    Subscriber(SubscriberRow),
    /// An entry of the address table.
    Trusted(TrustedRow),
    /// A ban or a suspension.
    Ban(BanRow),
    /// A binding.
    Binding(BindingRow),
    /// A ban or suspension of the one asked about, explained.
    Standing(Box<StandingRow>),
    /// A recent decision.
    Decision(Box<DecisionRow>),
    /// How far back decisions are remembered.
    Memory(MemoryRow),
    /// A refused line of an import.
    Refused(RefusedRow),
    /// How the server is.
    Status(Box<StatusRow>),
    /// It is done, durable and in force.
    Done(Done),
    /// It failed, and nothing was changed.
    Failed {
        /// What, where, what to do.
        error: String,
    },
}

/// Why a request was not carried out: one line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminError(pub String);

impl std::error::Error for AdminError {}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<String> for AdminError {
    fn from(error: String) -> Self {
        Self(error)
    }
}

/// The running server, as far as the operator's requests reach into it. The store is changed
/// before `subscriber_changed`, `trusted_changed` and `ban` are called, and after `unban`.
#[allow(async_fn_in_trait, reason = "the control socket lives on one thread")]
pub trait Live: 'static {
    /// These users were added, changed or removed; returns when that is in force.
    async fn subscriber_changed(&self, aors: &[Aor]) -> Result<(), AdminError>;
    /// The address table was changed; returns when that is in force.
    async fn trusted_changed(&self) -> Result<(), AdminError>;
    /// Every ban and suspension in force.
    async fn bans(&self) -> Result<Vec<BanRow>, AdminError>;
    /// What is remembered about what is asked.
    async fn explain(&self, asked: &Asked) -> Result<Told, AdminError>;
    /// Puts a ban, which the store already has, into force.
    async fn ban(&self, ban: &Ban) -> Result<(), AdminError>;
    /// Lifts all layers at once; returns how many bans and suspensions there were.
    async fn unban(&self, lift: &Lift) -> Result<u64, AdminError>;
    /// The bindings of a user.
    async fn locations(&self, aor: &Aor) -> Result<Vec<BindingRow>, AdminError>;
    /// Removes the bindings of a user, durably; returns how many there were.
    async fn remove_location(&self, aor: &Aor) -> Result<u64, AdminError>;
    /// How the server is.
    async fn status(&self) -> Result<StatusRow, AdminError>;
    /// Reads the config again; returns when it is in force, with what waits for the next start.
    /// On an error the old one stays.
    async fn reload(&self) -> Result<Done, AdminError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_its_line() {
        let account = |secret| Account { user: "a@b".to_owned(), secret };
        for request in [
            AdminRequest::SubscriberAdd(account(Secret::Password("x".to_owned()))),
            AdminRequest::SubscriberImport {
                rows: vec![ImportRow { line: 7, account: account(Secret::read("ha1:00")) }],
            },
            AdminRequest::BanList,
            AdminRequest::Unban(Lift { address: None, user: Some("a@b".to_owned()) }),
        ] {
            let line = serde_json::to_string(&request).expect("a line");
            let read: AdminRequest = serde_json::from_str(&line).expect("the same request");
            assert_eq!(serde_json::to_string(&read).expect("a line"), line);
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::Password("hunter2".to_owned());
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn an_ha1_is_32_hex_digits() {
        let aor = Aor::parse("alice@example.org").expect("an address");
        let hex = "0123456789abcdef0123456789ABCDEF";
        let ha1 = Secret::read(&format!("ha1:{hex}")).ha1(&aor).expect("an HA1");
        assert_eq!(ha1.md5[..2], [0x01, 0x23]);
        assert!(ha1.sha256.is_none());
        for bad in ["ha1:", "ha1:+123456789abcdef0123456789abcdef", "ha1:00", "", "a\nb"] {
            assert!(Secret::read(bad).ha1(&aor).is_err(), "{bad}");
        }
    }
}
