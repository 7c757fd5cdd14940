//! Stalled and half-open peers cost nobody else anything (R51, guard.md P18). Scaled; the full run
//! is `REMPART_STALLED=10000 cargo test --test tls_endurance`.

mod harness;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use harness::link::{Link, connect_from};
use harness::tls::{connect, trusting};
use harness::{Phone, Setup, Subject};
use serde_json::json;

/// How many stalled connections stand at once.
fn stalled() -> usize {
    std::env::var("REMPART_STALLED").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

/// Addresses they come from: one for each hundred, twenty at least.
fn attackers() -> usize {
    (stalled() / 100).max(20)
}

fn attacker(number: usize) -> IpAddr {
    let place = number % attackers();
    IpAddr::from([127, 0, 66, u8::try_from(place + 1).expect("few addresses")])
}

/// Lets this process hold as many sockets as the attack takes.
fn raise_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the system writes to and reads from an `rlimit` of ours.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}

fn silent(server: &Subject, number: usize) -> Option<Link> {
    Some(Link::Tcp(connect_from(attacker(number), server.tls_address()), Vec::new()))
}

fn half_a_hello(server: &Subject, number: usize) -> Option<Link> {
    let mut link = silent(server, number)?;
    link.send(b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03", server.tls_address()).ok()?;
    Some(link)
}

fn half_a_header(server: &Subject, number: usize) -> Option<Link> {
    // It may have been shown the door in its handshake, as it should be.
    let stream = connect(attacker(number), server.tls_address(), trusting()).ok()?;
    let mut link = Link::Tls(Box::new(stream), Vec::new());
    link.send(b"REGISTER sip:sip.example.org SIP/2.0\r\nVia: SIP", server.tls_address()).ok()?;
    Some(link)
}

/// A phone that was not there before registers, and says how long that took.
fn newcomer(server: &Subject) -> Duration {
    let begun = Instant::now();
    let mut alice: Phone = server.tls_phone("alice", 20);
    alice.register();
    begun.elapsed()
}

fn withstands(stall: fn(&Subject, usize) -> Option<Link>) {
    raise_limit();
    let limits = json!({ "limits": { "tcp_connections": stalled() / 2 } });
    let server = Setup::users(&["alice", "bob"]).with_tls().no_flood().config(limits).start();
    let mut bob = server.tls_phone("bob", 30);
    bob.register();
    let mut held = Vec::new();
    let mut slowest = Duration::ZERO;
    for number in 0..stalled() {
        held.extend(stall(&server, number));
        if number % (stalled() / 5) == stalled() / 5 - 1 {
            slowest = slowest.max(newcomer(&server));
        }
    }
    println!("{} stalled, a new phone registers in {slowest:?} at most", held.len());
    let ping = bob.request("OPTIONS", &server.own_uri());
    assert_eq!(bob.ask(&ping).status(), 200, "who was there before is served as before");
    let counters = &server.listing(&["status"])["counters"];
    assert!(counters["shed:newcomers"].as_u64() > Some(0), "{counters}");
    assert!(held.len() > stalled() / 10, "the attack took place");
}

#[test]
fn peers_that_say_nothing_cost_nobody_a_place() {
    withstands(silent);
}

#[test]
fn half_open_handshakes_cost_nobody_a_place() {
    withstands(half_a_hello);
}

#[test]
fn half_headers_under_tls_cost_nobody_a_place() {
    withstands(half_a_header);
}
