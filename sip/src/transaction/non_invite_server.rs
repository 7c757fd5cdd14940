//! The non-INVITE server transaction (RFC 3261 figure 8): timer J. It ends by itself once the
//! core has given a final response.

use std::time::Instant;

use super::{Class, Pace, Timing, Todo, is_due};
use NonInviteServerState::{Completed, Proceeding, Terminated, Trying};

/// The states of RFC 3261 figure 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonInviteServerState {
    /// The core has said nothing; repeats of the request are absorbed.
    Trying,
    /// The core gave a provisional response.
    Proceeding,
    /// The core gave the final response; repeats of the request get it again until timer J.
    Completed,
    /// Over.
    Terminated,
}

/// One request other than INVITE and ACK that was received.
#[derive(Clone, Copy, Debug)]
pub struct NonInviteServer {
    state: NonInviteServerState,
    pace: Pace,
    /// Timer J.
    end: Option<Instant>,
}

impl NonInviteServer {
    /// Starts in Trying. The caller passes the request to the core.
    pub fn new(reliable: bool, timing: &Timing, _now: Instant) -> Self {
        Self { state: Trying, pace: Pace::new(reliable, timing), end: None }
    }

    /// Where it stands.
    pub fn state(&self) -> NonInviteServerState {
        self.state
    }

    /// When `on_deadline` wants to be called; `None` before the final response, and when over.
    pub fn deadline(&self) -> Option<Instant> {
        self.end
    }

    /// Timer J; nothing if it is too early.
    pub fn on_deadline(&mut self, now: Instant) -> Todo {
        if is_due(self.end, now) { self.terminate(Todo::DONE) } else { Todo::NOTHING }
    }

    /// The request came again. `send` means the last response.
    pub fn on_request(&mut self, _now: Instant) -> Todo {
        match self.state {
            Proceeding | Completed => Todo::SEND,
            Trying | Terminated => Todo::NOTHING,
        }
    }

    /// The core responds. Without `send` the response comes too late and is not to be sent.
    pub fn on_response(&mut self, status: u16, now: Instant) -> Todo {
        match (self.state, Class::of(status)) {
            (Trying | Proceeding, Class::Provisional) => {
                self.state = Proceeding;
                Todo::SEND
            }
            (Trying | Proceeding, Class::Success | Class::Failure) => self.complete(now),
            _ => Todo::NOTHING,
        }
    }

    /// A response could not be sent (RFC 3261 section 17.2.4): the core hears of it.
    pub fn on_transport_error(&mut self, _now: Instant) -> Todo {
        match self.state {
            Proceeding | Completed => self.terminate(Todo::UP_AND_DONE),
            Trying | Terminated => Todo::NOTHING,
        }
    }

    /// Timer J.
    fn complete(&mut self, now: Instant) -> Todo {
        if self.pace.reliable {
            return self.terminate(Todo::SEND.done_if(true));
        }
        (self.state, self.end) = (Completed, Some(now + self.pace.linger()));
        Todo::SEND
    }

    fn terminate(&mut self, todo: Todo) -> Todo {
        (self.state, self.end) = (Terminated, None);
        todo
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::{at, secs};

    fn trying(reliable: bool) -> NonInviteServer {
        NonInviteServer::new(reliable, &Timing::default(), at(0))
    }

    fn after(status: u16) -> NonInviteServer {
        let mut server = trying(false);
        server.on_response(status, at(0));
        server
    }

    #[test]
    fn trying_absorbs_the_repeated_request() {
        let mut server = trying(false);
        assert_eq!(server.on_request(at(1)), Todo::NOTHING);
        assert_eq!(server.on_transport_error(at(1)), Todo::NOTHING);
        assert_eq!((server.state(), server.deadline()), (Trying, None));
    }

    #[test]
    fn provisional_is_sent_every_time() {
        let mut server = trying(false);
        for _ in 0..2 {
            assert_eq!(server.on_response(100, at(1)), Todo::SEND);
            assert_eq!(server.state(), Proceeding);
        }
    }

    #[test]
    fn repeated_request_gets_the_last_response() {
        for status in [100, 200] {
            assert_eq!(after(status).on_request(at(1)), Todo::SEND);
        }
    }

    #[test]
    fn final_response_is_sent_and_kept_until_timer_j() {
        for status in [200, 302, 404, 503, 603] {
            for mut server in [trying(false), after(100)] {
                assert_eq!(server.on_response(status, at(0)), Todo::SEND);
                assert_eq!((server.state(), server.deadline()), (Completed, Some(at(secs(32)))));
                assert_eq!(server.on_deadline(at(secs(31))), Todo::NOTHING);
                assert_eq!(server.on_deadline(at(secs(32))), Todo::DONE);
                assert_eq!((server.state(), server.deadline()), (Terminated, None));
            }
        }
    }

    #[test]
    fn completed_discards_what_the_core_says_later() {
        let mut server = after(200);
        for status in [100, 200, 404] {
            assert_eq!(server.on_response(status, at(1)), Todo::NOTHING);
        }
        assert_eq!(server.state(), Completed);
    }

    #[test]
    fn transport_error_after_a_response_ends_it_and_tells_the_core() {
        for status in [100, 200] {
            let mut server = after(status);
            assert_eq!(server.on_transport_error(at(1)), Todo::UP_AND_DONE);
            assert_eq!(server.state(), Terminated);
        }
    }

    #[test]
    fn timer_j_is_zero_on_a_reliable_transport() {
        let mut server = trying(true);
        assert_eq!(server.on_response(200, at(0)), Todo::SEND.done_if(true));
        assert_eq!((server.state(), server.deadline()), (Terminated, None));
    }
}
