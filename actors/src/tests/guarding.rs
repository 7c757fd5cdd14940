//! The seed's dictionary guard, exact: three evaluations, fifteen minutes, whatever the timing.

use std::time::Duration;

use actix::Actor;
use rempart_sip::flow::Flow;
use rempart_sip::uri::Aor;

use super::stage::{Stage, pass, settings, settle, udp, udp_on};
use crate::auth_guard::{AuthGuard, GuardKey};
use crate::clock::now;
use crate::settings::{GuardMode, GuardRule, Settings};
use crate::tally::Tally;

fn mode(mode: GuardMode) -> Settings {
    let guard = GuardRule { mode, ..settings().guard };
    Settings { guard, ..settings() }
}

async fn suspend(stage: &mut Stage, phone: Flow) {
    for _ in 0..3 {
        assert_eq!(stage.judged(phone, "alice", "wrong").await, 401);
    }
}

#[actix::test]
async fn a_suspension_lasts_900_seconds_from_the_last_failure() {
    let (mut stage, phone) = (Stage::new(settings(), 1), udp("203.0.113.7"));
    assert_eq!(stage.judged(phone, "alice", "wrong").await, 401);
    pass(Duration::from_secs(100)).await;
    assert_eq!(stage.judged(phone, "alice", "wrong").await, 401);
    pass(Duration::from_secs(100)).await;
    assert_eq!(stage.judged(phone, "alice", "wrong").await, 401);
    pass(Duration::from_millis(899_999)).await;
    assert_eq!(stage.judged(phone, "alice", "secret").await, 403);
    pass(Duration::from_millis(1)).await;
    suspend(&mut stage, phone).await;
    assert_eq!(stage.judged(phone, "alice", "secret").await, 403, "three anew");
    pass(Duration::from_secs(900)).await;
    assert_eq!(stage.judged(phone, "alice", "secret").await, 200);
}

#[actix::test]
async fn failures_are_forgotten_920_seconds_after_the_last() {
    let (mut stage, phone) = (Stage::new(settings(), 1), udp("203.0.113.7"));
    for _ in 0..2 {
        assert_eq!(stage.judged(phone, "alice", "wrong").await, 401);
    }
    pass(Duration::from_secs(920)).await;
    for _ in 0..2 {
        assert_eq!(stage.judged(phone, "alice", "wrong").await, 401);
    }
    pass(Duration::from_secs(919)).await;
    assert_eq!(stage.judged(phone, "alice", "wrong").await, 401);
    assert_eq!(stage.judged(phone, "alice", "secret").await, 403);
}

#[actix::test]
async fn the_guard_is_gone_after_920_seconds() {
    let stage = Stage::new(settings(), 1);
    let user = Aor::parse("alice@sip.example.org").expect("an AOR");
    let key = GuardKey { user, source: None };
    let mut tally = Tally::new(settings().guard, now());
    tally.fail(now());
    let guard = AuthGuard::new(key, tally, stage.shared.clone()).start();
    pass(Duration::from_secs(919)).await;
    assert!(guard.connected());
    pass(Duration::from_millis(1001)).await;
    assert!(!guard.connected(), "timers fire on whole milliseconds");
}

/// Answers to so many wrong passwords at once: evaluated, refused unevaluated.
async fn burst(stage: &mut Stage, phones: &[Flow], user: &str, count: usize) -> (usize, usize) {
    let mut guesses = Vec::new();
    for number in 0..count {
        guesses.push(stage.guess(phones[number % phones.len()], user, "wrong").await);
    }
    let answers = stage.play(&guesses).await;
    let with = |status| answers.iter().filter(|answer| **answer == status).count();
    (with(401), with(403))
}

#[actix::test]
async fn a_burst_of_guesses_is_evaluated_three_times_in_every_mode_and_number_of_shards() {
    for guard in [GuardMode::SeedIpUser, GuardMode::SeedUser] {
        for (shards, count) in [(1, 8), (1, 32), (1, 200), (2, 8), (2, 32), (2, 200)] {
            let mut stage = Stage::new(mode(guard), shards);
            let phone = [udp_on(shards - 1, shards)];
            for user in ["alice", "zelda"] {
                let seen = burst(&mut stage, &phone, user, count).await;
                assert_eq!(seen, (3, count - 3), "{guard:?}, {shards} shards, {user}");
            }
        }
    }
}

#[actix::test]
async fn a_user_guessed_from_several_shards_is_evaluated_three_times() {
    let mut stage = Stage::new(mode(GuardMode::SeedUser), 2);
    let phones = [udp_on(0, 2), udp_on(1, 2)];
    assert_eq!(burst(&mut stage, &phones, "alice", 200).await, (3, 197));
}

#[actix::test]
async fn a_suspended_user_is_refused_on_every_shard_before_anything_else_is_looked_at() {
    let mut stage = Stage::new(mode(GuardMode::SeedUser), 2);
    for phone in [udp_on(0, 2), udp_on(1, 2)] {
        let stale = stage.guess(phone, "alice", "secret").await;
        pass(Duration::from_secs(301)).await;
        if stage.shared.suspensions.rows(now()).is_empty() {
            suspend(&mut stage, phone).await;
        }
        assert_eq!(stage.play(&[stale]).await, [403], "no challenge, however old the nonce");
    }
}

#[actix::test]
async fn attempts_that_wait_behind_a_success_are_answered() {
    let (mut stage, phone) = (Stage::new(settings(), 1), udp("203.0.113.7"));
    assert_eq!(stage.judged(phone, "alice", "wrong").await, 401);
    let mut burst = Vec::new();
    for password in ["secret", "wrong", "wrong", "secret", "wrong"] {
        burst.push(stage.guess(phone, "alice", password).await);
    }
    let mut answers = stage.play(&burst).await;
    answers.sort_unstable();
    assert_eq!(answers, [200, 200, 401, 401, 401]);
}

#[actix::test]
async fn a_retransmission_counts_once_and_a_stale_nonce_not_at_all() {
    let (mut stage, phone) = (Stage::new(settings(), 1), udp("203.0.113.7"));
    let wrong = stage.guess(phone, "alice", "wrong").await;
    for _ in 0..5 {
        assert_eq!(stage.play(std::slice::from_ref(&wrong)).await, [401]);
    }
    for _ in 0..5 {
        let stale = stage.guess(phone, "alice", "wrong").await;
        pass(Duration::from_secs(301)).await;
        assert_eq!(stage.play(&[stale]).await, [401]);
    }
    assert_eq!(stage.judged(phone, "alice", "wrong").await, 401, "the second");
    assert_eq!(stage.judged(phone, "alice", "secret").await, 200);
}

#[actix::test]
async fn a_suspension_is_persisted_and_holds_after_a_restart() {
    for guard in [GuardMode::SeedIpUser, GuardMode::SeedUser] {
        let (mut stage, phone) = (Stage::new(mode(guard), 2), udp("203.0.113.7"));
        suspend(&mut stage, phone).await;
        stage.shared.written().await;
        let mut after = Stage::over(stage.store.clone(), mode(guard), 2);
        assert_eq!(after.judged(phone, "alice", "secret").await, 403, "{guard:?}");
    }
}

#[actix::test]
async fn another_source_is_not_suspended_with_the_pair() {
    let mut stage = Stage::new(settings(), 2);
    suspend(&mut stage, udp_on(0, 2)).await;
    assert_eq!(stage.judged(udp_on(1, 2), "alice", "secret").await, 200);
    settle().await;
}
