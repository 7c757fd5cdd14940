//! Datagrams that came back: the ICMP errors they met, which the kernel keeps in the socket's
//! error queue (ip(7), IP_RECVERR) with the beginning of what was sent. Without the queue an error
//! would not reach a socket that is connected to nobody.

use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, cmsghdr, iovec, msghdr, sock_extended_err};

use super::mmsg::{address, payload, switch_on};

/// What is read of a returned datagram: routers and hosts quote 548 octets at most (RFC 1812
/// section 4.3.2.3), IPv6 about twice as many; the branch stands in the first hundreds.
const QUOTE: usize = 1_024;

/// Room for the control messages: the error with the address of who sent it, and our own end.
#[repr(C, align(8))]
struct Control([u8; 512]);

/// Destination unreachable, and the codes that RFC 3261 section 18.4 has in mind: network, host,
/// protocol, port. The others speak of size or of passing trouble.
const V4_UNREACHABLE: (u8, [u8; 4]) = (3, [0, 1, 2, 3]);

/// The same of ICMPv6: no route, address, port (RFC 4443 section 3.1).
const V6_UNREACHABLE: (u8, [u8; 3]) = (1, [0, 3, 4]);

/// Asks the kernel to keep ICMP errors for `socket`.
pub(super) fn keep_returned(socket: &impl AsRawFd, v6: bool) -> io::Result<()> {
    let (level, option) = match v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        false => (libc::IPPROTO_IP, libc::IP_RECVERR),
    };
    switch_on(socket, level, option)
}

/// Reads returned datagrams one by one.
pub(super) struct Returned {
    quote: Box<[u8; QUOTE]>,
    control: Box<Control>,
}

impl Returned {
    pub(super) fn new() -> Self {
        Self { quote: Box::new([0; QUOTE]), control: Box::new(Control([0; 512])) }
    }

    /// Takes the next error: where the datagram was sent and how it began; `Ok(None)` is an error
    /// that does not say that nobody takes it there. `WouldBlock` when there is none.
    pub(super) fn next(
        &mut self,
        socket: &impl AsRawFd,
    ) -> io::Result<Option<(SocketAddr, &[u8])>> {
        // SAFETY: plain C structures of numbers and pointers, for which all zeroes are valid.
        let (mut name, mut header): (libc::sockaddr_storage, msghdr) = unsafe { zeroed() };
        let quote = self.quote.as_mut_ptr().cast();
        let mut vector = iovec { iov_base: quote, iov_len: QUOTE };
        header.msg_name = ptr::from_mut(&mut name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = ptr::from_mut(&mut *self.control).cast();
        header.msg_controllen = size_of::<Control>() as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the header was just pointed at a name, a control and a buffer of the stated
        // sizes, which live and are touched by nothing else during the call.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        if !is_unreachable(&header) {
            return Ok(None);
        }
        let quote = self.quote.get(..length.min(QUOTE)).unwrap_or_default();
        Ok(address(&name).map(|to| (to, quote)))
    }
}

/// Whether one of the control messages says that nobody takes the datagram there.
fn is_unreachable(header: &msghdr) -> bool {
    // SAFETY: the kernel filled the control buffer that `header` points at, up to
    // `msg_controllen`; the macros stay within it.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: as above; a message is there as long as the pointer is not null.
    while let Some(message) = unsafe { next.as_ref() } {
        if error_of(message).is_some_and(|error| says_unreachable(&error)) {
            return true;
        }
        // SAFETY: as above.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    false
}

fn error_of(message: &cmsghdr) -> Option<sock_extended_err> {
    let kind: (c_int, c_int) = (message.cmsg_level, message.cmsg_type);
    let v4 = (libc::IPPROTO_IP, libc::IP_RECVERR);
    let v6 = (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
    (kind == v4 || kind == v6).then(|| payload(message)).flatten()
}

fn says_unreachable(error: &sock_extended_err) -> bool {
    let (kind, code) = (error.ee_type, error.ee_code);
    match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => kind == V4_UNREACHABLE.0 && V4_UNREACHABLE.1.contains(&code),
        libc::SO_EE_ORIGIN_ICMP6 => kind == V6_UNREACHABLE.0 && V6_UNREACHABLE.1.contains(&code),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    /// An address at which nobody listens any more.
    fn nobody(ip: &str) -> Option<SocketAddr> {
        UdpSocket::bind((ip, 0)).ok()?.local_addr().ok()
    }

    #[test]
    fn a_closed_port_sends_back_where_it_was_and_what_it_was() {
        for (any, loopback) in [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::", "::1")]
        {
            // A host may be without IPv6.
            let Some(to) = nobody(loopback) else { continue };
            let ours = UdpSocket::bind((any, 0)).expect("a free port");
            keep_returned(&ours, to.is_ipv6()).expect("an option of every kernel");
            let sent = [b"INVITE".to_vec(), vec![b'x'; 1_200]].concat();
            ours.send_to(&sent, to).expect("loopback");
            let mut returned = Returned::new();
            let (from, quote) = returned.next(&ours).expect("one came back").expect("unreachable");
            assert_eq!(from, to);
            assert!(quote.len() > 500 && sent.starts_with(quote), "{} octets", quote.len());
            let none = returned.next(&ours).expect_err("drained");
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn only_what_nobody_takes_is_unreachable() {
        // SAFETY: a plain C structure of numbers, for which all zeroes are valid.
        let mut error: sock_extended_err = unsafe { zeroed() };
        let mut says = |origin, kind, code| {
            (error.ee_origin, error.ee_type, error.ee_code) = (origin, kind, code);
            says_unreachable(&error)
        };
        assert!(says(libc::SO_EE_ORIGIN_ICMP, 3, 3) && says(libc::SO_EE_ORIGIN_ICMP, 3, 1));
        assert!(!says(libc::SO_EE_ORIGIN_ICMP, 3, 4), "too long for a link");
        assert!(!says(libc::SO_EE_ORIGIN_ICMP, 11, 0), "its time to live ran out");
        assert!(says(libc::SO_EE_ORIGIN_ICMP6, 1, 4));
        assert!(!says(libc::SO_EE_ORIGIN_ICMP6, 1, 1) && !says(0, 3, 3));
    }
}
