//! The seal in our Record-Route: who stands at either end of a dialog that was let through
//! (guard.md section 6). A request that brings it back needs no table, and survives our restart.
//!
//! Layout: 16 bits (flags of both flows, class, who is local, whether one address of ours serves
//! both), the addresses, the connection of each side that speaks TLS, 80 bits of MAC over Call-ID,
//! the initiator's tag and all of these. IPv4 with one address of ours takes 40 characters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smallvec::SmallVec;

use super::token::decode_into;
use super::{Mac, Sealer};
use crate::flow::{Flow, Reader, Transport};

/// Where the dialog's second side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteClass {
    /// A subscriber of ours.
    Local,
    /// Another domain.
    Foreign,
    /// A configured gateway: calls there cost money (R2).
    Gateway,
}

/// Which side of the dialog sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The one that sent the first request: its tag stands in From.
    Initiator,
    /// The one that answered it: the initiator's tag stands in To.
    Responder,
}

/// Both ends of a dialog as they were when it was authorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogSeal {
    /// The flow that the first request came by.
    pub initiator: Flow,
    /// The flow that it left by.
    pub responder: Flow,
    /// Where that leads.
    pub class: RouteClass,
    /// Whether the initiator is a subscriber of ours.
    pub initiator_local: bool,
    /// Whether the responder is one.
    pub responder_local: bool,
}

const MAC: usize = 10;
/// Two octets, four IPv6 addresses with port and link, two connections, and the MAC, up to a
/// multiple of three.
const OCTETS_MAX: usize = 117;

impl Sealer {
    /// The seal of a dialog, for the user part of our Record-Route. `initiator_tag` is the From-tag
    /// of the request that is being authorised. Connections are carried for TLS alone, where an
    /// address says nothing about who is there.
    pub fn seal(&self, side: &DialogSeal, call_id: &[u8], initiator_tag: &[u8]) -> String {
        let mut octets = SmallVec::<[u8; 128]>::new();
        octets.extend(side.flags().to_be_bytes());
        side.initiator.encode_addresses(&mut octets);
        if side.shares_local() {
            side.responder.encode_remote(&mut octets);
        } else {
            side.responder.encode_addresses(&mut octets);
        }
        let sides = [&side.initiator, &side.responder];
        for flow in sides.into_iter().filter(|flow| flow.transport == Transport::Tls) {
            octets.extend(flow.connection.to_be_bytes());
        }
        let mac: [u8; MAC] = self.dialogs.make(feed(&octets, call_id, initiator_tag));
        octets.extend(mac);
        URL_SAFE_NO_PAD.encode(octets)
    }

    /// Opens a seal that came with a request, and says which side sent it: the initiator's tag must
    /// stand in From or in To. An empty tag never opens anything.
    pub fn open(
        &self,
        text: &[u8],
        call_id: &[u8],
        from_tag: &[u8],
        to_tag: &[u8],
    ) -> Option<(DialogSeal, Sender)> {
        let mut buffer = [0; OCTETS_MAX];
        let length = decode_into(text, &mut buffer)?;
        let (payload, mac) = buffer.get(..length)?.split_last_chunk::<MAC>()?;
        let opens =
            |tag: &[u8]| !tag.is_empty() && self.dialogs.verify(mac, feed(payload, call_id, tag));
        let sender = if opens(from_tag) {
            Sender::Initiator
        } else if opens(to_tag) {
            Sender::Responder
        } else {
            return None;
        };
        Some((DialogSeal::decode(payload)?, sender))
    }
}

fn feed(payload: &[u8], call_id: &[u8], initiator_tag: &[u8]) -> impl Fn(&mut Mac) {
    move |mac| {
        mac.octets(call_id);
        mac.octets(initiator_tag);
        mac.octets(payload);
    }
}

const FLOW_BITS: u16 = 5;
const FLOW_MASK: u16 = (1 << FLOW_BITS) - 1;
const CLASS_SHIFT: u16 = 2 * FLOW_BITS;
const INITIATOR_LOCAL: u16 = 1 << 12;
const RESPONDER_LOCAL: u16 = 1 << 13;
const SHARED_LOCAL: u16 = 1 << 14;

impl DialogSeal {
    /// The other side, where a request from `sender` goes.
    pub fn towards(&self, sender: Sender) -> &Flow {
        match sender {
            Sender::Initiator => &self.responder,
            Sender::Responder => &self.initiator,
        }
    }

    fn shares_local(&self) -> bool {
        self.initiator.local == self.responder.local
    }

    fn flags(&self) -> u16 {
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        u16::from(self.initiator.flags())
            | u16::from(self.responder.flags()) << FLOW_BITS
            | self.class.code() << CLASS_SHIFT
            | flag(self.initiator_local, INITIATOR_LOCAL)
            | flag(self.responder_local, RESPONDER_LOCAL)
            | flag(self.shares_local(), SHARED_LOCAL)
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: payload };
        let flags = u16::from_be_bytes(reader.take()?);
        let flow_flags = |shift: u16| u8::try_from(flags >> shift & FLOW_MASK).ok();
        let mut initiator = reader.flow(flow_flags(0)?)?;
        let mut responder = if flags & SHARED_LOCAL != 0 {
            reader.flow_from(flow_flags(FLOW_BITS)?, initiator.local)?
        } else {
            reader.flow(flow_flags(FLOW_BITS)?)?
        };
        for flow in [&mut initiator, &mut responder] {
            if flow.transport == Transport::Tls {
                flow.connection = u64::from_be_bytes(reader.take()?);
            }
        }
        Some(Self {
            initiator,
            responder,
            class: RouteClass::of_code(flags >> CLASS_SHIFT & 0b11)?,
            initiator_local: flags & INITIATOR_LOCAL != 0,
            responder_local: flags & RESPONDER_LOCAL != 0,
        })
    }
}

impl RouteClass {
    fn code(self) -> u16 {
        self as u16
    }

    fn of_code(code: u16) -> Option<Self> {
        [Self::Local, Self::Foreign, Self::Gateway].get(usize::from(code)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{is_plain, rotated, sealer, with_one_bit_flipped};
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, SocketAddr};

    fn flow(transport: Transport, local: &str, remote: &str) -> Flow {
        let address = |text: &str| text.parse().expect("an address of this test");
        Flow { transport, local: address(local), remote: address(remote), connection: 0 }
    }

    fn local_call() -> DialogSeal {
        DialogSeal {
            initiator: flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:5060"),
            responder: flow(Transport::Udp, "192.0.2.1:5060", "203.0.113.9:40000"),
            class: RouteClass::Local,
            initiator_local: true,
            responder_local: true,
        }
    }

    fn bridged_call() -> DialogSeal {
        DialogSeal {
            initiator: flow(Transport::Tls, "[2001:db8::1]:5061", "[2001:db8::2]:50000"),
            responder: flow(Transport::Udp, "192.0.2.1:5060", "203.0.113.9:5060"),
            class: RouteClass::Gateway,
            initiator_local: true,
            responder_local: false,
        }
    }

    #[test]
    fn both_sides_open_the_seal_and_are_told_apart() {
        let sealer = sealer(1);
        for side in [local_call(), bridged_call()] {
            let text = sealer.seal(&side, b"call", b"alice");
            assert!(is_plain(text.as_bytes()), "{text}");
            let forth = sealer.open(text.as_bytes(), b"call", b"alice", b"bob");
            assert_eq!(forth, Some((side, Sender::Initiator)));
            let back = sealer.open(text.as_bytes(), b"call", b"bob", b"alice");
            assert_eq!(back, Some((side, Sender::Responder)));
            assert_eq!(side.towards(Sender::Initiator), &side.responder);
            assert_eq!(side.towards(Sender::Responder), &side.initiator);
        }
    }

    #[test]
    fn an_ipv4_seal_takes_forty_characters() {
        assert_eq!(sealer(1).seal(&local_call(), b"call", b"alice").len(), 40);
    }

    #[test]
    fn the_largest_seal_opens() {
        let scoped =
            |local, remote| Flow { connection: u64::MAX, ..flow(Transport::Tls, local, remote) };
        let side = DialogSeal {
            initiator: scoped("[fe80::1%2]:5060", "[fe80::2%2]:5060"),
            responder: scoped("[fe80::3%3]:5060", "[fe80::4%3]:5060"),
            ..local_call()
        };
        let sealer = sealer(1);
        let text = sealer.seal(&side, b"call", b"alice");
        let opened = sealer.open(text.as_bytes(), b"call", b"alice", b"");
        assert_eq!(opened, Some((side, Sender::Initiator)));
    }

    #[test]
    fn another_call_or_other_tags_do_not_open_it() {
        let sealer = sealer(1);
        let text = sealer.seal(&local_call(), b"call", b"alice");
        assert_eq!(sealer.open(text.as_bytes(), b"other", b"alice", b"bob"), None);
        assert_eq!(sealer.open(text.as_bytes(), b"call", b"bob", b"carol"), None);
        assert_eq!(sealer.open(text.as_bytes(), b"call", b"", b""), None);
        let untagged = sealer.seal(&local_call(), b"call", b"");
        assert_eq!(sealer.open(untagged.as_bytes(), b"call", b"", b"bob"), None);
    }

    #[test]
    fn a_seal_outlives_one_rotation_of_the_key_and_no_more() {
        let text = sealer(1).seal(&local_call(), b"call", b"alice");
        let opens = |sealer: Sealer| sealer.open(text.as_bytes(), b"call", b"alice", b"").is_some();
        assert!(opens(rotated(2, 1)));
        assert!(!opens(rotated(3, 2)));
    }

    #[test]
    fn connections_are_carried_for_tls_alone() {
        let opened = |side: &DialogSeal| {
            let text = sealer(1).seal(side, b"call", b"alice");
            sealer(1).open(text.as_bytes(), b"call", b"alice", b"").map(|(side, _)| side)
        };
        let mut side = local_call();
        side.initiator.connection = 9;
        assert_eq!(opened(&side), Some(local_call()));
        let mut side = bridged_call();
        side.initiator.connection = 9;
        assert_eq!(opened(&side), Some(side));
    }

    #[test]
    fn a_seal_with_one_bit_flipped_does_not_open() {
        let sealer = sealer(1);
        for side in [local_call(), bridged_call()] {
            let text = sealer.seal(&side, b"call", b"alice");
            for flipped in with_one_bit_flipped(text.as_bytes()) {
                assert_eq!(sealer.open(&flipped, b"call", b"alice", b"bob"), None);
            }
        }
    }

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        (any::<u32>(), any::<u128>(), any::<bool>(), any::<u16>()).prop_map(
            |(v4, v6, wide, port)| {
                let ip = if wide { IpAddr::V6(v6.into()) } else { IpAddr::V4(v4.into()) };
                SocketAddr::new(ip.to_canonical(), port)
            },
        )
    }

    fn any_flow() -> impl Strategy<Value = Flow> {
        (0u8..3, any_address(), any_address()).prop_filter_map("", |(code, local, remote)| {
            let transport = Transport::of_code(code)?;
            Some(Flow { transport, local, remote, connection: 0 })
        })
    }

    proptest! {
        #[test]
        fn every_seal_opens_to_what_went_in(
            initiator in any_flow(), responder in any_flow(), shared: bool, code in 0u16..3,
            initiator_local: bool, responder_local: bool, call_id: Vec<u8>, tag in "[a-z0-9]{1,8}",
        ) {
            let local = if shared { initiator.local } else { responder.local };
            let side = DialogSeal {
                initiator,
                responder: Flow { local, ..responder },
                class: RouteClass::of_code(code).expect("a class"),
                initiator_local,
                responder_local,
            };
            let text = sealer(1).seal(&side, &call_id, tag.as_bytes());
            let opened = sealer(1).open(text.as_bytes(), &call_id, tag.as_bytes(), b"x");
            prop_assert_eq!(opened, Some((side, Sender::Initiator)));
        }

        #[test]
        fn any_octets_are_refused(bytes: Vec<u8>, text in "[A-Za-z0-9_-]{0,150}") {
            prop_assert_eq!(sealer(1).open(&bytes, b"c", b"a", b"b"), None);
            prop_assert_eq!(sealer(1).open(text.as_bytes(), b"c", b"a", b"b"), None);
        }

        #[test]
        fn decoding_any_payload_never_panics(bytes: Vec<u8>) {
            let _ = DialogSeal::decode(&bytes);
        }
    }
}
