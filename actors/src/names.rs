//! Which hosts are ours (R12): domains, aliases, our own addresses, in canonical spelling, so that
//! case, escapes, trailing dots, ports and odd number forms do not make a local user foreign.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use rempart_sip::uri::{Aor, Host, Scheme, Uri};

/// The served domains and everything that stands for one of them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    canonical: HashMap<Host, String>,
    first: String,
    listening: HashSet<(Host, u16)>,
}

impl Names {
    /// `domains` are served under their own names; `aliases` stand for the first of them.
    pub fn new(domains: &[String], aliases: &[Host], listening: &[SocketAddr]) -> Self {
        let spelled = domains.iter().filter_map(|name| Host::parse(name.as_bytes()).ok());
        let spelled: Vec<Host> = spelled.collect();
        let first = spelled.first().or(aliases.first()).map(Host::to_string).unwrap_or_default();
        let mut canonical: HashMap<Host, String> =
            aliases.iter().map(|alias| (alias.clone(), first.clone())).collect();
        canonical.extend(spelled.into_iter().map(|host| (host.clone(), host.to_string())));
        let mut names = Self { canonical, first, listening: HashSet::new() };
        names.listen_on(listening);
        names
    }

    fn listen_on(&mut self, listening: &[SocketAddr]) {
        for address in listening {
            let hosts: Vec<Host> = match address.ip().is_unspecified() {
                true => self.canonical.keys().cloned().collect(),
                false => vec![Host::from(address.ip())],
            };
            self.listening.extend(hosts.into_iter().map(|host| (host, address.port())));
            let named = self.canonical.keys().filter(|host| host.ip().is_none()).cloned();
            let named: Vec<Host> = named.collect();
            self.listening.extend(named.into_iter().map(|host| (host, address.port())));
        }
    }

    /// The realm and store name of `host`, if it is ours.
    pub fn domain_of(&self, host: &Host) -> Option<&str> {
        self.canonical.get(host).map(String::as_str)
    }

    /// The realm where nothing else decides.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// The domain that a URI belongs to, if it is ours. Any port.
    pub fn domain_of_uri(&self, uri: &Uri<'_>) -> Option<&str> {
        match uri.scheme {
            Scheme::Sip | Scheme::Sips => self.domain_of(&uri.host_canonical().ok()?),
            _ => None,
        }
    }

    /// The address of record that a local URI names.
    pub fn aor(&self, uri: &Uri<'_>) -> Option<Aor> {
        Aor::new(&uri.user_unescaped()?, self.domain_of_uri(uri)?)
    }

    /// Whether a Route value's URI leads to one of our listeners.
    pub fn is_listener(&self, uri: &Uri<'_>, advertised: impl Fn(&Host, u16) -> bool) -> bool {
        let Ok(host) = uri.host_canonical() else { return false };
        let secure = matches!(uri.scheme, Scheme::Sips)
            || uri.transport().is_some_and(|name| name.eq_ignore_ascii_case(b"tls"));
        let port = uri.port.unwrap_or(if secure { 5061 } else { 5060 });
        advertised(&host, port) || self.listening.contains(&(host, port))
    }

    /// Whether `ip` is one of our addresses (R29).
    pub fn is_own(&self, ip: IpAddr) -> bool {
        self.canonical.contains_key(&Host::from(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(
            &["example.org".to_owned(), "example.net".to_owned()],
            &[Host::from(IpAddr::from([192, 0, 2, 1]))],
            &["0.0.0.0:5060".parse().expect("an address")],
        )
    }

    fn domain(text: &str) -> Option<String> {
        let names = names();
        names.domain_of_uri(&Uri::parse(text.as_bytes()).ok()?).map(str::to_owned)
    }

    #[test]
    fn a_local_domain_is_found_however_it_is_spelled() {
        for text in ["sip:a@example.org", "sip:a@EXAMPLE.org.:5099", "sips:a@Example.Org;x=y"] {
            assert_eq!(domain(text).as_deref(), Some("example.org"), "{text}");
        }
        assert_eq!(domain("sip:a@example.net").as_deref(), Some("example.net"));
        for text in ["sip:a@192.0.2.1:5080", "sip:a@3221225985", "sip:a@[::ffff:192.0.2.1]"] {
            assert_eq!(domain(text).as_deref(), Some("example.org"), "{text}");
        }
        assert_eq!(domain("sip:a@example.org.evil.test"), None);
        assert_eq!(domain("tel:+331234"), None);
    }

    #[test]
    fn a_route_is_ours_on_a_listener_port_only() {
        let names = names();
        let ours = |text: &str| {
            names.is_listener(&Uri::parse(text.as_bytes()).expect("a URI"), |_, _| false)
        };
        assert!(ours("sip:192.0.2.1;lr"));
        assert!(ours("sip:example.org:5060;lr"));
        assert!(!ours("sip:192.0.2.1:5070;lr"));
        assert!(!ours("sip:198.51.100.1;lr"));
    }
}
