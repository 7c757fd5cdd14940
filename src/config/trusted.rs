//! Entries of the address table, as config.json and `rempart trust add` write them.

use std::fmt;

use clap::ValueEnum;
use rempart_sip::flow::Transport;
use rempart_storage::{Reach, TrustedAddress};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::routing::Network;

/// A transport an entry may be bound to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// UDP: the source address is a claim.
    Udp,
    /// TCP: the handshake proves the address.
    Tcp,
    /// TLS: the certificate proves the name.
    Tls,
}

impl Protocol {
    /// The word used in config.json.
    pub fn name(self) -> &'static str {
        Transport::from(self).param()
    }
}

impl From<Protocol> for Transport {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Udp => Self::Udp,
            Protocol::Tcp => Self::Tcp,
            Protocol::Tls => Self::Tls,
        }
    }
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Udp => Self::Udp,
            Transport::Tcp => Self::Tcp,
            Transport::Tls => Self::Tls,
        }
    }
}

/// Where a trusted source may send without credentials.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// To our users.
    Local,
    /// To the telephone network.
    Pstn,
    /// To anyone else.
    Foreign,
}

impl Destination {
    /// Everything: what the seed's group 1 may do.
    pub const ALL: [Self; 3] = [Self::Local, Self::Pstn, Self::Foreign];

    /// The word used in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Pstn => "pstn",
            Self::Foreign => "foreign",
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Destination> for Reach {
    fn from(destination: Destination) -> Self {
        match destination {
            Destination::Local => Self::Local,
            Destination::Pstn => Self::Pstn,
            Destination::Foreign => Self::Foreign,
        }
    }
}

impl From<Reach> for Destination {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Local => Self::Local,
            Reach::Pstn => Self::Pstn,
            Reach::Foreign => Self::Foreign,
        }
    }
}

/// A source that may send without credentials, REGISTER excepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedEntry {
    /// The network or address.
    pub net: Network,
    /// The group, for the owner's rules; the seed's is 1.
    #[serde(default = "seed_group")]
    pub group: u32,
    /// The source port it must send from; null: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The transport it must come by: `udp`, `tcp` or `tls`; null: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Protocol>,
    /// Where it may send: `local`, `pstn`, `foreign`.
    #[serde(default = "everywhere")]
    pub may: Vec<Destination>,
    /// Refuse PSTN and foreign targets without proof that the address is real (TCP or TLS).
    #[serde(default)]
    pub strict: bool,
    /// Let it call the telephone network with a From that is no local user.
    #[serde(default)]
    pub pstn_any_from: bool,
    /// A note: who this is.
    #[serde(default)]
    pub tag: String,
}

fn seed_group() -> u32 {
    1
}

fn everywhere() -> Vec<Destination> {
    Destination::ALL.to_vec()
}

impl From<&TrustedEntry> for TrustedAddress {
    fn from(entry: &TrustedEntry) -> Self {
        Self {
            net: entry.net.0,
            group: entry.group,
            port: entry.port,
            transport: entry.transport.map(Transport::from),
            may: entry.may.iter().copied().map(Reach::from).collect(),
            strict: entry.strict,
            pstn_any_from: entry.pstn_any_from,
            tag: entry.tag.clone(),
        }
    }
}

impl From<&TrustedAddress> for TrustedEntry {
    fn from(address: &TrustedAddress) -> Self {
        Self {
            net: Network(address.net),
            group: address.group,
            port: address.port,
            transport: address.transport.map(Protocol::from),
            may: address.may.iter().copied().map(Destination::from).collect(),
            strict: address.strict,
            pstn_any_from: address.pstn_any_from,
            tag: address.tag.clone(),
        }
    }
}
