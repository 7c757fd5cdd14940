//! The non-INVITE client transaction (RFC 3261 figure 6): timers E, F and K. It always ends by
//! itself.

use std::time::Instant;

use super::{Class, Pace, Repeat, Timing, Todo, earlier, is_due};
use NonInviteClientState::{Completed, Proceeding, Terminated, Trying};

/// The states of RFC 3261 figure 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonInviteClientState {
    /// Sent, nothing heard; repeated by timer E until timer F.
    Trying,
    /// A provisional response was received; still repeated, every T2, until timer F.
    Proceeding,
    /// A final response was received; repeats of it are absorbed until timer K.
    Completed,
    /// Over.
    Terminated,
}

/// One request other than INVITE and ACK on its way to one target.
#[derive(Clone, Copy, Debug)]
pub struct NonInviteClient {
    state: NonInviteClientState,
    pace: Pace,
    /// Timer E.
    repeat: Repeat,
    /// Timer F or K.
    end: Option<Instant>,
}

impl NonInviteClient {
    /// Starts in Trying. The caller sends the first copy of the request itself.
    pub fn new(reliable: bool, timing: &Timing, now: Instant) -> Self {
        let pace = Pace::new(reliable, timing);
        let end = Some(now + timing.final_response);
        Self { state: Trying, pace, repeat: Repeat::start(pace, now), end }
    }

    /// Where it stands.
    pub fn state(&self) -> NonInviteClientState {
        self.state
    }

    /// When `on_deadline` wants to be called; `None` when over.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.repeat.at, self.end)
    }

    /// Timers E, F and K; nothing if it is too early.
    pub fn on_deadline(&mut self, now: Instant) -> Todo {
        match (self.state, is_due(self.end, now), self.repeat.is_due(now)) {
            (Trying | Proceeding, true, _) => self.terminate(Todo::GIVE_UP),
            (Completed, true, _) => self.terminate(Todo::DONE),
            (Trying, false, true) => {
                self.repeat = self.repeat.double(self.pace.t2_ms, now);
                Todo::SEND
            }
            (Proceeding, false, true) => {
                self.repeat = self.repeat.next(self.pace.t2_ms, now);
                Todo::SEND
            }
            _ => Todo::NOTHING,
        }
    }

    /// A response that matched this transaction.
    pub fn on_response(&mut self, status: u16, now: Instant) -> Todo {
        match (self.state, Class::of(status)) {
            (Trying | Proceeding, Class::Provisional) => {
                self.state = Proceeding;
                Todo::UP
            }
            (Trying | Proceeding, Class::Success | Class::Failure) => self.complete(now),
            _ => Todo::NOTHING,
        }
    }

    /// The request could not be sent (RFC 3261 section 17.1.4): the core hears of it and counts
    /// a 503.
    pub fn on_transport_error(&mut self, _now: Instant) -> Todo {
        match self.state {
            Trying | Proceeding => self.terminate(Todo::UP_AND_DONE),
            Completed | Terminated => Todo::NOTHING,
        }
    }

    /// Timer K.
    fn complete(&mut self, now: Instant) -> Todo {
        if self.pace.reliable {
            return self.terminate(Todo::UP_AND_DONE);
        }
        self.state = Completed;
        (self.repeat, self.end) = (Repeat::OFF, Some(now + self.pace.drain()));
        Todo::UP
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

    fn trying(reliable: bool) -> NonInviteClient {
        NonInviteClient::new(reliable, &Timing::default(), at(0))
    }

    fn after(status: u16) -> NonInviteClient {
        let mut client = trying(false);
        client.on_response(status, at(0));
        client
    }

    fn repeats(mut client: NonInviteClient) -> (Vec<u64>, Todo) {
        let (mut sent_at, mut last) = (Vec::new(), Todo::NOTHING);
        while let Some(deadline) = client.deadline() {
            last = client.on_deadline(deadline);
            if last.send {
                sent_at.push(ms(deadline));
            }
        }
        (sent_at, last)
    }

    #[test]
    fn timer_e_doubles_up_to_t2_until_timer_f() {
        let (sent_at, last) = repeats(trying(false));
        assert_eq!(sent_at, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500]);
        assert_eq!(last, Todo::GIVE_UP);
    }

    #[test]
    fn timer_e_is_off_on_a_reliable_transport() {
        assert_eq!(repeats(trying(true)), (vec![], Todo::GIVE_UP));
    }

    #[test]
    fn timer_e_goes_on_every_t2_while_proceeding_until_timer_f() {
        let (sent_at, last) = repeats(after(100));
        assert_eq!(sent_at, [500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500]);
        assert_eq!(last, Todo::GIVE_UP);
    }

    #[test]
    fn transport_error_before_the_final_response_ends_it_and_tells_the_core() {
        for mut client in [trying(false), after(100)] {
            assert_eq!(client.on_transport_error(at(1)), Todo::UP_AND_DONE);
            assert_eq!((client.state(), client.deadline()), (Terminated, None));
        }
    }

    #[test]
    fn provisional_goes_up_every_time() {
        let mut client = trying(false);
        for _ in 0..2 {
            assert_eq!(client.on_response(100, at(1)), Todo::UP);
            assert_eq!(client.state(), Proceeding);
        }
    }

    #[test]
    fn final_response_goes_up_and_completes_until_timer_k() {
        for status in [200, 302, 404, 503, 603] {
            for mut client in [trying(false), after(100)] {
                assert_eq!(client.on_response(status, at(0)), Todo::UP);
                assert_eq!((client.state(), client.deadline()), (Completed, Some(at(secs(5)))));
                assert_eq!(client.on_deadline(at(secs(5))), Todo::DONE);
                assert_eq!(client.state(), Terminated);
            }
        }
    }

    #[test]
    fn completed_absorbs_repeated_responses() {
        let mut client = after(200);
        for status in [100, 200, 404] {
            assert_eq!(client.on_response(status, at(1)), Todo::NOTHING);
        }
        assert_eq!(client.on_transport_error(at(1)), Todo::NOTHING);
        assert_eq!(client.state(), Completed);
    }

    #[test]
    fn timer_k_is_zero_on_a_reliable_transport() {
        let mut client = trying(true);
        assert_eq!(client.on_response(200, at(0)), Todo::UP_AND_DONE);
        assert_eq!((client.state(), client.deadline()), (Terminated, None));
    }
}
