//! The public telephone network: nobody's by default, local users' once there is a gateway,
//! strangers' never (requirements R9, R15, R18).

mod harness;

use harness::call::{self, invite};
use harness::{Phone, Setup, Subject, establish, hang_up};
use serde_json::json;

/// Alice's server with a gateway at 127.0.0.9, and the gateway.
fn with_gateway(setup: Setup) -> (Subject, Phone) {
    // The gateway's socket has to exist before its address can stand in the configuration.
    let socket = std::net::UdpSocket::bind("127.0.0.9:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    let server = setup.gateway(address).start();
    let link = harness::link::Link::Udp(socket);
    let mut gateway = Phone::new(link, server.address, "gateway", server.transcript.clone());
    gateway.aor = format!("sip:gateway@{address}");
    (server, gateway)
}

#[test]
fn r9_without_a_gateway_a_number_leads_nowhere() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let call = invite(&alice, &server.uri("+33123456789"));
    assert_eq!(alice.ask_as(call).status(), 404);
}

#[test]
fn r9_with_a_gateway_a_local_users_number_goes_there() {
    let (server, mut gateway) = with_gateway(Setup::users(&["alice"]));
    let mut alice = server.phone("alice", 20);
    let mut call = establish(&mut alice, &mut gateway, &server.uri("+33123456789"));
    assert!(call.invite.uri().contains("+33123456789@127.0.0.9"), "{}", call.invite.uri());
    hang_up(&mut gateway, &mut call.callee, &mut alice);
}

#[test]
fn r15_two_zeros_become_a_plus() {
    let (server, mut gateway) = with_gateway(Setup::users(&["alice"]));
    let mut alice = server.phone("alice", 20);
    let arrived = call::message(&mut alice, &mut gateway, &server.uri("0033123456789"));
    assert!(arrived.uri().starts_with("sip:+33123456789@"), "{}", arrived.uri());
}

#[test]
fn r15_a_tel_uri_is_a_number_too() {
    let (server, mut gateway) = with_gateway(Setup::users(&["alice"]));
    let mut alice = server.phone("alice", 20);
    let call = invite(&alice, "tel:+33123456789");
    alice.send_as(call);
    assert!(gateway.expect_request("INVITE").uri().contains("+33123456789"));
}

#[test]
fn what_the_pattern_does_not_accept_is_no_number() {
    let (server, mut gateway) = with_gateway(Setup::users(&["alice"]).no_flood());
    let mut alice = server.phone("alice", 20);
    for user in ["+0123456789", "+12", "00331", "123456789", "+3312345678901234567890123", "+33x1"]
    {
        let call = invite(&alice, &server.uri(user));
        assert_eq!(alice.ask_as(call).status(), 404, "{user}");
    }
    gateway.quiet();
}

#[test]
fn r18_a_foreign_user_is_not_allowed_to_the_pstn() {
    let (server, mut gateway) = with_gateway(Setup::users(&["alice"]));
    let mut stranger = server.stranger(66);
    for number in ["+33123456789", "0033123456789", "%2B33123456789", "%2b%33%33123456789"] {
        let call = invite(&stranger, &server.uri(number));
        assert_eq!(stranger.ask(&call).answer(), "403 Not Allowed", "{number}");
    }
    gateway.quiet();
}

#[test]
fn r18_a_foreign_from_is_not_allowed_from_a_trusted_address_either() {
    let trusted = json!({ "net": "127.0.0.40/32" });
    let (server, mut gateway) = with_gateway(Setup::users(&["alice"]).trusted(trusted));
    let mut trunk = server.stranger(40);
    let call = invite(&trunk, &server.uri("+33123456789"));
    assert_eq!(trunk.ask(&call).answer(), "403 Not Allowed");
    gateway.quiet();
    let mut local = server.phone("alice", 40);
    let mut call = establish(&mut local, &mut gateway, &server.uri("+33123456789"));
    hang_up(&mut local, &mut call.caller, &mut gateway);
}

#[test]
fn r18_the_gateways_own_address_in_the_request_uri_opens_nothing() {
    let (server, mut gateway) = with_gateway(Setup::users(&["alice"]));
    let mut stranger = server.stranger(66);
    let call = invite(&stranger, &format!("sip:+33123456789@{}", gateway.local));
    let answer = stranger.ask(&call);
    assert_eq!(answer.status(), 403, "{}", answer.start);
    gateway.quiet();
}

#[test]
fn r14_the_relay_rules_hold_with_flood_guard_and_scanners_off() {
    let off = json!({ "flood": null, "guard": { "mode": "off" }, "scanners": null });
    let (server, mut gateway) = with_gateway(Setup::users(&["alice"]).config(off));
    let mut stranger = server.stranger(66);
    let call = invite(&stranger, &server.uri("+33123456789"));
    assert_eq!(stranger.ask(&call).answer(), "403 Not Allowed");
    let call = invite(&stranger, "sip:friend@127.0.0.50:7000");
    assert_eq!(stranger.ask(&call).answer(), "403 Not relaying");
    gateway.quiet();
}

#[test]
fn an_incoming_call_from_the_gateway_reaches_a_local_user() {
    let (server, mut gateway) = with_gateway(Setup::users(&["alice"]));
    let mut alice = server.phone("alice", 20);
    alice.register();
    let mut call = establish(&mut gateway, &mut alice, &server.uri("alice"));
    hang_up(&mut alice, &mut call.callee, &mut gateway);
}

#[test]
fn a_second_gateway_serves_its_own_prefixes() {
    let sockets = [9u8, 10]
        .map(|last| std::net::UdpSocket::bind(format!("127.0.0.{last}:0")).expect("a socket"));
    let uris = sockets
        .each_ref()
        .map(|socket| format!("sip:{};transport=udp", socket.local_addr().expect("an address")));
    let gateways = json!([
        { "uri": uris[0], "prefixes": ["+33"] },
        { "uri": uris[1], "prefixes": ["+44"] },
    ]);
    let server = Setup::users(&["alice"]).gateways(gateways).start();
    let mut gateways = sockets.map(|socket| {
        let link = harness::link::Link::Udp(socket);
        Phone::new(link, server.address, "gateway", server.transcript.clone())
    });
    let mut alice = server.phone("alice", 20);
    call::message(&mut alice, &mut gateways[1], &server.uri("+441632960000"));
    call::message(&mut alice, &mut gateways[0], &server.uri("+33123456789"));
    gateways.iter_mut().for_each(Phone::quiet);
}
