//! Many datagrams per system call: recvmmsg and sendmmsg over arrays that are made once.
//!
//! Each datagram's control message carries our own end (IP_PKTINFO, RFC 3542 section 6), so that
//! an answer leaves from the address that received, on a socket bound to a wildcard.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, cmsghdr, in_pktinfo, in6_pktinfo, iovec, mmsghdr, msghdr, sockaddr_storage};
use socket2::SockAddr;

/// Datagrams in one system call.
pub(super) const BATCH: usize = 32;

/// No datagram is longer than this (its length field has 16 bits).
const DATAGRAM: usize = 64 * 1024;

/// Room for one control message with an `in6_pktinfo`, aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

/// The arrays of recvmmsg, and what the last call filled in.
pub(super) struct Receiver {
    /// Zeroed memory that the kernel gives page by page as long datagrams touch it.
    buffers: Vec<u8>,
    names: Vec<sockaddr_storage>,
    controls: Vec<Control>,
    vectors: Vec<iovec>,
    headers: Vec<mmsghdr>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        // SAFETY: plain C structures of numbers and pointers, for which all zeroes are valid.
        let (name, vector, header) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Self {
            buffers: vec![0; BATCH * DATAGRAM],
            names: vec![name; BATCH],
            controls: vec![Control([0; 64]); BATCH],
            vectors: vec![vector; BATCH],
            headers: vec![header; BATCH],
        }
    }

    /// Takes what is there, at most `BATCH` datagrams; `WouldBlock` when nothing is.
    pub(super) fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        self.prepare();
        let headers = self.headers.as_mut_ptr();
        // SAFETY: each of the BATCH headers was just pointed at a name, a control and a buffer of
        // the stated sizes, which `self` owns and nothing else touches during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers,
                BATCH as _,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Points every header at its parts; the kernel shortened the lengths in the last call.
    fn prepare(&mut self) {
        let parts = self.names.iter_mut().zip(&mut self.controls).zip(&mut self.vectors);
        let buffers = self.buffers.chunks_exact_mut(DATAGRAM);
        for (((header, ((name, control), vector)), buffer), _) in
            self.headers.iter_mut().zip(parts).zip(buffers).zip(0..BATCH)
        {
            *vector = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<sockaddr_storage>() as _;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
    }

    /// Datagram number `index` of the last call: its sender, our end if the kernel told (port
    /// 0), and its octets.
    pub(super) fn datagram(&self, index: usize) -> Option<(SocketAddr, Option<SocketAddr>, &[u8])> {
        let header = self.headers.get(index)?;
        let start = index * DATAGRAM;
        let length = (header.msg_len as usize).min(DATAGRAM);
        let remote = address(self.names.get(index)?)?;
        Some((remote, own_end(&header.msg_hdr), self.buffers.get(start..start + length)?))
    }
}

/// The address that the kernel wrote.
pub(super) fn address(name: &sockaddr_storage) -> Option<SocketAddr> {
    let length = size_of::<sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the storage is initialised, zeroes at least, and `length` is its size.
    unsafe { SockAddr::new(ptr::read(ptr::from_ref(name).cast()), length) }.as_socket()
}

/// Our end as the control message of a received datagram tells it, with port 0.
fn own_end(header: &msghdr) -> Option<SocketAddr> {
    // SAFETY: the kernel filled the control buffer that `header` still points at, up to
    // `msg_controllen`; the macros stay within it.
    let message = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    match (message.cmsg_level, message.cmsg_type) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let info: in_pktinfo = payload(message)?;
            let ip = Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, 0)))
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let info: in6_pktinfo = payload(message)?;
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let scope = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, scope as u32)))
        }
        _ => None,
    }
}

/// What a control message carries, where it is as long as a `T`.
pub(super) fn payload<T: Copy>(message: &cmsghdr) -> Option<T> {
    // SAFETY: CMSG_LEN only computes.
    let needed = unsafe { libc::CMSG_LEN(size_of::<T>() as u32) } as _;
    let whole = message.cmsg_len >= needed;
    // SAFETY: the message is at least as long as its header and a `T` of plain numbers, and the
    // read does not ask for alignment.
    whole.then(|| unsafe { ptr::read_unaligned(libc::CMSG_DATA(message).cast::<T>()) })
}

/// One datagram to send.
#[derive(Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) remote: SocketAddr,
    /// The address to leave from, on a wildcard socket.
    pub(super) source: Option<SocketAddr>,
    pub(super) bytes: &'a [u8],
}

/// The arrays of sendmmsg.
pub(super) struct Sender {
    names: Vec<SockAddr>,
    controls: Vec<Control>,
    vectors: Vec<iovec>,
    headers: Vec<mmsghdr>,
}

impl Sender {
    pub(super) fn new() -> Self {
        Self {
            names: Vec::with_capacity(BATCH),
            controls: vec![Control([0; 64]); BATCH],
            vectors: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
        }
    }

    /// Sends at most `BATCH` packets and says how many left; an error is that of the first.
    pub(super) fn send<'a>(
        &mut self,
        socket: &impl AsRawFd,
        packets: impl Iterator<Item = Packet<'a>> + Clone,
    ) -> io::Result<usize> {
        self.prepare(packets);
        let count = self.headers.len() as libc::c_uint;
        let headers = self.headers.as_mut_ptr();
        // SAFETY: `prepare` pointed the `count` headers at names, vectors and controls of `self`,
        // and the vectors at octets that `packets` borrow for longer than the call.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers, count, libc::MSG_DONTWAIT as _) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn prepare<'a>(&mut self, packets: impl Iterator<Item = Packet<'a>> + Clone) {
        self.names.clear();
        self.names.extend(packets.clone().take(BATCH).map(|packet| SockAddr::from(packet.remote)));
        self.vectors.clear();
        self.vectors.extend(packets.clone().take(BATCH).map(|packet| octets(packet.bytes)));
        self.headers.clear();
        let parts = self.names.iter().zip(&mut self.vectors).zip(&mut self.controls);
        for (packet, ((name, vector), control)) in packets.zip(parts) {
            self.headers.push(outgoing(name, vector, control, packet.source));
        }
    }
}

fn octets(bytes: &[u8]) -> iovec {
    iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

fn outgoing(
    name: &SockAddr,
    vector: &mut iovec,
    control: &mut Control,
    source: Option<SocketAddr>,
) -> mmsghdr {
    // SAFETY: a plain C structure of numbers and pointers, for which all zeroes are valid.
    let mut message: mmsghdr = unsafe { zeroed() };
    let header = &mut message.msg_hdr;
    header.msg_name = name.as_ptr().cast_mut().cast();
    header.msg_namelen = name.len();
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    if let Some(source) = source {
        header.msg_control = ptr::from_mut(control).cast();
        header.msg_controllen = size_of::<Control>() as _;
        leave_from(header, source);
    }
    message
}

/// Writes the control message that chooses the address a datagram leaves from.
fn leave_from(header: &mut msghdr, source: SocketAddr) {
    match source.ip() {
        IpAddr::V4(ip) => {
            let own = libc::in_addr { s_addr: ip.to_bits().to_be() };
            let any = libc::in_addr { s_addr: 0 };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: own, ipi_addr: any };
            put_control(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(ip) => {
            let own = libc::in6_addr { s6_addr: ip.octets() };
            let info = in6_pktinfo { ipi6_addr: own, ipi6_ifindex: link(source) as _ };
            put_control(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

fn link(address: SocketAddr) -> u32 {
    if let SocketAddr::V6(v6) = address { v6.scope_id() } else { 0 }
}

/// Makes `value` the only control message of `header`, whose control buffer is a `Control`.
fn put_control<T: Copy>(header: &mut msghdr, level: c_int, kind: c_int, value: T) {
    let size = size_of::<T>() as u32;
    // SAFETY: `header` points at a `Control`, which is aligned for a `cmsghdr` and has room for
    // one with an `in6_pktinfo`, the largest `T` used here.
    unsafe {
        let Some(message) = libc::CMSG_FIRSTHDR(header).as_mut() else { return };
        message.cmsg_level = level;
        message.cmsg_type = kind;
        message.cmsg_len = libc::CMSG_LEN(size) as _;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast(), value);
        header.msg_controllen = libc::CMSG_SPACE(size) as _;
    }
}

/// Asks the kernel to tell our end of every datagram that `socket` receives.
pub(super) fn tell_own_end(socket: &impl AsRawFd, v6: bool) -> io::Result<()> {
    let (level, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    switch_on(socket, level, option)
}

/// Sets a socket option that is on or off.
pub(super) fn switch_on(socket: &impl AsRawFd, level: c_int, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    let size = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open and the option's value is an int of the size given.
    let status = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size)
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn pair(bind: &str) -> (UdpSocket, UdpSocket, SocketAddr) {
        let ours = UdpSocket::bind(bind).expect("a free port");
        tell_own_end(&ours, bind.starts_with('[')).expect("an option of every kernel");
        let loopback = if bind.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
        let peer = UdpSocket::bind(loopback).expect("a free port");
        let address = peer.local_addr().expect("bound");
        (ours, peer, address)
    }

    #[test]
    fn received_datagrams_tell_which_address_received_them() {
        let (ours, peer, from) = pair("0.0.0.0:0");
        let port = ours.local_addr().expect("bound").port();
        for last in [9, 10] {
            peer.send_to(b"x", (Ipv4Addr::new(127, 0, 0, last), port)).expect("loopback");
        }
        let mut receiver = Receiver::new();
        assert_eq!(receiver.receive(&ours).expect("two wait"), 2);
        let own = |last| Some(SocketAddr::from(([127, 0, 0, last], 0)));
        assert_eq!(receiver.datagram(0), Some((from, own(9), &b"x"[..])));
        assert_eq!(receiver.datagram(1), Some((from, own(10), &b"x"[..])));
        let none = receiver.receive(&ours).expect_err("drained");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn packets_leave_from_the_address_asked_for() {
        let (ours, peer, to) = pair("0.0.0.0:0");
        let source = Some(SocketAddr::from(([127, 0, 0, 9], 0)));
        let packets = [b"one", b"two"].map(|bytes| Packet { remote: to, source, bytes });
        assert_eq!(Sender::new().send(&ours, packets.into_iter()).expect("loopback"), 2);
        let mut buffer = [0; 8];
        let (length, from) = peer.recv_from(&mut buffer).expect("sent");
        assert_eq!(buffer.get(..length), Some(&b"one"[..]));
        assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 9]));
    }

    #[test]
    fn ipv6_tells_and_takes_own_addresses_too() {
        if UdpSocket::bind("[::1]:0").is_err() {
            return;
        }
        let (ours, peer, from) = pair("[::]:0");
        let port = ours.local_addr().expect("bound").port();
        peer.send_to(b"x", (Ipv6Addr::LOCALHOST, port)).expect("loopback");
        let mut receiver = Receiver::new();
        assert_eq!(receiver.receive(&ours).expect("one waits"), 1);
        let own = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        assert_eq!(receiver.datagram(0), Some((from, Some(own), &b"x"[..])));
        let packet = Packet { remote: from, source: Some(own), bytes: b"y" };
        assert_eq!(Sender::new().send(&ours, [packet].into_iter()).expect("loopback"), 1);
    }
}
