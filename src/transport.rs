//! The sockets: UDP and TCP listeners, read on the shard that a message's source belongs to and
//! written from any.

pub mod interfaces;
