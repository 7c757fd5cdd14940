//! The address table (R19): sources that may call without credentials, never REGISTER (R20).

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use rempart_sip::flow::{Flow, canonical_ip};
use rempart_storage::{Reach, TrustedAddress};

/// The table compiled for look-ups: exact addresses by hash, networks longest prefix first.
#[derive(Debug, Default)]
pub struct TrustedTable {
    exact: HashMap<IpAddr, Vec<TrustedAddress>>,
    networks: Vec<TrustedAddress>,
}

impl TrustedTable {
    /// Compiles `entries`.
    pub fn new(entries: impl IntoIterator<Item = TrustedAddress>) -> Self {
        let mut table = Self::default();
        for entry in entries {
            match entry.net.prefix_len() == entry.net.max_prefix_len() {
                true => {
                    let address = canonical_ip(entry.net.addr());
                    table.exact.entry(address).or_default().push(entry);
                }
                false => table.networks.push(entry),
            }
        }
        table.networks.sort_by_key(|entry| std::cmp::Reverse(entry.net.prefix_len()));
        table
    }

    /// The entry that trusts the sender of `flow`.
    pub fn find(&self, flow: &Flow) -> Option<&TrustedAddress> {
        if self.exact.is_empty() && self.networks.is_empty() {
            return None;
        }
        let ip = canonical_ip(flow.remote.ip());
        let exact = self.exact.get(&ip).into_iter().flatten();
        let networks = self.networks.iter().filter(|entry| contains(&entry.net, ip));
        exact.chain(networks).find(|entry| fits(entry, flow))
    }

    /// Whether any entry names this address, on whatever port.
    pub fn names(&self, ip: IpAddr) -> bool {
        let ip = canonical_ip(ip);
        self.exact.contains_key(&ip) || self.networks.iter().any(|entry| contains(&entry.net, ip))
    }
}

fn contains(net: &IpNet, ip: IpAddr) -> bool {
    net.contains(&ip)
}

fn fits(entry: &TrustedAddress, flow: &Flow) -> bool {
    entry.port.is_none_or(|port| port == 0 || port == flow.remote.port())
        && entry.transport.is_none_or(|transport| transport == flow.transport)
}

/// Whether the entry's transport proves its address (guard.md section 7).
pub fn is_proven(flow: &Flow) -> bool {
    flow.transport.reliable()
}

/// Where an entry may send, as text.
pub struct Reaches<'a>(pub &'a [Reach]);

impl fmt::Display for Reaches<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, reach) in self.0.iter().enumerate() {
            let name = match reach {
                Reach::Local => "local",
                Reach::Pstn => "pstn",
                Reach::Foreign => "foreign",
            };
            f.write_str(if number == 0 { "" } else { "," })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// Whether the entry may reach `what` over `flow`.
pub fn may(entry: &TrustedAddress, what: Reach, flow: &Flow) -> bool {
    let strict = entry.strict && what != Reach::Local && !is_proven(flow);
    entry.may.contains(&what) && !strict
}

#[cfg(test)]
mod tests {
    use rempart_sip::flow::Transport;

    use super::*;

    fn flow(remote: &str, transport: Transport) -> Flow {
        let local = "127.0.0.1:5060".parse().expect("an address");
        Flow { transport, local, remote: remote.parse().expect("an address"), connection: 0 }
    }

    fn entry(net: &str) -> TrustedAddress {
        TrustedAddress::new(net.parse().expect("a network"))
    }

    #[test]
    fn the_port_and_the_transport_must_fit() {
        let sips = TrustedAddress { port: Some(5060), ..entry("192.0.2.1/32") };
        let tcp = TrustedAddress { transport: Some(Transport::Tcp), ..entry("198.51.100.0/24") };
        let table = TrustedTable::new([sips, tcp]);
        assert!(table.find(&flow("192.0.2.1:5060", Transport::Udp)).is_some());
        assert!(table.find(&flow("192.0.2.1:5061", Transport::Udp)).is_none());
        assert!(table.find(&flow("198.51.100.9:1", Transport::Tcp)).is_some());
        assert!(table.find(&flow("198.51.100.9:1", Transport::Udp)).is_none());
        assert!(table.find(&flow("203.0.113.1:5060", Transport::Udp)).is_none());
    }

    #[test]
    fn a_strict_entry_reaches_beyond_local_with_proof_only() {
        let strict = TrustedAddress { strict: true, ..entry("192.0.2.1/32") };
        let udp = flow("192.0.2.1:5060", Transport::Udp);
        assert!(may(&strict, Reach::Local, &udp));
        assert!(!may(&strict, Reach::Pstn, &udp));
        assert!(may(&strict, Reach::Pstn, &flow("192.0.2.1:5060", Transport::Tcp)));
    }
}
