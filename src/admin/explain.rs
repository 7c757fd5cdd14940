//! `rempart explain`: what was asked, and the rows that answer it. What stands in force comes from
//! the store or the running server, recent decisions from the running server's memory only.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use rempart_actors::decisions::{Asked, Decision, Reason, Told, reason};
use rempart_sip::flow::SourceKey;
use rempart_sip::uri::Aor;
use serde::{Deserialize, Serialize};

use super::{AdminError, AdminReply, BanRow, Done, Emit, Office, location, source_text};
use crate::config::guard::GuardMode;
use crate::timestamp::rfc3339_ms;

/// Who or what is asked about. A Call-ID may look like a user, so one text can be both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The text as it was written: a Call-ID perhaps.
    pub text: String,
    /// An address, whatever its port.
    pub address: Option<IpAddr>,
    /// `user@domain` in canonical form, and whether it is one of ours.
    pub user: Option<(String, Option<Aor>)>,
}

impl About {
    /// Reads `CALL-ID`, `IP`, `IP:PORT`, a network of the ban list, `USER@DOMAIN` or its URI.
    pub fn read(text: &str, office: &Office) -> Self {
        let address = address(text);
        let has_user = address.is_none() && text.contains('@');
        let user = has_user.then(|| match office.aor(text) {
            Ok(aor) => (aor.to_string(), Some(aor)),
            Err(_) => (foreign(text), None),
        });
        Self { text: text.to_owned(), address, user }
    }

    /// The same for the shards' memory.
    pub fn asked(&self) -> Asked {
        Asked {
            call_id: Some(self.text.clone()),
            source: self.address.map(SourceKey::of),
            user: self.user.as_ref().map(|(user, _)| user.clone()),
        }
    }

    /// Whether a ban or suspension concerns it.
    pub fn concerns(&self, row: &BanRow) -> bool {
        let source = self.address.map(|ip| source_text(&super::network(SourceKey::of(ip))));
        let user = self.user.as_ref().map(|(user, _)| user);
        (source.is_some() && row.address == source) || (user.is_some() && row.user.as_ref() == user)
    }
}

fn address(text: &str) -> Option<IpAddr> {
    let alone = text.parse().ok().or_else(|| text.parse().ok().map(|to: SocketAddr| to.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let network = || text.parse().ok().map(|net: IpNet| net.addr());
    alone.or_else(bracketed).or_else(network)
}

/// Someone else's user in canonical form, as far as it can be read.
fn foreign(text: &str) -> String {
    let bare = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:")).unwrap_or(text);
    Aor::parse(bare).map_or_else(|| bare.to_owned(), |aor| aor.to_string())
}

/// One rule that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// Its name.
    pub rule: String,
    /// What it compared.
    pub value: String,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRow {
    /// When it was made first.
    pub first: String,
    /// When it was made last; everything below is of that time.
    pub last: String,
    /// How often.
    pub times: u32,
    /// Where the message came from, with the transport: `udp:192.0.2.1:5060`.
    pub source: String,
    /// Its method; null where the message was not read.
    pub method: Option<String>,
    /// Its Call-ID, or null.
    pub call_id: Option<String>,
    /// The URI in From, or null.
    pub from: Option<String>,
    /// The Request-URI, of a REGISTER the URI in To, or null.
    pub target: Option<String>,
    /// Whose credentials were shown, or null.
    pub user: Option<String>,
    /// What became of it.
    pub verdict: String,
    /// The status code on the wire, or null.
    pub status: Option<u16>,
    /// The identifier of the reason, as logs, metrics and the ban list carry it.
    pub reason: String,
    /// The rules in the order they were asked.
    pub rules: Vec<RuleRow>,
    /// What happened, and what the operator can do.
    pub says: String,
    /// The command or config key that undoes it.
    pub undo: String,
}

impl DecisionRow {
    /// A decision of a server whose guard counts in this way.
    pub fn of(decision: &Decision, mode: GuardMode) -> Self {
        let optional = |text: &String| (!text.is_empty()).then(|| text.clone());
        let (outcome, remote) = (&decision.outcome, decision.flow.remote);
        let user = optional(&decision.user).or_else(|| user_of(&decision.from));
        let (says, undo) = advice(outcome.reason, Some(remote.ip()), user.as_deref(), mode);
        let rule =
            |(rule, value): &(String, String)| RuleRow { rule: rule.clone(), value: value.clone() };
        Self {
            first: rfc3339_ms(decision.first_ms),
            last: rfc3339_ms(decision.last_ms),
            times: decision.times,
            source: format!("{}:{remote}", decision.flow.transport),
            method: optional(&decision.method),
            call_id: optional(&decision.call_id),
            from: optional(&decision.from),
            target: optional(&decision.target),
            user: optional(&decision.user),
            verdict: outcome.verdict.name().to_owned(),
            status: (outcome.status > 0).then_some(outcome.status),
            reason: outcome.reason.to_owned(),
            rules: decision.rules.iter().map(rule).collect(),
            says,
            undo,
        }
    }
}

/// The user a URI names, as the command line writes him.
fn user_of(uri: &str) -> Option<String> {
    let uri = rempart_sip::uri::Uri::parse(uri.as_bytes()).ok()?;
    uri.aor().map(|aor| aor.to_string())
}

/// What a reason says, and what undoes it for this source and user.
fn advice(id: &str, ip: Option<IpAddr>, user: Option<&str>, mode: GuardMode) -> (String, String) {
    let says = |reason: &Reason| (reason.says.to_owned(), reason.undo(ip, user));
    let (says, mut undo) = reason(id).map(says).unwrap_or_default();
    // In this mode a suspension has no source, and holds everywhere.
    if let (Some(ip), "suspended") = (ip, id)
        && mode != GuardMode::SeedUser
    {
        undo.push_str(&format!(" --from {ip}"));
    }
    (says, undo)
}

/// A ban or suspension in force, with its explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingRow {
    /// The ban or suspension.
    #[serde(flatten)]
    pub row: BanRow,
    /// Messages dropped unread under it so far; null where nobody counts.
    pub dropped: Option<u64>,
    /// What happened, and what the operator can do.
    pub says: String,
    /// The command that lifts it.
    pub undo: String,
}

impl StandingRow {
    fn of(row: BanRow, dropped: Option<u64>, mode: GuardMode) -> Self {
        let ip = row.address.as_deref().and_then(address);
        let (says, undo) = advice(&row.rule, ip, row.user.as_deref(), mode);
        // A flooder's ban has more remedies; what lifts this one comes alone.
        let undo = undo.split("; ").next().unwrap_or_default().to_owned();
        Self { row, dropped, says, undo }
    }
}

/// How far back the memory of decisions reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRow {
    /// The user as he is kept here, where one of ours was asked about.
    pub user: Option<String>,
    /// Nobody runs, so nobody remembers.
    pub stopped: bool,
    /// Since when decisions on known users and peers are remembered; null: since the start.
    pub known_since: Option<String>,
    /// The same of strangers.
    pub strangers_since: Option<String>,
    /// Messages of anyone dropped unread for want of room since the start.
    pub shed: u64,
}

/// What a running server knows, in the order it is shown.
pub fn running(about: &About, mode: GuardMode, bans: Vec<BanRow>, told: &Told) -> Vec<AdminReply> {
    let since = |ms: u64| (ms > 0).then(|| rfc3339_ms(ms));
    let mut rows = standing(about, mode, bans, Some(told.dropped));
    let decisions = told.decisions.iter();
    rows.extend(decisions.map(|it| AdminReply::Decision(Box::new(DecisionRow::of(it, mode)))));
    rows.push(AdminReply::Memory(MemoryRow {
        user: ours(about),
        stopped: false,
        known_since: since(told.known_since_ms),
        strangers_since: since(told.strangers_since_ms),
        shed: told.shed,
    }));
    rows
}

fn ours(about: &About) -> Option<String> {
    about.user.as_ref().and_then(|(user, aor)| aor.as_ref().map(|_| user.clone()))
}

fn standing(
    about: &About,
    mode: GuardMode,
    bans: Vec<BanRow>,
    dropped: Option<u64>,
) -> Vec<AdminReply> {
    let concerned = bans.into_iter().filter(|row| about.concerns(row));
    let row = |row: BanRow| {
        let counted = dropped.filter(|_| row.user.is_none());
        AdminReply::Standing(Box::new(StandingRow::of(row, counted, mode)))
    };
    concerned.map(row).collect()
}

impl Office {
    /// What the store knows while no server runs.
    pub(super) fn explain(&self, text: &str, emit: Emit) -> Result<Done, AdminError> {
        let about = About::read(text, self);
        let mut bans = Vec::new();
        self.bans(&mut |row| {
            if let AdminReply::Ban(row) = row {
                bans.push(row);
            }
        })?;
        standing(&about, self.config.guard.mode, bans, None).into_iter().for_each(&mut *emit);
        if let (Some((_, Some(aor))), Some(folder)) = (&about.user, self.config.storage.folder()) {
            location::show(folder, aor, emit)?;
        }
        let user = ours(&about);
        emit(AdminReply::Memory(MemoryRow { user, stopped: true, ..MemoryRow::default() }));
        Ok(Done::new("", 1))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rempart_storage::MemoryStore;

    use super::*;
    use crate::config::Config;

    fn office() -> Office {
        let config = Config::parse(r#"{ "domains": ["a.example"] }"#, "c.json".as_ref());
        Office::new(Arc::new(config.expect("a config")), Arc::new(MemoryStore::new()))
    }

    #[test]
    fn what_is_asked_is_recognised_in_every_spelling() {
        let (office, v4, v6) = (office(), Some(IpAddr::from([192, 0, 2, 1])), "2001:db8::1");
        for text in ["192.0.2.1", "192.0.2.1:5060", "192.0.2.1/32"] {
            assert_eq!(About::read(text, &office).address, v4, "{text}");
        }
        for text in [v6, "[2001:db8::1]", "[2001:db8::1]:5060", "2001:db8::1/64"] {
            assert_eq!(About::read(text, &office).address, v6.parse().ok(), "{text}");
        }
        for text in ["alice@a.example", "sip:alice@A.example", "alice@A.EXAMPLE"] {
            let user = About::read(text, &office).user.expect("a user");
            assert_eq!((user.0.as_str(), user.1.is_some()), ("alice@a.example", true), "{text}");
        }
        let foreign = About::read("sip:bob@Elsewhere.example", &office).user.expect("a user");
        assert_eq!(foreign, ("bob@elsewhere.example".to_owned(), None));
        let call = About::read("a84b4c76e66710", &office);
        assert_eq!((call.address, call.user), (None, None));
    }

    #[test]
    fn a_ban_concerns_its_source_and_a_suspension_its_user_too() {
        let office = office();
        let about = |text: &str| About::read(text, &office);
        let suspension = rempart_storage::Suspension {
            user: "alice@a.example".to_owned(),
            source: Some("2001:db8::/64".parse().expect("a network")),
            reason: "wrong passwords".to_owned(),
            since: 0,
            until: 1,
        };
        let row = BanRow::from(&suspension);
        for text in ["2001:db8::7", "alice@a.example", "2001:db8::/64"] {
            assert!(about(text).concerns(&row), "{text}");
        }
        for text in ["2001:db8:1::7", "bob@a.example", "call-id"] {
            assert!(!about(text).concerns(&row), "{text}");
        }
        let undo = |mode| StandingRow::of(row.clone(), None, mode).undo;
        let from = "rempart unban alice@a.example --from 2001:db8::";
        assert_eq!(undo(GuardMode::Adaptive), from);
        assert_eq!(undo(GuardMode::SeedUser), "rempart unban alice@a.example");
    }

    #[test]
    fn every_identifier_of_the_ban_list_is_explained() {
        for evidence in [
            rempart_storage::Evidence::Unproven,
            rempart_storage::Evidence::Proven,
            rempart_storage::Evidence::Manual,
        ] {
            let ban = rempart_storage::Ban {
                source: "192.0.2.1/32".parse().expect("a network"),
                reason: "the operator's own words".to_owned(),
                evidence,
                since: 0,
                until: 1,
                level: 0,
            };
            let row = StandingRow::of(BanRow::from(&ban), Some(1), GuardMode::Adaptive);
            assert!(reason(&row.row.rule).is_some(), "{}", row.row.rule);
            assert_eq!(row.undo, "rempart unban 192.0.2.1");
        }
    }
}
