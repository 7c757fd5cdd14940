//! Settings of timers and of everything that grows.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::period;

/// Transaction timers (RFC 3261 section 17).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timers {
    /// The round-trip estimate T1; retransmission intervals follow from it.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub t1: Duration,
    /// How long a next hop has to answer at all (timers B and F).
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub final_response: Duration,
    /// How long a phone may ring (timer C).
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub answer: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            final_response: Duration::from_secs(30),
            answer: Duration::from_secs(120),
        }
    }
}

/// Bounds of what strangers can make us hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest message in bytes, headers and body.
    pub message: usize,
    /// How long a message begun on a connection may take to arrive.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub message_deadline: Duration,
    /// How many sources the flood rule counts exactly.
    pub sources: usize,
    /// How many TCP and TLS connections are open together.
    pub tcp_connections: usize,
    /// How many of them one source may have.
    pub tcp_connections_per_source: usize,
    /// How many transactions are open together.
    pub transactions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 65_535,
            message_deadline: Duration::from_secs(10),
            sources: 262_144,
            tcp_connections: 4_096,
            tcp_connections_per_source: 256,
            transactions: 65_536,
        }
    }
}
