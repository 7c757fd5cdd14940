//! From config.json's types to what the actors read.

use rempart_actors::names::Names;
use rempart_actors::settings::{
    AuthRule, EgressRule, FloodRule, Gateway, GuardMode, GuardRule, Limits, Listener, Pstn,
    RequireTls, ScannerRule, Settings,
};
use rempart_sip::registrar;
use rempart_sip::screen::Scanners;
use rempart_sip::transaction::Timing;
use rempart_sip::uri::{Aor, Host};
use tracing::warn;

use crate::config::names::LocalNames;
use crate::config::{Config, accounts, guard, routing};
use crate::transport::{Listening, interfaces};

/// Messages admitted and not yet done with, over all shards. Far above what a healthy server has
/// in hand, and small enough that full queues stay within a few tens of megabytes.
const IN_FLIGHT_MAX: usize = 16_384;

/// The settings of a config whose listeners were bound as `listening` says.
pub fn settings(config: &Config, listening: &[Listening]) -> Settings {
    Settings {
        listeners: listeners(config, listening),
        names: names(config, listening),
        trusted: config.trusted.iter().map(Into::into).collect(),
        flood: config.flood.as_ref().map(flood),
        guard: guard_rule(&config.guard),
        scanners: config.scanners.as_ref().map(scanners),
        auth: auth(&config.auth),
        require_tls: require_tls(&config.tls.require_tls),
        registrar: registrar_limits(&config.registrar),
        pstn: pstn(&config.routing.pstn),
        outbound: config.routing.outbound.as_ref().map(|uri| uri.as_str().to_owned()),
        egress: egress(config, listening),
        timing: Timing {
            t1: config.timers.t1,
            final_response: config.timers.final_response,
            answer: config.timers.answer,
            ..scaled(config.timers.t1)
        },
        limits: Limits {
            sources: config.limits.sources,
            transactions: config.limits.transactions,
            in_flight: IN_FLIGHT_MAX,
            message: config.limits.message,
        },
    }
}

/// T2 and T4 keep their proportion to T1 (RFC 3261 section 17.1.1.1).
fn scaled(t1: std::time::Duration) -> Timing {
    Timing { t2: t1 * 8, t4: t1 * 10, ..Timing::default() }
}

fn listeners(config: &Config, listening: &[Listening]) -> Vec<Listener> {
    let advertised = |index| {
        config.advertise.of(index).map(|own| match own.port {
            Some(port) => format!("{}:{port}", own.host),
            None => own.host.clone(),
        })
    };
    listening
        .iter()
        .map(|listener| Listener {
            transport: listener.transport,
            address: listener.address,
            advertise: advertised(listener.index),
        })
        .collect()
}

fn names(config: &Config, listening: &[Listening]) -> Names {
    let local = LocalNames::here(config);
    let aliases: Vec<Host> =
        local.aliases().filter_map(|alias| Host::parse(alias.as_bytes()).ok()).collect();
    let addresses: Vec<_> = listening.iter().map(|listener| listener.address).collect();
    Names::new(local.domains(), &aliases, &addresses)
}

fn flood(flood: &guard::Flood) -> FloodRule {
    FloodRule {
        requests: flood.requests,
        window: flood.window,
        ban: flood.ban,
        forget: flood.forget,
    }
}

fn guard_rule(rule: &guard::Guard) -> GuardRule {
    let mode = match rule.mode {
        guard::GuardMode::Adaptive => GuardMode::Adaptive,
        guard::GuardMode::SeedIpUser => GuardMode::SeedIpUser,
        guard::GuardMode::SeedUser => GuardMode::SeedUser,
        guard::GuardMode::Off => GuardMode::Off,
    };
    GuardRule { mode, failures: rule.failures, suspend: rule.suspend, forget: rule.forget }
}

fn scanners(scanners: &guard::Scanners) -> ScannerRule {
    ScannerRule {
        names: Scanners::new(&scanners.user_agents),
        answered: scanners.answer == guard::ScannerAnswer::Ok,
    }
}

fn auth(auth: &accounts::Auth) -> AuthRule {
    let convert = |algorithms: &[accounts::Algorithm]| {
        algorithms.iter().map(|algorithm| (*algorithm).into()).collect()
    };
    AuthRule {
        nonce_life: auth.nonce_life,
        algorithms: convert(&auth.algorithms),
        by_domain: auth
            .domains
            .iter()
            .map(|(domain, rule)| (domain.clone(), convert(&rule.algorithms)))
            .collect(),
        qop: auth.qop == accounts::Qop::Auth,
    }
}

fn require_tls(entries: &[String]) -> RequireTls {
    let (users, domains): (Vec<&String>, Vec<&String>) =
        entries.iter().partition(|entry| entry.contains('@'));
    RequireTls {
        domains: domains.into_iter().cloned().collect(),
        users: users.into_iter().filter_map(|user| Aor::parse(user)).collect(),
    }
}

fn registrar_limits(registrar: &accounts::Registrar) -> registrar::Limits {
    let secs = |period: std::time::Duration| u32::try_from(period.as_secs()).unwrap_or(u32::MAX);
    let expires = &registrar.expires;
    registrar::Limits {
        min: secs(expires.min),
        default: secs(expires.default),
        max: secs(expires.max),
        contacts_max: registrar.contacts_max,
    }
}

fn pstn(pstn: &routing::Pstn) -> Pstn {
    let numbers = regex::bytes::Regex::new(pstn.numbers.regex().as_str());
    let gateways = pstn.gateways.iter().map(|gateway| Gateway {
        uri: gateway.uri.as_str().to_owned(),
        prefixes: gateway.prefixes.iter().map(|prefix| international(prefix)).collect(),
        weight: gateway.weight,
    });
    Pstn {
        // The pattern was compiled for text already; octets take the same patterns.
        numbers: numbers.unwrap_or_else(|error| {
            warn!(%error, "routing.pstn.numbers does not read octets; no number matches");
            never_matches()
        }),
        gateways: gateways.collect(),
        probe: pstn.probe,
        try_next_after: pstn.try_next_after,
    }
}

/// Numbers are compared after 00 became +, so a prefix written with 00 means the same.
fn international(prefix: &str) -> String {
    prefix.strip_prefix("00").map_or_else(|| prefix.to_owned(), |rest| format!("+{rest}"))
}

fn never_matches() -> regex::bytes::Regex {
    regex::bytes::Regex::new("[^\\s\\S]").expect("a class of nothing is a pattern")
}

fn egress(config: &Config, listening: &[Listening]) -> EgressRule {
    let ips: Vec<_> = listening.iter().map(|listener| listener.address.ip()).collect();
    let attached = interfaces::attached_networks(&ips).unwrap_or_else(|error| {
        warn!(%error, "interfaces unknown: attached networks are not reachable for calls");
        Vec::new()
    });
    EgressRule {
        allow: config.egress.allow.iter().map(|network| network.0).collect(),
        deny: config.egress.deny.iter().map(|network| network.0).collect(),
        attached,
        own: interfaces::own_addresses(&ips).unwrap_or(ips),
    }
}
