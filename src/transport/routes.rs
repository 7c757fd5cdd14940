//! Which of our addresses a peer is reached from. The kernel knows: connecting a datagram socket
//! sends nothing and makes it choose.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use rempart_sip::flow::{Transport, canonical_ip};
use tokio::time::Instant;

/// Peers whose route is remembered.
const CACHE_MAX: usize = 4096;

/// How long a route is believed.
const CACHE_LIFE: Duration = Duration::from_secs(60);

/// The routes that one shard has asked for.
pub(super) struct Routes {
    listeners: Vec<(Transport, SocketAddr)>,
    cache: HashMap<IpAddr, (Option<IpAddr>, Instant)>,
    ask: fn(IpAddr) -> Option<IpAddr>,
}

impl Routes {
    pub(super) fn new(listeners: Vec<(Transport, SocketAddr)>) -> Self {
        Self { listeners, cache: HashMap::new(), ask: ask_kernel }
    }

    /// The listener, with the address the kernel routes by, from which `remote` is reached.
    pub(super) fn local_for(&mut self, transport: Transport, remote: IpAddr) -> Option<SocketAddr> {
        let remote = canonical_ip(remote);
        let own = self.own_address(remote);
        let fits = |(of, address): &&(Transport, SocketAddr)| {
            *of == transport && address.is_ipv4() == remote.is_ipv4()
        };
        let candidates = || self.listeners.iter().filter(fits).map(|(_, address)| *address);
        let fixed = candidates().find(|address| Some(address.ip()) == own);
        let wildcard = candidates().find(|address| address.ip().is_unspecified());
        let routed = wildcard.zip(own).map(|(address, own)| SocketAddr::new(own, address.port()));
        let any = || candidates().find(|address| !address.ip().is_unspecified());
        fixed.or(routed).or_else(any)
    }

    fn own_address(&mut self, remote: IpAddr) -> Option<IpAddr> {
        let now = Instant::now();
        match self.cache.get(&remote) {
            Some((own, asked)) if now - *asked < CACHE_LIFE => *own,
            _ => {
                if self.cache.len() >= CACHE_MAX {
                    self.cache.clear();
                }
                let own = (self.ask)(remote);
                self.cache.insert(remote, (own, now));
                own
            }
        }
    }
}

/// The address that the kernel would send from; `None` where it has no route.
fn ask_kernel(remote: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let scratch = UdpSocket::bind((any, 0)).ok()?;
    scratch.connect((remote, 5060)).ok()?;
    Some(scratch.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

    fn routes(listeners: &[&str]) -> Routes {
        let listener = |text: &&str| (Transport::Udp, text.parse().expect("an address"));
        let mut routes = Routes::new(listeners.iter().map(listener).collect());
        routes.ask = |remote| remote.is_ipv4().then_some(IpAddr::from([192, 0, 2, 1]));
        routes
    }

    fn local(listeners: &[&str], remote: IpAddr) -> Option<String> {
        routes(listeners).local_for(Transport::Udp, remote).map(|address| address.to_string())
    }

    #[test]
    fn a_listener_at_the_routed_address_comes_first() {
        let listeners = ["0.0.0.0:5060", "192.0.2.9:5061", "192.0.2.1:5062"];
        assert_eq!(local(&listeners, PEER).as_deref(), Some("192.0.2.1:5062"));
    }

    #[test]
    fn a_wildcard_stands_for_the_routed_address() {
        let listeners = ["192.0.2.9:5061", "0.0.0.0:5060"];
        assert_eq!(local(&listeners, PEER).as_deref(), Some("192.0.2.1:5060"));
    }

    #[test]
    fn any_fixed_listener_of_the_family_is_better_than_none() {
        assert_eq!(local(&["192.0.2.9:5061"], PEER).as_deref(), Some("192.0.2.9:5061"));
        assert_eq!(local(&["[::]:5060"], PEER), None);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(local(&["0.0.0.0:5060", "[::]:5060"], v6), None, "no route, no address");
        assert_eq!(routes(&["0.0.0.0:5060"]).local_for(Transport::Tcp, PEER), None);
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let mapped = IpAddr::V6(Ipv4Addr::new(198, 51, 100, 7).to_ipv6_mapped());
        assert_eq!(local(&["0.0.0.0:5060"], mapped).as_deref(), Some("192.0.2.1:5060"));
    }

    #[test]
    fn the_cache_stays_within_its_bound() {
        let mut routes = routes(&["0.0.0.0:5060"]);
        for number in 0..CACHE_MAX as u32 + 10 {
            routes.local_for(Transport::Udp, Ipv4Addr::from_bits(number).into());
        }
        assert_eq!(routes.cache.len(), 10);
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        let own = ask_kernel(Ipv4Addr::LOCALHOST.into());
        assert_eq!(own, Some(Ipv4Addr::LOCALHOST.into()));
    }
}
