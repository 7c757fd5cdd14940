//! TCP: framing, keep-alives, calls across transports, and connections that misuse the server
//! (RFC 3261 section 18, RFC 5626 section 3.5.1, guard.md P18).

mod harness;

use std::io::Write;
use std::time::{Duration, Instant};

use harness::link::{Link, connect_from};
use harness::{Phone, Setup, establish, hang_up};
use serde_json::json;

#[test]
fn a_phone_registers_and_calls_over_tcp() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = (server.tcp_phone("alice", 20), server.tcp_phone("bob", 30));
    alice.register();
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    hang_up(&mut bob, &mut call.callee, &mut alice);
}

#[test]
fn phones_on_udp_and_tcp_call_each_other() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.tcp_phone("bob", 30));
    alice.register();
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    hang_up(&mut bob, &mut call.callee, &mut alice);
    let mut call = establish(&mut bob, &mut alice, &server.uri("alice"));
    hang_up(&mut bob, &mut call.caller, &mut alice);
}

#[test]
fn a_registered_connection_is_used_although_the_contact_leads_nowhere() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.tcp_phone("bob", 30));
    bob.contact = "sip:bob@10.99.0.7:5060;transport=tcp".into();
    bob.sent_by = "10.99.0.7:5060".into();
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    hang_up(&mut alice, &mut call.caller, &mut bob);
}

#[test]
fn a_double_line_end_is_answered_with_a_single_one() {
    let server = Setup::new().start();
    let mut phone = server.tcp_phone("alice", 20);
    phone.send_raw(b"\r\n\r\n");
    assert_eq!(phone.next_raw().as_deref(), Some(&b"\r\n"[..]));
}

#[test]
fn messages_are_cut_by_their_length_wherever_the_segments_end() {
    let server = Setup::new().start();
    let mut phone = server.tcp_phone("alice", 20);
    let pings: Vec<_> = (0..3)
        .map(|_| phone.request("OPTIONS", &server.own_uri()).body("text/plain", b"\r\n\r\nSIP/2.0"))
        .collect();
    let stream: Vec<u8> = pings.iter().flat_map(|ping| ping.bytes()).collect();
    for chunk in stream.chunks(7) {
        phone.send_raw(chunk);
    }
    for ping in &pings {
        assert_eq!(phone.final_to(ping).status(), 200);
    }
    phone.send_raw(&stream);
    for ping in &pings {
        assert_eq!(phone.final_to(ping).status(), 200, "all in one segment");
    }
}

#[test]
fn a_stream_that_cannot_be_cut_into_messages_is_closed() {
    let server = Setup::new().no_flood().start();
    let good = server.tcp_phone("alice", 20).request("OPTIONS", &server.own_uri());
    let spoiled = [
        good.clone().with("Content-Length", "none"),
        good.clone().with("Content-Length", "-5"),
        good.clone().with("Content-Length", "99999999999"),
        good.with("Content-Length", "0").with("Content-Length", "7"),
    ];
    for request in spoiled {
        let mut phone = server.tcp_phone("alice", 20);
        phone.send(&request);
        assert!(phone.is_closed(), "{:?}", request.lines.last());
    }
    let mut phone = server.tcp_phone("alice", 20);
    let ping = phone.request("OPTIONS", &server.own_uri());
    assert_eq!(phone.ask(&ping).status(), 200, "others are served");
}

#[test]
fn a_message_over_the_limit_ends_its_connection() {
    let server = Setup::new().config(json!({ "limits": { "message": 4096 } })).start();
    let mut phone = server.tcp_phone("alice", 20);
    let huge = phone.request("OPTIONS", &server.own_uri()).with("X-Fill", "x".repeat(8192));
    phone.try_send_raw(&huge.bytes());
    assert!(phone.is_closed());
}

#[test]
fn a_message_that_is_never_finished_ends_its_connection() {
    let server = Setup::new().config(json!({ "limits": { "message_deadline": "1s" } })).start();
    let mut slow = server.tcp_phone("alice", 20);
    let mut idle = server.tcp_phone("alice", 21);
    slow.send_raw(b"OPTIONS sip:sip.example.org SIP/2.0\r\nVia: SIP/2.0/TCP 127.0");
    assert!(slow.is_closed(), "half a header is not worth a place");
    let ping = idle.request("OPTIONS", &server.own_uri());
    assert_eq!(idle.ask(&ping).status(), 200, "a connection may be idle for long");
}

#[test]
fn one_address_cannot_take_every_connection() {
    let limit = json!({ "limits": { "tcp_connections_per_source": 8 } });
    let server = Setup::new().no_flood().config(limit).start();
    let held: Vec<_> =
        (0..24).map(|_| connect_from([127, 0, 0, 66].into(), server.address)).collect();
    let closed = held.iter().filter(|stream| is_closed(stream)).count();
    assert!(closed >= 16, "{closed} of 24 refused");
    let mut other = server.tcp_phone("alice", 20);
    let ping = other.request("OPTIONS", &server.own_uri());
    assert_eq!(other.ask(&ping).status(), 200, "other addresses are served");
}

/// Whether the server has hung up on a silent connection; an open one answers a keep-alive.
fn is_closed(stream: &std::net::TcpStream) -> bool {
    let mut stream = stream.try_clone().expect("a second handle");
    if stream.write_all(b"\r\n\r\n").is_err() {
        return true;
    }
    let mut link = Link::Tcp(stream, Vec::new());
    link.receive(Instant::now() + Duration::from_secs(2)).is_none()
}

#[test]
fn answers_go_back_on_the_connection_the_request_came_by() {
    let server = Setup::new().start();
    let mut phone = server.tcp_phone("alice", 20);
    let mut named = server.stranger(21);
    phone.sent_by = named.local.to_string();
    let ping = phone.request("OPTIONS", &server.own_uri());
    assert_eq!(phone.ask(&ping).status(), 200);
    named.quiet();
}

#[test]
fn a_phone_that_comes_back_on_a_new_connection_is_reached_there() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut old) = (server.phone("alice", 20), server.tcp_phone("bob", 30));
    old.register();
    let instance = ";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\";reg-id=1";
    drop(old);
    let mut bob: Phone = server.tcp_phone("bob", 30);
    let contact = format!("<{}>{instance}", bob.contact);
    let request = bob.registration(600).set("Contact", contact).with("Supported", "outbound");
    assert_eq!(bob.ask_as(request).status(), 200);
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    hang_up(&mut alice, &mut call.caller, &mut bob);
}
