//! What single values cannot tell: whether they agree. Puts names into their canonical form on the
//! way, so that everyone after this compares them as they are.

use std::collections::BTreeMap;

use rempart_sip::flow::Transport;

use super::accounts::Algorithm;
use super::listen::{Advertise, canonical_host};
use super::names::LocalNames;
use super::tls::{CertificateMatch, Files, Tls, TlsProfile, Verify};
use super::{Config, SledFolder};

/// The key path and what is wrong there.
type Broken = (String, String);

/// Checks the rules and brings host names into canonical form.
pub(super) fn settle(config: &mut Config) -> Result<(), Broken> {
    listeners(config)?;
    domains(config)?;
    storage(config)?;
    expires(config)?;
    algorithms(config)?;
    trusted(config)?;
    names(config)?;
    tls(config)?;
    require_tls(config)
}

fn broken(path: impl Into<String>, message: impl Into<String>) -> Result<(), Broken> {
    Err((path.into(), message.into()))
}

fn listeners(config: &Config) -> Result<(), Broken> {
    if config.listen.is_empty() {
        return broken("listen", "is empty; name at least one, such as \"udp:0.0.0.0:5060\"");
    }
    for (index, listener) in config.listen.iter().enumerate() {
        let free = listener.address.port() == 0;
        if !free && config.listen.iter().take(index).any(|earlier| earlier == listener) {
            return broken(format!("listen[{index}]"), "stands twice; remove one");
        }
    }
    match &config.advertise {
        Advertise::PerListener(list) if list.len() != config.listen.len() => broken(
            "advertise",
            format!(
                "has {} entries for {} listeners; write one per listener (null for none), or one \
                 name for all",
                list.len(),
                config.listen.len()
            ),
        ),
        _ => Ok(()),
    }
}

fn domains(config: &mut Config) -> Result<(), Broken> {
    for index in 0..config.domains.len() {
        let path = format!("domains[{index}]");
        let (earlier, rest) = config.domains.split_at_mut(index);
        let Some(domain) = rest.first_mut() else { break };
        let Some(canonical) = canonical_host(domain) else {
            let message = format!("\"{domain}\" is no host name; write \"sip.example.org\"");
            return broken(path, message);
        };
        if earlier.contains(&canonical) {
            return broken(path, "stands twice; remove one");
        }
        *domain = canonical;
    }
    Ok(())
}

fn storage(config: &mut Config) -> Result<(), Broken> {
    match (&config.storage.sled, &config.storage.memory) {
        (Some(_), Some(_)) => broken("storage", "names two homes; keep one"),
        (None, None) => {
            config.storage.sled = Some(SledFolder::default());
            Ok(())
        }
        (Some(sled), None) if sled.path.as_os_str().is_empty() => {
            broken("storage.sled.path", "is empty; name a folder, such as \"data\"")
        }
        _ if config.control.as_os_str().is_empty() => {
            broken("control", "is empty; name a file, such as \"data/control.sock\"")
        }
        _ => Ok(()),
    }
}

fn expires(config: &Config) -> Result<(), Broken> {
    let expires = &config.registrar.expires;
    if expires.min > expires.max {
        return broken("registrar.expires.min", "is more than registrar.expires.max; lower it");
    }
    if !(expires.min..=expires.max).contains(&expires.default) {
        let message = "is not between registrar.expires.min and max; bring it between them";
        return broken("registrar.expires.default", message);
    }
    Ok(())
}

fn algorithms(config: &mut Config) -> Result<(), Broken> {
    offered("auth.algorithms", &config.auth.algorithms)?;
    let mut domains = BTreeMap::new();
    for (name, own) in &config.auth.domains {
        let path = format!("auth.domains.{name}");
        offered(&format!("{path}.algorithms"), &own.algorithms)?;
        match canonical_host(name).filter(|name| config.domains.contains(name)) {
            Some(canonical) => drop(domains.insert(canonical, own.clone())),
            None => return broken(path, "is not among \"domains\"; add it there, or remove it"),
        }
    }
    config.auth.domains = domains;
    Ok(())
}

fn offered(path: &str, algorithms: &[Algorithm]) -> Result<(), Broken> {
    match algorithms {
        [] => broken(path, "is empty; write [\"MD5\"], or [\"SHA-256\", \"MD5\"]"),
        [_] | [Algorithm::Sha256, Algorithm::Md5] => Ok(()),
        _ => broken(path, "is not strongest first, once each; write [\"SHA-256\", \"MD5\"]"),
    }
}

fn trusted(config: &Config) -> Result<(), Broken> {
    for (index, entry) in config.trusted.iter().enumerate() {
        if entry.may.is_empty() {
            let message = "is empty, so the entry does nothing; write [\"local\"], or remove it";
            return broken(format!("trusted[{index}].may"), message);
        }
        let same = |one: &super::trusted::TrustedEntry| {
            (one.net, one.port, one.transport) == (entry.net, entry.port, entry.transport)
        };
        if config.trusted.iter().take(index).any(same) {
            let message = "the same network, port and transport stand twice; remove one";
            return broken(format!("trusted[{index}]"), message);
        }
    }
    Ok(())
}

fn names(config: &Config) -> Result<(), Broken> {
    let scanners = config.scanners.iter().flat_map(|scanners| &scanners.user_agents);
    for (index, name) in scanners.enumerate() {
        if name.trim().is_empty() || name.contains('/') {
            let message = "write the product name alone, as it stands before the slash";
            return broken(format!("scanners.user_agents[{index}]"), message);
        }
    }
    for (index, gateway) in config.routing.pstn.gateways.iter().enumerate() {
        if gateway.prefixes.iter().any(String::is_empty) {
            let message = "an empty prefix takes every number; leave prefixes out to say that";
            return broken(format!("routing.pstn.gateways[{index}].prefixes"), message);
        }
    }
    Ok(())
}

fn tls(config: &Config) -> Result<(), Broken> {
    let tls = &config.tls;
    pair("tls", tls.certificate.is_some(), tls.key.is_some())?;
    lists("tls", [&tls.ca, &tls.crl])?;
    if tls.certificate_as_digest {
        stand_in("tls", tls, &TlsProfile { ca: tls.ca.clone(), ..of_top(tls) })?;
    }
    for (index, profile) in tls.profiles.iter().enumerate() {
        let TlsProfile { server, client, certificate, key, ca, crl, .. } = profile;
        let path = format!("tls.profiles[{index}]");
        if server.is_some() == client.is_some() {
            let message = "name exactly one of \"server\" and \"client\"";
            return broken(path, message);
        }
        pair(&path, certificate.is_some(), key.is_some())?;
        lists(&path, [ca, crl])?;
        if profile.certificate_as_digest.unwrap_or(server.is_some() && tls.certificate_as_digest) {
            stand_in(&path, tls, profile)?;
        }
    }
    Ok(())
}

/// The top-level keys as a profile has them.
fn of_top(tls: &Tls) -> TlsProfile {
    TlsProfile {
        server: Some(String::new()),
        pinned: Some(tls.pinned.clone()),
        ..Default::default()
    }
}

/// A certificate replaces a password only where an authority chosen for that says who it is for.
fn stand_in(path: &str, tls: &Tls, profile: &TlsProfile) -> Result<(), Broken> {
    let path = format!("{path}.certificate_as_digest");
    let own = profile.ca.is_some() || profile.pinned.as_ref().is_some_and(|pins| !pins.is_empty());
    let inherited = profile.certificate_as_digest.is_none();
    let matched = profile.certificate_must_match.or(tls.certificate_must_match);
    if profile.server.is_none() {
        return broken(path, "is about clients; write it into a profile with \"server\"");
    }
    if profile.verify.unwrap_or(tls.verify) != Verify::Required {
        return broken(path, "needs \"verify\": \"required\"; write that, or false");
    }
    if matched != Some(CertificateMatch::FromAor) {
        let message = "needs \"certificate_must_match\": \"from-aor\", because a common name alone \
                       says nothing about the domain; write that, or false";
        return broken(path, message);
    }
    let of_tls = inherited && (tls.ca.is_some() || !tls.pinned.is_empty());
    if !own && !of_tls {
        let message = "needs \"ca\" or \"pinned\" beside it, so that no other authority can make \
                       users; name one there, or write false";
        return broken(path, message);
    }
    Ok(())
}

fn require_tls(config: &mut Config) -> Result<(), Broken> {
    if config.tls.require_tls.is_empty() {
        return Ok(());
    }
    let listens = config.listen.iter().any(|one| one.transport == Transport::Tls);
    if !listens {
        let message = "locks out those it names, because nothing listens on TLS; add \
                       \"tls:0.0.0.0:5061\" to listen, or remove it";
        return broken("tls.require_tls", message);
    }
    let names = LocalNames::of(config, &[]);
    for (index, entry) in config.tls.require_tls.iter_mut().enumerate() {
        let found = match entry.contains('@') {
            true => names.aor(entry).map(|aor| aor.to_string()),
            false => domain(entry, &names),
        };
        match found {
            Ok(canonical) => *entry = canonical,
            Err(message) => return broken(format!("tls.require_tls[{index}]"), message),
        }
    }
    Ok(())
}

fn domain(entry: &str, names: &LocalNames) -> Result<String, String> {
    let found = canonical_host(entry).and_then(|host| names.domain_of(&host).map(str::to_owned));
    found.ok_or_else(|| {
        let domains = names.domains().join(", ");
        format!("\"{entry}\" is no domain of ours ({domains}); write one, or \"101@DOMAIN\"")
    })
}

fn pair(path: &str, certificate: bool, key: bool) -> Result<(), Broken> {
    match (certificate, key) {
        (true, false) => broken(path, "has a certificate without its key; add \"key\""),
        (false, true) => broken(path, "has a key without its certificate; add \"certificate\""),
        _ => Ok(()),
    }
}

fn lists(path: &str, files: [&Option<Files>; 2]) -> Result<(), Broken> {
    if files.into_iter().flatten().any(|files| files.paths().is_empty()) {
        return broken(path, "an empty list of files; write null, or name one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn refused(json: &str) -> String {
        match Config::parse(json, Path::new("c.json")) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn rules_between_keys_name_the_key() {
        for (json, start) in [
            (r#"{"listen": []}"#, "c.json:1:12: listen: is empty"),
            (r#"{"listen": ["udp:[::1]", "udp:[::1]:5060"]}"#, "c.json:1:26: listen[1]: stands"),
            (r#"{"advertise": ["a.example"]}"#, "c.json:1:15: advertise: has 1 entries for 6"),
            (r#"{"domains": ["a", "A."]}"#, "c.json:1:19: domains[1]: stands twice"),
            (r#"{"domains": ["a b"]}"#, "c.json:1:14: domains[0]: \"a b\" is no host name"),
            (r#"{"storage": {"sled": {}, "memory": {}}}"#, "c.json:1:13: storage: names two"),
            (r#"{"registrar": {"expires": {"min": "2h"}}}"#, "c.json:1:35: registrar.expires.min"),
            (r#"{"auth": {"algorithms": []}}"#, "c.json:1:25: auth.algorithms: is empty"),
            (r#"{"auth": {"algorithms": ["MD5", "MD5"]}}"#, "c.json:1:25: auth.algorithms: is not"),
            (r#"{"auth": {"domains": {"a": {}}}}"#, "c.json:1:28: auth.domains.a: is not among"),
            (r#"{"trusted": [{"net": "::1", "may": []}]}"#, "c.json:1:36: trusted[0].may: is"),
            (r#"{"trusted": [{"net": "::1"}, {"net": "::1"}]}"#, "c.json:1:30: trusted[1]: the"),
            (r#"{"scanners": {"user_agents": ["a/1"]}}"#, "c.json:1:31: scanners.user_agents[0]"),
            (r#"{"tls": {"certificate": "a.pem"}}"#, "c.json:1:9: tls: has a certificate without"),
            (r#"{"tls": {"profiles": [{}]}}"#, "c.json:1:23: tls.profiles[0]: name exactly one"),
            (r#"{"tls": {"require_tls": ["x"]}}"#, "c.json:1:26: tls.require_tls[0]: \"x\" is no"),
        ] {
            let message = refused(json);
            assert!(message.starts_with(start), "{json}\n{message}");
        }
    }

    #[test]
    fn a_certificate_replaces_a_password_only_where_an_own_authority_names_the_user() {
        let top =
            |keys: &str| refused(&format!(r#"{{"tls": {{"certificate_as_digest": true{keys}}}}}"#));
        let (required, aor) =
            (r#", "verify": "required""#, r#", "certificate_must_match": "from-aor""#);
        let user = r#", "certificate_must_match": "from-user""#;
        let ca = r#", "ca": "ca.pem""#;
        assert!(top("").contains("\"verify\": \"required\""), "{}", top(""));
        for keys in [format!("{required}{ca}"), format!("{required}{user}{ca}")] {
            assert!(top(&keys).contains("\"from-aor\""), "{keys}: {}", top(&keys));
        }
        let keys = format!("{required}{aor}");
        assert!(top(&keys).contains("\"ca\" or \"pinned\""), "{}", top(&keys));
        assert_eq!(top(&format!("{required}{aor}{ca}")), "accepted");
        let profile = |keys: &str| {
            let profile = format!(r#"{{"certificate_as_digest": true{required}{aor}{keys}}}"#);
            refused(&format!(r#"{{"tls": {{"ca": "top.pem", "profiles": [{profile}]}}}}"#))
        };
        let server = r#", "server": "a.example""#;
        assert!(profile(server).contains("\"ca\" or \"pinned\""), "the top level's is not its own");
        assert_eq!(profile(&format!("{server}{ca}")), "accepted");
        assert!(profile(r#", "client": "a.example""#).contains("about clients"));
    }

    #[test]
    fn who_must_use_tls_is_ours_and_can() {
        let json = r#"{"domains": ["A.example"],
                       "tls": {"require_tls": ["a.Example.", "101@A.example"]}}"#;
        let config = Config::parse(json, Path::new("c.json")).expect("a config");
        assert_eq!(config.tls.require_tls, ["a.example", "101@a.example"]);
        let json = r#"{"listen": ["udp:[::1]"], "tls": {"require_tls": ["[::1]"]}}"#;
        assert!(refused(json).contains("nothing listens on TLS"), "{}", refused(json));
    }

    #[test]
    fn names_are_made_canonical() {
        let json = r#"{ "domains": ["SIP.Example."],
                        "auth": { "domains": { "sip.EXAMPLE": { "algorithms": ["SHA-256"] } } } }"#;
        let config = Config::parse(json, Path::new("c.json")).expect("a config");
        assert_eq!(config.domains, ["sip.example"]);
        assert_eq!(config.auth.algorithms("sip.example"), [Algorithm::Sha256]);
        assert_eq!(config.auth.algorithms("other"), [Algorithm::Md5]);
    }
}
