//! The address table: peers that are known by where they send from.

use ipnet::IpNet;
use rempart_sip::flow::Transport;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Row, collect, commit_counted, for_each, from_json, put, to_json};
use crate::{Batch, Store, StoreError, Table};

/// Where a trusted peer may call without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Our subscribers.
    Local,
    /// Telephone numbers, through the gateways.
    Pstn,
    /// Other domains.
    Foreign,
}

impl Reach {
    /// All of them: what the seed's group 1 may.
    pub const ALL: [Self; 3] = [Self::Local, Self::Pstn, Self::Foreign];
}

/// One entry of the address table, in the form `trust add` and the configuration share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedAddress {
    /// The addresses it covers.
    pub net: IpNet,
    /// The seed's group number.
    #[serde(default = "group_one")]
    pub group: u32,
    /// The source port; none is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The transport; none is any.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_transport",
        deserialize_with = "read_transport"
    )]
    pub transport: Option<Transport>,
    /// Where it may call.
    #[serde(default = "everywhere")]
    pub may: Vec<Reach>,
    /// Identities it asserts are checked like anyone's.
    #[serde(default)]
    pub strict: bool,
    /// Telephone numbers may be called with any From.
    #[serde(default)]
    pub pstn_any_from: bool,
    /// A note for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
}

impl TrustedAddress {
    /// An entry with the defaults of `trust add`: group 1, any port and transport, every reach.
    pub fn new(net: IpNet) -> Self {
        Self {
            net,
            group: group_one(),
            port: None,
            transport: None,
            may: everywhere(),
            strict: false,
            pstn_any_from: false,
            tag: String::new(),
        }
    }
}

impl Row for TrustedAddress {
    const TABLE: Table = Table::Trusted;

    /// Entries of one network that differ in port or transport stand beside each other.
    fn key(&self) -> Vec<u8> {
        let mut key = prefix(&self.net);
        let port = self.port.map_or_else(String::new, |port| port.to_string());
        key.extend_from_slice(port.as_bytes());
        key.push(b'|');
        key.extend_from_slice(self.transport.map_or("", Transport::param).as_bytes());
        key
    }

    fn value(&self) -> Vec<u8> {
        to_json(self)
    }

    fn read(value: &[u8]) -> Result<Self, String> {
        from_json(value)
    }
}

fn prefix(net: &IpNet) -> Vec<u8> {
    format!("{}|", net.trunc()).into_bytes()
}

fn group_one() -> u32 {
    1
}

fn everywhere() -> Vec<Reach> {
    Reach::ALL.to_vec()
}

fn write_transport<S: Serializer>(it: &Option<Transport>, out: S) -> Result<S::Ok, S::Error> {
    it.map(Transport::param).serialize(out)
}

fn read_transport<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Transport>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    let unknown = || de::Error::custom(format!("transport {text:?} is none of udp, tcp, tls"));
    Transport::parse(text.as_bytes()).map(Some).ok_or_else(unknown)
}

/// Adds an entry or takes the place of the one with this network, port and transport.
pub fn put_trusted(store: &dyn Store, row: &TrustedAddress) -> Result<(), StoreError> {
    put(store, row)
}

/// Removes the entries of exactly this network, or with a port or transport those that have it;
/// returns how many.
pub fn remove_trusted(
    store: &dyn Store,
    net: &IpNet,
    port: Option<u16>,
    transport: Option<Transport>,
) -> Result<usize, StoreError> {
    let rows: Vec<TrustedAddress> = collect(store, &prefix(net))?;
    let meant = rows.iter().filter(|row| {
        (port.is_none() || row.port == port) && (transport.is_none() || row.transport == transport)
    });
    let mut batch = Batch::new();
    meant.for_each(|row| batch.delete(Table::Trusted, row.key()));
    commit_counted(store, batch)
}

/// Every entry of the table.
pub fn for_each_trusted(
    store: &dyn Store,
    row: impl FnMut(TrustedAddress),
) -> Result<(), StoreError> {
    for_each(store, b"", row)
}

/// Every entry as a list.
pub fn trusted(store: &dyn Store) -> Result<Vec<TrustedAddress>, StoreError> {
    collect(store, b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    fn entry(net: &str) -> TrustedAddress {
        TrustedAddress::new(net.parse().expect("a network"))
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let store = MemoryStore::new();
        let row = TrustedAddress {
            port: Some(5060),
            transport: Some(Transport::Tls),
            may: vec![Reach::Pstn],
            strict: true,
            pstn_any_from: true,
            tag: "the gateway \"north\"".into(),
            ..entry("2001:db8::/48")
        };
        put_trusted(&store, &row).expect("a write");
        assert_eq!(trusted(&store).expect("rows"), [row]);
    }

    #[test]
    fn what_is_left_out_has_the_defaults_of_trust_add() {
        let read = TrustedAddress::read(br#"1{"net":"192.0.2.10/32"}"#);
        assert_eq!(read, Ok(entry("192.0.2.10/32")));
        let bad = TrustedAddress::read(br#"1{"net":"192.0.2.10/32","transport":"sctp"}"#);
        assert!(bad.is_err_and(|detail| detail.contains("none of udp, tcp, tls")));
    }

    #[test]
    fn removal_takes_one_network_and_may_be_narrowed() {
        let store = MemoryStore::new();
        let with_port = TrustedAddress { port: Some(5070), ..entry("192.0.2.0/24") };
        for row in [entry("192.0.2.0/24"), with_port, entry("192.0.2.0/25")] {
            put_trusted(&store, &row).expect("a write");
        }
        let net = "192.0.2.0/24".parse().expect("a network");
        assert_eq!(remove_trusted(&store, &net, Some(5070), None).expect("a removal"), 1);
        assert_eq!(remove_trusted(&store, &net, None, None).expect("a removal"), 1);
        assert_eq!(trusted(&store).expect("rows"), [entry("192.0.2.0/25")]);
    }
}
