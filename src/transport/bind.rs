//! Opening the listening sockets: all of them, or none and an error that says what to do.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use parking_lot::Mutex;
use rempart_sip::flow::Transport;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::warn;

use super::udp::Port;
use super::{mmsg, returned, steering};
use crate::config::listen::Listener;

/// Asked of the kernel for each UDP socket, in octets; it grants what its own limit allows.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Connections that wait for `accept`.
const BACKLOG: i32 = 1024;

/// One listener to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// The listener as the config writes it, for messages.
    pub name: String,
}

impl From<&Listener> for ListenSpec {
    fn from(listener: &Listener) -> Self {
        let Listener { transport, address } = *listener;
        Self { transport, address, name: listener.to_string() }
    }
}

/// A listener that stands open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its place in `listen`.
    pub index: usize,
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// Address and port, the chosen one where 0 was asked for.
    pub address: SocketAddr,
}

/// Why a listener could not be opened.
#[derive(Debug)]
pub struct BindError {
    key: String,
    name: String,
    source: io::Error,
}

impl BindError {
    fn new(index: usize, spec: &ListenSpec, source: io::Error) -> Self {
        Self { key: format!("listen[{index}]"), name: spec.name.clone(), source }
    }

    /// The key of the listener in the config: `listen[2]`.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn remedy(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program, or a second listener of this config, has that port: \
                 find it with `ss -lntup`, stop it, or choose another port"
            }
            io::ErrorKind::AddrNotAvailable => {
                "no interface of this host has that address: `ip address` lists those there are"
            }
            io::ErrorKind::PermissionDenied => {
                "ports under 1024 need the capability CAP_NET_BIND_SERVICE: grant it, or choose \
                 another port"
            }
            _ => "change or remove that listener",
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot listen on \"{}\": {}; ", self.key, self.name, self.source)?;
        f.write_str(self.remedy())
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Everything bound.
#[derive(Default)]
pub(super) struct Bound {
    pub(super) listening: Vec<Listening>,
    pub(super) udp: Vec<Arc<Port>>,
    pub(super) tcp: Mutex<Vec<(Transport, TcpListener)>>,
    pub(super) warnings: Vec<String>,
}

/// Binds every listener; an error lets go of those already bound.
pub(super) fn bind_all(listen: &[ListenSpec], shards: usize) -> Result<Bound, BindError> {
    let mut bound = Bound::default();
    for (index, spec) in listen.iter().enumerate() {
        match bound.add(index, spec, shards) {
            Ok(()) => {}
            Err(error) if is_lack_of_ipv6(spec, &error) => bound.skip(index, spec, "no IPv6"),
            Err(error) => return Err(BindError::new(index, spec, error)),
        }
    }
    match listen.first() {
        Some(spec) if bound.listening.is_empty() => {
            let none = "none of the listeners can be opened on this host";
            Err(BindError::new(0, spec, io::Error::other(none)))
        }
        _ => Ok(bound),
    }
}

/// A host may have IPv6 compiled out or switched off; the shipped config still names it.
fn is_lack_of_ipv6(spec: &ListenSpec, error: &io::Error) -> bool {
    spec.address.is_ipv6()
        && (error.raw_os_error() == Some(libc::EAFNOSUPPORT)
            || spec.address.ip().is_unspecified()
                && error.kind() == io::ErrorKind::AddrNotAvailable)
}

impl Bound {
    fn add(&mut self, index: usize, spec: &ListenSpec, shards: usize) -> io::Result<()> {
        let address = match spec.transport {
            Transport::Udp => self.add_udp(spec, shards)?,
            Transport::Tcp | Transport::Tls => self.add_tcp(spec)?,
        };
        self.listening.push(Listening { index, transport: spec.transport, address });
        Ok(())
    }

    fn skip(&mut self, index: usize, spec: &ListenSpec, why: &'static str) {
        warn!(key = %format_args!("listen[{index}]"), listener = %spec.name, why, "not listening");
        self.warnings.push(format!("listen[{index}]: not listening on \"{}\": {why}", spec.name));
    }

    fn add_udp(&mut self, spec: &ListenSpec, shards: usize) -> io::Result<SocketAddr> {
        let sockets = group(spec.address, shards)?;
        let address = first(&sockets)?.local_addr()?;
        self.udp.push(Arc::new(Port::new(address, sockets)));
        Ok(address)
    }

    fn add_tcp(&mut self, spec: &ListenSpec) -> io::Result<SocketAddr> {
        let socket = open(spec.address, Type::STREAM, Protocol::TCP)?;
        // A port whose old connections linger in TIME_WAIT can be taken again at once; one that
        // another program listens on cannot.
        socket.set_reuse_address(true)?;
        socket.bind(&spec.address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        self.tcp.get_mut().push((spec.transport, listener));
        Ok(address)
    }
}

/// One socket per shard on one port, where the kernel lets us choose among them; else one.
fn group(address: SocketAddr, shards: usize) -> io::Result<Vec<UdpSocket>> {
    let lone = open_udp(address)?;
    // The first socket binds without SO_REUSEPORT, or a second server of the same user would
    // share the port with the first and take half of its datagrams. Allowed afterwards, the
    // option lets our own join.
    lone.bind(&address.into())?;
    let first = UdpSocket::from(lone);
    if shards <= 1 {
        return Ok(vec![first]);
    }
    match join(&first, shards) {
        Ok(others) => Ok([first].into_iter().chain(others).collect()),
        Err(error) => {
            warn!(%address, %error, "one reader for all shards");
            // A socket that stays alone must not let a second server in.
            SockRef::from(&first).set_reuse_port(false)?;
            Ok(vec![first])
        }
    }
}

/// Binds the sockets of the other shards beside `first`.
fn join(first: &UdpSocket, shards: usize) -> io::Result<Vec<UdpSocket>> {
    let address = first.local_addr()?;
    SockRef::from(first).set_reuse_port(true)?;
    let mut others = Vec::with_capacity(shards);
    for _ in 1..shards {
        let socket = open_udp(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        others.push(UdpSocket::from(socket));
    }
    steering::steer(first, shards)?;
    Ok(others)
}

fn open_udp(address: SocketAddr) -> io::Result<Socket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP)?;
    // Refused where the kernel's own limit is lower; it then grants that limit.
    socket.set_recv_buffer_size(RECEIVE_BUFFER).ok();
    returned::keep_returned(&socket, address.is_ipv6())?;
    if address.ip().is_unspecified() {
        mmsg::tell_own_end(&socket, address.is_ipv6())?;
    }
    Ok(socket)
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own; mapped addresses would be a second spelling of sources.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn first(sockets: &[UdpSocket]) -> io::Result<&UdpSocket> {
    sockets.first().ok_or_else(|| io::Error::other("no socket"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rempart_actors::door::shard_of;
    use rempart_sip::flow::SourceKey;
    use std::net::{IpAddr, Ipv4Addr};

    fn spec(transport: Transport, address: SocketAddr) -> ListenSpec {
        ListenSpec { transport, address, name: format!("{transport}:{address}") }
    }

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    #[test]
    fn a_taken_port_names_listener_key_and_remedy() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let one = bind_all(&[spec(transport, loopback(0))], 2).expect("a free port");
            let taken = one.listening.first().expect("bound").address;
            let free = spec(Transport::Udp, loopback(0));
            let error = bind_all(&[free, spec(transport, taken)], 2).err().expect("taken");
            assert_eq!(error.key(), "listen[1]");
            let text = error.to_string();
            assert!(text.contains(&format!("\"{transport}:{taken}\"")), "{text}");
            assert!(text.contains("choose another port"), "{text}");
        }
    }

    #[test]
    fn a_failed_start_lets_go_of_what_it_bound() {
        let taken = UdpSocket::bind(loopback(0)).expect("a free port");
        let probe = TcpListener::bind(loopback(0)).expect("a free port");
        let free = probe.local_addr().expect("bound");
        drop(probe);
        let taken = spec(Transport::Udp, taken.local_addr().expect("bound"));
        assert!(bind_all(&[spec(Transport::Tcp, free), taken], 1).is_err());
        TcpListener::bind(free).expect("let go");
    }

    #[test]
    fn an_address_of_another_host_is_an_error_with_a_remedy() {
        let foreign = spec(Transport::Udp, SocketAddr::from(([192, 0, 2, 77], 0)));
        let text = bind_all(&[foreign], 1).err().expect("not ours").to_string();
        assert!(text.contains("ip address"), "{text}");
    }

    #[test]
    fn an_ipv6_wildcard_leaves_ipv4_alone() {
        let v4 = bind_all(&[spec(Transport::Tcp, SocketAddr::from(([0, 0, 0, 0], 0)))], 1);
        let port = v4.as_ref().ok().and_then(|v4| v4.listening.first()).expect("bound");
        let v6 = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port.address.port()));
        let both = [spec(Transport::Tcp, v6), spec(Transport::Udp, loopback(0))];
        assert!(bind_all(&both, 1).is_ok());
    }

    #[test]
    fn the_kernel_chooses_the_shard_that_shard_of_names() {
        let sockets = group(loopback(0), 2).expect("a free port");
        let to = first(&sockets).and_then(UdpSocket::local_addr).expect("bound");
        assert_eq!(sockets.len(), 2, "the program attaches on this kernel");
        for number in 0..40 {
            let ip = Ipv4Addr::new(127, 0, number % 7, 1 + number);
            let peer = UdpSocket::bind((ip, 0)).expect("loopback is a /8");
            peer.send_to(b"x", to).expect("loopback");
            let shard = shard_of(SourceKey::of(IpAddr::V4(ip)), 2);
            let socket = sockets.get(shard).expect("one per shard");
            let (_, from) = socket.recv_from(&mut [0; 8]).expect("sent to this shard");
            assert_eq!(from.ip(), IpAddr::V4(ip));
        }
    }

    #[test]
    fn the_kernel_chooses_by_the_same_rule_over_ipv6() {
        let Ok(sockets) = group(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)), 3) else {
            return;
        };
        let to = first(&sockets).and_then(UdpSocket::local_addr).expect("bound");
        let peer = UdpSocket::bind("[::1]:0").expect("a free port");
        peer.send_to(b"x", to).expect("loopback");
        let shard = shard_of(SourceKey::of(to.ip()), 3);
        assert!(sockets.get(shard).expect("one per shard").recv_from(&mut [0; 8]).is_ok());
    }
}
