//! Rempart's actors, embeddable in any actix system: the walk of one message from the gate to the
//! relay, in the order in which refusing costs more.
//!
//! [`Edge::start`] wires them; a [`wire::Wire`] brings the messages in and takes them out. The
//! walk: [`door`] → [`gate`] → [`flood`] → [`router`] ⇄ [`auth_guard`], [`subscriber`] → relay.

pub mod accounts;
pub mod auth_guard;
pub mod bans;
pub mod clock;
pub mod counters;
pub mod directory;
pub mod door;
mod edge;
pub mod egress;
pub mod flood;
pub mod gate;
pub mod guard_desk;
pub mod location;
pub mod meter;
pub mod names;
pub mod nonce_uses;
pub mod policy;
mod relay;
pub mod router;
pub mod scribe;
pub mod settings;
pub mod shared;
pub mod sources;
pub mod subscriber;
pub mod tally;
pub mod ticket;
mod transactions;
pub mod trusted;
pub mod wire;

pub use edge::Edge;
