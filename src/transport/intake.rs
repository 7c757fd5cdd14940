//! What readers need of the shard they read for; the actors' [`Door`] in service, a recorder in
//! tests.

use std::net::{IpAddr, SocketAddr};

use rempart_actors::door::Door;
use rempart_actors::wire::{Batch, SendToken};
use rempart_sip::flow::Flow;

/// The way into one shard.
pub(super) trait Intake: Clone + 'static {
    /// Whether what comes by this flow is thrown away unread.
    fn is_banned(&self, flow: &Flow) -> bool;
    /// An empty batch.
    fn batch(&self) -> Batch;
    /// Hands a batch to the shard; `Err` gives it back because there is no room.
    fn deliver(&self, batch: Batch) -> Result<(), Batch>;
    /// Tells the sender that its message was not sent.
    fn send_failed(&self, token: SendToken);
    /// Tells whom it concerns that a datagram to `to`, which began with `quote`, came back.
    fn returned(&self, to: SocketAddr, quote: &[u8]);
    /// The shard that a source belongs to.
    fn shard_of(&self, source: IpAddr) -> usize;
    /// Counts messages thrown away for want of room.
    fn shed(&self, messages: usize);
}

impl Intake for Door {
    fn is_banned(&self, flow: &Flow) -> bool {
        Door::is_banned(self, flow)
    }

    fn batch(&self) -> Batch {
        Door::batch(self)
    }

    fn deliver(&self, batch: Batch) -> Result<(), Batch> {
        Door::deliver(self, batch)
    }

    fn send_failed(&self, token: SendToken) {
        Door::send_failed(self, token);
    }

    fn returned(&self, to: SocketAddr, quote: &[u8]) {
        Door::returned(self, to, quote);
    }

    fn shard_of(&self, source: IpAddr) -> usize {
        Door::shard_of(self, source)
    }

    fn shed(&self, messages: usize) {
        Door::shed(self, messages);
    }
}
