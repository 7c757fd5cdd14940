//! Where calls go: gateways to the telephone network, the outbound proxy, allowed targets, DNS.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use regex::Regex;
use rempart_sip::flow::canonical_ip;
use rempart_sip::uri::{Scheme, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::listen::socket_address;
use super::period;

/// Where requests that are not for a local user go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// Calls to the telephone network.
    pub pstn: Pstn,
    /// A SIP URI every request to another domain is sent through; null: each domain's own.
    pub outbound: Option<SipUri>,
}

/// Calls to the telephone network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pstn {
    /// Gateways, a SIP URI each, or with `prefixes` and `weight`; none: no such calls. Those with
    /// the longest prefix of the number are tried first, equals in the order of the list.
    pub gateways: Vec<Gateway>,
    /// How often each gateway is sent an OPTIONS, to leave out those that are down; null: never,
    /// and none is left out.
    #[serde(with = "period::optional")]
    #[schemars(with = "Option<period::Text>")]
    pub probe: Option<Duration>,
    /// How long a gateway may say nothing to a call before the next one is tried.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub try_next_after: Duration,
    /// A regular expression of the numbers (URI users) that are telephone numbers.
    pub numbers: Pattern,
}

impl Default for Pstn {
    fn default() -> Self {
        let numbers = Regex::new(r"^(\+|00)[1-9][0-9]{3,20}$").expect("a constant that is tested");
        Self {
            gateways: Vec::new(),
            probe: Some(Duration::from_secs(30)),
            try_next_after: Duration::from_secs(4),
            numbers: Pattern(numbers),
        }
    }
}

/// A gateway: `"sip:192.0.2.1:5060;transport=udp"`, or an object with more about it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(with = "GatewayText")]
pub struct Gateway {
    /// Where it is.
    pub uri: SipUri,
    /// The numbers it takes begin with one of these; none: it takes all.
    pub prefixes: Vec<String>,
    /// Its share of the calls among neighbours in the list with an equally long prefix and a
    /// weight; null: its place in the list decides.
    pub weight: Option<u32>,
}

/// The two ways to write a gateway.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum GatewayText {
    /// The URI alone.
    Uri(SipUri),
    /// The URI with more about it.
    Object(GatewayObject),
}

/// A gateway written as an object.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GatewayObject {
    /// Where it is, a SIP URI.
    uri: SipUri,
    /// The numbers it takes begin with one of these; none: it takes all.
    #[serde(default)]
    prefixes: Vec<String>,
    /// Its share of the calls among neighbours in the list with an equally long prefix and a
    /// weight; null: its place in the list decides.
    #[serde(default)]
    weight: Option<u32>,
}

impl<'de> Deserialize<'de> for Gateway {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(GatewayVisitor)
    }
}

/// Told apart by hand, so that an error inside the object names its key.
struct GatewayVisitor;

impl<'de> de::Visitor<'de> for GatewayVisitor {
    type Value = Gateway;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a SIP URI or { \"uri\": ..., \"prefixes\": [...], \"weight\": 1 }")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Gateway, E> {
        let uri = SipUri::try_from(value.to_owned()).map_err(E::custom)?;
        Ok(Gateway { uri, prefixes: Vec::new(), weight: None })
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Gateway, A::Error> {
        let object = GatewayObject::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Gateway { uri: object.uri, prefixes: object.prefixes, weight: object.weight })
    }
}

/// A SIP or SIPS URI, checked and kept as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct SipUri(String);

impl SipUri {
    /// The URI as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SipUri {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refuse = |why: &str| format!("\"{text}\" {why}; write \"sip:192.0.2.1:5060\"");
        let uri = Uri::parse(text.as_bytes()).map_err(|bad| refuse(bad.reason))?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Err(refuse("is no SIP URI"));
        }
        uri.host_canonical().map_err(|bad| refuse(bad.reason))?;
        Ok(Self(text))
    }
}

impl From<SipUri> for String {
    fn from(uri: SipUri) -> Self {
        uri.0
    }
}

/// A regular expression, compiled when the config is read.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(with = "String")]
pub struct Pattern(Regex);

impl Pattern {
    /// The compiled expression.
    pub fn regex(&self) -> &Regex {
        &self.0
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        Regex::new(&text).map(Self).map_err(|error| {
            let text = error.to_string();
            // The library draws the place over several lines; the reason is the last.
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            de::Error::custom(format!("no regular expression: {reason}"))
        })
    }
}

/// Where requests may be sent besides registered flows, sealed dialogs, gateways, trusted peers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Networks allowed besides public addresses and the listeners' own networks.
    pub allow: Vec<Network>,
    /// Networks refused, whatever else allows them.
    pub deny: Vec<Network>,
}

/// A network in CIDR form, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.parse() {
            return Ok(Self(IpNet::from(canonical_ip(ip))));
        }
        let net: IpNet = text.parse().map_err(|_| {
            format!("\"{text}\" is no network; write \"192.0.2.0/24\", \"2001:db8::/48\" or an IP")
        })?;
        Ok(Self(net.trunc()))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// Name resolution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Name servers, `"ip"` or `"ip:port"`; empty: the system's.
    pub servers: Vec<DnsServer>,
}

/// One name server; port 53 unless named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct DnsServer(pub SocketAddr);

impl TryFrom<String> for DnsServer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        socket_address(&text, 53)
            .map(Self)
            .ok_or_else(|| format!("\"{text}\" is no name server; write an IP, or \"ip:port\""))
    }
}

impl From<DnsServer> for String {
    fn from(server: DnsServer) -> Self {
        server.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(json: &str) -> Result<Gateway, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_gateway_is_a_uri_or_an_object() {
        let plain = gateway(r#""sip:192.0.2.1:5060;transport=udp""#).expect("a URI");
        let object = gateway(r#"{"uri": "sip:192.0.2.1:5060;transport=udp"}"#).expect("an object");
        assert_eq!(plain, object);
        assert_eq!(plain.weight, None);
        let full = gateway(r#"{"uri": "sip:gw.example.org", "prefixes": ["+33"], "weight": 3}"#)
            .expect("an object");
        assert_eq!((full.prefixes, full.weight), (vec!["+33".to_owned()], Some(3)));
    }

    #[test]
    fn what_is_no_gateway_is_refused() {
        for json in [r#""192.0.2.1""#, r#""tel:+33""#, "{}", r#"{"uri": "sip:a", "x": 1}"#, "3"] {
            assert!(gateway(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_network_is_written_as_cidr_or_address() {
        let read = |text: &str| text.parse::<Network>().map(String::from);
        assert_eq!(read("192.0.2.77/24").as_deref(), Ok("192.0.2.0/24"));
        assert_eq!(read("192.0.2.1").as_deref(), Ok("192.0.2.1/32"));
        assert_eq!(read("2001:db8::1").as_deref(), Ok("2001:db8::1/128"));
        assert!(read("192.0.2.0/33").is_err());
    }

    #[test]
    fn the_default_numbers_are_international() {
        let numbers = Pstn::default().numbers;
        for number in ["+33123456789", "0033123456789"] {
            assert!(numbers.regex().is_match(number), "{number}");
        }
        for number in ["101", "alice", "+0123456", "00"] {
            assert!(!numbers.regex().is_match(number), "{number}");
        }
    }
}
