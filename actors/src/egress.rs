//! Where requests may be sent (guard.md section 6): a Contact must not turn us into a scanner of
//! our own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rempart_sip::flow::{Flow, canonical_ip};
use rempart_sip::refusal::Refusal;

use crate::settings::Settings;

/// Checks the address that a request is about to be sent to.
///
/// # Errors
///
/// [`Refusal::EgressDenied`].
pub fn check(settings: &Settings, to: SocketAddr) -> Result<(), Refusal> {
    denial(settings, to).map_or(Ok(()), |_| Err(Refusal::EgressDenied))
}

/// Why nothing is sent there, in words for the operator.
pub fn denied(settings: &Settings, to: SocketAddr) -> &'static str {
    denial(settings, to).unwrap_or("allowed")
}

fn denial(settings: &Settings, to: SocketAddr) -> Option<&'static str> {
    let ip = canonical_ip(to.ip());
    let rule = &settings.egress;
    let within = |nets: &[ipnet::IpNet]| nets.iter().any(|net| net.contains(&ip));
    match () {
        () if is_own_listener(settings, ip, to.port()) => Some("a listener of this server"),
        () if within(&rule.deny) => Some("in egress.deny"),
        () if within(&rule.allow) || is_public(ip) => None,
        () if never(ip) => Some("no address of one host"),
        () if within(&rule.attached) => None,
        () => Some("private and not in egress.allow"),
    }
}

/// Whether the registered contact must be reached by the flow that registered it: it is what the
/// flow says already, or no one outside could reach it.
pub fn needs_flow(settings: &Settings, contact: SocketAddr, flow: &Flow) -> bool {
    contact == flow.remote || check(settings, contact).is_err()
}

fn is_own_listener(settings: &Settings, ip: IpAddr, port: u16) -> bool {
    settings.listeners.iter().any(|listener| {
        let bound = canonical_ip(listener.address.ip());
        let here = bound == ip || (bound.is_unspecified() && settings.egress.own.contains(&ip));
        here && listener.address.port() == port
    })
}

fn never(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    }
}

/// Reachable from the whole Internet, as far as the address tells.
fn is_public(ip: IpAddr) -> bool {
    !never(ip)
        && match ip {
            IpAddr::V4(v4) => !is_special_v4(v4),
            IpAddr::V6(v6) => !is_special_v6(v6),
        }
}

/// The registry of special-purpose addresses (RFC 6890), documentation networks aside: they reach
/// nobody and serve in tests.
fn is_special_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || shared
        || benchmark
        || a == 0
        || a >= 240
}

fn is_special_v6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    let unique_local = first & 0xfe00 == 0xfc00;
    let link_local = first & 0xffc0 == 0xfe80;
    // Addresses that hold an IPv4 address reach what that address reaches.
    let translated = first == 0x64 && second == 0xff9b || first == 0x2002;
    v6.is_loopback() || unique_local || link_local || translated || first == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_special_addresses_are_not_public() {
        let private = [
            "10.1.2.3",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "192.168.0.1",
            "172.16.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ];
        for text in private {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
        for text in ["8.8.8.8", "203.0.113.1", "2001:db8::1", "2a00::1"] {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
    }
}
