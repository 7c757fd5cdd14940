//! The bound on work in hand. Mailboxes do not bound a crowd of senders, tickets do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The count of messages admitted and not yet done with.
#[derive(Clone, Debug)]
pub struct InFlight {
    messages: Arc<AtomicUsize>,
    messages_max: usize,
}

/// Travels with admitted work; dropping it, anywhere and in a panic too, frees its place.
#[derive(Debug)]
pub struct Ticket {
    messages: Arc<AtomicUsize>,
    places: usize,
}

impl InFlight {
    /// Room for `messages_max` messages.
    pub fn new(messages_max: usize) -> Self {
        Self { messages: Arc::default(), messages_max }
    }

    /// Takes `places` places. `None` means shed: the caller drops the work and counts it.
    pub fn admit(&self, places: usize) -> Option<Ticket> {
        let before = self.messages.fetch_add(places, Ordering::Relaxed);
        let ticket = Ticket { messages: self.messages.clone(), places };
        (before + places <= self.messages_max).then_some(ticket)
    }

    /// How many messages may be in hand.
    pub fn room(&self) -> usize {
        self.messages_max
    }

    /// How many messages are in hand now.
    pub fn count(&self) -> usize {
        self.messages.load(Ordering::Relaxed)
    }
}

impl Ticket {
    /// Gives up to `places` of its places to work that goes its own way from here.
    pub fn split(&mut self, places: usize) -> Self {
        let places = places.min(self.places);
        self.places -= places;
        Self { messages: self.messages.clone(), places }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.messages.fetch_sub(self.places, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_sheds_and_a_dropped_ticket_frees_its_place() {
        let in_flight = InFlight::new(3);
        let held = in_flight.admit(2).expect("room for two");
        assert!(in_flight.admit(2).is_none());
        assert_eq!(in_flight.count(), 2);
        drop(held);
        assert!(in_flight.admit(3).is_some());
        assert_eq!(in_flight.count(), 0);
    }

    #[test]
    fn a_split_ticket_frees_its_places_with_its_last_part() {
        let in_flight = InFlight::new(3);
        let mut whole = in_flight.admit(3).expect("room for three");
        let part = whole.split(2);
        drop(whole);
        assert_eq!(in_flight.count(), 2);
        drop(part);
        assert_eq!(in_flight.count(), 0);
    }
}
