//! Several gateways to the telephone network: which is tried, when the next one is, which are left
//! out, and what the caller hears (requirement R9 with more than one gateway).

mod harness;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use harness::call::{self, invite};
use harness::dns::NameServer;
use harness::link::Link;
use harness::subject::field;
use harness::{Message, Phone, QUIET, Request, Setup, Subject, eventually, hang_up};
use serde_json::{Value, json};

const NUMBER: &str = "+33123456789";

/// A gateway's socket and its URI.
fn socket(last: u8) -> (UdpSocket, String) {
    let socket = UdpSocket::bind(format!("127.0.0.{last}:0")).expect("a socket");
    let address = socket.local_addr().expect("a bound socket");
    (socket, format!("sip:{address};transport=udp"))
}

/// A port that nobody listens on any more.
fn closed(last: u8) -> SocketAddr {
    let socket = UdpSocket::bind(format!("127.0.0.{last}:0")).expect("a socket");
    socket.local_addr().expect("a bound socket")
}

fn gateway(server: &Subject, socket: UdpSocket) -> Phone {
    Phone::new(Link::Udp(socket), server.address, "gateway", server.transcript.clone())
}

/// Alice's server, which gives a silent gateway so long and probes none.
fn patient(gateways: Value, try_next_after: &str) -> Subject {
    let pstn = json!({ "routing": { "pstn": { "try_next_after": try_next_after } } });
    Setup::users(&["alice"]).no_flood().gateways(gateways).config(pstn).start()
}

/// The same, probing them.
fn probing(gateways: &Value, interval: &str) -> Setup {
    let pstn = json!({ "gateways": gateways, "probe": interval, "try_next_after": "300ms" });
    Setup::users(&["alice"]).no_flood().config(json!({ "routing": { "pstn": pstn } }))
}

fn dial(server: &Subject, alice: &mut Phone) -> Request {
    let call = invite(alice, &server.uri(NUMBER));
    alice.send_as(call)
}

fn refuse(gateway: &mut Phone, status: u16, reason: &str) -> Message {
    let arrived = gateway.expect_request("INVITE");
    gateway.respond(&arrived, status, reason);
    gateway.expect_request("ACK");
    arrived
}

fn states(server: &Subject) -> Vec<(String, Option<String>)> {
    let status = server.listing(&["status"]);
    let rows = status["gateways"].as_array().expect("a list of gateways").clone();
    let text = |row: &Value, key: &str| row[key].as_str().map(str::to_owned);
    let row = |row: &Value| (text(row, "state").expect("a state"), text(row, "reason"));
    rows.iter().map(row).collect()
}

/// A server with two gateways, tried in this order, and a caller.
fn two_gateways(try_next_after: &str) -> (Subject, [Phone; 2], Phone) {
    let ((one, first), (two, second)) = (socket(9), socket(10));
    let server = patient(json!([first, second]), try_next_after);
    let gateways = [one, two].map(|socket| gateway(&server, socket));
    let alice = server.phone("alice", 20);
    (server, gateways, alice)
}

#[test]
fn a_503_hands_over_and_any_other_answer_is_the_calls() {
    let (server, [mut first, mut second], mut alice) = two_gateways("4s");
    for (status, reason) in [(486, "Busy Here"), (404, "Not Found"), (500, "Oops"), (603, "No")] {
        let request = dial(&server, &mut alice);
        refuse(&mut first, status, reason);
        assert_eq!(alice.final_to(&request).status(), status);
    }
    second.quiet();
    let request = dial(&server, &mut alice);
    refuse(&mut first, 503, "Service Unavailable");
    let arrived = second.expect_request("INVITE");
    second.respond(&arrived, 180, "Ringing");
    let mut call = call::answer(&mut alice, &mut second, &request, arrived);
    hang_up(&mut alice, &mut call.caller, &mut second);
}

#[test]
fn a_silent_gateway_hands_over_and_is_cancelled_when_it_rings_after_all() {
    let (server, [mut first, mut second], mut alice) = two_gateways("300ms");
    let request = dial(&server, &mut alice);
    let late = first.expect_request("INVITE");
    let arrived = second.expect_request("INVITE");
    second.respond(&arrived, 180, "Ringing");
    first.respond(&late, 183, "Session Progress");
    let cancel = first.expect_request("CANCEL");
    assert_eq!(cancel.branch(), late.branch());
    first.respond(&cancel, 200, "OK");
    first.respond(&late, 487, "Request Terminated");
    first.expect_request("ACK");
    let mut call = call::answer(&mut alice, &mut second, &request, arrived);
    hang_up(&mut second, &mut call.callee, &mut alice);
    first.quiet();
}

#[test]
fn a_gateway_that_says_it_tries_keeps_the_call() {
    let (server, [mut first, mut second], mut alice) = two_gateways("100ms");
    let request = dial(&server, &mut alice);
    let arrived = first.expect_request("INVITE");
    first.respond(&arrived, 100, "Trying");
    second.quiet();
    let mut call = call::answer(&mut alice, &mut first, &request, arrived);
    hang_up(&mut alice, &mut call.caller, &mut first);
}

#[test]
fn a_caller_who_gives_up_while_the_next_gateway_rings_is_not_sent_to_a_third() {
    let ((one, first), (two, second), (three, third)) = (socket(9), socket(10), socket(11));
    let server = patient(json!([first, second, third]), "300ms");
    let [_silent, mut second, mut third] = [one, two, three].map(|it| gateway(&server, it));
    let mut alice = server.phone("alice", 20);
    let request = dial(&server, &mut alice);
    let arrived = second.expect_request("INVITE");
    second.respond(&arrived, 180, "Ringing");
    while alice.response_to(&request).status() != 180 {}
    alice.send(&request.cancel());
    let cancel = second.expect_request("CANCEL");
    second.respond(&cancel, 200, "OK");
    second.respond(&arrived, 487, "Request Terminated");
    assert_eq!(alice.final_to(&request).status(), 487);
    third.quiet();
}

#[test]
fn a_closed_udp_port_hands_over_at_once() {
    let (two, second) = socket(10);
    let first = format!("sip:{};transport=udp", closed(9));
    // Longer than a test waits for the second gateway: only the ICMP error can be faster.
    let server = patient(json!([first, second]), "60s");
    let mut second = gateway(&server, two);
    let mut alice = server.phone("alice", 20);
    let request = dial(&server, &mut alice);
    refuse(&mut second, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
    let seen = states(&server);
    assert_eq!(seen[0], ("down".to_owned(), Some("unreachable".to_owned())));
    assert_eq!(seen[1], ("up".to_owned(), None));
}

#[test]
fn a_refused_tcp_connection_hands_over_at_once() {
    let (two, second) = socket(10);
    let listener = TcpListener::bind("127.0.0.9:0").expect("a port");
    let address = listener.local_addr().expect("a bound port");
    drop(listener);
    let server = patient(json!([format!("sip:{address};transport=tcp"), second]), "60s");
    let mut second = gateway(&server, two);
    let mut alice = server.phone("alice", 20);
    let request = dial(&server, &mut alice);
    refuse(&mut second, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
}

#[test]
fn when_all_fail_the_caller_hears_it_once_and_clearly() {
    let ((one, first), (two, second)) = (socket(9), socket(10));
    let third = format!("sip:{};transport=udp", closed(11));
    let server = patient(json!([first, second, third]), "300ms");
    let [_silent, mut second] = [one, two].map(|socket| gateway(&server, socket));
    let mut alice = server.phone("alice", 20);
    let request = dial(&server, &mut alice);
    refuse(&mut second, 503, "Service Unavailable");
    assert_eq!(alice.final_to(&request).answer(), "502 No Gateway Available");
    assert!(alice.maybe_response(&request, QUIET).is_none(), "one answer");
}

#[test]
fn the_longest_prefix_is_tried_first_and_the_others_when_it_fails() {
    let ((one, any), (two, france), (three, britain)) = (socket(9), socket(10), socket(11));
    let gateways = json!([
        any,
        { "uri": france, "prefixes": ["0033", "+590"] },
        { "uri": britain, "prefixes": ["+44"] },
    ]);
    let server = patient(gateways, "4s");
    let [mut any, mut france, mut britain] = [one, two, three].map(|it| gateway(&server, it));
    let mut alice = server.phone("alice", 20);
    let request = dial(&server, &mut alice);
    refuse(&mut france, 503, "Service Unavailable");
    refuse(&mut any, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
    britain.quiet();
}

/// Waits for a gateway's state, answering what comes to the phone meanwhile.
fn until(server: &Subject, at: usize, state: &str, mut meanwhile: impl FnMut()) {
    eventually(state, || {
        meanwhile();
        (states(server)[at].0 == state).then_some(())
    });
}

fn answer_probe(gateway: &mut Phone) {
    if let Some(probe) = gateway.maybe_request("OPTIONS", QUIET) {
        gateway.respond(&probe, 200, "OK");
    }
}

#[test]
fn a_gateway_that_answers_no_probe_is_left_out_until_it_answers() {
    let ((one, first), (two, second)) = (socket(9), socket(10));
    let server = probing(&json!([first, second]), "100ms").start();
    let [mut first, mut second] = [one, two].map(|socket| gateway(&server, socket));
    until(&server, 0, "down", || answer_probe(&mut second));
    let down = server.event("gateway.down");
    assert_eq!(field(&down, "reason"), Some("no answer"));
    let mut alice = server.phone("alice", 20);
    let request = dial(&server, &mut alice);
    refuse(&mut second, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
    assert!(first.maybe_request("INVITE", QUIET).is_none(), "it is left out");
    until(&server, 0, "up", || answer_probe(&mut first));
    server.event("gateway.up");
    let request = dial(&server, &mut alice);
    refuse(&mut first, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
}

#[test]
fn where_all_are_down_they_are_tried_all_the_same() {
    let ((one, first), (_two, second)) = (socket(9), socket(10));
    let server = probing(&json!([first, second]), "100ms").start();
    let mut first = gateway(&server, one);
    let mut alice = server.phone("alice", 20);
    until(&server, 0, "down", || {});
    until(&server, 1, "down", || {});
    let request = dial(&server, &mut alice);
    refuse(&mut first, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
}

#[test]
fn probes_are_whole_requests_and_their_answers_are_no_strays() {
    let (one, uri) = socket(9);
    let server = probing(&json!([uri]), "100ms").start();
    let mut gateway = gateway(&server, one);
    for _ in 0..3 {
        let probe = gateway.expect_request("OPTIONS");
        assert_eq!(probe.uri(), uri);
        assert!(probe.header("from").is_some_and(|from| from.contains("tag=")));
        assert_eq!(probe.values("via").len(), 1);
        gateway.respond(&probe, 404, "Not Found");
    }
    assert_eq!(states(&server), [("up".to_owned(), None)], "any answer will do");
    let counters = &server.listing(&["status"])["counters"];
    assert_eq!(counters["refusal:stray-response"], Value::Null);
}

#[test]
fn a_gateway_by_name_is_looked_up_for_calls_and_probes() {
    let names = NameServer::start(&[("gw.example.net", Ipv4Addr::new(127, 0, 0, 9))]);
    let (one, uri) = socket(9);
    let uri = uri.replace("127.0.0.9", "gw.example.net");
    let dns = json!({ "dns": { "servers": [names.address.to_string()] } });
    let server = probing(&json!([uri]), "100ms").config(dns).start();
    let mut gateway = gateway(&server, one);
    let probe = gateway.expect_request("OPTIONS");
    assert_eq!(probe.uri(), uri);
    let mut alice = server.phone("alice", 20);
    let request = dial(&server, &mut alice);
    let arrived = refuse(&mut gateway, 486, "Busy Here");
    assert!(arrived.uri().starts_with("sip:+33123456789@gw.example.net:"), "{}", arrived.uri());
    assert_eq!(alice.final_to(&request).status(), 486);
}

#[test]
fn a_reload_forgets_the_gateways_that_are_gone() {
    let ((_one, first), (two, second)) = (socket(9), socket(10));
    let setup = probing(&json!([first]), "100ms");
    let server = setup.clone().start();
    until(&server, 0, "down", || {});
    let setup = setup.gateways(json!([second]));
    server.write_config(&setup.complete(server.address.port()));
    server.command(&["reload"]).ok();
    assert_eq!(states(&server), [("up".to_owned(), None)]);
    let mut second = gateway(&server, two);
    let mut alice = server.phone("alice", 20);
    let request = dial(&server, &mut alice);
    refuse(&mut second, 486, "Busy Here");
    assert_eq!(alice.final_to(&request).status(), 486);
    let table = server.command(&["status"]).ok().stdout;
    assert!(table.contains("LAST FAILURE") && table.contains("sip:127.0.0.10:"), "{table}");
}
