//! The black-box harness: it starts the subject (Rempart, or Kamailio beside it), plays SIP
//! phones and attackers from addresses of 127.0.0.0/8, and keeps a log of every message that is
//! printed when a test fails. Nothing in here uses the server's own code: what a phone sees on
//! the wire is judged by a second, simpler reading of it.
// Each test file compiles the harness for itself and uses a part of it.
#![allow(dead_code, unused_imports)]

pub mod authority;
pub mod call;
pub mod challenge;
pub mod command;
pub mod dns;
pub mod kamailio;
pub mod link;
pub mod listing;
pub mod message;
pub mod phone;
pub mod request;
pub mod setup;
pub mod subject;
pub mod tls;
pub mod transcript;

pub use call::{Call, Dialog, establish, hang_up, invite_ringing};
pub use command::Finished;
pub use listing::Listing;
pub use message::Message;
pub use phone::Phone;
pub use request::Request;
pub use setup::{DOMAIN, Setup, password_of};
pub use subject::Subject;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for something that must come: generous, because the machine is shared.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// How long a test listens for something that must not come.
pub const QUIET: Duration = Duration::from_millis(150);

/// The methods of the forgery matrix: every registered one.
pub const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "MESSAGE",
    "SUBSCRIBE",
    "NOTIFY",
    "REFER",
    "INFO",
    "UPDATE",
    "PRACK",
    "PUBLISH",
];

/// A token that no other message of this run carries.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{:x}x{serial:x}", std::process::id())
}

/// Asks `probe` again and again until it has an answer; fails the test after [`PATIENCE`].
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Lets a scaled protocol interval pass: the only wait in the suite that is about time itself.
pub fn let_pass(interval: Duration, since: Instant) {
    std::thread::sleep((since + interval).saturating_duration_since(Instant::now()));
}
