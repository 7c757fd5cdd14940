//! The way in: what a shard's readers hold. Knows the bans before anything is copied, lends
//! buffers, and hands batches to the gate within the bound on work in hand.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use rempart_sip::flow::{Flow, SourceKey};

use crate::bans::Bans;
use crate::clock;
use crate::gate::{Gate, Inbound};
use crate::router::{Returned, Router, SendFailed};
use crate::shared::Shared;
use crate::ticket::InFlight;
use crate::wire::{Batch, SendToken};

/// Buffers kept for the next batches.
const POOLED_MAX: usize = 64;

/// A buffer larger than this is not kept: one rare burst must not hold memory for good.
const POOLED_OCTETS_MAX: usize = 1 << 20;

/// Emptied batches, shared by the readers and the actors of one shard.
pub type Pool = Rc<RefCell<Vec<Batch>>>;

/// What one shard's readers hold. Lives on the shard's arbiter.
#[derive(Clone)]
pub struct Door {
    pub(crate) bans: Rc<RefCell<Bans>>,
    pub(crate) gate: Addr<Gate>,
    pub(crate) router: Addr<Router>,
    pub(crate) pool: Pool,
    pub(crate) in_flight: InFlight,
    pub(crate) shared: Arc<Shared>,
    pub(crate) shards: usize,
}

impl Door {
    /// Whether everything from this flow is dropped unread.
    pub fn is_banned(&self, flow: &Flow) -> bool {
        let bans = self.bans.borrow();
        let source = flow.source();
        let banned = bans.is_banned(source, clock::now()) && !self.shared.is_exempt(flow);
        if banned {
            bans.count_dropped(source);
            self.shared.counters.refused("banned");
        }
        banned
    }

    /// An empty batch.
    pub fn batch(&self) -> Batch {
        self.pool.borrow_mut().pop().unwrap_or_default()
    }

    /// Hands a batch to the gate.
    ///
    /// # Errors
    ///
    /// The batch itself when there is no room: datagrams are then shed, streams stop reading and
    /// try again.
    pub fn deliver(&self, mut batch: Batch) -> Result<(), Batch> {
        // A batch larger than the whole bound must still pass once nothing else is in hand.
        let places = batch.len().min(self.in_flight.room());
        let Some(ticket) = self.in_flight.admit(places) else { return Err(batch) };
        batch.hold(ticket);
        self.gate.try_send(Inbound(batch)).map_err(|refused| match refused {
            SendError::Full(Inbound(batch)) | SendError::Closed(Inbound(batch)) => batch.release(),
        })
    }

    /// Tells the shard that a message with a token did not leave.
    pub fn send_failed(&self, token: SendToken) {
        if self.router.try_send(SendFailed(token)).is_err() {
            self.shared.counters.shed("send-failed", 1);
        }
    }

    /// Tells whom it concerns that a datagram to `to` came back: an ICMP error says that nobody
    /// takes it there, and quotes how it began. Errors can be forged by anyone who guesses two
    /// ports, so only one that quotes a branch of ours is believed (RFC 5927 section 4.1 asks as
    /// much of TCP); without one the timers notice.
    pub fn returned(&self, to: SocketAddr, quote: &[u8]) {
        let branch = quoted_branch(quote);
        let Some(token) = branch.and_then(|branch| self.shared.sealer.open_branch(branch)) else {
            return;
        };
        let Some(router) = self.shared.router(usize::from(token.shard)) else { return };
        if router.try_send(Returned { serial: token.serial, to }).is_err() {
            self.shared.counters.shed("returned", 1);
        }
    }

    /// Which shard serves this address.
    pub fn shard_of(&self, ip: IpAddr) -> usize {
        shard_of(SourceKey::of(ip), self.shards)
    }

    /// Counts messages dropped for want of room.
    pub fn shed(&self, messages: usize) {
        self.shared.counters.shed("in-flight", messages);
    }
}

/// Gives an emptied batch back to the pool.
pub(crate) fn recycle(pool: &Pool, mut batch: Batch) {
    batch.clear();
    let mut pool = pool.borrow_mut();
    if pool.len() < POOLED_MAX && batch.octets() <= POOLED_OCTETS_MAX {
        pool.push(batch);
    }
}

/// The branch in the first Via of a message of which the end may be missing.
fn quoted_branch(quote: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b";branch=";
    let via = quote.windows(7).position(|part| part == b"\r\nVia: ")?;
    let line = quote.get(via + 2..)?;
    let start = line.windows(NAME.len()).position(|part| part == NAME)? + NAME.len();
    let value = line.get(start..)?;
    let end = value.iter().position(|octet| matches!(octet, b';' | b'\r'))?;
    value.get(..end)
}

/// The shard of a source. The kernel makes the same choice for datagrams: one source's requests
/// meet one shard, in order, and its counters need no lock.
pub fn shard_of(source: SourceKey, shards: usize) -> usize {
    let word = match source.address() {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => ((v6.to_bits() >> 96) ^ (v6.to_bits() >> 64)) as u32,
    };
    word as usize % shards.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_is_found_in_a_message_cut_short() {
        let quote = b"OPTIONS sip:a;branch=x SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKme\r\nMa";
        assert_eq!(quoted_branch(quote), Some(&b"z9hG4bKme"[..]));
        assert_eq!(quoted_branch(&quote[..66]), None, "it may go on");
        assert_eq!(quoted_branch(b"OPTIONS sip:a;branch=x SIP/2.0\r\n"), None);
        assert_eq!(quoted_branch(b""), None);
    }
}
