//! The physical floor: the least that any server in user space could spend, measured with a
//! loop that receives and answers, or receives and forgets, on the server's core.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::machine::{SERVER_CPU, pin};

/// Between two looks at a socket whose datagrams are only dropped: half a millisecond of a
/// flood is read in one go, as a busy server would.
const DRAIN: Duration = Duration::from_micros(500);
/// What replaces the first line of an answered request.
const FIRST_LINE: &[u8] = b"SIP/2.0 200 OK";

/// What the loop does with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Manner {
    /// Sends it back with a 200 in place of its first line.
    Answer,
    /// Reads it.
    Drop,
}

/// A process of this program that runs the loop; it ends when dropped.
pub struct Floor {
    child: Child,
}

impl Floor {
    /// Starts the loop on this port of 127.0.0.1.
    pub fn start(port: u16, manner: Manner) -> io::Result<Self> {
        let manner = match manner {
            Manner::Answer => "answer",
            Manner::Drop => "drop",
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args(["floor", manner, &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        let floor = Self { child };
        let mut line = String::new();
        stdout.map(BufReader::new).map(|mut text| text.read_line(&mut line)).transpose()?;
        if line.is_empty() {
            return Err(io::Error::other("the floor did not start"));
        }
        Ok(floor)
    }

    /// The process whose time is the measure.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The loop itself; it ends with its process.
pub fn run(port: u16, manner: Manner) -> io::Result<()> {
    pin(SERVER_CPU)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("ready");
    io::stdout().flush()?;
    match manner {
        Manner::Answer => answer(&socket),
        Manner::Drop => drain(&socket),
    }
}

fn answer(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut reply = Vec::with_capacity(buffer.len());
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let line = buffer[..length].iter().position(|octet| *octet == b'\r').unwrap_or(length);
        reply.clear();
        reply.extend_from_slice(FIRST_LINE);
        reply.extend_from_slice(&buffer[line..length]);
        socket.send_to(&reply, from)?;
    }
}

fn drain(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let mut buffer = [0; 4096];
    loop {
        while socket.recv_from(&mut buffer).is_ok() {}
        std::thread::sleep(DRAIN);
    }
}
