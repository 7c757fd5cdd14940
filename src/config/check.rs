//! What a config means, in sentences: what `rempart check` prints. Findings never stop a start;
//! what does is an error of [`Config::load`](super::Config::load) or of
//! [`Profiles::load`](crate::tls::Profiles::load).

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use rempart_sip::flow::Transport;
use rempart_sip::uri::{Host, Uri};
use serde::Serialize;

use super::accounts::{Algorithm, Qop};
use super::guard::GuardMode;
use super::names::LocalNames;
use super::routing::Gateway;
use super::trusted::{Destination, Protocol, TrustedEntry};
use super::{Config, LogLevel};
use crate::tls::PairFiles;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// What the config says.
    Note,
    /// A choice that makes attacks easier.
    Weak,
}

/// One sentence about the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether it is a weakness.
    pub weight: Weight,
    /// The key it is about.
    pub key: String,
    /// The sentence.
    pub text: String,
}

impl Weight {
    /// The word people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Weak => "WEAK",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}  {}: {}", self.weight.name(), self.key, self.text)
    }
}

/// What the config alone means.
pub fn check(config: &Config) -> Vec<Finding> {
    check_with(config, &[])
}

/// What the config means together with the trusted addresses in the store.
pub fn check_with(config: &Config, stored: &[TrustedEntry]) -> Vec<Finding> {
    let mut report = Report(Vec::new());
    domains(config, &mut report);
    listeners(config, &mut report);
    strangers(config, &mut report);
    guards(config, &mut report);
    authentication(config, &mut report);
    for (index, entry) in config.trusted.iter().enumerate() {
        trusted(&format!("trusted[{index}]"), entry, &mut report);
    }
    for entry in stored {
        trusted("trust list", entry, &mut report);
    }
    for (index, gateway) in config.routing.pstn.gateways.iter().enumerate() {
        let key = format!("routing.pstn.gateways[{index}]");
        let mut entries = config.trusted.iter().chain(stored);
        let covered = |ip: IpAddr| entries.any(|entry| entry.net.0.contains(&IpNet::from(ip)));
        callback(&key, gateway, covered, &mut report);
    }
    telephone(config, &mut report);
    egress(config, &mut report);
    house(config, &mut report);
    report.0
}

struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, weight: Weight, key: &str, text: impl Into<String>) {
        self.0.push(Finding { weight, key: key.to_owned(), text: text.into() });
    }

    fn note(&mut self, key: &str, text: impl Into<String>) {
        self.add(Weight::Note, key, text);
    }

    fn weak(&mut self, key: &str, text: impl Into<String>) {
        self.add(Weight::Weak, key, text);
    }
}

fn domains(config: &Config, report: &mut Report) {
    let names = LocalNames::here(config);
    let aliases: Vec<&str> = names.aliases().collect();
    let aliases = match aliases.as_slice() {
        [] => String::new(),
        list => format!("; {} mean the same", list.join(", ")),
    };
    let first = names.first();
    if config.domains.is_empty() {
        report.note(
            "domains",
            format!(
                "none is named, so users are USER@{first} and the realm is \"{first}\"{aliases}; \
                 passwords depend on the realm, so name your domain before adding users"
            ),
        );
    } else {
        let all = config.domains.join(", ");
        report.note("domains", format!("serves {all}, each its own realm{aliases} as {first}"));
    }
}

fn listeners(config: &Config, report: &mut Report) {
    for (index, listener) in config.listen.iter().enumerate() {
        let reach = match listener.address.ip() {
            ip if ip.is_loopback() => "this machine only",
            ip if ip.is_unspecified() => "every address of its family",
            _ => "this address",
        };
        let name = match config.advertise.of(index) {
            Some(own) => format!(", shown to others as {own}"),
            None => String::new(),
        };
        report.note(&format!("listen[{index}]"), format!("{listener}, on {reach}{name}"));
    }
    if !config.listen.iter().any(|one| one.transport == Transport::Tls) {
        report.weak("listen", "no TLS: calls and who makes them can be read on the way");
    } else if config.tls.certificate.is_none() {
        report.note("tls.certificate", self_signed(config));
    }
}

fn self_signed(config: &Config) -> String {
    let remedy = "phones that check certificates refuse it until they are told to trust it, or \
                  \"certificate\" and \"key\" name one of an authority they know";
    let (made, file) = match config.storage.folder().map(PairFiles::beside) {
        Some(pair) if pair.certificate.exists() => ("used", pair.certificate.display().to_string()),
        Some(pair) => ("made on first start", pair.certificate.display().to_string()),
        None => ("made anew at each start", "in memory".to_owned()),
    };
    format!("none is named, so a self-signed one is {made} ({file}); {remedy}")
}

fn strangers(config: &Config, report: &mut Report) {
    report.note(
        "strangers",
        "may call our users and ask OPTIONS; may not register or send as one of our users without \
         the password (401, 407), nor reach other domains (403 Not relaying) or the telephone \
         network (403 Not Allowed) through us",
    );
    match config.routing.pstn.gateways.len() {
        0 => report.note("routing.pstn.gateways", "none, so nobody can call the telephone network"),
        count => report.note(
            "routing.pstn.gateways",
            format!("{count}, so every user of ours can call numbers that match `numbers`"),
        ),
    }
}

fn guards(config: &Config, report: &mut Report) {
    match &config.flood {
        None => report.weak("flood", "off: one source can take the whole server"),
        Some(flood) => {
            let (window, ban) = (flood.window.as_secs_f64(), flood.ban.as_secs());
            report.note(
                "flood",
                format!(
                    "request {} of a source in {window} s bans it for {ban} s",
                    flood.requests + 1
                ),
            );
            if f64::from(flood.requests) / window > 100.0 {
                report.weak("flood.requests", "more than 100 a second: floods are hardly held");
            }
        }
    }
    let guard = &config.guard;
    match guard.mode {
        GuardMode::Off => report.weak("guard.mode", "off: passwords can be guessed without end"),
        GuardMode::Adaptive => report.note("guard", suspension(guard, "a user at a source")),
        GuardMode::SeedIpUser => report.weak(
            "guard.mode",
            suspension(guard, "a user at a source")
                + "; forged packets can get a bystander's address banned",
        ),
        GuardMode::SeedUser => report.weak(
            "guard.mode",
            suspension(guard, "a user everywhere")
                + "; anyone can lock a user out, and forged packets ban bystanders",
        ),
    }
    if guard.failures > 20 && guard.mode != GuardMode::Off {
        report.weak("guard.failures", "more than 20 guesses between suspensions");
    }
    if config.scanners.is_none() {
        report.weak("scanners", "off: known attack tools are served like phones");
    }
}

fn suspension(guard: &super::guard::Guard, who: &str) -> String {
    let (failures, secs) = (guard.failures, guard.suspend.as_secs());
    format!("{failures} wrong passwords suspend {who} for {secs} s")
}

fn authentication(config: &Config, report: &mut Report) {
    let auth = &config.auth;
    if auth.algorithms == [Algorithm::Md5] {
        report.note(
            "auth.algorithms",
            "MD5 only, because common phones fail when another stands in the list; a captured \
             login can be guessed off-line, so keep the generated passwords",
        );
    }
    for (domain, own) in &auth.domains {
        let names: Vec<_> = own.algorithms.iter().map(|one| format!("{one:?}")).collect();
        report.note(&format!("auth.domains.{domain}"), format!("offers {}", names.join(", ")));
    }
    if auth.qop == Qop::None {
        report.weak("auth.qop", "none: nothing but the nonce guards against replays");
    }
    if auth.nonce_life.as_secs() > 3_600 {
        report.weak("auth.nonce_life", "over an hour: a captured login can be replayed for long");
    }
}

fn trusted(key: &str, entry: &TrustedEntry, report: &mut Report) {
    let places: Vec<&str> = entry.may.iter().map(|place| place.name()).collect();
    let tag = if entry.tag.is_empty() { String::new() } else { format!(" ({})", entry.tag) };
    let port = entry.port.map(|port| format!(" port {port}")).unwrap_or_default();
    let (net, group, to) = (entry.net.0, entry.group, places.join(", "));
    report.note(
        key,
        format!(
            "{net}{port}{tag}, group {group}, sends to {to} without a password, except REGISTER"
        ),
    );
    let costly = entry.may.iter().any(|place| *place != Destination::Local);
    if !entry.strict && costly && !matches!(entry.transport, Some(Protocol::Tcp | Protocol::Tls)) {
        report.weak(
            key,
            format!(
                "{net} over UDP is a claim, not a proof: whoever forges that address calls for \
                 free; make it strict, or bind it to the transport tls"
            ),
        );
    }
    if entry.pstn_any_from && entry.may.contains(&Destination::Pstn) {
        report.weak(key, format!("{net} may call the telephone network under any name"));
    }
    let wide = if net.addr().is_ipv4() { 16 } else { 32 };
    if net.prefix_len() < wide {
        report.weak(key, format!("{net} is a very large network to trust"));
    }
}

/// Whether calls from the gateway's address are let in without a password.
fn callback(
    key: &str,
    gateway: &Gateway,
    mut covered: impl FnMut(IpAddr) -> bool,
    report: &mut Report,
) {
    let uri = gateway.uri.as_str();
    let host = Uri::parse(uri.as_bytes()).and_then(|uri| uri.host_canonical());
    match host {
        Ok(Host::Ip(ip)) if covered(ip) => report.note(key, format!("{uri}, trusted as a caller")),
        Ok(Host::Ip(ip)) => report.note(
            key,
            format!(
                "{uri} is not in the address table: exempt from the flood rule, but a stranger as \
                 a caller; `rempart trust add {ip} --may local` changes that"
            ),
        ),
        _ => report.note(
            key,
            format!(
                "{uri} is named, not numbered: calls from it are a stranger's unless its \
                 addresses are in the address table"
            ),
        ),
    }
}

fn telephone(config: &Config, report: &mut Report) {
    let pstn = &config.routing.pstn;
    let open = ["", "x", "alice", "0"].iter().any(|text| pstn.numbers.regex().is_match(text));
    if open && !pstn.gateways.is_empty() {
        report
            .weak("routing.pstn.numbers", "matches what is no telephone number; anchor it: ^...$");
    }
}

fn egress(config: &Config, report: &mut Report) {
    report.note(
        "egress",
        format!(
            "requests go to public addresses and the listeners' own networks, {} more allowed, {} \
             denied",
            config.egress.allow.len(),
            config.egress.deny.len()
        ),
    );
    for network in &config.egress.allow {
        let net = network.0;
        if net.prefix_len() == 0 || net.contains(&IpNet::from(loopback(&net))) {
            report.weak("egress.allow", format!("{net} lets a phone aim us at this very machine"));
        }
    }
    if let Some(outbound) = &config.routing.outbound {
        let uri = outbound.as_str();
        report.note("routing.outbound", format!("requests to other domains go through {uri}"));
    }
}

fn loopback(net: &IpNet) -> IpAddr {
    match net {
        IpNet::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        IpNet::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}

fn house(config: &Config, report: &mut Report) {
    match config.admin.listen {
        Some(address) if !address.ip().is_loopback() => report.weak(
            "admin.listen",
            format!("{address} shows the status page to whoever can reach it, without a password"),
        ),
        _ => {}
    }
    if config.storage.folder().is_none() {
        report.weak("storage", "memory: users, bans and registrations end with the server");
    }
    if config.log.level == LogLevel::Off {
        report.weak("log.level", "off: attacks leave no trace");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn findings(json: &str) -> String {
        let config = Config::parse(json, Path::new("c.json")).expect("a config");
        let lines: Vec<String> = check(&config).iter().map(Finding::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn the_default_config_has_no_weakness() {
        let text = findings("{}");
        assert_eq!(text.matches("WEAK").count(), 0, "{text}");
        assert!(text.contains("tls.certificate: none is named"), "{text}");
        assert!(text.contains("auth.algorithms: MD5 only"), "{text}");
    }

    #[test]
    fn plain_transports_alone_are_weak() {
        let text = findings(r#"{"listen": ["udp:127.0.0.1"]}"#);
        assert!(text.contains("WEAK  listen: no TLS"), "{text}");
    }

    #[test]
    fn guards_that_are_off_are_weak() {
        let text = findings(r#"{"flood": null, "scanners": null, "guard": {"mode": "off"}}"#);
        for key in ["flood", "scanners", "guard.mode"] {
            assert!(text.contains(&format!("WEAK  {key}: off")), "{key}\n{text}");
        }
    }

    #[test]
    fn a_trusted_address_over_udp_is_called_a_claim() {
        let claim = |entry: &str| {
            findings(&format!(r#"{{"trusted": [{entry}]}}"#)).contains("a claim, not a proof")
        };
        assert!(claim(r#"{"net": "192.0.2.1"}"#));
        assert!(!claim(r#"{"net": "192.0.2.1", "strict": true}"#));
        assert!(!claim(r#"{"net": "192.0.2.1", "transport": "tls"}"#));
        assert!(!claim(r#"{"net": "192.0.2.1", "may": ["local"]}"#));
    }

    #[test]
    fn a_gateway_outside_the_address_table_is_named() {
        let routing = r#""routing": {"pstn": {"gateways": ["sip:192.0.2.1"]}}"#;
        assert!(findings(&format!("{{{routing}}}")).contains("is not in the address table"));
        let trusted = r#""trusted": [{"net": "192.0.2.0/24"}]"#;
        assert!(findings(&format!("{{{routing}, {trusted}}}")).contains("trusted as a caller"));
    }

    #[test]
    fn numbers_that_match_everything_are_weak() {
        let text =
            findings(r#"{"routing": {"pstn": {"gateways": ["sip:192.0.2.1"], "numbers": ".*"}}}"#);
        assert!(text.contains("WEAK  routing.pstn.numbers"), "{text}");
    }

    #[test]
    fn an_allowed_loopback_is_weak() {
        assert!(findings(r#"{"egress": {"allow": ["127.0.0.0/8"]}}"#).contains("WEAK  egress"));
        assert!(findings(r#"{"egress": {"allow": ["10.0.0.0/8"]}}"#).contains("1 more allowed"));
    }
}
