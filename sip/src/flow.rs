//! Where a message came from and where one goes to (RFC 5626's word is flow), and the key that
//! floods, guesses and nonces are counted by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A transport of RFC 3261 section 18, as Via names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams; the only transport here without a proof of address and without delivery.
    Udp,
    /// A plain stream.
    Tcp,
    /// A stream under TLS (R36).
    Tls,
}

impl Transport {
    /// The token of a Via header field: `UDP`.
    pub fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The value of a `transport` URI parameter: `udp` (RFC 3261 section 19.1.1).
    pub fn param(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Whether the transport itself delivers, so that no request is repeated by timer.
    pub fn reliable(self) -> bool {
        self != Self::Udp
    }

    /// Reads a token of either spelling, without regard to case. `None`: not one of ours.
    pub fn parse(token: &[u8]) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls]
            .into_iter()
            .find(|transport| token.eq_ignore_ascii_case(transport.token().as_bytes()))
    }

    /// The port used where none is named: 5060, or 5061 for TLS (RFC 3261 section 19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// Two bits for compact encodings.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The transport of two bits; `None` for the unused fourth value.
    pub(crate) fn of_code(code: u8) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls].get(usize::from(code)).copied()
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.param())
    }
}

/// RFC 5626 flow: where a message came from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// How.
    pub transport: Transport,
    /// Our own end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// The connection; 0 is none: UDP, or any connection to `remote`.
    pub connection: u64,
}

impl Flow {
    /// The key that the remote end is counted under.
    pub fn source(&self) -> SourceKey {
        SourceKey::of(self.remote.ip())
    }

    /// Appends the flow: one octet of flags, two addresses, and the connection where there is one.
    ///
    /// IPv4 takes 13 octets, 21 with a connection. Mapped IPv6 addresses come back as IPv4.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let connected = if self.connection == 0 { 0 } else { CONNECTED };
        out.push(self.flags() | connected);
        self.encode_addresses(out);
        if self.connection != 0 {
            out.extend_from_slice(&self.connection.to_be_bytes());
        }
    }

    /// Reads what `encode` wrote at the start of `bytes`, and how many octets it took.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut reader = Reader { rest: bytes };
        let [flags] = reader.take()?;
        let mut flow = reader.flow(flags)?;
        if flags & CONNECTED != 0 {
            flow.connection = u64::from_be_bytes(reader.take()?);
        }
        Some((flow, bytes.len() - reader.rest.len()))
    }

    /// What a reader must know before the addresses; five bits.
    pub(crate) fn flags(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let wide = is_wide(&self.local) || is_wide(&self.remote);
        self.transport.code()
            | flag(wide, WIDE)
            | flag(scope(&self.local) != 0, LOCAL_SCOPE)
            | flag(scope(&self.remote) != 0, REMOTE_SCOPE)
    }

    /// Both ends, as `flags` announces them.
    pub(crate) fn encode_addresses(&self, out: &mut impl Extend<u8>) {
        self.encode_local(out);
        self.encode_remote(out);
    }

    /// Our end alone.
    pub(crate) fn encode_local(&self, out: &mut impl Extend<u8>) {
        encode_address(&self.local, self.flags() & WIDE != 0, out);
    }

    /// The peer's end alone.
    pub(crate) fn encode_remote(&self, out: &mut impl Extend<u8>) {
        encode_address(&self.remote, self.flags() & WIDE != 0, out);
    }
}

/// What flood, guard and nonces key on: an IPv4 address, or the /64 of an IPv6 one, since a /64 is
/// what one subscriber is given and would otherwise be 2^64 fresh budgets.
///
/// IPv4 is held as `::ffff:a.b.c.d`, an IPv6 prefix with its low 64 bits zero; no prefix equals an
/// IPv4 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey(pub u128);

impl SourceKey {
    /// The key of an address.
    pub fn of(ip: IpAddr) -> Self {
        match canonical_ip(ip) {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().to_bits()),
            IpAddr::V6(v6) => Self(v6.to_bits() & !u128::from(u64::MAX)),
        }
    }

    /// The IPv4 address, or the first address of the IPv6 prefix.
    pub fn address(self) -> IpAddr {
        canonical_ip(IpAddr::V6(Ipv6Addr::from_bits(self.0)))
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

/// The address itself, with `::ffff:a.b.c.d` folded to `a.b.c.d`.
pub fn canonical_ip(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Addresses take 16 octets instead of 4.
pub(crate) const WIDE: u8 = 1 << 2;
/// The local address is followed by the index of a link (link-local IPv6).
pub(crate) const LOCAL_SCOPE: u8 = 1 << 3;
/// The same of the remote address.
pub(crate) const REMOTE_SCOPE: u8 = 1 << 4;
/// Eight octets of connection follow.
const CONNECTED: u8 = 1 << 5;

/// Whether the address needs 16 octets.
fn is_wide(address: &SocketAddr) -> bool {
    canonical_ip(address.ip()).is_ipv6()
}

/// The link of a link-local IPv6 address, without which it cannot be sent to; else 0.
fn scope(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(v6) if is_wide(address) => v6.scope_id(),
        _ => 0,
    }
}

fn encode_address(address: &SocketAddr, wide: bool, out: &mut impl Extend<u8>) {
    match (canonical_ip(address.ip()), wide) {
        (IpAddr::V4(v4), false) => out.extend(v4.octets()),
        (IpAddr::V4(v4), true) => out.extend(v4.to_ipv6_mapped().octets()),
        (IpAddr::V6(v6), _) => out.extend(v6.octets()),
    }
    out.extend(address.port().to_be_bytes());
    if scope(address) != 0 {
        out.extend(scope(address).to_be_bytes());
    }
}

/// Takes fixed parts off the front of stored or received octets.
pub(crate) struct Reader<'a> {
    /// What is left.
    pub rest: &'a [u8],
}

impl Reader<'_> {
    /// The next `N` octets.
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    /// A flow without a connection, whose flags were read before.
    pub fn flow(&mut self, flags: u8) -> Option<Flow> {
        let local = self.address(flags & WIDE != 0, flags & LOCAL_SCOPE != 0)?;
        self.flow_from(flags, local)
    }

    /// The same where our own end is known already.
    pub fn flow_from(&mut self, flags: u8, local: SocketAddr) -> Option<Flow> {
        let transport = Transport::of_code(flags & 0b11)?;
        let remote = self.address(flags & WIDE != 0, flags & REMOTE_SCOPE != 0)?;
        Some(Flow { transport, local, remote, connection: 0 })
    }

    fn address(&mut self, wide: bool, scoped: bool) -> Option<SocketAddr> {
        let ip = if wide {
            canonical_ip(IpAddr::V6(Ipv6Addr::from(self.take::<16>()?)))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.take::<4>()?))
        };
        let port = u16::from_be_bytes(self.take()?);
        let scope = if scoped { u32::from_be_bytes(self.take()?) } else { 0 };
        Some(match ip {
            IpAddr::V4(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
            IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flow(local: &str, remote: &str, connection: u64) -> Flow {
        let address = |text: &str| text.parse().expect("an address of this test");
        let transport = if connection == 0 { Transport::Udp } else { Transport::Tls };
        Flow { transport, local: address(local), remote: address(remote), connection }
    }

    fn round_trip(flow: Flow) -> (Flow, usize) {
        let mut out = Vec::new();
        flow.encode(&mut out);
        let (back, taken) = Flow::decode(&out).expect("what was encoded decodes");
        assert_eq!(taken, out.len());
        (back, taken)
    }

    #[test]
    fn transports_are_read_in_any_case() {
        assert_eq!(Transport::parse(b"udp"), Some(Transport::Udp));
        assert_eq!(Transport::parse(b"Tcp"), Some(Transport::Tcp));
        assert_eq!(Transport::parse(b"TLS"), Some(Transport::Tls));
        assert_eq!(Transport::parse(b"SCTP"), None);
        assert_eq!(Transport::parse(b""), None);
    }

    #[test]
    fn only_tls_has_its_own_port_and_only_udp_is_unreliable() {
        let ports: Vec<u16> = [Transport::Udp, Transport::Tcp, Transport::Tls]
            .into_iter()
            .map(Transport::default_port)
            .collect();
        assert_eq!(ports, [5060, 5060, 5061]);
        assert!(!Transport::Udp.reliable() && Transport::Tcp.reliable());
    }

    #[test]
    fn flows_survive_encoding() {
        let plain = flow("192.0.2.1:5060", "198.51.100.7:40000", 0);
        assert_eq!(round_trip(plain), (plain, 13));
        let connected = flow("192.0.2.1:5061", "198.51.100.7:40000", u64::MAX);
        assert_eq!(round_trip(connected), (connected, 21));
        let wide = flow("[2001:db8::1]:5060", "[2001:db8::2]:5060", 0);
        assert_eq!(round_trip(wide), (wide, 37));
    }

    #[test]
    fn link_local_flows_keep_their_link() {
        let scoped = flow("[fe80::1%2]:5060", "[fe80::2%3]:5062", 0);
        assert_eq!(round_trip(scoped).0, scoped);
    }

    #[test]
    fn mapped_addresses_come_back_as_ipv4() {
        let mapped = flow("[::ffff:192.0.2.1]:5060", "[::ffff:192.0.2.2]:5060", 0);
        assert_eq!(round_trip(mapped).0, flow("192.0.2.1:5060", "192.0.2.2:5060", 0));
        let mixed = flow("[2001:db8::1]:5060", "192.0.2.2:5060", 0);
        assert_eq!(round_trip(mixed).0, mixed);
    }

    #[test]
    fn cut_flows_do_not_decode() {
        let mut out = Vec::new();
        flow("192.0.2.1:5061", "198.51.100.7:40000", 9).encode(&mut out);
        for length in 0..out.len() {
            assert_eq!(Flow::decode(&out[..length]), None, "{length} octets");
        }
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_a_slash_64() {
        let key = |text: &str| SourceKey::of(text.parse().expect("an address of this test"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_ne!(key("::1"), key("0.0.0.0"));
        assert_eq!(key("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(key("2001:db8::9").to_string(), "2001:db8::/64");
        assert_eq!(key("192.0.2.1").address(), IpAddr::from([192, 0, 2, 1]));
    }

    proptest! {
        #[test]
        fn decoding_any_octets_never_panics(bytes: Vec<u8>) {
            if let Some((_, taken)) = Flow::decode(&bytes) {
                prop_assert!(taken <= bytes.len());
            }
        }

        #[test]
        fn a_source_key_is_the_key_of_its_own_address(bits: u128) {
            let key = SourceKey::of(IpAddr::V6(Ipv6Addr::from_bits(bits)));
            prop_assert_eq!(SourceKey::of(key.address()), key);
        }
    }
}
