//! What the owner decides, as plain values: the root crate fills it from config.json, an
//! embedder by hand. Durations are durations here; their text form belongs to the config.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use regex::bytes::Regex;
use rempart_sip::digest::Algorithm;
use rempart_sip::flow::Transport;
use rempart_sip::registrar;
use rempart_sip::screen::Scanners;
use rempart_sip::transaction::Timing;
use rempart_sip::uri::Aor;
use rempart_storage::TrustedAddress;

use crate::meter::SEED_RULE;
use crate::names::Names;

/// The seed's pattern of telephone numbers.
const NUMBERS: &str = r"^(\+|00)[1-9][0-9]{3,20}$";

/// Known attack tools by the product tokens they give themselves (R33).
const SCANNERS: [&str; 7] = [
    "friendly-scanner",
    "friendly",
    "scanner",
    "sipcli",
    "sipvicious",
    "VaxSIPUserAgent",
    "pplsip",
];

/// Everything configurable that the actors read.
#[derive(Debug)]
pub struct Settings {
    /// The listeners, as bound.
    pub listeners: Vec<Listener>,
    /// The hosts served and their aliases (R12).
    pub names: Names,
    /// The address table's entries that stand in the config (R19).
    pub trusted: Vec<TrustedAddress>,
    /// The flood rule (R23 to R26); `None` is off.
    pub flood: Option<FloodRule>,
    /// The dictionary guard (R54 to R66).
    pub guard: GuardRule,
    /// Known attack tools (R33); `None` is off.
    pub scanners: Option<ScannerRule>,
    /// Digest authentication.
    pub auth: AuthRule,
    /// Who is served over TLS alone (R43).
    pub require_tls: RequireTls,
    /// The registrar's limits.
    pub registrar: registrar::Limits,
    /// The way to the telephone network (R9).
    pub pstn: Pstn,
    /// A next hop for every foreign target.
    pub outbound: Option<String>,
    /// Where requests may be sent.
    pub egress: EgressRule,
    /// Transaction timers.
    pub timing: Timing,
    /// Maxima of the tables.
    pub limits: Limits,
}

impl Settings {
    /// The seed's values, which are the shipped ones: what an embedder starts from. No trusted
    /// address, no gateway, nothing attached but public addresses to send to.
    pub fn new(names: Names, listeners: Vec<Listener>) -> Self {
        let own = listeners.iter().map(|listener| listener.address.ip()).collect();
        Self {
            listeners,
            names,
            trusted: Vec::new(),
            flood: Some(SEED_RULE),
            guard: GuardRule::default(),
            scanners: Some(ScannerRule { names: Scanners::new(SCANNERS), answered: true }),
            auth: AuthRule::default(),
            require_tls: RequireTls::default(),
            registrar: registrar::Limits { min: 60, default: 3600, max: 3600, contacts_max: 10 },
            pstn: Pstn::default(),
            outbound: None,
            egress: EgressRule { own, ..EgressRule::default() },
            timing: Timing::default(),
            limits: Limits::default(),
        }
    }
}

/// One bound listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its transport.
    pub transport: Transport,
    /// The bound address; may be a wildcard.
    pub address: SocketAddr,
    /// What Via and Record-Route carry instead of the address, if set: `host` or `host:port`.
    pub advertise: Option<String>,
}

/// The flood rule: `requests` in any `window` are answered, the next one starts a ban.
#[derive(Clone, Copy, Debug)]
pub struct FloodRule {
    /// Requests answered in a window.
    pub requests: u32,
    /// The sliding window.
    pub window: Duration,
    /// How long a ban lasts (R25).
    pub ban: Duration,
    /// After how much silence a source is forgotten (R26).
    pub forget: Duration,
}

/// Which dictionary guard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardMode {
    /// The default.
    Adaptive,
    /// Failures counted per source and user (R63).
    SeedIpUser,
    /// Failures counted per user (R54).
    SeedUser,
    /// Nothing is counted.
    Off,
}

/// The dictionary guard's values.
#[derive(Clone, Copy, Debug)]
pub struct GuardRule {
    /// What is counted.
    pub mode: GuardMode,
    /// The failure that suspends (R54).
    pub failures: u32,
    /// How long after the last failure (R55).
    pub suspend: Duration,
    /// When an untouched count is forgotten (R55).
    pub forget: Duration,
}

impl Default for GuardRule {
    /// The seed's values.
    fn default() -> Self {
        Self {
            mode: GuardMode::Adaptive,
            failures: 3,
            suspend: Duration::from_secs(900),
            forget: Duration::from_secs(920),
        }
    }
}

/// What happens to known attack tools.
#[derive(Debug)]
pub struct ScannerRule {
    /// Their product tokens.
    pub names: Scanners,
    /// Whether they get the seed's 200 OK (R34) or silence.
    pub answered: bool,
}

/// Digest authentication.
#[derive(Debug)]
pub struct AuthRule {
    /// How long a nonce is good.
    pub nonce_life: Duration,
    /// Algorithms offered, strongest first.
    pub algorithms: Vec<Algorithm>,
    /// Algorithms by domain, where they differ.
    pub by_domain: HashMap<String, Vec<Algorithm>>,
    /// Whether qop=auth is offered.
    pub qop: bool,
}

impl Default for AuthRule {
    fn default() -> Self {
        Self {
            nonce_life: Duration::from_secs(300),
            algorithms: vec![Algorithm::Md5],
            by_domain: HashMap::new(),
            qop: true,
        }
    }
}

impl AuthRule {
    /// What `domain` offers.
    pub fn algorithms(&self, domain: &str) -> &[Algorithm] {
        self.by_domain.get(domain).unwrap_or(&self.algorithms)
    }
}

/// Users of ours who are served over TLS alone (R43).
#[derive(Clone, Debug, Default)]
pub struct RequireTls {
    /// Everyone of these domains.
    pub domains: HashSet<String>,
    /// These users.
    pub users: HashSet<Aor>,
}

impl RequireTls {
    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.users.is_empty()
    }

    /// Whether it names this user.
    pub fn covers(&self, aor: &Aor) -> bool {
        self.domains.contains(aor.domain()) || self.users.contains(aor)
    }
}

/// Numbers and gateways.
#[derive(Debug)]
pub struct Pstn {
    /// What counts as a telephone number.
    pub numbers: Regex,
    /// Tried as [`crate::gateways::order`] says.
    pub gateways: Vec<Gateway>,
    /// Between two probes of a gateway; `None`: none is probed, and none is skipped.
    pub probe: Option<Duration>,
    /// How long a gateway may say nothing to an INVITE before the next one is tried.
    pub try_next_after: Duration,
}

impl Default for Pstn {
    /// No gateway: nothing is routed there (R9).
    fn default() -> Self {
        let numbers = Regex::new(NUMBERS).expect("the pattern is valid");
        Self {
            numbers,
            gateways: Vec::new(),
            probe: Some(Duration::from_secs(30)),
            try_next_after: Duration::from_secs(4),
        }
    }
}

/// One PSTN gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its SIP URI.
    pub uri: String,
    /// Number prefixes it serves, after 00 became +; empty: all.
    pub prefixes: Vec<String>,
    /// Its share among its neighbours of the same fitness that have one too; `None`: its place in
    /// the list decides.
    pub weight: Option<u32>,
}

/// Egress rules in the owner's words.
#[derive(Clone, Debug, Default)]
pub struct EgressRule {
    /// Networks allowed besides the defaults.
    pub allow: Vec<IpNet>,
    /// Networks refused whatever else says.
    pub deny: Vec<IpNet>,
    /// Networks directly attached to a listener.
    pub attached: Vec<IpNet>,
    /// Our own addresses, wildcards expanded.
    pub own: Vec<IpAddr>,
}

/// Maxima: nothing grows past them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sources whose requests are counted exactly.
    pub sources: usize,
    /// Server transactions kept.
    pub transactions: usize,
    /// Messages admitted and not yet done with.
    pub in_flight: usize,
    /// Octets of one message.
    pub message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sources: 262_144, transactions: 65_536, in_flight: 16_384, message: 65_535 }
    }
}
