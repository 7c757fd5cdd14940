//! The rows of listings, as `--json` shows them. Times are RFC 3339 in UTC; absent parts are null.

use std::collections::BTreeMap;

use ipnet::IpNet;
use rempart_sip::refusal::Refusal;
use rempart_sip::registrar::Binding;
use rempart_sip::uri::Aor;
use rempart_storage::{Ban, Evidence, Subscriber, Suspension};
use serde::{Deserialize, Serialize};

use crate::config::trusted::TrustedEntry;
use crate::timestamp::rfc3339;
use crate::tls::CertificateRow;

/// One user. The secret is not among the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriberRow {
    /// `user@domain`.
    pub user: String,
    /// When it was added.
    pub created: String,
    /// When its password was last changed.
    pub changed: String,
    /// The algorithms its stored secret serves.
    pub algorithms: Vec<String>,
}

impl From<&Subscriber> for SubscriberRow {
    fn from(subscriber: &Subscriber) -> Self {
        let mut algorithms = vec!["MD5".to_owned()];
        if subscriber.ha1.sha256.is_some() {
            algorithms.push("SHA-256".to_owned());
        }
        Self {
            user: subscriber.aor.to_string(),
            created: rfc3339(subscriber.created),
            changed: rfc3339(subscriber.changed),
            algorithms,
        }
    }
}

/// Where an entry of the address table stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// In config.json; changed there.
    Config,
    /// In the store; changed with `rempart trust`.
    Store,
}

/// One entry of the address table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustedRow {
    /// The entry, as config.json writes it.
    #[serde(flatten)]
    pub entry: TrustedEntry,
    /// Where it stands.
    pub from: Origin,
}

/// Whether a row is about a source or about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A source.
    Ban,
    /// A user, from one source or from anywhere.
    Suspension,
}

/// One ban or suspension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanRow {
    /// Which of both.
    pub kind: Kind,
    /// The source; null: every source.
    pub address: Option<String>,
    /// The user; null: every user.
    pub user: Option<String>,
    /// Why, in words; of a ban by hand the operator's.
    pub reason: String,
    /// The identifier that `rempart explain`, logs and metrics know it by.
    pub rule: String,
    /// On what evidence.
    pub evidence: Evidence,
    /// Since when.
    pub since: String,
    /// Until when.
    pub until: String,
}

impl From<&Ban> for BanRow {
    fn from(ban: &Ban) -> Self {
        Self {
            kind: Kind::Ban,
            address: Some(source_text(&ban.source)),
            user: None,
            reason: ban.reason.clone(),
            rule: rule_of(ban).to_owned(),
            evidence: ban.evidence,
            since: rfc3339(ban.since),
            until: rfc3339(ban.until),
        }
    }
}

impl From<&Suspension> for BanRow {
    /// A suspension rests on answers to our own nonces, so its evidence is proven.
    fn from(suspension: &Suspension) -> Self {
        Self {
            kind: Kind::Suspension,
            address: suspension.source.as_ref().map(source_text),
            user: Some(suspension.user.clone()),
            reason: suspension.reason.clone(),
            rule: Refusal::TryLater.id().to_owned(),
            evidence: Evidence::Proven,
            since: rfc3339(suspension.since),
            until: rfc3339(suspension.until),
        }
    }
}

fn rule_of(ban: &Ban) -> &'static str {
    match ban.evidence {
        Evidence::Manual => "banned-by-hand",
        Evidence::Unproven | Evidence::Proven => Refusal::Flooding.id(),
    }
}

/// A source as people write it: an address without the length of its prefix where it is alone.
pub fn source_text(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// One binding: a contact of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BindingRow {
    /// `user@domain`.
    pub user: String,
    /// The contact's URI.
    pub contact: String,
    /// Its preference, 0 to 1.
    pub q: f64,
    /// When it ends.
    pub expires: String,
    /// The address it registered from, with the transport: `udp:192.0.2.1:5060`.
    pub source: String,
    /// The Path it registered with (RFC 3327), nearest hop first.
    pub path: Vec<String>,
    /// The phone's own number (RFC 5626), or null.
    pub instance: Option<String>,
    /// What the phone calls itself, or null.
    pub user_agent: Option<String>,
}

impl BindingRow {
    /// A binding of `user`. What is no UTF-8 is shown with replacement characters.
    pub fn of(user: &Aor, binding: &Binding) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let optional = |bytes: &[u8]| (!bytes.is_empty()).then(|| text(bytes));
        Self {
            user: user.to_string(),
            contact: text(&binding.contact),
            q: f64::from(binding.q) / 1_000.0,
            expires: rfc3339(binding.expires_at),
            source: format!("{}:{}", binding.flow.transport.param(), binding.flow.remote),
            path: binding.path.iter().map(|hop| text(hop)).collect(),
            instance: optional(&binding.instance),
            user_agent: optional(&binding.user_agent),
        }
    }
}

/// A refused line of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// Its number in the file, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// How a running server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRow {
    /// The release.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started: String,
    /// Seconds since then.
    pub uptime_secs: u64,
    /// The sockets it listens on, with the ports that port 0 became.
    pub listeners: Vec<String>,
    /// Live bindings.
    pub registrations: u64,
    /// Open transactions.
    pub transactions: u64,
    /// Calls going on, as far as they can be seen.
    pub calls: u64,
    /// Bans in force.
    pub bans: u64,
    /// Suspensions in force.
    pub suspensions: u64,
    /// The certificates we show, with the day each ends.
    #[serde(default)]
    pub certificates: Vec<CertificateRow>,
    /// The gateways to the telephone network.
    #[serde(default)]
    pub gateways: Vec<GatewayRow>,
    /// Messages refused or dropped since the start.
    pub refused: u64,
    /// The same by the identifier of the reason, as `rempart explain` knows it.
    pub refusals: BTreeMap<String, u64>,
    /// Decisions remembered for `rempart explain`.
    pub decisions: DecisionsRow,
    /// Everything counted since the start, by name.
    pub counters: BTreeMap<String, u64>,
}

/// One gateway to the telephone network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayRow {
    /// Its URI, as the config writes it.
    pub uri: String,
    /// `up` or `down`.
    pub state: String,
    /// Since when.
    pub since: String,
    /// Why it failed last, or null.
    pub reason: Option<String>,
}

/// How many decisions are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionsRow {
    /// On known users and peers.
    pub known: u64,
    /// On strangers.
    pub strangers: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_address_is_written_without_its_prefix() {
        for (net, text) in [
            ("192.0.2.1/32", "192.0.2.1"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("2001:db8::/64", "2001:db8::/64"),
        ] {
            assert_eq!(source_text(&net.parse().expect("a network")), text);
        }
    }

    #[test]
    fn a_ban_row_has_the_contracts_fields() {
        let ban = Ban {
            source: "192.0.2.1/32".parse().expect("a network"),
            reason: "flood".to_owned(),
            evidence: Evidence::Unproven,
            since: 0,
            until: 300,
            level: 0,
        };
        assert_eq!(
            serde_json::to_value(BanRow::from(&ban)).expect("JSON"),
            serde_json::json!({
                "kind": "ban", "address": "192.0.2.1", "user": null, "reason": "flood",
                "rule": "flooding", "evidence": "unproven", "since": "1970-01-01T00:00:00Z",
                "until": "1970-01-01T00:05:00Z",
            })
        );
    }
}
