//! Rempart's actors, embeddable in any actix system: the walk of one message from the gate to the
//! relay, in the order in which refusing costs more.
//!
//! [`Edge::start`] builds the shards; a [`wire::Wire`] brings the messages in and takes them out.
//! `examples/embed.rs` is a whole program. What starts an edge:
//!
//! - [`settings::Settings`], by hand or from the seed's values ([`settings::Settings::new`]);
//! - [`shared::Homes`]: an opened store, a journal with what it replayed, a resolver;
//! - a wire, and how many shards, each on an arbiter of its own.
//!
//! The walk, each stage a module:
//!
//! | stage | does |
//! |---|---|
//! | [`door`] | drops the banned unread, bounds the work in hand ([`ticket`]) |
//! | [`gate`] | lets the [`trusted`] pass, counts the rest in a fixed table ([`sources`]) |
//! | [`flood`] | an actor per busy source: owns its window ([`meter`]) and the ban's beginning |
//! | [`router`] | parses, absorbs retransmissions, asks who it is, applies [`policy`], relays |
//! | [`auth_guard`] | an actor per pair that has failed; suspensions are at the [`guard_desk`] |
//! | [`subscriber`] | an actor per subscriber in use: the registrar of its address of record |
//! | [`location`] | bindings, read by all shards |
//! | [`identity`] | whose certificates a TLS connection was made with |
//! | [`egress`] | where a request may be sent at all |
//! | [`gateways`] | which way to the telephone network, and which gateways work |
//!
//! Everything that grows has a maximum and sheds beyond it ([`counters`]). Time is read in
//! [`clock`] only.

pub mod accounts;
pub mod auth_guard;
pub mod bans;
pub mod clock;
pub mod counters;
pub mod decisions;
pub mod digest_guard;
pub mod directory;
pub mod door;
mod edge;
pub mod egress;
pub mod flood;
pub mod gate;
pub mod gateways;
pub mod guard_desk;
pub mod identity;
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
pub mod suspensions;
pub mod tally;
pub mod ticket;
mod transactions;
pub mod trusted;
pub mod wire;

#[cfg(test)]
mod tests;

pub use edge::Edge;
