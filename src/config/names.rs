//! Which hosts are ours, and the one name each of them is kept under.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rempart_sip::uri::Aor;

use super::Config;
use super::listen::{canonical_host, canonical_ip};

/// Our domains and their aliases: listener, interface and advertised addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNames {
    domains: Vec<String>,
    aliases: BTreeSet<String>,
}

impl LocalNames {
    /// The names `config` gives us on a host with these interface addresses, which count where a
    /// listener takes every address of their family.
    pub fn of(config: &Config, interfaces: &[IpAddr]) -> Self {
        let listeners: Vec<IpAddr> = config.listen.iter().map(|one| one.address.ip()).collect();
        let everywhere = |ip: &&IpAddr| {
            listeners.iter().any(|one| one.is_unspecified() && one.is_ipv4() == ip.is_ipv4())
        };
        let addresses = listeners.iter().chain(interfaces.iter().filter(everywhere));
        let mut aliases: BTreeSet<String> = addresses.copied().map(canonical_ip).collect();
        aliases.extend(config.advertise.all().into_iter().map(|own| own.host.clone()));
        let mut domains = config.domains.clone();
        if domains.is_empty() {
            domains.extend(listeners.first().copied().map(canonical_ip));
        }
        Self { domains, aliases }
    }

    /// The names on this host as it is now.
    pub fn here(config: &Config) -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let addresses: Vec<IpAddr> = interfaces.iter().map(if_addrs::Interface::ip).collect();
        Self::of(config, &addresses)
    }

    /// The domain that stands for all aliases: realm and store key.
    pub fn first(&self) -> &str {
        self.domains.first().map_or("", String::as_str)
    }

    /// The domains by their own names, `domains` of the config or what stands for it.
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// Hosts that are ours without being a domain: each means [`first`](Self::first).
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.iter().map(String::as_str).filter(|alias| *alias != self.first())
    }

    /// The domain a host in canonical form belongs to; `None` if it is not ours.
    pub fn domain_of(&self, host: &str) -> Option<&str> {
        let domain = self.domains.iter().find(|domain| *domain == host);
        domain.map(String::as_str).or_else(|| self.aliases.contains(host).then(|| self.first()))
    }

    /// Reads `USER@DOMAIN` (`sip:` before it or not) as one of our addresses of record; the error
    /// says what is wrong and which domains there are.
    pub fn aor(&self, text: &str) -> Result<Aor, String> {
        let bare = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:")).unwrap_or(text);
        let Some((user, host)) = bare.rsplit_once('@') else {
            return Err(format!("\"{text}\" has no domain; write {text}@{}", self.first()));
        };
        let canonical = canonical_host(host.trim_end_matches(':'))
            .ok_or_else(|| format!("\"{text}\": {host} is no host name or address"))?;
        let domain = self.domain_of(&canonical).ok_or_else(|| {
            format!(
                "\"{text}\": {host} is not served here; the domains are {}. Add it to \"domains\" \
                 in the config, or use one of them",
                self.domains.join(", ")
            )
        })?;
        Aor::new(user.as_bytes(), domain).ok_or_else(|| {
            format!("\"{text}\": the user must be 1 to 255 bytes without control characters")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &str) -> LocalNames {
        let config: Config = serde_json::from_str(json).expect("a config");
        LocalNames::of(&config, &["192.0.2.7".parse().expect("an address")])
    }

    #[test]
    fn aliases_mean_the_first_domain() {
        let names = names(
            r#"{ "domains": ["a.example", "b.example"], "advertise": "SIP.example:5080",
                 "listen": ["udp:0.0.0.0:5060", "tcp:[::1]:5060"] }"#,
        );
        for host in ["192.0.2.7", "sip.example", "0.0.0.0", "[::1]", "a.example"] {
            assert_eq!(names.domain_of(host), Some("a.example"), "{host}");
        }
        assert_eq!(names.domain_of("b.example"), Some("b.example"));
        assert_eq!(names.domain_of("c.example"), None);
    }

    #[test]
    fn without_domains_the_first_listener_is_the_domain() {
        let names = names(r#"{ "listen": ["udp:127.0.0.1:5060", "udp:127.0.0.2:5060"] }"#);
        assert_eq!(names.first(), "127.0.0.1");
        assert_eq!(names.domain_of("127.0.0.2"), Some("127.0.0.1"));
        assert_eq!(names.domain_of("192.0.2.7"), None);
        assert_eq!(names.aliases().collect::<Vec<_>>(), ["127.0.0.2"]);
    }

    #[test]
    fn an_ipv6_listener_can_be_the_domain() {
        let names = names(r#"{ "listen": ["udp:[2001:db8::1]:5060"] }"#);
        let aor = names.aor("alice@[2001:DB8:0::1]").map(|aor| aor.to_string());
        assert_eq!(aor.as_deref(), Ok("alice@[2001:db8::1]"));
    }

    #[test]
    fn an_address_of_record_is_kept_under_its_domain() {
        let names = names(r#"{ "domains": ["a.example"], "listen": ["udp:[::1]:5060"] }"#);
        for text in ["alice@a.example", "sip:alice@A.Example.", "alice@[::1]"] {
            assert_eq!(
                names.aor(text).map(|aor| aor.to_string()).as_deref(),
                Ok("alice@a.example")
            );
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_with_the_domains_there_are() {
        let names = names(r#"{ "domains": ["a.example"] }"#);
        assert!(names.aor("alice").is_err_and(|why| why.contains("write alice@a.example")));
        assert!(names.aor("alice@b.example").is_err_and(|why| why.contains("are a.example")));
        assert!(names.aor("@a.example").is_err());
        assert!(names.aor("a\nb@a.example").is_err());
    }
}
