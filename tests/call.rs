//! Calls: who may call whom, what the other phone then sees, and how the call ends
//! (RFC 3261 sections 12 to 16; requirements R2, R3, R8, R12, R13, R15, R16, R67).

mod harness;

use std::net::Ipv4Addr;

use harness::call::{self, in_dialog, invite};
use harness::dns::NameServer;
use harness::{Phone, QUIET, Setup, Subject, establish, hang_up};
use serde_json::json;

/// Alice and Bob, both registered.
fn two_phones(server: &Subject) -> (Phone, Phone) {
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 30));
    alice.register();
    bob.register();
    (alice, bob)
}

#[test]
fn r2_a_call_is_not_relayed_before_the_caller_has_proved_himself() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = two_phones(&server);
    let call = invite(&alice, &server.uri("bob"));
    assert_eq!(alice.ask(&call).status(), 407);
    bob.quiet();
    alice.password = "wrong".into();
    assert_eq!(alice.ask_as(call.again()).status(), 407);
    bob.quiet();
}

#[test]
fn r3_replies_travel_back_as_they_are_without_any_proof() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = two_phones(&server);
    let replies = [(180, "Ringing"), (183, "Session Progress"), (199, "Odd"), (486, "Busy Here")];
    let first = invite(&alice, &server.uri("bob"));
    let call = alice.send_as(first);
    let arrived = bob.expect_request("INVITE");
    for (status, reason) in replies {
        bob.respond_with(&arrived, status, reason, &[("X-Mood", "fine")]);
    }
    let mut heard = Vec::new();
    while heard.last() != Some(&486) {
        let reply = alice.response_to(&call);
        heard.extend((reply.status() > 100).then(|| reply.status()));
        assert!(reply.status() == 100 || reply.header("x-mood") == Some("fine"));
    }
    assert_eq!(heard, [180, 183, 199, 486]);
    bob.expect_request("ACK");
}

#[test]
fn r8_two_local_users_call_each_other_and_the_caller_hangs_up() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = two_phones(&server);
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    assert_eq!(call.invite.uri(), bob.contact, "the Request-URI is the binding");
    hang_up(&mut alice, &mut call.caller, &mut bob);
}

#[test]
fn r8_two_local_users_call_each_other_and_the_called_hangs_up() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = two_phones(&server);
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    let again = call.callee.request(&bob, "INVITE");
    let answer = in_dialog(&mut bob, &again, &mut alice);
    assert_eq!(answer.status(), 200, "a re-INVITE from the called side");
    let ack = call.callee.request(&bob, "ACK");
    bob.send(&ack);
    alice.expect_request("ACK");
    hang_up(&mut bob, &mut call.callee, &mut alice);
}

#[test]
fn r12_a_user_is_local_by_any_name_or_address_of_the_server() {
    let server = Setup::users(&["alice"]).no_flood().start();
    let mut caller = server.phone("alice", 66);
    let port = server.address.port();
    let local = [
        "sip.example.org".to_string(),
        "SIP.Example.ORG".into(),
        "sip.example.org.".into(),
        "sip.example.org:5060".into(),
        format!("sip.example.org:{port}"),
        "127.0.0.1".into(),
        format!("127.0.0.1:{port}"),
        "127.0.0.1:9".into(),
        "[::ffff:127.0.0.1]".into(),
        "2130706433".into(),
        "0x7f.1".into(),
    ];
    for host in local {
        caller.aor = format!("sip:alice@{host}");
        let call = invite(&caller, "sip:someone@127.0.0.66:7000");
        let answer = caller.ask(&call);
        assert_ne!(answer.status(), 200);
        // An odd spelling may be refused as malformed, but never taken for a foreigner's.
        assert!(matches!(answer.status(), 407 | 400), "{host}: {}", answer.start);
        assert!(host.starts_with(['2', '0', '[']) || answer.status() == 407, "{host}");
    }
    caller.aor = "sip:alice@example.org".into();
    let call = invite(&caller, "sip:someone@127.0.0.66:7000");
    assert_eq!(caller.ask(&call).status(), 403, "the parent domain is somebody else's");
}

#[test]
fn r13_every_request_of_a_local_user_is_challenged_with_407() {
    let server = Setup::users(&["alice", "bob"]).no_flood().start();
    let (mut alice, mut bob) = two_phones(&server);
    let never = ["ACK", "CANCEL", "REGISTER"];
    for method in harness::METHODS.iter().filter(|method| !never.contains(method)) {
        let request = alice.request(method, &server.uri("bob"));
        let answer = alice.ask(&request);
        assert_eq!(answer.status(), 407, "{method}: {}", answer.start);
        assert!(answer.header("proxy-authenticate").is_some(), "{method}");
    }
    bob.quiet();
}

#[test]
fn r15_a_local_user_calls_a_foreign_address() {
    let server = Setup::users(&["alice"]).start();
    let (mut alice, mut friend) = (server.phone("alice", 20), server.stranger(50));
    alice.register();
    let uri = format!("sip:friend@{}", friend.local);
    let mut call = establish(&mut alice, &mut friend, &uri);
    assert_eq!(call.invite.uri(), uri);
    hang_up(&mut friend, &mut call.callee, &mut alice);
}

#[test]
fn r15_a_local_user_calls_a_foreign_name() {
    let names = NameServer::start(&[("pbx.example.net", Ipv4Addr::new(127, 0, 0, 50))]);
    let dns = json!({ "dns": { "servers": [names.address.to_string()] } });
    let server = Setup::users(&["alice"]).config(dns).start();
    let (mut alice, mut friend) = (server.phone("alice", 20), server.stranger(50));
    alice.register();
    let uri = format!("sip:friend@pbx.example.net:{}", friend.local.port());
    let mut call = establish(&mut alice, &mut friend, &uri);
    hang_up(&mut alice, &mut call.caller, &mut friend);
    assert!(names.asked().contains(&"pbx.example.net".to_string()));
}

#[test]
fn a_request_without_proof_never_causes_a_name_to_be_looked_up() {
    let names = NameServer::start(&[]);
    let dns = json!({ "dns": { "servers": [names.address.to_string()] } });
    let server = Setup::users(&["alice"]).config(dns).start();
    let (mut forger, mut stranger) = (server.phone("alice", 66), server.stranger(67));
    for uri in ["sip:x@a.example.net", "sip:x@b.example.net:5080;transport=tcp"] {
        let call = invite(&forger, uri);
        assert_eq!(forger.ask(&call).status(), 407);
        let call = invite(&stranger, uri).with("Route", "<sip:c.example.net;lr>");
        assert_eq!(stranger.ask(&call).status(), 403);
    }
    assert_eq!(names.asked(), Vec::<String>::new());
}

#[test]
fn r16_a_foreign_user_calls_a_local_one_without_being_asked_for_a_password() {
    let server = Setup::users(&["bob"]).start();
    let (mut stranger, mut bob) = (server.stranger(50), server.phone("bob", 30));
    bob.register();
    let mut call = establish(&mut stranger, &mut bob, &server.uri("bob"));
    assert_eq!(call.invite.header("from"), Some(call.caller.local.as_str()));
    hang_up(&mut stranger, &mut call.caller, &mut bob);
}

#[test]
fn r67_credentials_are_removed_before_a_request_is_relayed() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = two_phones(&server);
    let arrived = call::message(&mut alice, &mut bob, &server.uri("bob"));
    assert!(arrived.header("proxy-authorization").is_none());
    assert!(!String::from_utf8_lossy(&arrived.raw).contains("Digest"), "{}", arrived.start);
}

#[test]
fn a_relayed_request_changes_only_where_rfc_3261_says() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = two_phones(&server);
    let body = b"\x00\xff binary \r\n\r\n body\xfe";
    let first = alice.request("MESSAGE", &server.uri("bob")).body("application/octet-stream", body);
    let first = first.with("X-Odd", "a  b;c=\"d,e\"").with("subject", "un\u{e9}");
    let sent = alice.send_as(first);
    let arrived = bob.expect_request("MESSAGE");
    assert_eq!(arrived.body, body);
    assert_eq!(arrived.header("x-odd"), Some("a  b;c=\"d,e\""));
    assert_eq!(arrived.header("subject"), Some("un\u{e9}"));
    assert_eq!(arrived.header("max-forwards"), Some("69"));
    let vias = arrived.values("via");
    assert_eq!(vias.len(), 2, "{vias:?}");
    assert!(vias[0].contains(&server.address.to_string()), "{vias:?}");
    assert!(vias[1].contains(&format!("rport={}", alice.local.port())), "{vias:?}");
    for name in ["From", "To", "Call-ID", "CSeq"] {
        assert_eq!(arrived.header(name), Some(sent.header(name)), "{name}");
    }
    bob.respond(&arrived, 200, "OK");
    let answer = alice.final_to(&sent);
    assert_eq!(answer.values("via").len(), 1);
    for banner in ["server", "user-agent"] {
        assert!(answer.header(banner).is_none(), "no banner of ours");
    }
}

#[test]
fn a_phone_behind_nat_is_reached_by_the_flow_it_registered_from() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 30));
    // As behind a router: private addresses in every field, only the packet tells the truth.
    bob.contact = "sip:bob@10.99.0.7:5060".into();
    bob.sent_by = "10.99.0.7:5060".into();
    alice.contact = "sip:alice@192.168.77.9:5062".into();
    alice.sent_by = "192.168.77.9:5062".into();
    alice.register();
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    assert_eq!(call.invite.uri(), bob.contact);
    let info = call.callee.request(&bob, "INFO");
    assert_eq!(in_dialog(&mut bob, &info, &mut alice).status(), 200);
    hang_up(&mut alice, &mut call.caller, &mut bob);
}

#[test]
fn phones_on_ipv6_and_ipv4_call_each_other() {
    let server = Setup::users(&["alice", "bob"]).with_ipv6().start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.ipv6_phone("bob"));
    alice.register();
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    assert_eq!(call.callee.routes.len(), 2, "one Record-Route per family");
    hang_up(&mut bob, &mut call.callee, &mut alice);
    let mut call = establish(&mut bob, &mut alice, &server.uri("alice"));
    hang_up(&mut bob, &mut call.caller, &mut alice);
}

#[test]
fn what_cannot_be_reached_is_said_in_the_words_of_the_contract() {
    let server = Setup::users(&["alice", "away"]).no_flood().start();
    let (mut alice, mut stranger) = (server.phone("alice", 20), server.stranger(50));
    alice.register();
    let own = server.own_uri();
    let cases = [
        (server.uri("nobody"), "404 Not Found", "404 Not Found"),
        (server.uri("away"), "480 Temporarily Unavailable", "404 Not Found"),
        ("sip:sip.example.org".into(), "484 Address Incomplete", "484 Address Incomplete"),
        (own, "484 Address Incomplete", "484 Address Incomplete"),
    ];
    for (uri, to_local, to_foreign) in cases {
        let call = invite(&alice, &uri);
        assert_eq!(alice.ask_as(call).answer(), to_local, "a local caller to {uri}");
        let call = invite(&stranger, &uri);
        assert_eq!(stranger.ask(&call).answer(), to_foreign, "a foreign caller to {uri}");
    }
}

#[test]
fn a_request_that_has_travelled_too_far_ends_here() {
    let server = Setup::users(&["bob"]).start();
    let (mut stranger, mut bob) = (server.stranger(50), server.phone("bob", 30));
    bob.register();
    let call = invite(&stranger, &server.uri("bob")).set("Max-Forwards", "0");
    assert_eq!(stranger.ask(&call).answer(), "483 Too Many Hops");
    bob.quiet();
}

#[test]
fn the_servers_own_options_is_a_keepalive() {
    let server = Setup::new().start();
    let mut phone = server.stranger(50);
    let ping = phone.request("OPTIONS", &server.own_uri());
    assert_eq!(phone.ask(&ping).answer(), "200 Keepalive");
}

#[test]
fn publish_finds_no_presence_server_here() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let publish = alice.request("PUBLISH", &server.uri("alice")).with("Event", "presence");
    assert_eq!(alice.ask_as(publish).answer(), "404 Not here");
}

#[test]
fn a_method_that_the_phone_does_not_allow_is_refused_for_it() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 30));
    let request = bob.registration(600).with("Allow", "INVITE, ACK, BYE, CANCEL");
    assert_eq!(bob.ask_as(request).status(), 200);
    let text = alice.request("MESSAGE", &server.uri("bob"));
    assert_eq!(alice.ask_as(text).answer(), "405 Method Not Allowed");
    bob.quiet();
}

#[test]
fn both_phones_of_a_user_ring_and_the_first_answer_silences_the_other() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut desk) = two_phones(&server);
    let mut hall = server.phone("bob", 31);
    hall.register();
    let first = invite(&alice, &server.uri("bob"));
    let call = alice.send_as(first);
    let (at_desk, at_hall) = (desk.expect_request("INVITE"), hall.expect_request("INVITE"));
    assert_ne!(at_desk.branch(), at_hall.branch());
    desk.respond(&at_desk, 180, "Ringing");
    hall.respond(&at_hall, 180, "Ringing");
    hall.respond(&at_hall, 200, "OK");
    let ok = alice.final_to(&call);
    assert_eq!((ok.status(), ok.contact()), (200, hall.contact.clone()));
    let cancel = desk.expect_request("CANCEL");
    assert_eq!(cancel.branch(), at_desk.branch());
    desk.respond(&cancel, 200, "OK");
    desk.respond(&at_desk, 487, "Request Terminated");
    desk.expect_request("ACK");
    assert!(alice.maybe_response(&call, QUIET).is_none(), "the caller hears one final answer");
}

#[test]
fn when_nobody_answers_the_best_refusal_is_passed_on() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut desk) = two_phones(&server);
    let mut hall = server.phone("bob", 31);
    hall.register();
    let first = invite(&alice, &server.uri("bob"));
    let call = alice.send_as(first);
    let (at_desk, at_hall) = (desk.expect_request("INVITE"), hall.expect_request("INVITE"));
    desk.respond(&at_desk, 503, "Service Unavailable");
    desk.expect_request("ACK");
    hall.respond(&at_hall, 486, "Busy Here");
    assert_eq!(alice.final_to(&call).answer(), "486 Busy Here");
}

#[test]
fn a_retransmitted_invite_reaches_the_phone_once() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = two_phones(&server);
    let first = invite(&alice, &server.uri("bob"));
    let call = alice.send_as(first);
    alice.send(&call);
    alice.send(&call);
    let arrived = bob.expect_request("INVITE");
    bob.respond(&arrived, 486, "Busy Here");
    assert_eq!(alice.final_to(&call).status(), 486);
    bob.expect_request("ACK");
    let others = bob.drain(QUIET);
    let others: Vec<_> = others.iter().filter(|message| message.raw != arrived.raw).collect();
    assert!(others.is_empty(), "one transaction: {others:?}");
}

#[test]
fn a_callees_challenge_never_reaches_the_subscriber() {
    let server = Setup::users(&["alice"]).start();
    let (mut alice, mut trap) = (server.phone("alice", 20), server.stranger(66));
    let digest = "Digest realm=\"sip.example.org\", nonce=\"stolen\"";
    let cases = [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")];
    for (status, header) in cases {
        let text = alice.request("MESSAGE", &format!("sip:trap@{}", trap.local));
        let sent = alice.send_as(text);
        let arrived = trap.expect_request("MESSAGE");
        trap.respond_with(&arrived, status, "Give Me", &[(header, digest)]);
        let answer = alice.final_to(&sent);
        assert_eq!(answer.status(), 403, "{}", answer.start);
        assert!(answer.header(header).is_none());
    }
}

#[test]
fn an_identity_claimed_by_an_untrusted_side_is_stripped() {
    let server = Setup::users(&["bob"]).start();
    let (mut stranger, mut bob) = (server.stranger(50), server.phone("bob", 30));
    bob.register();
    let text = stranger.request("MESSAGE", &server.uri("bob"));
    let text = text.with("P-Asserted-Identity", "<sip:boss@sip.example.org>");
    stranger.send(&text.with("Remote-Party-ID", "<sip:boss@sip.example.org>"));
    let arrived = bob.expect_request("MESSAGE");
    assert!(arrived.header("p-asserted-identity").is_none());
    assert!(arrived.header("remote-party-id").is_none());
}

#[test]
fn a_local_callers_preloaded_route_is_stripped() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = two_phones(&server);
    let mut elsewhere = server.stranger(66);
    let first = alice.request("MESSAGE", &server.uri("bob"));
    let own = format!("<{};lr>", server.own_uri());
    let first = first.with("Route", own).with("Route", format!("<sip:{};lr>", elsewhere.local));
    let sent = alice.send_as(first);
    let arrived = bob.expect_request("MESSAGE");
    assert!(arrived.header("route").is_none());
    bob.respond(&arrived, 200, "OK");
    assert_eq!(alice.final_to(&sent).status(), 200);
    elsewhere.quiet();
}

#[test]
fn a_binding_that_leads_back_here_does_not_spin() {
    let timers = json!({ "timers": { "t1": "100ms", "final_response": "1s" } });
    let server = Setup::users(&["alice", "bob"]).config(timers).start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 30));
    bob.contact = server.uri("bob");
    bob.register();
    let text = alice.request("MESSAGE", &server.uri("bob"));
    let answer = alice.ask_as(text);
    assert!(answer.status() >= 400, "{}", answer.start);
}

#[test]
fn a_dead_phone_costs_the_caller_the_final_response_timer() {
    let timers = json!({ "timers": { "t1": "100ms", "final_response": "1s" } });
    let server = Setup::users(&["alice", "bob"]).config(timers).start();
    let (mut alice, bob) = two_phones(&server);
    let text = alice.request("MESSAGE", &server.uri("bob"));
    let answer = alice.ask_as(text);
    assert_eq!(answer.status(), 408, "{} is silent: {}", bob.local, answer.start);
}
