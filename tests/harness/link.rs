//! One phone's wire: a UDP socket, or a TCP or TLS connection cut into messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::message::find;
use super::tls::{self, Accepted, TlsStream};

/// What came in: a message's octets, or the two or four of a keep-alive.
pub type Received = (Vec<u8>, SocketAddr);

/// The socket of one phone.
pub enum Link {
    /// A bound datagram socket.
    Udp(UdpSocket),
    /// A connection and what was read of it beyond the last message.
    Tcp(TcpStream, Vec<u8>),
    /// The same under TLS.
    Tls(Box<TlsStream>, Vec<u8>),
    /// A connection under TLS that the server opened to us.
    Accepted(Box<Accepted>, Vec<u8>),
}

impl Link {
    /// A datagram socket on `ip`, any port.
    pub fn udp(ip: IpAddr) -> Self {
        Self::Udp(UdpSocket::bind((ip, 0)).expect("a loopback address takes a UDP socket"))
    }

    /// A connection from `ip` to the server.
    pub fn tcp(ip: IpAddr, server: SocketAddr) -> Self {
        Self::Tcp(connect_from(ip, server), Vec::new())
    }

    /// A TLS connection from `ip` to the server, whose certificate is not looked at.
    pub fn tls(ip: IpAddr, server: SocketAddr) -> Self {
        let stream = tls::connect(ip, server, tls::trusting());
        Self::Tls(Box::new(stream.expect("the handshake succeeds")), Vec::new())
    }

    /// The transport as Via names it.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Udp(_) => "UDP",
            Self::Tcp(..) => "TCP",
            Self::Tls(..) | Self::Accepted(..) => "TLS",
        }
    }

    /// Our own address.
    pub fn local(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(stream, _) => stream.local_addr(),
            Self::Tls(stream, _) => stream.sock.local_addr(),
            Self::Accepted(stream, _) => stream.sock.local_addr(),
        }
        .expect("a bound socket has an address")
    }

    /// Sends to the server, or wherever a datagram test aims.
    pub fn send(&mut self, bytes: &[u8], to: SocketAddr) -> std::io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send_to(bytes, to).map(|_| ()),
            Self::Tcp(stream, _) => stream.write_all(bytes),
            Self::Tls(stream, _) => stream.write_all(bytes),
            Self::Accepted(stream, _) => stream.write_all(bytes),
        }
    }

    /// The next message or keep-alive before `deadline`; `None` when nothing came.
    pub fn receive(&mut self, deadline: Instant) -> Option<Received> {
        match self {
            Self::Udp(socket) => receive_datagram(socket, deadline),
            Self::Tcp(stream, buffer) => receive_framed(stream, buffer, deadline),
            Self::Tls(stream, buffer) => receive_framed(&mut **stream, buffer, deadline),
            Self::Accepted(stream, buffer) => receive_framed(&mut **stream, buffer, deadline),
        }
    }

    /// Whether the other side has closed the connection before `deadline`.
    pub fn closed_by(&mut self, deadline: Instant) -> bool {
        match self {
            Self::Udp(_) => false,
            Self::Tcp(stream, buffer) => closed_by(stream, buffer, deadline),
            Self::Tls(stream, buffer) => closed_by(&mut **stream, buffer, deadline),
            Self::Accepted(stream, buffer) => closed_by(&mut **stream, buffer, deadline),
        }
    }
}

fn closed_by(stream: &mut impl Stream, buffer: &mut Vec<u8>, deadline: Instant) -> bool {
    loop {
        match read_some(stream, buffer, deadline) {
            Progress::More => {}
            Progress::Nothing => return false,
            Progress::Closed => return true,
        }
    }
}

/// What is read from a connection, and the socket that waits for it.
trait Stream: Read {
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for Accepted {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

impl Stream for TlsStream {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// A TCP connection whose client address is chosen.
pub fn connect_from(ip: IpAddr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
    socket.set_tcp_nodelay(true).expect("nodelay is known everywhere");
    socket.bind(&SocketAddr::new(ip, 0).into()).expect("a loopback address takes a TCP socket");
    socket.connect(&server.into()).expect("the server accepts connections");
    socket.into()
}

enum Progress {
    More,
    Nothing,
    Closed,
}

fn remaining(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

fn receive_datagram(socket: &UdpSocket, deadline: Instant) -> Option<Received> {
    let mut buffer = vec![0; 65_536];
    // One look without waiting even when the deadline has passed: what is queued counts as come.
    let wait = remaining(deadline).unwrap_or(Duration::from_micros(1));
    socket.set_read_timeout(Some(wait)).expect("a read timeout is settable");
    // An ICMP error of an earlier send shows here as refused: it is not a message.
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    buffer.truncate(length);
    Some((buffer, from))
}

fn receive_framed(
    stream: &mut impl Stream,
    buffer: &mut Vec<u8>,
    deadline: Instant,
) -> Option<Received> {
    let peer = stream.socket().peer_addr().ok()?;
    loop {
        if let Some(length) = framed(buffer) {
            return Some((buffer.drain(..length).collect(), peer));
        }
        match read_some(stream, buffer, deadline) {
            Progress::More => {}
            Progress::Nothing | Progress::Closed => return None,
        }
    }
}

fn read_some(stream: &mut impl Stream, buffer: &mut Vec<u8>, deadline: Instant) -> Progress {
    let wait = remaining(deadline).unwrap_or(Duration::from_micros(1));
    stream.socket().set_read_timeout(Some(wait)).expect("a read timeout is settable");
    let mut chunk = [0; 16_384];
    match stream.read(&mut chunk) {
        Ok(0) => Progress::Closed,
        Ok(length) => {
            buffer.extend_from_slice(&chunk[..length]);
            Progress::More
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Progress::Nothing
        }
        Err(_) => Progress::Closed,
    }
}

/// Length of the message or keep-alive that stands complete at the front of `buffer`.
fn framed(buffer: &[u8]) -> Option<usize> {
    if buffer.starts_with(b"\r\n") {
        return Some(if buffer.starts_with(b"\r\n\r\n") { 4 } else { 2 });
    }
    let head = find(buffer, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let body: usize = length.and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    (buffer.len() >= head + body).then_some(head + body)
}
