//! What a server sends to a source that was forged: the attacker pays one packet, his victim gets
//! all that comes of it and says nothing.

use std::time::Duration;

use super::row::Outcome;
use crate::harness::{Phone, Request, Setup, Subject};

/// How long is listened: the first four sendings of a response that nobody acknowledges (RFC 3261
/// section 17.2.1: 0, 0.5, 1.5, 3.5 s of 32).
const LISTENED: Duration = Duration::from_secs(4);

/// P14: one OPTIONS and one INVITE for a user who is away.
pub fn amplification() -> Outcome {
    let server = Setup::users(&["alice"]).start();
    let [options, invite] = ["OPTIONS", "INVITE"].map(|method| reflected(&server, method));
    let ratio = |reflected: &Reflected| reflected.bytes_out as f64 / reflected.bytes_in as f64;
    Outcome {
        held: options.is_bounded() && invite.is_bounded(),
        did: format!(
            "OPTIONS ~{:.1}, answers: {}; INVITE ~{:.1}, answers in 4 s: {}",
            ratio(&options),
            options.packets,
            ratio(&invite),
            invite.packets
        ),
    }
}

/// What one request brought the victim.
struct Reflected {
    bytes_in: usize,
    bytes_out: usize,
    packets: usize,
}

impl Reflected {
    /// One answer, no longer than a request of 500 bytes or more, and never more than 350 longer.
    fn is_bounded(&self) -> bool {
        let most = if self.bytes_in >= 500 { self.bytes_in } else { self.bytes_in + 350 };
        self.packets <= 1 && self.bytes_out <= most
    }
}

fn reflected(server: &Subject, method: &str) -> Reflected {
    let mut victim: Phone = server.stranger(66);
    let request = smallest(&victim, method, &server.uri("alice"));
    victim.send(&request);
    let answers = victim.drain(LISTENED);
    Reflected {
        bytes_in: request.bytes().len(),
        bytes_out: answers.iter().map(|answer| answer.raw.len()).sum(),
        packets: answers.len(),
    }
}

/// The shortest request that is served: every byte the attacker saves is his gain.
fn smallest(from: &Phone, method: &str, uri: &str) -> Request {
    let long = from.request(method, uri);
    let compact = [("Via", "v"), ("From", "f"), ("To", "t"), ("Call-ID", "i")];
    let empty = Request { lines: Vec::new(), ..long.clone() };
    let short = compact.iter().fold(empty, |short, (name, letter)| {
        let value = long.header(name).to_string();
        short.with(letter, value)
    });
    short.with("CSeq", format!("1 {method}"))
}
