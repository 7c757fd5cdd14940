//! Trusted addresses: what a listed source may do without a password, what it may never do, and
//! how the owner narrows it (requirements R19 to R22, R7, guard.md section 7).

mod harness;

use std::net::UdpSocket;

use harness::call::invite;
use harness::link::Link;
use harness::{Phone, Setup, Subject, establish, hang_up};
use serde_json::{Value, json};

/// Bob, and 127.0.0.40 in the address table with these further keys.
fn setup(more: Value) -> Setup {
    let mut entry = json!({ "net": "127.0.0.40/32", "group": 1 });
    for (key, value) in more.as_object().into_iter().flatten() {
        entry[key] = value.clone();
    }
    Setup::users(&["alice", "bob"]).trusted(entry)
}

/// The answer that 127.0.0.40 gets to a call in Alice's name.
fn call_as_alice(server: &Subject, uri: &str) -> String {
    let mut trunk = server.phone("alice", 40);
    let call = invite(&trunk, uri);
    trunk.ask(&call).answer().to_string()
}

#[test]
fn r19_a_listed_source_calls_without_a_password() {
    let server = setup(json!({})).start();
    let (mut trunk, mut bob) = (server.phone("alice", 40), server.phone("bob", 30));
    bob.register();
    let mut call = establish(&mut trunk, &mut bob, &server.uri("bob"));
    hang_up(&mut bob, &mut call.callee, &mut trunk);
    let mut neighbour = server.phone("alice", 41);
    let call = invite(&neighbour, &server.uri("bob"));
    assert_eq!(neighbour.ask(&call).status(), 407, "and nobody else does");
}

#[test]
fn r20_a_listed_source_still_proves_itself_to_register() {
    let server = setup(json!({})).start();
    let mut trunk = server.phone("alice", 40);
    let request = trunk.registration(600);
    assert_eq!(trunk.ask(&request).status(), 401);
    trunk.register();
}

#[test]
fn r21_a_listed_source_passes_before_the_relay_rules() {
    let server = setup(json!({})).start();
    let (mut trunk, mut elsewhere) = (server.stranger(40), server.stranger(50));
    let uri = format!("sip:friend@{}", elsewhere.local);
    let mut call = establish(&mut trunk, &mut elsewhere, &uri);
    hang_up(&mut trunk, &mut call.caller, &mut elsewhere);
}

#[test]
fn r22_an_entry_for_local_targets_only_reaches_no_further() {
    let server = setup(json!({ "may": ["local"] })).start();
    let mut elsewhere = server.stranger(50);
    let foreign = format!("sip:friend@{}", elsewhere.local);
    let mut trunk = server.stranger(40);
    let call = invite(&trunk, &foreign);
    assert_eq!(trunk.ask(&call).answer(), "403 Not relaying");
    elsewhere.quiet();
    let mut bob = server.phone("bob", 30);
    bob.register();
    let mut call = establish(&mut trunk, &mut bob, &server.uri("bob"));
    hang_up(&mut trunk, &mut call.caller, &mut bob);
}

#[test]
fn r22_a_strict_entry_wants_more_than_a_udp_source_address() {
    let server = setup(json!({ "strict": true })).start();
    let mut elsewhere = server.stranger(50);
    let foreign = format!("sip:friend@{}", elsewhere.local);
    let answer = call_as_alice(&server, &foreign);
    assert!(answer.starts_with("407") || answer.starts_with("403"), "forgeable: {answer}");
    elsewhere.quiet();
    let mut trunk = server.tcp_phone("alice", 40);
    let mut call = establish(&mut trunk, &mut elsewhere, &foreign);
    hang_up(&mut trunk, &mut call.caller, &mut elsewhere);
}

#[test]
fn r22_an_entry_can_be_bound_to_a_port_and_a_transport() {
    let reserved = UdpSocket::bind("127.0.0.40:0").expect("a socket");
    let port = reserved.local_addr().expect("an address").port();
    let server = setup(json!({ "port": port, "transport": "udp" })).start();
    let answer = call_as_alice(&server, &server.uri("bob"));
    assert!(answer.starts_with("407"), "another port: {answer}");
    let link = Link::Udp(reserved);
    let mut trunk = Phone::new(link, server.address, "alice", server.transcript.clone());
    let call = invite(&trunk, &server.uri("bob"));
    assert_eq!(trunk.ask(&call).status(), 480, "the port named, and Bob is away");
}

#[test]
fn an_entry_added_by_command_is_in_force_at_once_and_listed_with_its_origin() {
    let server = setup(json!({})).start();
    let call = |last: u8| {
        let mut trunk = server.phone("alice", last);
        let call = invite(&trunk, &server.uri("bob"));
        trunk.ask(&call).status()
    };
    assert_eq!(call(41), 407);
    server.command(&["trust", "add", "127.0.0.41/32", "--tag", "second trunk"]).ok();
    assert_eq!(call(41), 480, "no password asked, and Bob is away");
    let listed = server.listing(&["trust", "list"]).to_string();
    for part in ["127.0.0.40", "127.0.0.41", "second trunk"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    server.command(&["trust", "remove", "127.0.0.41/32"]).ok();
    assert_eq!(call(41), 407);
}

#[test]
fn r7_check_names_what_each_entry_is_trusted_with_and_what_is_exposed() {
    let server = setup(json!({ "may": ["local", "pstn"] })).start();
    let report = server.command(&["check"]).ok().stdout;
    for part in ["sip.example.org", "127.0.0.40", &server.address.port().to_string()] {
        assert!(report.contains(part), "{part} in:\n{report}");
    }
    assert!(report.to_lowercase().contains("pstn"), "{report}");
}
