//! The response context (RFC 3261 section 16.7): which of the answers of many branches go back, and
//! when. It holds status codes, no messages; the owner keeps each branch's final response.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// What becomes of one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it back now, on the server transaction.
    Forward,
    /// Keep it: it may become the answer when every branch has ended.
    Hold,
    /// It goes nowhere.
    Absorb,
    /// Every branch has ended: send back what this branch said, with the status that
    /// `ResponseContext::status` tells for it.
    Final(usize),
}

/// One branch: a request sent to one target.
#[derive(Clone, Copy, Debug)]
struct Branch {
    state: State,
    cancel: Cancel,
    /// When its phone has rung long enough (timer C); INVITE only.
    timer_c: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing heard: it may not be cancelled yet (RFC 3261 section 9.1).
    Calling,
    /// A provisional response was received, 100 included.
    Proceeding,
    /// The final status it counts with.
    Ended(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    No,
    /// Because the caller cancelled, or another branch decided the call.
    Wanted(Reason),
    Sent(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Nobody waits for this branch any more.
    Decided,
    /// Timer C: the caller still waits, and is told that nobody answered.
    RangOut,
}

/// The branches of one request and what they answered.
#[derive(Clone, Debug)]
pub struct ResponseContext {
    branches: SmallVec<[Branch; 1]>,
    invite: bool,
    /// Timer C.
    answer: Duration,
    /// A final response was given to the owner for sending.
    answered: bool,
    /// A 2xx or 6xx was received, or the caller cancelled: no new branches.
    decided: bool,
    cancelled: bool,
}

impl ResponseContext {
    /// A context without branches. `answer` is timer C, which runs for INVITE only.
    pub fn new(invite: bool, answer: Duration) -> Self {
        let branches = SmallVec::new();
        Self { branches, invite, answer, answered: false, decided: false, cancelled: false }
    }

    /// A request was sent to one more target; the number to speak of it by. It may follow a
    /// `Final` that was not sent, to try the next group of targets.
    pub fn add_branch(&mut self, now: Instant) -> usize {
        let cancel = if self.decided { Cancel::Wanted(Reason::Decided) } else { Cancel::No };
        let timer_c = self.invite.then(|| now + self.answer);
        self.branches.push(Branch { state: State::Calling, cancel, timer_c });
        self.answered &= self.decided;
        self.branches.len() - 1
    }

    /// Whether more targets may be tried: not after a 2xx, a 6xx or a CANCEL.
    pub fn may_fork(&self) -> bool {
        !self.decided
    }

    /// A branch answered.
    pub fn on_response(&mut self, branch: usize, status: u16, now: Instant) -> Verdict {
        let invite = self.invite;
        let Some(entry) = self.branches.get_mut(branch) else { return Verdict::Absorb };
        match (entry.state, status) {
            // A target that forks by itself may say 2xx many times (section 16.7, step 5).
            (State::Ended(_), 200..300) if invite => self.succeed(branch, status),
            (State::Ended(_), _) => Verdict::Absorb,
            (_, 0..=100) => {
                entry.state = State::Proceeding;
                Verdict::Absorb
            }
            (_, 101..200) => self.ring(branch, now),
            (_, 200..300) => self.succeed(branch, status),
            (_, 300..) => self.fail(branch, status),
        }
    }

    /// A branch's client transaction ended without an answer: it counts as 408 (section 16.8), or
    /// as 487 where the caller has given up anyway.
    pub fn on_timeout(&mut self, branch: usize) -> Verdict {
        let status = if self.cancelled { 487 } else { 408 };
        self.end_unanswered(branch, status)
    }

    /// A branch could not be sent: it counts as 503 (section 16.9).
    pub fn on_transport_error(&mut self, branch: usize) -> Verdict {
        self.end_unanswered(branch, 503)
    }

    /// The caller sent a CANCEL (section 16.10): every pending branch is to be cancelled.
    pub fn on_cancel(&mut self) {
        if self.invite {
            self.cancelled = true;
            self.decide();
        }
    }

    /// Whether the caller has cancelled.
    pub fn cancelled(&self) -> bool {
        self.cancelled
    }

    /// When `on_deadline` wants to be called: the next timer C.
    pub fn deadline(&self) -> Option<Instant> {
        self.branches.iter().filter_map(|branch| branch.timer_c).min()
    }

    /// Timer C (section 16.8): a branch that rang is to be cancelled, one that never answered
    /// counts as 408.
    pub fn on_deadline(&mut self, now: Instant) -> Verdict {
        let mut verdict = Verdict::Absorb;
        for index in 0..self.branches.len() {
            let entry = &mut self.branches[index];
            if entry.timer_c.is_none_or(|at| at > now) {
                continue;
            }
            entry.timer_c = None;
            if entry.state == State::Calling {
                verdict = self.end_unanswered(index, 408);
            } else if entry.cancel == Cancel::No {
                entry.cancel = Cancel::Wanted(Reason::RangOut);
            }
        }
        verdict
    }

    /// The branches to send a CANCEL for now, each once: wanted, and answered with a provisional
    /// response, before which a CANCEL could overtake its INVITE (section 9.1). Ask after every
    /// input.
    pub fn take_cancels(&mut self) -> SmallVec<[usize; 4]> {
        let mut due = SmallVec::new();
        for (index, branch) in self.branches.iter_mut().enumerate() {
            if let (State::Proceeding, Cancel::Wanted(reason)) = (branch.state, branch.cancel) {
                branch.cancel = Cancel::Sent(reason);
                due.push(index);
            }
        }
        due
    }

    /// The branches that have not ended, in order.
    pub fn pending_branches(&self) -> impl Iterator<Item = usize> + '_ {
        let pending = |(_, branch): &(usize, &Branch)| !matches!(branch.state, State::Ended(_));
        self.branches.iter().enumerate().filter(pending).map(|(index, _)| index)
    }

    /// The branches that asked for credentials: when a 401 or 407 goes back, the challenges of all
    /// of them go with it (section 16.7, step 7).
    pub fn challenged_branches(&self) -> impl Iterator<Item = usize> + '_ {
        let challenged =
            |(_, branch): &(usize, &Branch)| matches!(branch.state, State::Ended(401 | 407));
        self.branches.iter().enumerate().filter(challenged).map(|(index, _)| index)
    }

    /// The status that a branch's final response goes back with: its own, but 500 for a 503, which
    /// would keep the caller from us altogether (section 16.7, step 6), and 408 for a 487 that our
    /// own timer C brought about. `None` before the branch has ended.
    pub fn status(&self, branch: usize) -> Option<u16> {
        match self.branches.get(branch)?.state {
            State::Ended(503) => Some(500),
            State::Ended(status) => Some(status),
            State::Calling | State::Proceeding => None,
        }
    }

    /// A provisional response that the caller wants to hear, and that starts timer C anew.
    fn ring(&mut self, branch: usize, now: Instant) -> Verdict {
        let timer_c = self.invite.then(|| now + self.answer);
        let entry = &mut self.branches[branch];
        entry.state = State::Proceeding;
        // A branch that is being cancelled does not win time by ringing on.
        entry.timer_c = timer_c.filter(|_| entry.cancel == Cancel::No);
        if self.answered { Verdict::Absorb } else { Verdict::Forward }
    }

    /// The first success, or any success of an INVITE, goes back at once.
    fn succeed(&mut self, branch: usize, status: u16) -> Verdict {
        self.end(branch, status);
        let forward = self.invite || !self.answered;
        self.answered = true;
        self.decide();
        if forward { Verdict::Forward } else { Verdict::Absorb }
    }

    fn fail(&mut self, branch: usize, status: u16) -> Verdict {
        let rang_out = matches!(
            self.branches[branch].cancel,
            Cancel::Wanted(Reason::RangOut) | Cancel::Sent(Reason::RangOut)
        );
        let status = if status == 487 && rang_out && !self.cancelled { 408 } else { status };
        self.end(branch, status);
        if status >= 600 {
            self.decide();
        }
        self.choose()
    }

    fn end_unanswered(&mut self, branch: usize, status: u16) -> Verdict {
        match self.branches.get(branch).map(|branch| branch.state) {
            Some(State::Calling | State::Proceeding) => {
                self.end(branch, status);
                self.choose()
            }
            Some(State::Ended(_)) | None => Verdict::Absorb,
        }
    }

    fn end(&mut self, branch: usize, status: u16) {
        let entry = &mut self.branches[branch];
        (entry.state, entry.timer_c) = (State::Ended(status), None);
    }

    /// No more branches, and the pending ones are to be cancelled. Only INVITEs can be.
    fn decide(&mut self) {
        self.decided = true;
        for branch in self.branches.iter_mut().filter(|_| self.invite) {
            if branch.cancel == Cancel::No {
                branch.cancel = Cancel::Wanted(Reason::Decided);
            }
        }
    }

    /// The best final response once all branches have one.
    fn choose(&mut self) -> Verdict {
        if self.answered {
            return Verdict::Absorb;
        }
        if self.pending_branches().next().is_some() {
            return Verdict::Hold;
        }
        let ended = self.branches.iter().enumerate().filter_map(|(index, branch)| {
            matches!(branch.state, State::Ended(_)).then_some((rank(branch.state), index))
        });
        let best = ended.min();
        self.answered = best.is_some();
        best.map_or(Verdict::Absorb, |(_, index)| Verdict::Final(index))
    }
}

/// The order of choice (section 16.7, step 6): 6xx, then the lowest class. Within 4xx first what
/// tells the caller how to try again, and last the 408, which is what silence counts as: an answer
/// that somebody gave says more. Within 5xx last the 503, which would become a 500. Equals go by
/// order of the branches.
fn rank(state: State) -> (u16, u8) {
    match state {
        State::Ended(status @ (401 | 407 | 415 | 420 | 484)) => (status / 100, 0),
        State::Ended(status @ 600..) => (0, u8::from(status != 603)),
        State::Ended(status @ 408) => (status / 100, 2),
        State::Ended(status @ 400..500) => (status / 100, 1),
        State::Ended(status) => (status / 100, u8::from(status == 503)),
        State::Calling | State::Proceeding => (u16::MAX, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::{at, secs};
    use Verdict::{Absorb, Final, Forward, Hold};
    use proptest::prelude::*;

    fn context(invite: bool, branches: usize) -> ResponseContext {
        let mut context = ResponseContext::new(invite, Duration::from_secs(120));
        for _ in 0..branches {
            context.add_branch(at(0));
        }
        context
    }

    /// The verdicts on a row of responses, one per branch.
    fn verdicts(invite: bool, statuses: &[u16]) -> Vec<Verdict> {
        let mut context = context(invite, statuses.len());
        let answers = statuses.iter().enumerate();
        answers.map(|(branch, status)| context.on_response(branch, *status, at(1))).collect()
    }

    fn best(statuses: &[u16]) -> Option<Verdict> {
        verdicts(true, statuses).last().copied()
    }

    #[test]
    fn trying_goes_nowhere_and_other_provisionals_go_back_at_once() {
        let mut context = context(true, 2);
        assert_eq!(context.on_response(0, 100, at(1)), Absorb);
        assert_eq!(context.on_response(0, 180, at(1)), Forward);
        assert_eq!(context.on_response(1, 183, at(1)), Forward);
    }

    #[test]
    fn every_success_of_an_invite_goes_back_at_once() {
        let mut context = context(true, 3);
        assert_eq!(context.on_response(0, 486, at(1)), Hold);
        assert_eq!(context.on_response(1, 200, at(1)), Forward);
        assert_eq!(context.on_response(1, 200, at(1)), Forward);
        assert_eq!(context.on_response(2, 202, at(1)), Forward);
    }

    #[test]
    fn success_after_the_final_failure_still_goes_back() {
        let mut context = context(true, 1);
        assert_eq!(context.on_response(0, 486, at(1)), Final(0));
        assert_eq!(context.on_response(0, 200, at(2)), Forward);
    }

    #[test]
    fn one_success_only_goes_back_outside_an_invite() {
        assert_eq!(verdicts(false, &[200, 200, 404]), [Forward, Absorb, Absorb]);
        assert_eq!(verdicts(false, &[404, 200]), [Hold, Forward]);
    }

    #[test]
    fn nothing_but_success_goes_back_after_a_success() {
        let mut context = context(true, 2);
        context.on_response(0, 200, at(1));
        assert_eq!(context.on_response(1, 180, at(1)), Absorb);
        assert_eq!(context.on_response(1, 603, at(1)), Absorb);
        assert_eq!(context.on_response(1, 603, at(1)), Absorb);
    }

    #[test]
    fn failures_wait_for_the_last_branch() {
        assert_eq!(verdicts(true, &[486, 404, 480]), [Hold, Hold, Final(0)]);
    }

    #[test]
    fn lowest_class_wins_and_six_hundreds_beat_all() {
        assert_eq!(best(&[500, 404, 302]), Some(Final(2)));
        assert_eq!(best(&[500, 404]), Some(Final(1)));
        assert_eq!(best(&[302, 600, 404]), Some(Final(1)));
        assert_eq!(best(&[606, 603]), Some(Final(1)));
    }

    #[test]
    fn four_hundreds_that_help_the_caller_are_preferred() {
        for helpful in [401, 407, 415, 420, 484] {
            assert_eq!(best(&[404, helpful, 486]), Some(Final(1)), "{helpful}");
        }
        assert_eq!(best(&[484, 302]), Some(Final(1)));
    }

    #[test]
    fn answer_of_a_phone_beats_the_silence_of_another() {
        assert_eq!(best(&[408, 486]), Some(Final(1)));
        assert_eq!(best(&[480, 408]), Some(Final(0)));
        assert_eq!(best(&[408, 503]), Some(Final(0)));
    }

    #[test]
    fn service_unavailable_is_the_last_choice_and_goes_back_as_500() {
        assert_eq!(best(&[503, 501]), Some(Final(1)));
        let mut context = context(true, 1);
        assert_eq!(context.on_response(0, 503, at(1)), Final(0));
        assert_eq!(context.status(0), Some(500));
    }

    #[test]
    fn decline_cancels_the_others_and_waits_for_them() {
        let mut context = context(true, 3);
        context.on_response(1, 180, at(1));
        assert_eq!(context.on_response(0, 603, at(1)), Hold);
        assert!(!context.may_fork());
        assert_eq!(context.take_cancels().as_slice(), [1]);
        assert_eq!(context.on_response(1, 487, at(2)), Hold);
        assert_eq!(context.on_response(2, 404, at(2)), Final(0));
    }

    #[test]
    fn success_cancels_what_still_rings_once() {
        let mut context = context(true, 3);
        context.on_response(1, 180, at(1));
        context.on_response(0, 200, at(1));
        assert_eq!(context.take_cancels().as_slice(), [1]);
        assert!(context.take_cancels().is_empty());
        // Branch 2 had said nothing, and a CANCEL waits for its first provisional response.
        assert_eq!(context.on_response(2, 100, at(2)), Absorb);
        assert_eq!(context.take_cancels().as_slice(), [2]);
    }

    #[test]
    fn caller_who_cancels_gets_the_487_of_the_phones() {
        let mut context = context(true, 2);
        context.on_response(0, 180, at(1));
        context.on_cancel();
        assert!(context.cancelled() && !context.may_fork());
        assert_eq!(context.take_cancels().as_slice(), [0]);
        assert_eq!(context.on_response(0, 487, at(2)), Hold);
        assert_eq!(context.on_timeout(1), Final(0));
        assert_eq!((context.status(0), context.status(1)), (Some(487), Some(487)));
    }

    #[test]
    fn only_invites_are_cancelled() {
        let mut context = context(false, 2);
        context.on_response(0, 100, at(1));
        context.on_response(1, 200, at(1));
        context.on_cancel();
        assert!(context.take_cancels().is_empty() && !context.cancelled());
        assert_eq!(context.deadline(), None);
    }

    #[test]
    fn silence_counts_as_408_and_a_dead_transport_as_503() {
        let mut context = context(true, 2);
        assert_eq!(context.on_transport_error(1), Hold);
        assert_eq!(context.on_timeout(0), Final(0));
        assert_eq!(context.status(0), Some(408));
        assert_eq!(context.on_timeout(0), Absorb);
    }

    #[test]
    fn timer_c_starts_anew_with_each_provisional_but_100() {
        let mut context = context(true, 1);
        assert_eq!(context.deadline(), Some(at(secs(120))));
        context.on_response(0, 100, at(secs(1)));
        assert_eq!(context.deadline(), Some(at(secs(120))));
        context.on_response(0, 180, at(secs(2)));
        assert_eq!(context.deadline(), Some(at(secs(122))));
        assert_eq!(context.on_deadline(at(secs(121))), Absorb);
        assert!(context.take_cancels().is_empty());
    }

    #[test]
    fn phone_that_rings_too_long_is_cancelled_and_counts_as_408() {
        let mut context = context(true, 1);
        context.on_response(0, 180, at(0));
        assert_eq!(context.on_deadline(at(secs(120))), Absorb);
        assert_eq!((context.take_cancels().as_slice(), context.deadline()), (&[0][..], None));
        assert_eq!(context.on_response(0, 180, at(secs(121))), Forward);
        assert_eq!(context.deadline(), None);
        assert_eq!(context.on_response(0, 487, at(secs(121))), Final(0));
        assert_eq!(context.status(0), Some(408));
    }

    #[test]
    fn branch_without_any_answer_ends_with_timer_c() {
        let mut context = context(true, 2);
        context.on_response(1, 503, at(0));
        assert_eq!(context.on_deadline(at(secs(120))), Final(0));
    }

    #[test]
    fn next_group_of_targets_may_follow_a_final() {
        let mut context = context(true, 1);
        assert_eq!(context.on_response(0, 480, at(1)), Final(0));
        assert!(context.may_fork());
        assert_eq!(context.add_branch(at(1)), 1);
        assert_eq!(context.on_response(1, 180, at(2)), Forward);
        assert_eq!(context.on_response(1, 407, at(2)), Final(1));
        assert_eq!(context.challenged_branches().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn branch_that_comes_too_late_is_cancelled_when_it_answers() {
        let mut context = context(true, 1);
        context.on_response(0, 200, at(1));
        let late = context.add_branch(at(1));
        assert_eq!(context.on_response(late, 180, at(1)), Absorb);
        assert_eq!(context.take_cancels().as_slice(), [late]);
    }

    #[test]
    fn unknown_branch_is_absorbed() {
        assert_eq!(context(true, 1).on_response(1, 200, at(1)), Absorb);
        assert_eq!(context(true, 0).on_timeout(0), Absorb);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Response(usize, u16),
        Timeout(usize),
        Cancel,
        Deadline(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..4usize, 100..700u16).prop_map(|(at, status)| Step::Response(at, status)),
            1 => (0..4usize).prop_map(Step::Timeout),
            1 => Just(Step::Cancel),
            1 => (0..200_000u64).prop_map(Step::Deadline),
        ]
    }

    fn play(context: &mut ResponseContext, step: Step) -> Verdict {
        match step {
            Step::Response(branch, status) => context.on_response(branch, status, at(0)),
            Step::Timeout(branch) => context.on_timeout(branch),
            Step::Deadline(ms) => context.on_deadline(at(ms)),
            Step::Cancel => {
                context.on_cancel();
                Absorb
            }
        }
    }

    proptest! {
        #[test]
        fn caller_gets_one_final_answer_and_always_one(
            invite: bool,
            branches in 1..4usize,
            steps in prop::collection::vec(step(), 0..30),
        ) {
            let mut context = context(invite, branches);
            let (mut finals, mut successes) = (0, 0);
            let ends = (0..branches).map(Step::Timeout);
            for step in steps.into_iter().chain(ends) {
                let verdict = play(&mut context, step);
                let status = if let Step::Response(_, status) = step { status } else { 0 };
                match verdict {
                    Final(branch) => {
                        finals += 1;
                        prop_assert!(context.status(branch).is_some_and(|s| s >= 300));
                        prop_assert_eq!(context.pending_branches().count(), 0);
                    }
                    Forward if status >= 200 => successes += 1,
                    Forward => {
                        prop_assert!((101..200).contains(&status));
                        prop_assert_eq!(finals + successes, 0);
                    }
                    Hold => prop_assert!(context.pending_branches().count() > 0),
                    Absorb => {
                        let known = matches!(step, Step::Response(branch, _) if branch < branches);
                        prop_assert!(!known || !invite || !(200..300).contains(&status));
                    }
                }
            }
            prop_assert!(finals <= 1 && (finals == 1 || successes > 0));
            prop_assert!(invite || finals + successes == 1);
            prop_assert_eq!(context.deadline(), None);
            prop_assert!(context.take_cancels().is_empty());
        }
    }
}
