//! Our own addresses and the networks beside us: what is local by address, and what egress allows.

use std::io;
use std::net::IpAddr;

use if_addrs::{IfAddr, Interface};
use ipnet::IpNet;
use rempart_sip::flow::canonical_ip;

/// The addresses behind listeners bound to `listeners`: wildcards stand for every address of
/// their family that the host has.
pub fn own_addresses(listeners: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(covered(listeners, &interfaces))
}

/// The networks directly attached to `listeners`.
///
/// Loopback counts only for a listener bound to a loopback address, link-local networks only for
/// one bound to a link-local address: a wildcard must not open 127.0.0.0/8 or the metadata
/// service at 169.254.169.254 to egress.
pub fn attached_networks(listeners: &[IpAddr]) -> io::Result<Vec<IpNet>> {
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(attached(listeners, &interfaces))
}

fn covered(listeners: &[IpAddr], interfaces: &[Interface]) -> Vec<IpAddr> {
    let fixed = listeners.iter().filter(|ip| !ip.is_unspecified()).copied();
    let hosts = interfaces.iter().map(Interface::ip);
    let mut own: Vec<IpAddr> =
        fixed.chain(hosts.filter(|ip| has_wildcard(listeners, ip))).map(canonical_ip).collect();
    own.sort_unstable();
    own.dedup();
    own
}

fn attached(listeners: &[IpAddr], interfaces: &[Interface]) -> Vec<IpNet> {
    let is_attached = |interface: &&Interface| {
        let ip = interface.ip();
        let special = interface.is_loopback() || is_link_local(&ip);
        let bound = listeners.contains(&ip) || special && shares_network(listeners, interface);
        bound || !special && has_wildcard(listeners, &ip)
    };
    let mut networks: Vec<IpNet> =
        interfaces.iter().filter(is_attached).filter_map(network).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

/// Whether a listener is bound within the interface's network: any 127.x.y.z is loopback's.
fn shares_network(listeners: &[IpAddr], interface: &Interface) -> bool {
    network(interface).is_some_and(|network| listeners.iter().any(|ip| network.contains(ip)))
}

fn has_wildcard(listeners: &[IpAddr], ip: &IpAddr) -> bool {
    listeners.iter().any(|listener| listener.is_unspecified() && listener.is_ipv4() == ip.is_ipv4())
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn network(interface: &Interface) -> Option<IpNet> {
    let mask: IpAddr = match &interface.addr {
        IfAddr::V4(v4) => v4.netmask.into(),
        IfAddr::V6(v6) => v6.netmask.into(),
    };
    Some(IpNet::with_netmask(interface.ip(), mask).ok()?.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn interface(addr: IfAddr) -> Interface {
        let oper_status = IfOperStatus::Up;
        Interface { name: "x".into(), addr, index: None, oper_status, is_p2p: false }
    }

    fn v4(ip: [u8; 4], prefixlen: u8) -> Interface {
        let netmask = Ipv4Addr::from_bits(u32::MAX << (32 - prefixlen));
        let ip = ip.into();
        interface(IfAddr::V4(Ifv4Addr { ip, netmask, prefixlen, broadcast: None }))
    }

    fn v6(ip: &str) -> Interface {
        let ip = ip.parse().expect("an address");
        let netmask = Ipv6Addr::from_bits(u128::MAX << 64);
        interface(IfAddr::V6(Ifv6Addr { ip, netmask, prefixlen: 64, broadcast: None }))
    }

    fn host() -> Vec<Interface> {
        let v4s = [v4([127, 0, 0, 1], 8), v4([10, 1, 2, 3], 16), v4([169, 254, 3, 4], 16)];
        v4s.into_iter().chain([v6("fe80::1"), v6("2001:db8:1::5")]).collect()
    }

    fn listeners(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn networks(addresses: &[&str]) -> Vec<String> {
        let networks = attached(&listeners(addresses), &host());
        networks.iter().map(IpNet::to_string).collect()
    }

    #[test]
    fn a_wildcard_stands_for_every_address_of_its_family() {
        let own = covered(&listeners(&["0.0.0.0", "2001:db8:1::5"]), &host());
        let expected = ["10.1.2.3", "127.0.0.1", "169.254.3.4", "2001:db8:1::5"];
        assert_eq!(own, listeners(&expected));
    }

    #[test]
    fn a_wildcard_attaches_neither_loopback_nor_link_local_networks() {
        assert_eq!(networks(&["0.0.0.0", "::"]), ["10.1.0.0/16", "2001:db8:1::/64"]);
    }

    #[test]
    fn a_listener_on_loopback_attaches_loopback() {
        assert_eq!(networks(&["127.0.0.1"]), ["127.0.0.0/8"]);
        assert_eq!(networks(&["127.0.0.9"]), ["127.0.0.0/8"]);
        assert_eq!(networks(&["169.254.3.4"]), ["169.254.0.0/16"]);
    }

    #[test]
    fn a_fixed_listener_attaches_only_its_own_network() {
        assert_eq!(networks(&["10.1.2.3"]), ["10.1.0.0/16"]);
        assert!(networks(&["192.0.2.1"]).is_empty(), "an address that is not there any more");
    }

    #[test]
    fn this_host_has_a_loopback_address() {
        let own = own_addresses(&listeners(&["0.0.0.0"])).expect("interfaces can be read");
        assert!(own.iter().any(IpAddr::is_loopback));
        let attached = attached_networks(&listeners(&["127.0.0.1"])).expect("readable");
        assert!(attached.iter().any(|network| network.contains(&IpAddr::from([127, 0, 0, 1]))));
    }
}
