//! The INVITE server transaction (RFC 3261 figure 7 as replaced by RFC 6026 section 8.4):
//! timers G, H, I and L. It ends by itself once the core has given a final response.

use std::time::Instant;

use super::{Class, Pace, Repeat, Timing, Todo, earlier, is_due};
use InviteServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated};

/// The states of RFC 6026 figure 2 (server).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteServerState {
    /// The core has not given a final response.
    Proceeding,
    /// A 2xx was sent; the ACK and later 2xx pass through until timer L.
    Accepted,
    /// A failure was sent; repeated by timer G until the ACK or timer H.
    Completed,
    /// The ACK came; more of them are absorbed until timer I.
    Confirmed,
    /// Over.
    Terminated,
}

/// One INVITE that was received.
#[derive(Clone, Copy, Debug)]
pub struct InviteServer {
    state: InviteServerState,
    pace: Pace,
    /// Timer G.
    repeat: Repeat,
    /// Timer H, I or L.
    end: Option<Instant>,
}

impl InviteServer {
    /// Starts in Proceeding. The caller passes the INVITE to the core and sends the 100.
    pub fn new(reliable: bool, timing: &Timing, _now: Instant) -> Self {
        let pace = Pace::new(reliable, timing);
        Self { state: Proceeding, pace, repeat: Repeat::OFF, end: None }
    }

    /// Where it stands.
    pub fn state(&self) -> InviteServerState {
        self.state
    }

    /// When `on_deadline` wants to be called; `None` before the final response, and when over.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.repeat.at, self.end)
    }

    /// Timers G, H, I and L; nothing if it is too early.
    pub fn on_deadline(&mut self, now: Instant) -> Todo {
        match (self.state, is_due(self.end, now), self.repeat.is_due(now)) {
            (Accepted | Completed | Confirmed, true, _) => self.terminate(),
            (Completed, false, true) => {
                self.repeat = self.repeat.double(self.pace.t2_ms, now);
                Todo::SEND
            }
            _ => Todo::NOTHING,
        }
    }

    /// The INVITE came again. `send` means the last response, if there is one yet.
    pub fn on_request(&mut self, _now: Instant) -> Todo {
        match self.state {
            Proceeding | Completed => Todo::SEND,
            Accepted | Confirmed | Terminated => Todo::NOTHING,
        }
    }

    /// The core responds. Without `send` the response comes too late and is not to be sent.
    pub fn on_response(&mut self, status: u16, now: Instant) -> Todo {
        match (self.state, Class::of(status)) {
            (Proceeding, Class::Provisional) => Todo::SEND,
            (Proceeding, Class::Success) => self.accept(now),
            (Proceeding, Class::Failure) => self.complete(now),
            // Repeats of the 2xx come from the far end, through the core.
            (Accepted, Class::Success) => Todo::SEND,
            _ => Todo::NOTHING,
        }
    }

    /// An ACK came that names this INVITE.
    pub fn on_ack(&mut self, now: Instant) -> Todo {
        match self.state {
            Accepted => Todo::UP,
            Completed => self.confirm(now),
            Proceeding | Confirmed | Terminated => Todo::NOTHING,
        }
    }

    /// A response could not be sent: the core hears of it, the state stays (RFC 6026
    /// section 7.1), because the next repeat may get through.
    pub fn on_transport_error(&mut self, _now: Instant) -> Todo {
        match self.state {
            Proceeding | Accepted | Completed => Todo::UP,
            Confirmed | Terminated => Todo::NOTHING,
        }
    }

    /// Timer L.
    fn accept(&mut self, now: Instant) -> Todo {
        (self.state, self.end) = (Accepted, Some(now + self.pace.patience()));
        Todo::SEND
    }

    /// Timers G and H.
    fn complete(&mut self, now: Instant) -> Todo {
        self.state = Completed;
        (self.repeat, self.end) = (Repeat::start(self.pace, now), Some(now + self.pace.patience()));
        Todo::SEND
    }

    /// Timer I.
    fn confirm(&mut self, now: Instant) -> Todo {
        if self.pace.reliable {
            return self.terminate();
        }
        self.state = Confirmed;
        (self.repeat, self.end) = (Repeat::OFF, Some(now + self.pace.drain()));
        Todo::NOTHING
    }

    fn terminate(&mut self) -> Todo {
        (self.state, self.repeat, self.end) = (Terminated, Repeat::OFF, None);
        Todo::DONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::{at, ms, secs};

    fn proceeding(reliable: bool) -> InviteServer {
        InviteServer::new(reliable, &Timing::default(), at(0))
    }

    fn after(status: u16) -> InviteServer {
        let mut server = proceeding(false);
        server.on_response(status, at(0));
        server
    }

    fn confirmed() -> InviteServer {
        let mut server = after(486);
        server.on_ack(at(0));
        server
    }

    #[test]
    fn proceeding_waits_for_the_core_without_a_deadline() {
        let mut server = proceeding(false);
        assert_eq!((server.state(), server.deadline()), (Proceeding, None));
        assert_eq!(server.on_deadline(at(secs(999))), Todo::NOTHING);
    }

    #[test]
    fn repeated_invite_while_proceeding_gets_the_last_response() {
        let mut server = after(180);
        assert_eq!(server.on_request(at(1)), Todo::SEND);
        assert_eq!(server.state(), Proceeding);
    }

    #[test]
    fn provisional_from_the_core_is_sent() {
        let mut server = proceeding(false);
        assert_eq!(server.on_response(180, at(1)), Todo::SEND);
        assert_eq!(server.state(), Proceeding);
    }

    #[test]
    fn ack_before_any_final_response_is_ignored() {
        assert_eq!(proceeding(false).on_ack(at(1)), Todo::NOTHING);
    }

    #[test]
    fn transport_error_is_told_to_the_core_and_changes_no_state() {
        for status in [180, 200, 486] {
            let mut server = after(status);
            let state = server.state();
            assert_eq!(server.on_transport_error(at(1)), Todo::UP);
            assert_eq!(server.state(), state);
        }
    }

    #[test]
    fn success_is_sent_and_accepted_until_timer_l() {
        for reliable in [false, true] {
            let mut server = proceeding(reliable);
            assert_eq!(server.on_response(200, at(0)), Todo::SEND);
            assert_eq!((server.state(), server.deadline()), (Accepted, Some(at(secs(32)))));
            assert_eq!(server.on_deadline(at(secs(32))), Todo::DONE);
            assert_eq!(server.state(), Terminated);
        }
    }

    #[test]
    fn accepted_absorbs_the_invite_and_passes_the_ack_up() {
        let mut server = after(200);
        assert_eq!(server.on_request(at(1)), Todo::NOTHING);
        assert_eq!(server.on_ack(at(1)), Todo::UP);
        assert_eq!(server.state(), Accepted);
    }

    #[test]
    fn accepted_sends_later_successes_and_nothing_else() {
        let mut server = after(200);
        assert_eq!(server.on_response(200, at(1)), Todo::SEND);
        assert_eq!(server.on_response(180, at(1)), Todo::NOTHING);
        assert_eq!(server.on_response(486, at(1)), Todo::NOTHING);
        assert_eq!(server.deadline(), Some(at(secs(32))));
    }

    #[test]
    fn failure_is_repeated_with_pauses_up_to_t2_until_timer_h() {
        let mut server = proceeding(false);
        assert_eq!(server.on_response(486, at(0)), Todo::SEND);
        let mut sent_at = Vec::new();
        while let Some(deadline) = server.deadline() {
            if server.on_deadline(deadline).send {
                sent_at.push(ms(deadline));
            }
        }
        assert_eq!(sent_at[..5], [500, 1_500, 3_500, 7_500, 11_500]);
        assert_eq!(sent_at.last(), Some(&31_500));
        assert_eq!(server.state(), Terminated);
    }

    #[test]
    fn timer_h_ends_an_unacknowledged_failure_on_any_transport() {
        for reliable in [false, true] {
            let mut server = proceeding(reliable);
            server.on_response(486, at(0));
            assert_eq!(server.on_deadline(at(secs(32))), Todo::DONE);
        }
    }

    #[test]
    fn timer_g_is_off_on_a_reliable_transport() {
        let mut server = proceeding(true);
        server.on_response(486, at(0));
        assert_eq!(server.deadline(), Some(at(secs(32))));
    }

    #[test]
    fn repeated_invite_while_completed_gets_the_failure_again() {
        let mut server = after(486);
        assert_eq!(server.on_request(at(1)), Todo::SEND);
        assert_eq!(server.state(), Completed);
    }

    #[test]
    fn completed_discards_what_the_core_says_later() {
        let mut server = after(486);
        for status in [180, 200, 603] {
            assert_eq!(server.on_response(status, at(1)), Todo::NOTHING);
        }
        assert_eq!(server.state(), Completed);
    }

    #[test]
    fn ack_confirms_a_failure_until_timer_i() {
        let mut server = after(486);
        assert_eq!(server.on_ack(at(0)), Todo::NOTHING);
        assert_eq!((server.state(), server.deadline()), (Confirmed, Some(at(secs(5)))));
        assert_eq!(server.on_deadline(at(secs(5))), Todo::DONE);
        assert_eq!(server.state(), Terminated);
    }

    #[test]
    fn confirmed_absorbs_everything() {
        let mut server = confirmed();
        assert_eq!(server.on_ack(at(1)), Todo::NOTHING);
        assert_eq!(server.on_request(at(1)), Todo::NOTHING);
        assert_eq!(server.on_response(200, at(1)), Todo::NOTHING);
        assert_eq!(server.on_transport_error(at(1)), Todo::NOTHING);
        assert_eq!(server.state(), Confirmed);
    }

    #[test]
    fn timer_i_is_zero_on_a_reliable_transport() {
        let mut server = proceeding(true);
        server.on_response(486, at(0));
        assert_eq!(server.on_ack(at(1)), Todo::DONE);
        assert_eq!((server.state(), server.deadline()), (Terminated, None));
    }
}
