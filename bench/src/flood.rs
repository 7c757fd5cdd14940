//! The open loop: one source sends at a fixed rate, whatever comes back.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::load::Target;
use crate::socket::Socket;

/// The least that is sent at once; smaller groups spend the sender's core on the clock.
const GROUP: u64 = 16;

/// What was sent, and what came back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flooded {
    /// Datagrams sent.
    pub sent: u64,
    /// Answers received.
    pub answered: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Sends REGISTERs without credentials from one address.
pub fn flood(
    target: &Target,
    source: Ipv4Addr,
    per_sec: u64,
    duration: Duration,
    socket: &mut Socket,
) -> io::Result<Flooded> {
    let (begun, mut flooded) = (Instant::now(), Flooded::default());
    loop {
        flooded.elapsed = begun.elapsed();
        if flooded.elapsed >= duration {
            break;
        }
        let due = (flooded.elapsed.as_secs_f64() * per_sec as f64) as u64;
        if due < flooded.sent + GROUP.min(per_sec / 100 + 1) {
            std::hint::spin_loop();
            continue;
        }
        while flooded.sent < due {
            let text = register(target, source, socket.port(), flooded.sent);
            socket.queue(source, target.address)?.extend_from_slice(text.as_bytes());
            flooded.sent += 1;
        }
        socket.flush()?;
        flooded.answered += socket.receive(|_, _| ())? as u64;
    }
    // The last answers of a server that still answers.
    std::thread::sleep(Duration::from_millis(50));
    while socket.receive(|_, _| flooded.answered += 1)? > 0 {}
    Ok(flooded)
}

fn register(target: &Target, source: Ipv4Addr, port: u16, number: u64) -> String {
    let domain = &target.domain;
    let user = number % 10_000;
    format!(
        "REGISTER sip:{domain} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {source}:{port};rport;branch=z9hG4bKflood{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:u{user:07}@{domain}>;tag=f{number}\r\n\
         To: <sip:u{user:07}@{domain}>\r\nCall-ID: flood.{number}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:u{user:07}@{source}:{port}>\r\nExpires: 3600\r\n\
         User-Agent: rempart-bench\r\nContent-Length: 0\r\n\r\n"
    )
}
