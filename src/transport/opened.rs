//! Whom our TLS connections were opened to. A flow of a dialog may outlive its connection; another
//! may then take its place, if the peer proves the same as before.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// Connections remembered; the oldest are forgotten, and their dialogs end with them.
const REMEMBERED_MAX: usize = 4096;

/// An address and who is to be there.
pub(super) type Peer = (SocketAddr, Option<Box<str>>);

/// The peers of connections, by id.
#[derive(Default)]
pub(super) struct Opened {
    peers: HashMap<u64, Peer>,
    /// In the order they were opened.
    order: VecDeque<u64>,
}

impl Opened {
    /// Remembers whom a connection was opened to.
    pub(super) fn note(&mut self, id: u64, peer: Peer) {
        if self.order.len() >= REMEMBERED_MAX {
            self.order.pop_front().map(|oldest| self.peers.remove(&oldest));
        }
        self.order.push_back(id);
        self.peers.insert(id, peer);
    }

    /// Whom it was opened to.
    pub(super) fn peer(&self, id: u64) -> Option<&Peer> {
        self.peers.get(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_where_there_is_no_room() {
        let mut opened = Opened::default();
        let peer = (SocketAddr::from(([192, 0, 2, 1], 5061)), Some("a.example".into()));
        for id in 1..=REMEMBERED_MAX as u64 + 1 {
            opened.note(id, peer.clone());
        }
        assert_eq!(opened.peer(1), None);
        assert_eq!(opened.peer(2), Some(&peer));
        assert_eq!(opened.peers.len(), REMEMBERED_MAX);
    }
}
