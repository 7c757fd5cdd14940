//! What the actors count, in one shared place that the outside reads as one snapshot.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rempart_sip::flow::Transport;
use rempart_sip::message::Method;

/// The methods told apart; all others are counted as the last.
const METHODS: [&str; 15] = [
    "REGISTER",
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "MESSAGE",
    "SUBSCRIBE",
    "NOTIFY",
    "REFER",
    "INFO",
    "UPDATE",
    "PRACK",
    "PUBLISH",
    "other",
];

/// Counters of one server. Hot ones are atomics; the named ones, rarer, share a lock.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests received.
    pub requests: AtomicU64,
    /// Responses received.
    pub responses: AtomicU64,
    /// Datagrams dropped because their source is banned.
    pub banned: AtomicU64,
    /// 401s sent.
    pub unauthorized: AtomicU64,
    /// 407s sent.
    pub proxy_authentication: AtomicU64,
    /// Server transactions now.
    pub transactions: AtomicU64,
    /// Calls answered and not yet ended, as far as BYE tells.
    pub calls: AtomicU64,
    by_method: [[AtomicU64; 3]; METHODS.len()],
    named: Mutex<BTreeMap<String, u64>>,
}

impl Counters {
    /// Counts one event of a hot counter.
    pub fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refusal by its identifier.
    pub fn refused(&self, id: &str) {
        match id {
            "banned" => Self::one(&self.banned),
            "unauthorized" => Self::one(&self.unauthorized),
            "proxy-authentication" => Self::one(&self.proxy_authentication),
            _ => self.add("refusal", id, 1),
        }
    }

    /// Counts what was dropped for want of room.
    pub fn shed(&self, reason: &str, messages: usize) {
        self.add("shed", reason, messages as u64);
    }

    /// Counts a request by method and transport.
    pub fn request(&self, method: Method<'_>, transport: Transport) {
        Self::one(&self.requests);
        Self::one(&self.by_method[method_row(method)][transport as usize]);
    }

    fn add(&self, kind: &str, reason: &str, many: u64) {
        let key = format!("{kind}:{reason}");
        *self.named.lock().entry(key).or_default() += many;
    }

    fn requests_by_method(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let rows = METHODS.iter().zip(&self.by_method);
        rows.flat_map(|(method, row)| {
            let transports = [Transport::Udp, Transport::Tcp, Transport::Tls];
            transports.into_iter().zip(row).map(move |(transport, count)| {
                (format!("request:{method}:{transport}"), count.load(Ordering::Relaxed))
            })
        })
        .filter(|(_, count)| *count > 0)
    }

    /// Every counter by name.
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        let mut all = self.named.lock().clone();
        let hot = [
            ("requests", &self.requests),
            ("responses", &self.responses),
            ("refusal:banned", &self.banned),
            ("refusal:unauthorized", &self.unauthorized),
            ("refusal:proxy-authentication", &self.proxy_authentication),
        ];
        all.extend(self.requests_by_method());
        all.extend(hot.map(|(name, count)| (name.to_owned(), count.load(Ordering::Relaxed))));
        all
    }
}

fn method_row(method: Method<'_>) -> usize {
    let name = method.as_bytes();
    METHODS.iter().position(|known| known.as_bytes() == name).unwrap_or(METHODS.len() - 1)
}
