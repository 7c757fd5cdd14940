//! One UDP socket that speaks for any address of 127.0.0.0/8, so that ten thousand phones cost
//! one descriptor: the source address of each datagram is given with it (IP_PKTINFO).

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// Datagrams per system call.
const BATCH: usize = 64;
/// Larger than any message that a server under test sends.
const DATAGRAM_MAX: usize = 4096;
/// Room for what comes while the generator sends, so that nothing is lost on this side.
const BUFFER_BYTES: libc::c_int = 32 << 20;

/// A control message that holds one `in_pktinfo`, aligned as its header needs.
type Control = [u64; 4];

struct Outgoing {
    bytes: Vec<u8>,
    source: Ipv4Addr,
    to: SocketAddrV4,
}

/// A bound socket with a queue of what leaves with the next flush.
pub struct Socket {
    socket: UdpSocket,
    port: u16,
    queue: Vec<Outgoing>,
    queued: usize,
    arrivals: Vec<[u8; DATAGRAM_MAX]>,
}

impl Socket {
    /// Binds this port on every local address.
    pub fn bind(port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.set_nonblocking(true)?;
        for (force, plain) in
            [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
        {
            // Without the privilege the kernel's limit has to do.
            if set_option(socket.as_raw_fd(), force).is_err() {
                set_option(socket.as_raw_fd(), plain)?;
            }
        }
        let arrivals = vec![[0; DATAGRAM_MAX]; BATCH];
        Ok(Self { socket, port, queue: Vec::new(), queued: 0, arrivals })
    }

    /// The bound port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An empty buffer that leaves with the next flush, from `source` and this socket's port.
    pub fn queue(&mut self, source: Ipv4Addr, to: SocketAddrV4) -> io::Result<&mut Vec<u8>> {
        if self.queued == BATCH {
            self.flush()?;
        }
        if self.queued == self.queue.len() {
            self.queue.push(Outgoing { bytes: Vec::new(), source, to });
        }
        let place = self.queued;
        self.queued += 1;
        let outgoing = &mut self.queue[place];
        (outgoing.source, outgoing.to) = (source, to);
        outgoing.bytes.clear();
        Ok(&mut outgoing.bytes)
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> io::Result<()> {
        let queued = std::mem::take(&mut self.queued);
        let mut outgoing = &self.queue[..queued];
        while !outgoing.is_empty() {
            let sent = send_batch(self.socket.as_raw_fd(), outgoing)?;
            outgoing = &outgoing[sent..];
        }
        Ok(())
    }

    /// Takes one batch of what has arrived; 0 when there is nothing.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8], SocketAddrV4)) -> io::Result<usize> {
        let mut lengths = [(0, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH];
        let count = receive_batch(self.socket.as_raw_fd(), &mut self.arrivals, &mut lengths)?;
        for (bytes, (length, from)) in self.arrivals.iter().zip(&lengths[..count]) {
            each(&bytes[..*length], *from);
        }
        Ok(count)
    }
}

/// Waits until one of the sockets has something, or the time is over.
pub fn wait(sockets: &[&Socket], limit: Duration) -> io::Result<()> {
    let mut polled: Vec<libc::pollfd> = sockets
        .iter()
        .map(|socket| libc::pollfd {
            fd: socket.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let millis = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer and the count describe the vector, which outlives the call.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, millis) };
    match result {
        -1 => interrupted_is_fine(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn interrupted_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

fn set_option(fd: RawFd, option: libc::c_int) -> io::Result<()> {
    let bytes = BUFFER_BYTES;
    // SAFETY: the value is one c_int, and its size is passed with it.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            option,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn kernel_address(address: SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: all zeroes is a valid sockaddr_in.
    let mut kernel: libc::sockaddr_in = unsafe { zeroed() };
    kernel.sin_family = libc::AF_INET as libc::sa_family_t;
    kernel.sin_port = address.port().to_be();
    kernel.sin_addr.s_addr = u32::from(*address.ip()).to_be();
    kernel
}

fn send_batch(fd: RawFd, outgoing: &[Outgoing]) -> io::Result<usize> {
    let count = outgoing.len().min(BATCH);
    let mut controls: [Control; BATCH] = [[0; 4]; BATCH];
    let mut addresses = [kernel_address(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH];
    // SAFETY: all zeroes is valid for iovec and mmsghdr; null pointers with zero lengths.
    let (mut vectors, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (zeroed(), zeroed()) };
    for (place, datagram) in outgoing[..count].iter().enumerate() {
        addresses[place] = kernel_address(datagram.to);
        // sendmmsg only reads from the vector; its type is shared with receiving.
        vectors[place].iov_base = datagram.bytes.as_ptr().cast_mut().cast();
        vectors[place].iov_len = datagram.bytes.len();
        let header = &mut headers[place].msg_hdr;
        header.msg_name = (&raw mut addresses[place]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        header.msg_iov = &raw mut vectors[place];
        header.msg_iovlen = 1;
        write_source(header, &mut controls[place], datagram.source);
    }
    // SAFETY: every header points into arrays that live until the call returns.
    let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count as libc::c_uint, 0) };
    match usize::try_from(sent) {
        Ok(sent) => Ok(sent),
        Err(_) => {
            let error = io::Error::last_os_error();
            let full = error.kind() == io::ErrorKind::WouldBlock;
            if full { Ok(0) } else { interrupted_is_fine(error).map(|()| 0) }
        }
    }
}

fn write_source(header: &mut libc::msghdr, control: &mut Control, source: Ipv4Addr) {
    let info_bytes = size_of::<libc::in_pktinfo>() as libc::c_uint;
    header.msg_control = control.as_mut_ptr().cast();
    // SAFETY: the control buffer is aligned and holds CMSG_SPACE of one in_pktinfo, 32 octets.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(info_bytes) as _;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::IPPROTO_IP;
        (*message).cmsg_type = libc::IP_PKTINFO;
        (*message).cmsg_len = libc::CMSG_LEN(info_bytes) as _;
        let mut info: libc::in_pktinfo = zeroed();
        info.ipi_spec_dst.s_addr = u32::from(source).to_be();
        libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().write_unaligned(info);
    }
}

fn receive_batch(
    fd: RawFd,
    arrivals: &mut [[u8; DATAGRAM_MAX]],
    lengths: &mut [(usize, SocketAddrV4); BATCH],
) -> io::Result<usize> {
    let mut addresses = [kernel_address(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH];
    // SAFETY: all zeroes is valid for iovec and mmsghdr; null pointers with zero lengths.
    let (mut vectors, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (zeroed(), zeroed()) };
    for (place, buffer) in arrivals.iter_mut().enumerate() {
        vectors[place].iov_base = buffer.as_mut_ptr().cast();
        vectors[place].iov_len = buffer.len();
        let header = &mut headers[place].msg_hdr;
        header.msg_name = (&raw mut addresses[place]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        header.msg_iov = &raw mut vectors[place];
        header.msg_iovlen = 1;
    }
    // SAFETY: every header points into arrays that live until the call returns.
    let got = unsafe {
        libc::recvmmsg(
            fd,
            headers.as_mut_ptr(),
            arrivals.len() as libc::c_uint,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    let Ok(got) = usize::try_from(got) else {
        let error = io::Error::last_os_error();
        let empty = error.kind() == io::ErrorKind::WouldBlock;
        return if empty { Ok(0) } else { interrupted_is_fine(error).map(|()| 0) };
    };
    for place in 0..got {
        let ip = Ipv4Addr::from(u32::from_be(addresses[place].sin_addr.s_addr));
        let from = SocketAddrV4::new(ip, u16::from_be(addresses[place].sin_port));
        lengths[place] = (headers[place].msg_len as usize, from);
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_leaves_from_the_address_it_was_given() {
        let mut sender = Socket::bind(0).expect("a socket");
        let mut receiver = Socket::bind(0).expect("a socket");
        let port = receiver.socket.local_addr().expect("bound").port();
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let source = Ipv4Addr::new(127, 9, 8, 7);
        sender.queue(source, to).expect("room").extend(b"hello");
        sender.flush().expect("sent");
        wait(&[&receiver], Duration::from_secs(5)).expect("poll");
        let mut seen = Vec::new();
        let count = receiver.receive(|bytes, from| seen.push((bytes.to_vec(), *from.ip())));
        assert_eq!(count.expect("received"), 1);
        assert_eq!(seen, [(b"hello".to_vec(), source)]);
    }

    #[test]
    fn an_empty_socket_gives_nothing() {
        let mut socket = Socket::bind(0).expect("a socket");
        assert_eq!(socket.receive(|_, _| ()).expect("no error"), 0);
    }
}
