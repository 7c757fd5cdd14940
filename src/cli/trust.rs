//! `rempart trust`: the address table.

use clap::{Args, Subcommand};

use super::listing::{Listing, say};
use super::{Desk, Failure};
use crate::admin::{AdminReply, AdminRequest, Origin};
use crate::config::Config;
use crate::config::routing::Network;
use crate::config::trusted::{Destination, Protocol, TrustedEntry};

/// Commands of `trust`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Let a source send without a password, except REGISTER
    Add(Add),
    /// Trust a network no more
    Remove(Remove),
    /// Show the address table
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `trust add`.
#[derive(Debug, Args)]
pub struct Add {
    /// The network or address
    #[arg(value_name = "CIDR")]
    net: Network,
    /// The group, for your own rules
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    group: u32,
    /// The port it must send from
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The transport it must come by
    #[arg(long)]
    transport: Option<Protocol>,
    /// Where it may send
    #[arg(long, value_delimiter = ',', default_values_t = Destination::ALL)]
    may: Vec<Destination>,
    /// Refuse PSTN and foreign targets unless TCP or TLS proves the address
    #[arg(long)]
    strict: bool,
    /// Let it call the telephone network with a From that is no local user
    #[arg(long)]
    pstn_any_from: bool,
    /// A note: who this is
    #[arg(long, value_name = "TEXT", default_value = "")]
    tag: String,
}

/// Arguments of `trust remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// The network, exactly as it was added
    #[arg(value_name = "CIDR")]
    net: Network,
    /// Only the entry of this port
    #[arg(long)]
    port: Option<u16>,
    /// Only the entry of this transport
    #[arg(long)]
    transport: Option<Protocol>,
}

impl Command {
    /// Does it.
    pub fn carry_out(&self, config: Config) -> Result<(), Failure> {
        let mut desk = Desk::open(config)?;
        match self {
            Self::Add(add) => Ok(say(&desk.tell(&AdminRequest::TrustAdd(add.entry()))?)?),
            Self::Remove(Remove { net, port, transport }) => {
                let (net, port, transport) = (*net, *port, *transport);
                Ok(say(&desk.tell(&AdminRequest::TrustRemove { net, port, transport })?)?)
            }
            Self::List { json } => list(&mut desk, *json),
        }
    }
}

impl Add {
    fn entry(&self) -> TrustedEntry {
        let mut may = self.may.clone();
        may.sort_by_key(|place| *place as u8);
        may.dedup();
        TrustedEntry {
            net: self.net,
            group: self.group,
            port: self.port,
            transport: self.transport,
            may,
            strict: self.strict,
            pstn_any_from: self.pstn_any_from,
            tag: self.tag.clone(),
        }
    }
}

const COLUMNS: [&str; 8] = ["net", "group", "port", "transport", "may", "strict", "from", "tag"];

fn list(desk: &mut Desk, json: bool) -> Result<(), Failure> {
    let mut listing = Listing::new(json, &COLUMNS, "no source is trusted");
    desk.ask(&AdminRequest::TrustList, &mut |row| {
        let AdminReply::Trusted(row) = row else { return };
        let entry = &row.entry;
        let places: Vec<&str> = entry.may.iter().map(|place| place.name()).collect();
        listing.row(
            &row,
            &[
                &entry.net.0.to_string(),
                &entry.group.to_string(),
                &entry.port.map_or("any".to_owned(), |port| port.to_string()),
                entry.transport.map_or("any", Protocol::name),
                &places.join(","),
                if entry.strict { "yes" } else { "no" },
                if row.from == Origin::Config { "config" } else { "store" },
                &entry.tag,
            ],
        );
    })?;
    Ok(listing.end()?)
}
