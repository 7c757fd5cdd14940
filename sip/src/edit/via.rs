//! `received` and `rport` of the topmost Via (RFC 3261 section 18.2.1, RFC 3581 section 4).

use super::runs::{put, put_number};
use crate::message::octets::{find, trim, trim_end};
use crate::message::{Params, Via};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// The first value of a Via line and what stands behind it.
fn split_first(list: &[u8]) -> (&[u8], &[u8]) {
    let (first, rest) = list.split_at(crate::message::value_end(list));
    (trim(first), rest)
}

/// True where a Via line must be rewritten to say where its message came from.
pub(super) fn differs(list: &[u8], source: SocketAddr) -> bool {
    Via::parse(split_first(list).0).is_some_and(|via| {
        let said = via.params.get("received").is_some();
        said || wants_received(&via, source)
    })
}

/// `received` is due where the sent-by is not the source, or where the sender asked for `rport`.
fn wants_received(via: &Via<'_>, source: SocketAddr) -> bool {
    via.params.get("rport").is_some() || !is_host(via.host, source.ip())
}

fn is_host(host: &[u8], ip: IpAddr) -> bool {
    let host = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")).unwrap_or(host);
    let said = std::str::from_utf8(host).ok().and_then(|h| h.parse::<IpAddr>().ok());
    said.is_some_and(|said| said.to_canonical() == ip.to_canonical())
}

/// Writes a Via line's value with `rport` filled, where it was asked for, and `received` set. A
/// `received` that the sender wrote itself is dropped: it would send the answer elsewhere.
pub(super) fn write(out: &mut Vec<u8>, list: &[u8], source: SocketAddr) {
    let (first, rest) = split_first(list);
    let Some(via) = Via::parse(first) else { return put(out, &[list]) };
    let head = first.len() - via.params.as_bytes().len();
    out.extend_from_slice(trim_end(first.get(..head).unwrap_or(first)));
    parameters(out, &via.params, source.port());
    if wants_received(&via, source) {
        let _ = write!(out, ";received={}", source.ip().to_canonical());
    }
    out.extend_from_slice(rest);
}

fn parameters(out: &mut Vec<u8>, params: &Params<'_>, port: u16) {
    for stretch in params.stretches().skip(1) {
        let name = trim(stretch.get(..find(stretch, b'=').unwrap_or(stretch.len())).unwrap_or(b""));
        if name.eq_ignore_ascii_case(b"rport") {
            out.extend_from_slice(b";rport=");
            put_number(out, usize::from(port));
        } else if !name.eq_ignore_ascii_case(b"received") {
            put(out, &[b";", trim_end(stretch)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(list: &str, source: &str) -> String {
        let source = source.parse().expect("a good test message");
        let mut out = Vec::new();
        match differs(list.as_bytes(), source) {
            true => write(&mut out, list.as_bytes(), source),
            false => out.extend_from_slice(list.as_bytes()),
        }
        String::from_utf8(out).expect("a good test message")
    }

    #[test]
    fn rport_is_filled_only_when_asked() {
        let asked = rewritten("SIP/2.0/UDP 192.0.2.1:5062;rport;branch=z", "192.0.2.1:5062");
        assert_eq!(asked, "SIP/2.0/UDP 192.0.2.1:5062;rport=5062;branch=z;received=192.0.2.1");
        let not = rewritten("SIP/2.0/UDP 10.0.0.1;branch=z", "192.0.2.1:5062");
        assert_eq!(not, "SIP/2.0/UDP 10.0.0.1;branch=z;received=192.0.2.1");
    }

    #[test]
    fn truthful_sent_by_is_left_as_written() {
        let list = "SIP / 2.0 / UDP 192.0.2.1 ; branch=z , SIP/2.0/UDP b";
        assert_eq!(rewritten(list, "192.0.2.1:5062"), list);
    }

    #[test]
    fn received_of_the_sender_is_replaced() {
        let list =
            "SIP/2.0/UDP h;received=6.6.6.6;rport=7;branch=z, SIP/2.0/UDP b;received=1.1.1.1";
        assert_eq!(
            rewritten(list, "192.0.2.1:9"),
            "SIP/2.0/UDP h;rport=9;branch=z;received=192.0.2.1, SIP/2.0/UDP b;received=1.1.1.1"
        );
        let honest = rewritten("SIP/2.0/UDP 192.0.2.1;received=6.6.6.6;branch=z", "192.0.2.1:9");
        assert_eq!(honest, "SIP/2.0/UDP 192.0.2.1;branch=z");
    }

    #[test]
    fn ipv6_hosts_are_compared_as_addresses() {
        let list = "SIP/2.0/UDP [2001:DB8:0:0::1];branch=z";
        assert_eq!(rewritten(list, "[2001:db8::1]:5060"), list);
        assert!(rewritten(list, "[2001:db8::2]:5060").ends_with(";received=2001:db8::2"));
    }
}
