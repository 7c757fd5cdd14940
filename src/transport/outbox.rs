//! Where one shard's messages leave: datagrams by the listener they belong to, stream messages by
//! a connection that stands or is opened for them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rempart_actors::door::shard_of;
use rempart_actors::identity::Session;
use rempart_actors::wire::{Outbox, SendToken};
use rempart_sip::flow::{Flow, SourceKey, Transport};

use super::Shared;
use super::connections::{Handle, Origin, Unqueued};
use super::routes::Routes;
use super::station::Job;
use super::udp::{Queue, Unsent};

/// One shard's outbox.
pub(super) struct ShardOutbox {
    shard: usize,
    shared: Arc<Shared>,
    /// One per UDP listener.
    queues: Vec<Queue>,
    routes: Routes,
}

impl ShardOutbox {
    pub(super) fn new(shard: usize, shared: Arc<Shared>) -> Self {
        let queues = shared.udp.iter().map(|port| Queue::new(port.clone(), shard)).collect();
        let routes = Routes::new(shared.listeners());
        Self { shard, shared, queues, routes }
    }

    fn send_datagram(&mut self, flow: &Flow, message: &[u8], token: Option<SendToken>) {
        let Some(index) = choose(self.queues.iter().map(Queue::address), flow) else {
            return self.failed(token);
        };
        let full = self.queues.get_mut(index).is_some_and(|queue| queue.push(flow, message, token));
        if full {
            self.flush_queue(index);
        }
    }

    fn flush_queue(&mut self, index: usize) {
        let (shard, shared) = (self.shard, &self.shared);
        let Some(queue) = self.queues.get_mut(index) else { return };
        queue.flush(|unsent| shared.unsent(shard, unsent));
    }

    fn send_on_stream(&mut self, flow: &Flow, message: &[u8], token: Option<SendToken>) {
        let origin = self.origin(token);
        let found = self.shared.connections.towards(flow);
        let pushed = found.map_or(Err(Unqueued::Closed), |handle| handle.push(message, origin));
        match pushed {
            Ok(()) => {}
            Err(Unqueued::Full) => self.failed(token),
            Err(Unqueued::Closed) => self.connect(flow, message, token),
        }
    }

    /// Opens a connection for a message. Over TLS, whoever takes the place of a peer that has gone
    /// has to prove what that one proved.
    fn connect(&mut self, flow: &Flow, message: &[u8], token: Option<SendToken>) {
        let handle = match flow.transport {
            Transport::Tls => self.secure(flow),
            transport => self.open(transport, flow.remote, None),
        };
        let pushed = handle.map(|handle| handle.push(message, self.origin(token)));
        if pushed != Some(Ok(())) {
            self.failed(token);
        }
    }

    fn secure(&self, flow: &Flow) -> Option<Arc<Handle>> {
        let connections = &self.shared.connections;
        let name = connections.proof_for(flow)?;
        let found = connections.proving(flow, name.as_deref());
        found.or_else(|| self.open(flow.transport, flow.remote, name.as_deref()))
    }

    /// Has a connection opened by the shard of its peer, which reads it like any other.
    fn open(
        &self,
        transport: Transport,
        remote: SocketAddr,
        name: Option<&str>,
    ) -> Option<Arc<Handle>> {
        let reserve = || self.shared.connections.reserve(transport, remote, name);
        let seat = (remote.port() != 0).then(reserve).flatten()?;
        let handle = seat.handle().clone();
        let shard = shard_of(SourceKey::of(remote.ip()), self.shared.shards());
        // A shard with too many jobs drops the seat, which reports what is pushed meanwhile.
        self.shared.hand_over(shard, Job::Connect(seat)).then_some(handle)
    }

    fn origin(&self, token: Option<SendToken>) -> Option<Origin> {
        token.map(|token| Origin { shard: self.shard, token })
    }

    fn failed(&self, token: Option<SendToken>) {
        if let Some(origin) = self.origin(token) {
            self.shared.connections.reports().failed(origin);
        }
    }
}

impl Outbox for ShardOutbox {
    fn send(&mut self, flow: &Flow, message: &[u8], token: Option<SendToken>) {
        match flow.transport {
            Transport::Udp => self.send_datagram(flow, message, token),
            Transport::Tcp | Transport::Tls => self.send_on_stream(flow, message, token),
        }
    }

    fn flush(&mut self) {
        for index in 0..self.queues.len() {
            self.flush_queue(index);
        }
    }

    fn local_for(&mut self, transport: Transport, remote: IpAddr) -> Option<SocketAddr> {
        self.routes.local_for(transport, remote)
    }

    fn is_open(&self, flow: &Flow) -> bool {
        match (flow.transport, flow.connection) {
            (Transport::Udp, _) => true,
            (_, 0) => self.shared.connections.towards(flow).is_some(),
            (Transport::Tcp, _) => self.shared.connections.named(flow).is_some(),
            (Transport::Tls, _) => {
                let connections = &self.shared.connections;
                connections.named(flow).is_some() || connections.proof_for(flow).is_some()
            }
        }
    }

    fn connection_to(
        &mut self,
        transport: Transport,
        remote: SocketAddr,
        name: Option<&str>,
    ) -> Option<Flow> {
        let local = self.local_for(transport, remote.ip())?;
        let flow = Flow { transport, local, remote, connection: 0 };
        if transport != Transport::Tls {
            return Some(flow);
        }
        let found = self.shared.connections.proving(&flow, name);
        let handle = found.or_else(|| self.open(transport, remote, name))?;
        Some(Flow { connection: handle.id, ..flow })
    }

    fn session(&self, flow: &Flow) -> Option<Arc<Session>> {
        self.shared.connections.named(flow)?.session()
    }
}

impl Shared {
    /// Counts a datagram that the kernel refused, and tells its sender where waiting is no help.
    fn unsent(&self, shard: usize, unsent: Unsent) {
        let Unsent { token, error } = unsent;
        if error.kind() == io::ErrorKind::WouldBlock {
            self.counts.datagrams_dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counts.datagrams_refused.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(token) = token {
            self.connections.reports().failed(Origin { shard, token });
        }
    }
}

/// The listener a datagram leaves from: the one at `flow.local`, else the nearest to it of the
/// family, because a binding may be older than the listeners.
fn choose(listeners: impl Iterator<Item = SocketAddr> + Clone, flow: &Flow) -> Option<usize> {
    let of_family = |address: &SocketAddr| address.is_ipv4() == flow.remote.is_ipv4();
    let distance = |address: &SocketAddr| {
        let same_ip = address.ip() == flow.local.ip();
        let same_port = address.port() == flow.local.port();
        match (same_ip, address.ip().is_unspecified(), same_port) {
            (true, _, true) => 0,
            (_, true, true) => 1,
            (true, _, false) => 2,
            (_, true, false) => 3,
            (false, false, _) => 4,
        }
    };
    let candidates = listeners.enumerate().filter(|(_, address)| of_family(address));
    candidates.min_by_key(|(_, address)| distance(address)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(listeners: &[&str], local: &str, remote: &str) -> Option<usize> {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (local, remote) = (parse(local), parse(remote));
        let flow = Flow { transport: Transport::Udp, local, remote, connection: 0 };
        choose(listeners.iter().map(|text| parse(text)), &flow)
    }

    #[test]
    fn a_datagram_leaves_by_the_listener_of_its_flow() {
        let listeners = ["0.0.0.0:5060", "192.0.2.1:5062", "[::]:5060", "192.0.2.1:5060"];
        assert_eq!(chosen(&listeners, "192.0.2.1:5060", "198.51.100.1:9"), Some(3));
        assert_eq!(chosen(&listeners, "192.0.2.9:5060", "198.51.100.1:9"), Some(0));
        assert_eq!(chosen(&listeners, "192.0.2.1:5062", "198.51.100.1:9"), Some(1));
        assert_eq!(chosen(&listeners, "[2001:db8::1]:5060", "[2001:db8::2]:9"), Some(2));
    }

    #[test]
    fn a_flow_older_than_the_listeners_still_leaves_by_its_family() {
        assert_eq!(chosen(&["[::]:5060", "192.0.2.1:7"], "192.0.2.9:5060", "192.0.2.2:9"), Some(1));
        assert_eq!(chosen(&["[::]:5060"], "192.0.2.9:5060", "192.0.2.2:9"), None);
    }
}
