//! What a relayed request needs to remember: where it may still go, and what came back
//! (RFC 3261 section 16.7).

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rempart_sip::flow::{Flow, Transport};
use rempart_sip::proxy::ResponseContext;
use rempart_sip::seal::RouteClass;

/// How a target is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// By a flow that stands: a registered one, or a dialog's sealed side.
    Flow(Flow),
    /// At an address, checked against the egress rules.
    Address(Transport, SocketAddr),
    /// By a name that must be looked up first.
    Name(Transport, String, u16),
}

impl Hop {
    /// The transport it is reached by.
    pub fn transport(&self) -> Transport {
        match self {
            Self::Flow(flow) => flow.transport,
            Self::Address(transport, _) | Self::Name(transport, ..) => *transport,
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow(flow) => write!(f, "{}:{}", flow.transport, flow.remote),
            Self::Address(transport, to) => write!(f, "{transport}:{to}"),
            Self::Name(transport, name, port) => write!(f, "{transport}:{name}:{port}"),
        }
    }
}

/// One target of a request (RFC 3261 section 16.5).
#[derive(Clone, Debug)]
pub struct Target {
    /// The Request-URI, where it changes.
    pub request_uri: Option<Vec<u8>>,
    /// The way there.
    pub hop: Hop,
    /// The name that was looked up: over TLS the far end must prove it.
    pub name: Option<Arc<str>>,
    /// Path values of the registration, first hop first (RFC 3327).
    pub path: Vec<Vec<u8>>,
    /// A user of ours stands behind it.
    pub local: bool,
    /// The owner configured it: a gateway, a trusted address, the outbound proxy.
    pub peer: bool,
    /// The gateway that it is, by its URI in the settings: where it fails, another is tried.
    pub gateway: Option<Arc<str>>,
}

impl Target {
    /// A stranger who is reached by `hop`, the Request-URI as it came.
    pub fn by(hop: Hop) -> Self {
        Self {
            request_uri: None,
            hop,
            name: None,
            path: Vec::new(),
            local: false,
            peer: false,
            gateway: None,
        }
    }
}

/// A request that may be relayed, and how.
#[derive(Debug)]
pub struct Plan {
    /// Target groups, tried one after the other; the targets of a group together.
    pub groups: VecDeque<Vec<Target>>,
    /// A telephone number: its targets are gateways, and one that fails is no answer.
    pub by_gateways: bool,
    /// What kind of callee.
    pub class: RouteClass,
    /// The caller is one of ours.
    pub caller_local: bool,
    /// The caller is a configured peer: what he says of identities stands.
    pub caller_peer: bool,
    /// Dialog-forming and outside a dialog: sealed Record-Routes are written.
    pub record_route: bool,
    /// Leading Route values that are ours.
    pub routes_skipped: usize,
    /// The Route values beyond ours stay.
    pub routes_kept: bool,
    /// What a strict router had hidden in the last Route: the Request-URI, and the Route values
    /// that are left without it.
    pub restored: Option<Restored>,
    /// Max-Forwards for the next hop.
    pub max_forwards: u8,
    /// What the request looked like on arrival, for loop detection.
    pub loop_hash: u64,
    /// Branches allowed from here on (RFC 5393).
    pub breadth: u32,
    /// The share of them that the branch being sent gets.
    pub share: u32,
}

/// A request as it was before a strict router (RFC 3261 section 16.4).
#[derive(Debug)]
pub struct Restored {
    /// The Request-URI.
    pub request_uri: Vec<u8>,
    /// Route values beyond ours.
    pub routes: Vec<Vec<u8>>,
}

/// One branch of a relayed request.
#[derive(Debug)]
pub struct Branch {
    /// Its client transaction.
    pub serial: u64,
    /// Where it went.
    pub target: Target,
    /// Its final response other than 2xx; empty where it was a timeout or a transport error.
    pub response: Vec<u8>,
    /// It went over TCP for its size alone and may go over UDP after all.
    pub oversize: bool,
    /// It has answered something.
    pub heard: bool,
    /// Its gateway failed, which says nothing about the call.
    pub failed: bool,
}

/// A relayed request in progress.
#[derive(Debug)]
pub struct Relay {
    /// The choice of the response.
    pub context: ResponseContext,
    /// Branches, by the context's numbers.
    pub branches: Vec<Branch>,
    /// What was decided.
    pub plan: Plan,
    /// Targets whose name is being looked up.
    pub resolving: usize,
    /// When timer C is armed for.
    pub armed: Option<Instant>,
}

impl Relay {
    /// Nothing sent yet.
    pub fn new(context: ResponseContext, plan: Plan) -> Self {
        Self { context, branches: Vec::new(), plan, resolving: 0, armed: None }
    }

    /// The branch that has the last word when all have ended: the best, but what a failed gateway
    /// said is no answer. `None`: all of them failed.
    pub fn decisive(&self, best: usize) -> Option<usize> {
        if !self.plan.by_gateways || self.context.cancelled() {
            return Some(best);
        }
        self.branches.iter().rposition(|branch| !branch.failed)
    }
}
