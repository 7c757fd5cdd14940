//! Guessed passwords, in the seed's own terms: three failures, fifteen minutes, no challenge and
//! no password test meanwhile (requirements R53 to R66, guard.md section 5).

mod harness;

use std::time::{Duration, Instant};

use harness::phone::challenge_in;
use harness::subject::field;
use harness::{Phone, QUIET, Setup, Subject, eventually, let_pass};
use serde_json::{Value, json};

/// The seed's second listing, the key being source and user.
fn seed() -> Setup {
    Setup::users(&["alice", "bob"]).no_flood().guard("seed-ip-user")
}

/// The same with the shortest times.
fn scaled() -> Setup {
    seed().config(json!({ "guard": { "suspend": "1s", "forget": "2s" } }))
}

/// Three wrong passwords, each properly challenged.
fn suspend(phone: &mut Phone) {
    for guess in ["123456", "alice", "password"] {
        let answer = phone.guess(guess);
        assert_eq!(answer.status(), 401, "{guess}: {}", answer.start);
    }
}

#[test]
fn r53_fast_guessing_is_caught_by_the_flood_limit() {
    let server = Setup::users(&["alice"]).guard("seed-ip-user").start();
    let mut thief = server.phone("alice", 66);
    let request = thief.registration(600);
    let challenged = thief.ask(&request);
    for guess in 0..16 {
        let next = thief.authorized_with(&request, &challenged, &format!("guess {guess}"));
        thief.send(&next);
    }
    thief.drain(QUIET);
    let ping = thief.request("OPTIONS", &server.own_uri());
    thief.send(&ping);
    assert!(thief.maybe_response(&ping, QUIET).is_none(), "seventeen requests are a flood");
}

#[test]
fn r54_three_slow_failures_suspend() {
    let server = seed().start();
    let mut thief = server.phone("alice", 66);
    suspend(&mut thief);
    assert_eq!(thief.guess("letmein").answer(), "403 Try later");
}

#[test]
fn r54_the_number_of_failures_is_the_configured_one() {
    let server = seed().config(json!({ "guard": { "failures": 5 } })).start();
    let mut thief = server.phone("alice", 66);
    for _ in 0..5 {
        assert_eq!(thief.guess("wrong").status(), 401);
    }
    assert_eq!(thief.guess("wrong").answer(), "403 Try later");
}

#[test]
fn r54_a_burst_of_parallel_guesses_is_evaluated_three_times_at_most() {
    let server = seed().start();
    let mut thief = server.phone("alice", 66);
    let mut requests = Vec::new();
    for _ in 0..32 {
        let request = thief.registration(600).set("Call-ID", harness::unique("burst"));
        let challenged = thief.ask(&request);
        requests.push(thief.authorized_with(&request, &challenged, "wrong"));
    }
    requests.iter().for_each(|request| thief.send(request));
    let answers: Vec<u16> =
        requests.iter().map(|request| thief.final_to(request).status()).collect();
    let evaluated = answers.iter().filter(|status| **status == 401).count();
    assert!(evaluated <= 3, "the lock closes in a burst as well: {answers:?}");
    assert_eq!(thief.try_register(), "403 Try later");
}

#[test]
fn r55_a_suspension_lasts_fifteen_minutes() {
    let server = seed().start();
    let mut thief = server.phone("alice", 66);
    suspend(&mut thief);
    let entry = suspension_of(&server, "alice@sip.example.org");
    let times = [&entry["since"], &entry["until"]].map(|time| {
        let text = time.as_str().expect("an RFC 3339 time");
        let minutes = text.get(11..16).expect("hours and minutes").split_once(':');
        let (hours, minutes) = minutes.expect("a colon");
        hours.parse::<i32>().expect("hours") * 60 + minutes.parse::<i32>().expect("minutes")
    });
    let apart = (times[1] - times[0]).rem_euclid(24 * 60);
    assert!((14..=16).contains(&apart), "{entry}");
}

/// The entry of this user in `ban list`.
fn suspension_of(server: &Subject, user: &str) -> Value {
    eventually("the suspension is listed", || {
        let list = server.listing(&["ban", "list"]);
        let mut entries = list.as_array().cloned().unwrap_or_default().into_iter();
        entries.find(|entry| entry["kind"] == "suspension" && entry["user"] == user)
    })
}

#[test]
fn r55_a_suspension_ends_by_itself() {
    let server = scaled().start();
    let mut thief = server.phone("alice", 66);
    suspend(&mut thief);
    assert_eq!(thief.try_register(), "403 Try later");
    eventually("the suspension ends", || (thief.try_register() == "200 OK").then_some(()));
}

#[test]
fn r56_while_suspended_the_right_password_is_refused_without_a_challenge() {
    let server = seed().start();
    let mut thief = server.phone("alice", 66);
    suspend(&mut thief);
    let request = thief.registration(600);
    let challenged = thief.ask(&request);
    assert_eq!(challenged.status(), 401, "without credentials: the usual challenge");
    let authorized = thief.authorized(&request, &challenged);
    let refused = thief.ask(&authorized);
    assert_eq!(refused.answer(), "403 Try later");
    assert!(refused.header("www-authenticate").is_none());
}

#[test]
fn r56_a_suspended_user_cannot_call_either() {
    let server = seed().start();
    let mut thief = server.phone("alice", 66);
    suspend(&mut thief);
    let call = thief.request("INVITE", &server.uri("bob"));
    assert_eq!(thief.ask_as(call).answer(), "403 Try later");
}

#[test]
fn r57_the_time_counts_from_the_last_failure_and_then_the_count_is_zero() {
    let server = seed().config(json!({ "guard": { "suspend": "2s", "forget": "3s" } })).start();
    let mut thief = server.phone("alice", 66);
    suspend(&mut thief);
    let last_failure = Instant::now();
    let_pass(Duration::from_millis(800), last_failure);
    assert_eq!(thief.try_register(), "403 Try later", "0.8 s of 2 s");
    // That attempt was refused, not evaluated, and so it prolongs nothing.
    let_pass(Duration::from_millis(2100), last_failure);
    suspend(&mut thief);
    assert_eq!(thief.guess("wrong").answer(), "403 Try later", "three anew");
}

#[test]
fn r58_a_wrong_password_is_answered_with_a_new_challenge() {
    let server = seed().start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let challenged = alice.ask(&request);
    let wrong = alice.authorized_with(&request, &challenged, "wrong");
    let again = alice.ask(&wrong);
    assert_eq!(again.status(), 401);
    let (first, second) = (challenge_in(&challenged), challenge_in(&again));
    assert_ne!(first.nonce, second.nonce);
    assert!(!second.stale, "the password was wrong, not the nonce");
}

#[test]
fn r59_the_third_failure_is_logged_with_its_source() {
    let server = seed().start();
    let mut thief = server.phone("alice", 66);
    thief.guess("wrong");
    thief.guess("wrong");
    assert!(server.events("guard.suspend").is_empty());
    thief.guess("wrong");
    let line = server.event("guard.suspend");
    assert!(field(&line, "source").is_some_and(|source| source.starts_with("127.0.0.66")));
    assert!(line.to_string().contains("alice"), "{line}");
}

#[test]
fn r60_malformed_credentials_are_forbidden_and_not_counted() {
    let server = seed().start();
    let mut alice = server.phone("alice", 20);
    let broken = [
        "Digest username=\"alice\"",
        "Digest username=\"alice\", realm=\"sip.example.org\", nonce=\"x\", response=\"zz\"",
        "Digest ,,,=",
        "Digest username=alice realm sip",
    ];
    for value in broken {
        let request = alice.registration(600).with("Authorization", value);
        let answer = alice.ask(&request);
        assert_eq!(answer.answer(), "403 Forbidden", "{value}");
    }
    alice.register();
}

#[test]
fn r61_a_success_resets_the_count() {
    let server = seed().start();
    let mut alice = server.phone("alice", 20);
    for _ in 0..3 {
        assert_eq!(alice.guess("wrong").status(), 401);
        assert_eq!(alice.guess("wrong").status(), 401);
        assert_eq!(alice.try_register(), "200 OK");
    }
}

#[test]
fn r62_two_slips_of_the_finger_cost_nothing() {
    let server = seed().start();
    let mut alice = server.phone("alice", 20);
    alice.guess("secret of alice, 43");
    alice.guess("secret of alicf, 42");
    assert_eq!(alice.try_register(), "200 OK");
}

#[test]
fn r63_a_stranger_cannot_lock_the_owner_out() {
    let server = seed().start();
    let (mut thief, mut alice) = (server.phone("alice", 66), server.phone("alice", 20));
    suspend(&mut thief);
    assert_eq!(thief.guess("wrong").answer(), "403 Try later");
    assert_eq!(alice.try_register(), "200 OK", "from her own address");
}

#[test]
fn r63_in_the_first_listings_mode_the_user_is_locked_everywhere() {
    let server = seed().guard("seed-user").start();
    let (mut thief, mut alice) = (server.phone("alice", 66), server.phone("alice", 20));
    suspend(&mut thief);
    assert_eq!(alice.try_register(), "403 Try later", "the drawback that the seed names");
    let mut bob = server.phone("bob", 66);
    assert_eq!(bob.try_register(), "200 OK", "and nobody else");
}

#[test]
fn r64_an_attacker_on_the_same_address_does_block_the_user_there() {
    let server = seed().start();
    let (mut thief, mut alice) = (server.phone("alice", 66), server.phone("alice", 66));
    suspend(&mut thief);
    assert_eq!(alice.try_register(), "403 Try later", "the limit that the seed states");
}

#[test]
fn r65_without_credentials_the_challenge_comes_at_once_and_the_lock_is_looked_at_first() {
    let server = seed().start();
    let mut thief = server.phone("alice", 66);
    suspend(&mut thief);
    let request = thief.registration(600);
    let challenged = thief.ask(&request);
    assert_eq!(challenged.status(), 401);
    let authorized = thief.authorized(&request, &challenged);
    assert_eq!(thief.ask(&authorized).answer(), "403 Try later");
    let line = server.event("guard.refuse");
    assert!(field(&line, "source").is_some_and(|source| source.starts_with("127.0.0.66")));
}

#[test]
fn r66_every_failure_from_the_third_on_is_logged() {
    let server = seed().start();
    let mut thief = server.phone("alice", 66);
    suspend(&mut thief);
    for seen in 1..=3 {
        thief.guess("wrong");
        eventually("a line per attempt", || {
            (server.events("guard.refuse").len() == seen).then_some(())
        });
    }
}

#[test]
fn an_unknown_user_is_answered_like_a_known_one() {
    let server = seed().start();
    let (mut known, mut unknown) = (server.phone("alice", 66), server.phone("zelda", 67));
    for attempt in 0..5 {
        let answers = [known.guess("wrong"), unknown.guess("wrong")];
        let [one, other] = answers.map(|answer| {
            let names: Vec<String> = answer.fields.iter().map(|(name, _)| name.clone()).collect();
            (answer.answer().to_string(), names)
        });
        assert_eq!(one, other, "attempt {attempt}");
    }
}

#[test]
fn a_retransmitted_wrong_answer_counts_once() {
    let server = seed().start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let challenged = alice.ask(&request);
    let wrong = alice.authorized_with(&request, &challenged, "wrong");
    for _ in 0..5 {
        assert_eq!(alice.ask(&wrong).status(), 401);
    }
    assert_eq!(alice.try_register(), "200 OK");
}

#[test]
fn unban_lifts_a_suspension_at_once() {
    let server = seed().start();
    let mut alice = server.phone("alice", 66);
    suspend(&mut alice);
    server.command(&["unban", "alice@sip.example.org"]).ok();
    assert_eq!(alice.try_register(), "200 OK");
}

#[test]
fn with_the_guard_off_nobody_is_suspended() {
    let server = Setup::users(&["alice"]).no_flood().guard("off").start();
    let mut alice = server.phone("alice", 66);
    for _ in 0..6 {
        assert_eq!(alice.guess("wrong").status(), 401);
    }
    assert_eq!(alice.try_register(), "200 OK");
}
