//! One user, several phones, or one number, several gateways: who rings, in which order, and whose
//! answer counts (RFC 3261 sections 16.6 and 16.7, RFC 5393).

mod harness;

use std::net::UdpSocket;

use harness::call::{self, in_dialog, invite};
use harness::link::Link;
use harness::{Phone, QUIET, Setup, Subject};
use serde_json::{Value, json};

/// A phone of Bob's, registered with this q.
fn bob(server: &Subject, last: u8, q: &str) -> Phone {
    let mut phone = server.phone("bob", last);
    let contact = format!("<{}>;q={q}", phone.contact);
    let request = phone.registration(3600).set("Contact", contact);
    assert_eq!(phone.ask_as(request).status(), 200);
    phone
}

/// Timers a hundred times shorter than a person's patience.
fn quick() -> Value {
    json!({ "timers": { "t1": "100ms", "final_response": "1s" } })
}

/// A server that sends numbers to two gateways of equal rank, in order.
fn two_gateways(setup: Setup) -> (Subject, [Phone; 2]) {
    let sockets =
        [9, 10].map(|last| UdpSocket::bind(format!("127.0.0.{last}:0")).expect("a socket"));
    let uris = sockets.each_ref().map(|socket| {
        format!("sip:{};transport=udp", socket.local_addr().expect("a bound socket"))
    });
    let server = setup.gateways(json!(uris)).start();
    let gateways = sockets.map(|socket| {
        Phone::new(Link::Udp(socket), server.address, "gateway", server.transcript.clone())
    });
    (server, gateways)
}

#[test]
fn the_preferred_phone_rings_first_and_the_next_one_when_it_is_busy() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut desk, mut hall) = (bob(&server, 30, "0.9"), bob(&server, 31, "0.4"));
    let mut alice = server.phone("alice", 20);
    let first = invite(&alice, &server.uri("bob"));
    let request = alice.send_as(first);
    let at_desk = desk.expect_request("INVITE");
    assert!(hall.maybe_request("INVITE", QUIET).is_none(), "one after the other");
    desk.respond(&at_desk, 486, "Busy Here");
    desk.expect_request("ACK");
    let at_hall = hall.expect_request("INVITE");
    hall.respond(&at_hall, 180, "Ringing");
    call::answer(&mut alice, &mut hall, &request, at_hall);
}

#[test]
fn a_decline_for_good_spares_the_other_phones() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut desk, mut hall) = (bob(&server, 30, "0.9"), bob(&server, 31, "0.4"));
    let mut alice = server.phone("alice", 20);
    let first = invite(&alice, &server.uri("bob"));
    let request = alice.send_as(first);
    let at_desk = desk.expect_request("INVITE");
    desk.respond(&at_desk, 603, "Decline");
    assert_eq!(alice.final_to(&request).status(), 603);
    assert!(hall.maybe_request("INVITE", QUIET).is_none());
}

#[test]
fn a_cancelled_call_does_not_go_on_to_the_next_phone() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut desk, mut hall) = (bob(&server, 30, "0.9"), bob(&server, 31, "0.4"));
    let mut alice = server.phone("alice", 20);
    let first = invite(&alice, &server.uri("bob"));
    let request = alice.send_as(first);
    let at_desk = desk.expect_request("INVITE");
    desk.respond(&at_desk, 180, "Ringing");
    assert_eq!(alice.ask(&request.cancel()).status(), 200);
    let cancel = desk.expect_request("CANCEL");
    desk.respond(&cancel, 200, "OK");
    desk.respond(&at_desk, 487, "Request Terminated");
    assert_eq!(alice.final_to(&request).status(), 487);
    assert!(hall.maybe_request("INVITE", QUIET).is_none());
}

#[test]
fn the_answer_of_one_phone_beats_the_silence_of_another() {
    let server = Setup::users(&["alice", "bob"]).config(quick()).start();
    let (_silent, mut hall) = (bob(&server, 30, "0.9"), bob(&server, 31, "0.4"));
    let mut alice = server.phone("alice", 20);
    let first = invite(&alice, &server.uri("bob"));
    let request = alice.send_as(first);
    let at_hall = hall.expect_request("INVITE");
    hall.respond(&at_hall, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
}

#[test]
fn branches_share_the_breadth_of_their_request() {
    let server = Setup::users(&["alice", "bob"]).start();
    let mut phones = [bob(&server, 30, "0.5"), bob(&server, 31, "0.5")];
    let mut alice = server.phone("alice", 20);
    for (asked, shares) in [(None, ["30", "30"]), (Some("7"), ["3", "4"])] {
        let text = alice.request("MESSAGE", &server.uri("bob"));
        let text = asked.into_iter().fold(text, |text, most| text.with("Max-Breadth", most));
        let sent = alice.send_as(text);
        let arrived = phones.each_mut().map(|phone| phone.expect_request("MESSAGE"));
        let mut heard =
            arrived.each_ref().map(|it| it.header("max-breadth").unwrap_or("none").to_string());
        heard.sort();
        assert_eq!(heard, shares);
        phones.iter_mut().zip(&arrived).for_each(|(phone, it)| drop(phone.respond(it, 200, "OK")));
        assert_eq!(alice.final_to(&sent).status(), 200);
    }
}

#[test]
fn without_breadth_to_fork_the_phones_ring_one_after_the_other() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut hall, mut desk) = (bob(&server, 30, "0.5"), bob(&server, 31, "0.5"));
    let mut alice = server.phone("alice", 20);
    let narrow = invite(&alice, &server.uri("bob")).with("Max-Breadth", "1");
    let request = alice.send_as(narrow);
    let at_desk = desk.expect_request("INVITE");
    assert!(hall.maybe_request("INVITE", QUIET).is_none());
    desk.respond(&at_desk, 486, "Busy Here");
    let at_hall = hall.expect_request("INVITE");
    hall.respond(&at_hall, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
    let none = invite(&alice, &server.uri("bob")).with("Max-Breadth", "0");
    assert_eq!(alice.ask_as(none).status(), 440);
}

#[test]
fn a_gateway_that_is_out_of_service_hands_over_to_the_next() {
    let (server, [mut first, mut second]) = two_gateways(Setup::users(&["alice"]));
    let mut alice = server.phone("alice", 20);
    let call = invite(&alice, &server.uri("+33123456789"));
    let request = alice.send_as(call);
    let arrived = first.expect_request("INVITE");
    first.respond(&arrived, 503, "Service Unavailable");
    first.expect_request("ACK");
    let arrived = second.expect_request("INVITE");
    let mut call = call::answer(&mut alice, &mut second, &request, arrived);
    let bye = call.callee.request(&second, "BYE");
    assert_eq!(in_dialog(&mut second, &bye, &mut alice).status(), 200);
}

#[test]
fn a_gateway_that_is_silent_hands_over_to_the_next() {
    let setup = Setup::users(&["alice"]).config(quick());
    let (server, [_silent, mut second]) = two_gateways(setup);
    let mut alice = server.phone("alice", 20);
    let call = invite(&alice, &server.uri("+33123456789"));
    let request = alice.send_as(call);
    let arrived = second.expect_request("INVITE");
    second.respond(&arrived, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
}

#[test]
fn a_busy_number_is_not_tried_through_another_gateway() {
    let (server, [mut first, mut second]) = two_gateways(Setup::users(&["alice"]));
    let mut alice = server.phone("alice", 20);
    let call = invite(&alice, &server.uri("+33123456789"));
    let request = alice.send_as(call);
    let arrived = first.expect_request("INVITE");
    first.respond(&arrived, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
    assert!(second.maybe_request("INVITE", QUIET).is_none());
}
