//! Where the server listens and under which names it is reached.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use rempart_sip::flow::Transport;
use rempart_sip::uri::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// One listening socket: `"udp:0.0.0.0:5060"`, `"tcp:[::]:5060"`, `"tls:192.0.2.1"`.
///
/// Without a port: 5060, for TLS 5061. Port 0 takes a free one, for trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Listener {
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// The address and port to bind; `0.0.0.0` and `[::]` mean every address of their family.
    pub address: SocketAddr,
}

impl FromStr for Listener {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("\"{text}\" is no listener; write \"udp:0.0.0.0:5060\" or the like");
        let (transport, address) = text.split_once(':').ok_or_else(bad)?;
        let transport = Transport::parse(transport.as_bytes()).ok_or_else(bad)?;
        let address = socket_address(address, transport.default_port()).ok_or_else(bad)?;
        Ok(Self { transport, address })
    }
}

impl TryFrom<String> for Listener {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.transport.param(), self.address)
    }
}

impl From<Listener> for String {
    fn from(listener: Listener) -> Self {
        listener.to_string()
    }
}

/// Reads `ip`, `ip:port`, `[ip]` or `[ip]:port`; IPv6 with a port needs the brackets.
pub fn socket_address(text: &str, default_port: u16) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip: IpAddr = bare.parse().ok()?;
    Some(SocketAddr::new(ip, default_port))
}

/// A name or address, with a port or without, that stands for us in Via and Record-Route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Advertised {
    /// The host name or address, in canonical form; IPv6 in brackets.
    pub host: String,
    /// The port, where it differs from the listener's.
    pub port: Option<u16>,
}

impl TryFrom<String> for Advertised {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || {
            format!(
                "\"{text}\" is no host name or address; write \"sip.example.org\", \
                 \"192.0.2.1\", \"[2001:db8::1]\", with \":port\" after it or not"
            )
        };
        if let Ok(ip) = text.parse() {
            return Ok(Self { host: canonical_ip(ip), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, Some(port.parse().map_err(|_| bad())?))
            }
            _ => (text.as_str(), None),
        };
        let host = canonical_host(host).ok_or_else(bad)?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl From<Advertised> for String {
    fn from(advertised: Advertised) -> Self {
        advertised.to_string()
    }
}

/// What Via and Record-Route carry instead of the address the kernel routes by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Advertise {
    /// Nothing else: the address of the interface a message leaves by.
    #[default]
    Own,
    /// The same for every listener.
    All(Advertised),
    /// One per listener, in the order of `listen`; null leaves that listener's own.
    PerListener(Vec<Option<Advertised>>),
}

impl Advertise {
    /// What listener number `index` of `listen` advertises, if anything.
    pub fn of(&self, index: usize) -> Option<&Advertised> {
        match self {
            Self::Own => None,
            Self::All(advertised) => Some(advertised),
            Self::PerListener(list) => list.get(index)?.as_ref(),
        }
    }

    /// Everything advertised, for the list of our own names.
    pub fn all(&self) -> Vec<&Advertised> {
        match self {
            Self::Own => Vec::new(),
            Self::All(advertised) => vec![advertised],
            Self::PerListener(list) => list.iter().flatten().collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Advertise {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(AdvertiseVisitor)
    }
}

/// Told apart by hand, so that an error names the element and not "no variant matched".
struct AdvertiseVisitor;

impl<'de> de::Visitor<'de> for AdvertiseVisitor {
    type Value = Advertise;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("null, a name or address, or a list of them, one per listener")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Advertise, E> {
        Ok(Advertise::Own)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Advertise, E> {
        Advertised::try_from(value.to_owned()).map(Advertise::All).map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Advertise, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Advertise::PerListener)
    }
}

/// A host name or address in the one form we compare by: as [`Host`] prints it, lower case, IPv6
/// in brackets, which may be missing in `text`.
pub fn canonical_host(text: &str) -> Option<String> {
    if let Ok(ip) = text.parse() {
        return Some(canonical_ip(ip));
    }
    Host::parse(text.as_bytes()).ok().map(|host| host.to_string())
}

/// An address as [`canonical_host`] writes it.
pub fn canonical_ip(ip: IpAddr) -> String {
    Host::from(ip).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_prints_as_it_is_read() {
        for text in ["udp:0.0.0.0:5060", "tcp:[::]:5060", "tls:192.0.2.1:5061", "udp:127.0.0.1:0"] {
            assert_eq!(text.parse::<Listener>().map(|l| l.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn the_default_port_depends_on_the_transport() {
        for (text, port) in [("udp:192.0.2.1", 5060), ("tls:[::1]", 5061), ("TCP:::1", 5060)] {
            assert_eq!(text.parse::<Listener>().map(|l| l.address.port()), Ok(port), "{text}");
        }
    }

    #[test]
    fn what_is_no_listener_is_refused() {
        for text in ["", "udp", "udp:", "5060", "sctp:0.0.0.0:5060", "udp:example.org:5060"] {
            assert!(text.parse::<Listener>().is_err(), "{text}");
        }
    }

    #[test]
    fn advertised_names_are_canonical() {
        let read = |text: &str| Advertised::try_from(text.to_owned());
        assert_eq!(
            read("SIP.Example.org:5080"),
            Ok(Advertised { host: "sip.example.org".into(), port: Some(5080) })
        );
        assert_eq!(read("2001:db8::1").map(|a| a.to_string()).as_deref(), Ok("[2001:db8::1]"));
        assert_eq!(read("[2001:db8::1]:5060").map(|a| a.port), Ok(Some(5060)));
        for text in ["", "a b", "host:port", "host:99999", "sip:host"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
