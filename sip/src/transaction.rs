//! Transactions (RFC 3261 section 17, RFC 6026): which messages belong together, and when to
//! repeat, answer again or give up. The four machines are small `Copy` values: a state and its
//! deadlines. They hold no message and no clock; the owner keeps the bytes, arms one timer for
//! `deadline` and does what the returned [`Todo`] says.

use std::time::{Duration, Instant};

mod invite_client;
mod invite_server;
mod key;
mod non_invite_client;
mod non_invite_server;

pub use invite_client::{InviteClient, InviteClientState};
pub use invite_server::{InviteServer, InviteServerState};
pub use key::{TransactionKey, invite_key, server_key};
pub use non_invite_client::{NonInviteClient, NonInviteClientState};
pub use non_invite_server::{NonInviteServer, NonInviteServerState};

/// The periods every timer is made of (RFC 3261 table 4), as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// T1, the round-trip estimate; timers A, E and G start with it, H, J, L and M are 64 of it.
    pub t1: Duration,
    /// T2, the longest pause between repeats of a non-INVITE request or an INVITE response.
    pub t2: Duration,
    /// T4, how long a message may stay in the network; timers I and K.
    pub t4: Duration,
    /// Timers B and F: how long a client waits for the first answer, or for the final one.
    pub final_response: Duration,
    /// Timer C (RFC 3261 section 16.6 step 11): how long a phone may ring; the proxy core's.
    pub answer: Duration,
}

impl Default for Timing {
    /// RFC 3261 section 17.1.1.1 for T1, T2 and T4; the shipped configuration for the others.
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            final_response: Duration::from_secs(30),
            answer: Duration::from_secs(120),
        }
    }
}

/// What the owner of a machine has to do after it took an input. All false is nothing at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Todo {
    /// Send the stored message (again): a server's last response, a client's request.
    pub send: bool,
    /// Pass the input on to the proxy core.
    pub up: bool,
    /// Send an ACK for this failure (INVITE clients only, RFC 3261 section 17.1.1.3).
    pub ack: bool,
    /// Tell the core that nobody answered: it counts as a 408.
    pub timed_out: bool,
    /// The machine has terminated: drop it.
    pub done: bool,
}

impl Todo {
    /// The input changed nothing that anyone else needs to see.
    pub const NOTHING: Self =
        Self { send: false, up: false, ack: false, timed_out: false, done: false };
    const SEND: Self = Self { send: true, ..Self::NOTHING };
    const UP: Self = Self { up: true, ..Self::NOTHING };
    const DONE: Self = Self { done: true, ..Self::NOTHING };
    /// Timers B and F.
    const GIVE_UP: Self = Self { timed_out: true, done: true, ..Self::NOTHING };
    /// The transport failed and the machine ends with it.
    const UP_AND_DONE: Self = Self { up: true, done: true, ..Self::NOTHING };

    /// The same, with the end of the machine when its last wait is zero (reliable transports).
    fn done_if(self, ended: bool) -> Self {
        Self { done: self.done || ended, ..self }
    }
}

/// The three kinds of response the machines tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Provisional,
    Success,
    Failure,
}

impl Class {
    fn of(status: u16) -> Self {
        match status {
            0..200 => Self::Provisional,
            200..300 => Self::Success,
            _ => Self::Failure,
        }
    }
}

/// What a machine remembers of its `Timing`, small enough to be carried a million times.
#[derive(Clone, Copy, Debug)]
struct Pace {
    t1_ms: u32,
    t2_ms: u32,
    t4_ms: u32,
    reliable: bool,
}

impl Pace {
    fn new(reliable: bool, timing: &Timing) -> Self {
        // Zero would repeat for ever at one instant.
        let ms = |d: Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX).max(1);
        Self { t1_ms: ms(timing.t1), t2_ms: ms(timing.t2), t4_ms: ms(timing.t4), reliable }
    }

    /// Timers H, L and M: 64 T1, on every transport.
    fn patience(self) -> Duration {
        Duration::from_millis(u64::from(self.t1_ms) * 64)
    }

    /// Timers D and J: the other side may repeat for 64 T1, but not on a reliable transport.
    fn linger(self) -> Duration {
        if self.reliable { Duration::ZERO } else { self.patience() }
    }

    /// Timers I and K: T4, and zero on a reliable transport.
    fn drain(self) -> Duration {
        if self.reliable { Duration::ZERO } else { Duration::from_millis(u64::from(self.t4_ms)) }
    }
}

/// Timers A, E and G: repeats with a growing pause; never on a reliable transport.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    at: Option<Instant>,
    pause_ms: u32,
}

impl Repeat {
    const OFF: Self = Self { at: None, pause_ms: 0 };

    /// The first repeat comes T1 after the first copy.
    fn start(pace: Pace, now: Instant) -> Self {
        if pace.reliable { Self::OFF } else { Self::OFF.next(pace.t1_ms, now) }
    }

    fn is_due(self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// Twice the last pause, at most `pause_max_ms`, counted from now: a timer that was served
    /// late does not fire twice to catch up.
    fn double(self, pause_max_ms: u32, now: Instant) -> Self {
        self.next(self.pause_ms.saturating_mul(2).min(pause_max_ms), now)
    }

    fn next(self, pause_ms: u32, now: Instant) -> Self {
        Self { at: Some(now + Duration::from_millis(u64::from(pause_ms))), pause_ms }
    }
}

/// The earlier of two deadlines.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn is_due(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| at <= now)
}

/// A clock for tests: milliseconds after one common instant.
#[cfg(test)]
pub(crate) mod test_clock {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub fn at(ms: u64) -> Instant {
        *ORIGIN + Duration::from_millis(ms)
    }

    pub fn ms(at: Instant) -> u64 {
        at.duration_since(*ORIGIN).as_millis() as u64
    }

    pub const fn secs(secs: u64) -> u64 {
        secs * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::test_clock::{at, ms};
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Machine {
        InviteServer(InviteServer),
        NonInviteServer(NonInviteServer),
        InviteClient(InviteClient),
        NonInviteClient(NonInviteClient),
    }

    macro_rules! each {
        ($machine:expr, $m:ident => $call:expr) => {
            match $machine {
                Machine::InviteServer($m) => $call,
                Machine::NonInviteServer($m) => $call,
                Machine::InviteClient($m) => $call,
                Machine::NonInviteClient($m) => $call,
            }
        };
    }

    impl Machine {
        fn new(kind: u8, reliable: bool, timing: &Timing) -> Self {
            match kind {
                0 => Self::InviteServer(InviteServer::new(reliable, timing, at(0))),
                1 => Self::NonInviteServer(NonInviteServer::new(reliable, timing, at(0))),
                2 => Self::InviteClient(InviteClient::new(reliable, timing, at(0))),
                _ => Self::NonInviteClient(NonInviteClient::new(reliable, timing, at(0))),
            }
        }

        fn deadline(&self) -> Option<Instant> {
            each!(self, m => m.deadline())
        }

        fn on_deadline(&mut self, now: Instant) -> Todo {
            each!(self, m => m.on_deadline(now))
        }

        fn on_response(&mut self, status: u16, now: Instant) -> Todo {
            each!(self, m => m.on_response(status, now))
        }

        fn on_other(&mut self, what: u8, now: Instant) -> Todo {
            match (self, what) {
                (Self::InviteServer(m), 0) => m.on_request(now),
                (Self::InviteServer(m), 1) => m.on_ack(now),
                (Self::NonInviteServer(m), 0) => m.on_request(now),
                (Self::InviteClient(m), 0) => {
                    m.on_cancel(now);
                    Todo::NOTHING
                }
                (machine, 2) => each!(machine, m => m.on_transport_error(now)),
                _ => Todo::NOTHING,
            }
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Wait(u64),
        Response(u16),
        Other(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..40_000u64).prop_map(Step::Wait),
            (100..700u16).prop_map(Step::Response),
            (0..3u8).prop_map(Step::Other),
        ]
    }

    fn timing() -> impl Strategy<Value = Timing> {
        (0..600u64, 0..5_000u64, 0..6_000u64, 0..40_000u64).prop_map(|(t1, t2, t4, end)| Timing {
            t1: Duration::from_millis(t1),
            t2: Duration::from_millis(t2),
            t4: Duration::from_millis(t4),
            final_response: Duration::from_millis(end),
            ..Timing::default()
        })
    }

    proptest! {
        #[test]
        fn no_deadline_is_left_in_the_past_and_every_machine_ends(
            kind in 0..4u8,
            reliable: bool,
            timing in timing(),
            steps in prop::collection::vec(step(), 0..30),
        ) {
            let (mut machine, mut now) = (Machine::new(kind, reliable, &timing), 0);
            let mut ended = false;
            for step in steps {
                let todo = match step {
                    Step::Wait(ms) => {
                        now += ms;
                        machine.on_deadline(at(now))
                    }
                    Step::Response(status) => machine.on_response(status, at(now)),
                    Step::Other(what) => machine.on_other(what, at(now)),
                };
                prop_assert!(!ended || todo == Todo::NOTHING, "{todo:?} after the end");
                ended |= todo.done;
                if matches!(step, Step::Wait(_)) {
                    prop_assert!(machine.deadline().is_none_or(|d| d > at(now)));
                }
            }
            ended |= machine.on_response(404, at(now)).done;
            let mut rounds = 0;
            while let Some(deadline) = machine.deadline() {
                now = now.max(ms(deadline) + 1);
                ended |= machine.on_deadline(at(now)).done;
                prop_assert!(machine.deadline().is_none_or(|d| d > at(now)));
                rounds += 1;
                prop_assert!(rounds < 50_000, "{machine:?} does not end");
            }
            prop_assert!(ended, "{machine:?}");
        }

        #[test]
        fn early_deadline_does_nothing(
            kind in 0..4u8,
            status in 100..700u16,
            early in 0..500u64,
        ) {
            let mut machine = Machine::new(kind, false, &Timing::default());
            machine.on_response(status, at(0));
            prop_assert_eq!(machine.on_deadline(at(early)), Todo::NOTHING);
        }
    }

    #[test]
    fn machines_stay_small() {
        assert!(size_of::<InviteServer>() <= 64);
        assert!(size_of::<InviteClient>() <= 64);
        assert!(size_of::<NonInviteClient>() <= 64);
        assert!(size_of::<NonInviteServer>() <= 40);
    }
}
