//! Giving up a call: CANCEL, its limits, and the timer that gives up for a caller who does not
//! (RFC 3261 sections 9 and 16.8, guard.md section 6).

mod harness;

use std::time::Instant;

use harness::call::{self, invite};
use harness::{PATIENCE, Phone, QUIET, Request, Setup, Subject, invite_ringing};
use serde_json::json;

fn ringing(server: &Subject) -> (Phone, Phone, Request, harness::Message) {
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 30));
    bob.register();
    let (request, arrived) = invite_ringing(&mut alice, &mut bob, &server.uri("bob"));
    (alice, bob, request, arrived)
}

#[test]
fn a_ringing_call_is_cancelled() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob, request, arrived) = ringing(&server);
    let cancel = request.cancel();
    assert_eq!(alice.ask(&cancel).status(), 200);
    let heard = bob.expect_request("CANCEL");
    assert_eq!(heard.branch(), arrived.branch(), "the branch of the INVITE it ends");
    bob.respond(&heard, 200, "OK");
    bob.respond(&arrived, 487, "Request Terminated");
    bob.expect_request("ACK");
    assert_eq!(alice.final_to(&request).answer(), "487 Request Terminated");
}

#[test]
fn a_cancel_is_repeated_until_the_phone_answers_it() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob, request, arrived) = ringing(&server);
    assert_eq!(alice.ask(&request.cancel()).status(), 200);
    bob.expect_request("CANCEL");
    let deadline = Instant::now() + PATIENCE;
    let repeated = bob.take(deadline, |message| message.method() == "CANCEL");
    let repeated = repeated.expect("a CANCEL that was lost comes again");
    bob.respond(&repeated, 200, "OK");
    bob.respond(&arrived, 487, "Request Terminated");
    assert_eq!(alice.final_to(&request).status(), 487);
}

#[test]
fn a_cancel_from_another_address_ends_nothing() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob, request, arrived) = ringing(&server);
    let mut stranger = server.stranger(66);
    stranger.send(&request.cancel());
    let answer = stranger.maybe_response(&request.cancel(), QUIET);
    assert!(answer.is_none(), "a stranger hears nothing");
    assert!(bob.maybe_request("CANCEL", QUIET).is_none(), "the phone goes on ringing");
    call::answer(&mut alice, &mut bob, &request, arrived);
}

#[test]
fn a_cancel_from_another_port_of_the_callers_address_counts() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob, request, arrived) = ringing(&server);
    let mut same_phone = server.phone("alice", 20);
    same_phone.send(&request.cancel());
    let heard = bob.expect_request("CANCEL");
    bob.respond(&heard, 200, "OK");
    bob.respond(&arrived, 487, "Request Terminated");
    assert_eq!(alice.final_to(&request).status(), 487);
}

#[test]
fn a_cancel_that_comes_after_the_answer_changes_nothing() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob, request, arrived) = ringing(&server);
    let mut answered = call::answer(&mut alice, &mut bob, &request, arrived);
    alice.send(&request.cancel());
    assert!(bob.maybe_request("CANCEL", QUIET).is_none());
    harness::hang_up(&mut alice, &mut answered.caller, &mut bob);
}

#[test]
fn a_cancel_of_nothing_is_dropped() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut stranger, mut bob) = (server.stranger(66), server.phone("bob", 30));
    bob.register();
    let cancel = invite(&stranger, &server.uri("bob")).cancel();
    stranger.send(&cancel);
    assert!(stranger.maybe_response(&cancel, QUIET).is_none());
    bob.quiet();
}

#[test]
fn a_phone_that_rings_for_ever_is_given_up_by_the_answer_timer() {
    let timers = json!({ "timers": { "answer": "1s" } });
    let server = Setup::users(&["alice", "bob"]).config(timers).start();
    let (mut alice, mut bob, request, arrived) = ringing(&server);
    let cancel = bob.expect_request("CANCEL");
    bob.respond(&cancel, 200, "OK");
    bob.respond(&arrived, 487, "Request Terminated");
    let answer = alice.final_to(&request);
    assert!(matches!(answer.status(), 408 | 487), "{}", answer.start);
}

#[test]
fn a_caller_who_cancels_before_anyone_rings_reaches_every_phone() {
    let server = Setup::users(&["alice", "bob"]).start();
    let mut alice = server.phone("alice", 20);
    let mut phones = [server.phone("bob", 30), server.phone("bob", 31)];
    phones.iter_mut().for_each(|phone| drop(phone.register()));
    let first = invite(&alice, &server.uri("bob"));
    let request = alice.send_as(first);
    let arrived = phones.each_mut().map(|phone| phone.expect_request("INVITE"));
    alice.send(&request.cancel());
    // RFC 3261 section 9.1: a branch without a provisional response is cancelled after one.
    for (phone, invite) in phones.iter_mut().zip(&arrived) {
        phone.respond(invite, 180, "Ringing");
        let cancel = phone.expect_request("CANCEL");
        phone.respond(&cancel, 200, "OK");
        phone.respond(invite, 487, "Request Terminated");
    }
    assert_eq!(alice.final_to(&request).status(), 487);
}
