//! What goes over TLS or not at all: `sips:`, gateways by the name they prove, users and domains
//! of the owner's list (R41 to R43, RFC 5630).

mod harness;

use std::net::{Ipv4Addr, TcpListener};

use harness::authority::{Authority, leaf};
use harness::call::invite;
use harness::dns::NameServer;
use harness::link::Link;
use harness::tls::accept;
use harness::{DOMAIN, Phone, QUIET, Setup, Subject, establish, hang_up};
use serde_json::json;

const GATEWAY: &str = "gw.example.net";

fn sips(user: &str) -> String {
    format!("sips:{user}@{DOMAIN}")
}

#[test]
fn sips_is_never_downgraded() {
    let server = Setup::users(&["alice", "bob", "carol"]).with_tls().no_flood().start();
    let (mut alice, mut bob) = (server.tls_phone("alice", 20), server.tls_phone("bob", 30));
    let (mut udp, mut tcp) = (server.phone("carol", 40), server.tcp_phone("carol", 50));
    for phone in [&mut alice, &mut bob, &mut udp, &mut tcp] {
        phone.register();
    }
    let mut call = establish(&mut alice, &mut bob, &sips("bob"));
    let routes = call.invite.values("record-route");
    assert!(routes.iter().all(|route| route.starts_with("<sips:")), "{routes:?}");
    hang_up(&mut bob, &mut call.callee, &mut alice);
    let request = invite(&alice, &sips("carol"));
    let request = alice.send_as(request);
    assert_eq!(alice.final_to(&request).answer(), "480 Temporarily Unavailable");
    assert!(udp.maybe_request("INVITE", QUIET).is_none());
    assert!(tcp.maybe_request("INVITE", QUIET).is_none());
    let says = server.command(&["explain", request.header("Call-ID")]).ok().stdout;
    assert!(says.contains("no-secure-way"), "{says}");
    for mut plain in [udp, tcp] {
        let request = invite(&plain, &sips("bob"));
        assert_eq!(plain.ask(&request).answer(), "403 TLS required");
    }
}

#[test]
fn who_is_for_tls_alone_is_refused_on_plain_transports() {
    let keys = json!({ "tls": { "require_tls": [format!("bob@{DOMAIN}")] } });
    let server = Setup::users(&["alice", "bob"]).with_tls().no_flood().config(keys).start();
    let mut alice = server.phone("alice", 20);
    alice.register();
    for mut bob in [server.phone("bob", 30), server.tcp_phone("bob", 30)] {
        let request = bob.registration(3600);
        assert_eq!(bob.ask(&request).answer(), "403 TLS required", "no challenge");
        let request = invite(&bob, &server.uri("alice"));
        assert_eq!(bob.ask(&request).answer(), "403 TLS required");
    }
    let mut bob = server.tls_phone("bob", 30);
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    hang_up(&mut alice, &mut call.caller, &mut bob);
}

#[test]
fn calls_reach_who_is_for_tls_alone_over_tls_or_not_at_all() {
    let setup = Setup::users(&["alice", "bob"]).with_tls().no_flood();
    let mut server = setup.clone().start();
    let mut bob = server.phone("bob", 30);
    bob.register();
    assert_eq!(server.stop(), 0);
    let setup = setup.config(json!({ "tls": { "require_tls": [DOMAIN] } }));
    server.write_config(&setup.complete(server.address.port()));
    server.start_again();
    let mut alice = server.tls_phone("alice", 20);
    let request = invite(&alice, &server.uri("bob"));
    let request = alice.send_as(request);
    assert_eq!(alice.final_to(&request).status(), 480);
    assert!(bob.maybe_request("INVITE", QUIET).is_none());
}

/// A server that finds its gateway by name, and believes `house` alone.
fn server(house: &Authority, names: &NameServer, port: u16) -> Subject {
    let setup = Setup::users(&["alice"]).with_tls().no_flood();
    let setup = setup.gateways(json!([format!("sips:{GATEWAY}:{port}")]));
    let mut server = setup.clone().start();
    assert_eq!(server.stop(), 0);
    std::fs::write(server.folder.path().join("ca.pem"), &house.certificate).expect("written");
    let keys = json!({ "tls": { "ca": "ca.pem" },
        "dns": { "servers": [names.address.to_string()] } });
    server.write_config(&setup.config(keys).complete(server.address.port()));
    server.start_again();
    server
}

#[test]
fn a_gateway_over_tls_proves_the_name_it_was_found_by() {
    let names = NameServer::start(&[(GATEWAY, Ipv4Addr::new(127, 0, 0, 9))]);
    let house = Authority::new("house");
    let listener = TcpListener::bind("127.0.0.9:0").expect("a listener");
    let port = listener.local_addr().expect("it is bound").port();
    let server = server(&house, &names, port);
    let number = server.uri("+33123456789");
    let mut alice = server.phone("alice", 20);
    for wrong in ["other.example.net", "example.net", "127.0.0.9"] {
        let request = invite(&alice, &number);
        let request = alice.send_as(request);
        // In TLS 1.3 the gateway has finished before the server has looked at its certificate.
        let refused = accept(&listener, &house.issue(&leaf(wrong)));
        assert_eq!(alice.final_to(&request).answer(), "502 No Gateway Available", "{wrong}");
        drop(refused);
    }
    let request = invite(&alice, &number);
    let request = alice.send_as(request);
    let stream = accept(&listener, &house.issue(&leaf(GATEWAY))).expect("a handshake");
    let link = Link::Accepted(Box::new(stream), Vec::new());
    let mut gateway = Phone::new(link, server.address, "gateway", server.transcript.clone());
    let arrived = gateway.expect_request("INVITE");
    assert_eq!(arrived.uri(), format!("sips:+33123456789@{GATEWAY}:{port}"));
    let mut call = harness::call::answer(&mut alice, &mut gateway, &request, arrived);
    hang_up(&mut gateway, &mut call.callee, &mut alice);
    let mut call = establish(&mut alice, &mut gateway, &number);
    hang_up(&mut alice, &mut call.caller, &mut gateway);
}
