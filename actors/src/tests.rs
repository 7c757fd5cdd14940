//! The walk on a paused clock: whole shards, a wire that only notes what is sent, no socket and no
//! sleep.

mod alone;
mod explaining;
mod faults;
mod flooding;
mod gateways;
mod guarding;
mod stage;
