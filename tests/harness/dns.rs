//! A name server for tests: answers A queries from a fixed list and remembers what it was asked.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running name server; it ends when dropped.
pub struct NameServer {
    /// Where it answers.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Serves these names; every other one does not exist.
    pub fn start(names: &[(&str, Ipv4Addr)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("a bound socket has an address");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let names: Vec<(String, Ipv4Addr)> =
            names.iter().map(|(name, ip)| (name.to_string(), *ip)).collect();
        let (asked, stopping) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let (seen, end) = (Arc::clone(&asked), Arc::<AtomicBool>::clone(&stopping));
        let thread = std::thread::spawn(move || {
            let mut query = [0; 1500];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                let Some((name, answer)) = reply(&query[..length], &names) else { continue };
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                // The asker may have gone.
                let _ = socket.send_to(&answer, from);
            }
        });
        Self { address, asked, stopping, thread: Some(thread) }
    }

    /// The names asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The question's name and the answer to it (RFC 1035 section 4).
fn reply(query: &[u8], names: &[(String, Ipv4Addr)]) -> Option<(String, Vec<u8>)> {
    let (mut place, mut labels) = (12, Vec::new());
    while let Some(length) = query.get(place).copied().filter(|length| *length > 0) {
        let label = query.get(place + 1..place + 1 + usize::from(length))?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        place += 1 + usize::from(length);
    }
    let question = query.get(12..place + 5)?;
    let kind = u16::from_be_bytes([query[place + 1], query[place + 2]]);
    let name = labels.join(".");
    let known = names.iter().find(|(known, _)| *known == name);
    let address = known.filter(|_| kind == 1).map(|(_, ip)| ip.octets());
    let code = if known.is_some() { 0x80 } else { 0x83 };
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x85, code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(octets) = address {
        answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(octets);
    }
    Some((name, answer))
}
