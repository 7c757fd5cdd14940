//! The INVITE client transaction (RFC 3261 figure 5 as replaced by RFC 6026 section 8.4):
//! timers A, B, D and M. It ends by itself in every state but Proceeding, where a phone may ring
//! as long as the proxy core's timer C lets it; `on_cancel` bounds what comes after.

use std::time::Instant;

use super::{Class, Pace, Repeat, Timing, Todo, earlier, is_due};
use InviteClientState::{Accepted, Calling, Completed, Proceeding, Terminated};

/// The states of RFC 6026 figure 1 (client).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteClientState {
    /// Sent, nothing heard; repeated by timer A until timer B.
    Calling,
    /// A provisional response was received.
    Proceeding,
    /// A 2xx was received; later ones are passed on until timer M.
    Accepted,
    /// A failure was received and acknowledged; repeats of it are until timer D.
    Completed,
    /// Over.
    Terminated,
}

/// One INVITE on its way to one target.
#[derive(Clone, Copy, Debug)]
pub struct InviteClient {
    state: InviteClientState,
    pace: Pace,
    /// Timer A.
    repeat: Repeat,
    /// Timer B, D or M, or the wait after a CANCEL.
    end: Option<Instant>,
}

impl InviteClient {
    /// Starts in Calling. The caller sends the first copy of the request itself.
    pub fn new(reliable: bool, timing: &Timing, now: Instant) -> Self {
        let pace = Pace::new(reliable, timing);
        let end = Some(now + timing.final_response);
        Self { state: Calling, pace, repeat: Repeat::start(pace, now), end }
    }

    /// Where it stands.
    pub fn state(&self) -> InviteClientState {
        self.state
    }

    /// When `on_deadline` wants to be called; `None` while a phone rings, and when over.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.repeat.at, self.end)
    }

    /// Timers A, B, D and M; nothing if it is too early.
    pub fn on_deadline(&mut self, now: Instant) -> Todo {
        match (self.state, is_due(self.end, now), self.repeat.is_due(now)) {
            (Calling | Proceeding, true, _) => self.terminate(Todo::GIVE_UP),
            (Accepted | Completed, true, _) => self.terminate(Todo::DONE),
            (Calling, false, true) => {
                self.repeat = self.repeat.double(u32::MAX, now);
                Todo::SEND
            }
            _ => Todo::NOTHING,
        }
    }

    /// A response that matched this transaction.
    pub fn on_response(&mut self, status: u16, now: Instant) -> Todo {
        match (self.state, Class::of(status)) {
            (Calling, Class::Provisional) => self.proceed(),
            (Proceeding, Class::Provisional) => Todo::UP,
            (Calling | Proceeding, Class::Success) => self.accept(now),
            (Accepted, Class::Success) => Todo::UP,
            (Calling | Proceeding, Class::Failure) => self.complete(now),
            (Completed, Class::Failure) => Todo { ack: true, ..Todo::NOTHING },
            _ => Todo::NOTHING,
        }
    }

    /// The request or an ACK could not be sent (RFC 3261 section 17.1.4): the core hears of it
    /// and counts a 503.
    pub fn on_transport_error(&mut self, _now: Instant) -> Todo {
        match self.state {
            Calling | Completed => self.terminate(Todo::UP_AND_DONE),
            _ => Todo::NOTHING,
        }
    }

    /// A CANCEL was sent for it: without a final response within 64 T1 it counts as timed out
    /// (RFC 3261 section 9.1).
    pub fn on_cancel(&mut self, now: Instant) {
        if self.state == Proceeding && self.end.is_none() {
            self.end = Some(now + self.pace.patience());
        }
    }

    /// The core waits for it no more and has turned elsewhere: an INVITE repeated now could only
    /// ring a phone that nobody wants. Until timer B a late answer still finds it.
    pub fn on_given_up(&mut self) {
        if self.state == Calling {
            self.repeat = Repeat::OFF;
        }
    }

    fn proceed(&mut self) -> Todo {
        (self.state, self.repeat, self.end) = (Proceeding, Repeat::OFF, None);
        Todo::UP
    }

    /// Timer M.
    fn accept(&mut self, now: Instant) -> Todo {
        self.state = Accepted;
        (self.repeat, self.end) = (Repeat::OFF, Some(now + self.pace.patience()));
        Todo::UP
    }

    /// Timer D.
    fn complete(&mut self, now: Instant) -> Todo {
        let todo = Todo { up: true, ack: true, ..Todo::NOTHING };
        if self.pace.reliable {
            return self.terminate(todo.done_if(true));
        }
        self.state = Completed;
        (self.repeat, self.end) = (Repeat::OFF, Some(now + self.pace.linger()));
        todo
    }

    fn terminate(&mut self, todo: Todo) -> Todo {
        (self.state, self.repeat, self.end) = (Terminated, Repeat::OFF, None);
        todo
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::{at, ms, secs};

    const UP_ACK: Todo = Todo { up: true, ack: true, ..Todo::NOTHING };
    const ACK: Todo = Todo { ack: true, ..Todo::NOTHING };

    fn calling(reliable: bool) -> InviteClient {
        InviteClient::new(reliable, &Timing::default(), at(0))
    }

    fn after(status: u16) -> InviteClient {
        let mut client = calling(false);
        client.on_response(status, at(0));
        client
    }

    #[test]
    fn timer_a_repeats_the_request_with_doubling_pauses() {
        let mut client = calling(false);
        let mut sent_at = Vec::new();
        while client.state() == Calling {
            let deadline = client.deadline().expect("a calling client has a deadline");
            if client.on_deadline(deadline).send {
                sent_at.push(ms(deadline));
            }
        }
        assert_eq!(sent_at, [500, 1_500, 3_500, 7_500, 15_500]);
    }

    #[test]
    fn timer_b_gives_up_with_a_timeout() {
        for reliable in [false, true] {
            let mut client = calling(reliable);
            assert_eq!(client.on_deadline(at(secs(30))), Todo::GIVE_UP);
            assert_eq!((client.state(), client.deadline()), (Terminated, None));
        }
    }

    #[test]
    fn one_given_up_is_not_repeated_and_still_hears_a_late_answer() {
        let mut client = calling(false);
        client.on_given_up();
        assert_eq!(client.deadline(), Some(at(secs(30))));
        assert_eq!(client.on_response(180, at(secs(5))), Todo::UP);
        client.on_given_up();
        client.on_cancel(at(secs(5)));
        assert_eq!(client.on_response(487, at(secs(6))), UP_ACK);
    }

    #[test]
    fn timer_a_is_off_on_a_reliable_transport() {
        let mut client = calling(true);
        assert_eq!(client.deadline(), Some(at(secs(30))));
        assert_eq!(client.on_deadline(at(500)), Todo::NOTHING);
    }

    #[test]
    fn transport_error_while_calling_ends_it_and_tells_the_core() {
        let mut client = calling(false);
        assert_eq!(client.on_transport_error(at(1)), Todo::UP_AND_DONE);
        assert_eq!(client.state(), Terminated);
    }

    #[test]
    fn provisional_while_calling_stops_the_repeats() {
        let mut client = calling(false);
        assert_eq!(client.on_response(100, at(10)), Todo::UP);
        assert_eq!((client.state(), client.deadline()), (Proceeding, None));
        assert_eq!(client.on_deadline(at(secs(100))), Todo::NOTHING);
    }

    #[test]
    fn provisional_while_proceeding_goes_up() {
        let mut client = after(100);
        assert_eq!(client.on_response(180, at(10)), Todo::UP);
        assert_eq!(client.state(), Proceeding);
    }

    #[test]
    fn success_is_accepted_from_calling_and_from_proceeding() {
        for mut client in [calling(false), after(180)] {
            assert_eq!(client.on_response(200, at(0)), Todo::UP);
            assert_eq!(client.state(), Accepted);
            assert_eq!(client.deadline(), Some(at(secs(32))));
        }
    }

    #[test]
    fn every_later_success_goes_up_until_timer_m() {
        let mut client = after(200);
        assert_eq!(client.on_response(200, at(10)), Todo::UP);
        assert_eq!(client.on_response(180, at(11)), Todo::NOTHING);
        assert_eq!(client.on_response(486, at(12)), Todo::NOTHING);
        assert_eq!(client.on_transport_error(at(13)), Todo::NOTHING);
        assert_eq!(client.on_deadline(at(secs(32))), Todo::DONE);
        assert_eq!(client.state(), Terminated);
    }

    #[test]
    fn timer_m_runs_on_a_reliable_transport_too() {
        let mut client = calling(true);
        client.on_response(200, at(0));
        assert_eq!(client.deadline(), Some(at(secs(32))));
    }

    #[test]
    fn failure_is_acknowledged_and_goes_up() {
        for mut client in [calling(false), after(180)] {
            assert_eq!(client.on_response(486, at(0)), UP_ACK);
            assert_eq!((client.state(), client.deadline()), (Completed, Some(at(secs(32)))));
        }
    }

    #[test]
    fn repeated_failure_is_acknowledged_again_and_stays_here_until_timer_d() {
        let mut client = after(486);
        assert_eq!(client.on_response(486, at(10)), ACK);
        assert_eq!(client.on_response(200, at(10)), Todo::NOTHING);
        assert_eq!(client.on_response(180, at(10)), Todo::NOTHING);
        assert_eq!(client.on_deadline(at(secs(32))), Todo::DONE);
        assert_eq!(client.state(), Terminated);
    }

    #[test]
    fn ack_that_cannot_be_sent_ends_it_and_tells_the_core() {
        let mut client = after(486);
        assert_eq!(client.on_transport_error(at(1)), Todo::UP_AND_DONE);
        assert_eq!(client.state(), Terminated);
    }

    #[test]
    fn timer_d_is_zero_on_a_reliable_transport() {
        let mut client = calling(true);
        assert_eq!(client.on_response(486, at(0)), UP_ACK.done_if(true));
        assert_eq!(client.state(), Terminated);
    }

    #[test]
    fn cancelled_call_without_final_response_times_out() {
        let mut client = after(180);
        client.on_cancel(at(0));
        client.on_cancel(at(secs(10)));
        assert_eq!(client.on_response(183, at(secs(20))), Todo::UP);
        assert_eq!(client.on_deadline(at(secs(32))), Todo::GIVE_UP);
    }

    #[test]
    fn terminated_client_ignores_everything() {
        let mut client = calling(false);
        client.on_transport_error(at(0));
        assert_eq!(client.on_response(200, at(1)), Todo::NOTHING);
        assert_eq!(client.on_response(486, at(1)), Todo::NOTHING);
        assert_eq!(client.on_deadline(at(secs(60))), Todo::NOTHING);
        assert_eq!(client.on_transport_error(at(1)), Todo::NOTHING);
    }
}
