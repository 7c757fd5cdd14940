//! TLS: phones register and call over it, whatever the other side speaks; the pair that a first
//! start makes; profiles; certificates renewed under way (R36 to R48).

mod harness;

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use harness::authority::{Authority, alone, leaf};
use harness::link::{Link, connect_from};
use harness::tls::{TlsStream, connect, handshake, shown_by, trusting};
use harness::{DOMAIN, Phone, Setup, Subject, establish, eventually, hang_up};
use rustls::{ClientConfig, HandshakeKind};
use serde_json::json;

#[test]
fn a_phone_registers_and_calls_over_tls() {
    let server = Setup::users(&["alice", "bob"]).with_tls().start();
    let (mut alice, mut bob) = (server.tls_phone("alice", 20), server.tls_phone("bob", 30));
    alice.register();
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    hang_up(&mut bob, &mut call.callee, &mut alice);
}

#[test]
fn phones_on_tls_call_phones_on_udp_and_tcp_and_are_called() {
    let server = Setup::users(&["alice", "bob", "carol"]).with_tls().no_flood().start();
    let mut alice = server.tls_phone("alice", 20);
    alice.register();
    let others = [("bob", server.phone("bob", 30)), ("carol", server.tcp_phone("carol", 40))];
    for (name, mut other) in others {
        other.register();
        let mut call = establish(&mut alice, &mut other, &server.uri(name));
        hang_up(&mut other, &mut call.callee, &mut alice);
        let mut call = establish(&mut other, &mut alice, &server.uri("alice"));
        hang_up(&mut other, &mut call.caller, &mut alice);
    }
}

#[test]
fn a_call_from_udp_to_tls_names_both_transports_on_its_way() {
    let server = Setup::users(&["alice", "bob"]).with_tls().start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.tls_phone("bob", 30));
    alice.register();
    bob.register();
    let (invite, arrived) = harness::invite_ringing(&mut alice, &mut bob, &server.uri("bob"));
    let via = arrived.header("via").unwrap_or_default();
    assert!(via.starts_with(&format!("SIP/2.0/TLS {};", server.tls_address())), "{via}");
    let routes = arrived.values("record-route").join(",");
    let sides: Vec<&str> = routes.split(',').collect();
    assert_eq!(sides.len(), 2, "{routes}");
    assert!(sides[0].contains(";transport=tls") && !sides[1].contains("tls"), "{routes}");
    bob.respond(&arrived, 486, "Busy Here");
    assert_eq!(alice.final_to(&invite).status(), 486);
}

#[test]
fn the_first_start_makes_a_pair_and_later_ones_keep_it() {
    let mut server = Setup::new().with_tls().start();
    let folder = server.folder.path().join("data");
    let (certificate, key) = (folder.join("self-signed.pem"), folder.join("self-signed.key"));
    let mode = std::fs::metadata(&key).expect("a key is made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = std::fs::read(&certificate).expect("a certificate is made");
    assert_eq!(server.stop(), 0);
    server.start_again();
    assert_eq!(std::fs::read(&certificate).expect("it is still there"), first);
    let says = server.command(&["check"]).ok().stdout;
    assert!(says.contains("self-signed.pem"), "{says}");
}

/// A server whose certificate and key stand in `own.pem` and `own.key` of its folder.
fn certified(users: &[&str], keys: serde_json::Value) -> Subject {
    let mut server = Setup::users(users).with_tls().no_flood().start();
    assert_eq!(server.stop(), 0);
    alone(&leaf(DOMAIN)).write(server.folder.path(), "own");
    let own = json!({ "tls": { "certificate": "own.pem", "key": "own.key" } });
    let setup = Setup::users(users).with_tls().no_flood().config(own).config(keys);
    server.write_config(&setup.complete(server.address.port()));
    server.start_again();
    server
}

fn dial(server: &Subject, last: u8, config: Arc<ClientConfig>) -> std::io::Result<TlsStream> {
    connect(IpAddr::from([127, 0, 0, last]), server.tls_address(), config)
}

/// What the server shows to whom connects now.
fn shown(server: &Subject) -> Vec<u8> {
    shown_by(&dial(server, 60, trusting()).expect("a handshake"))
}

fn ping(phone: &mut Phone, server: &Subject) {
    let ping = phone.request("OPTIONS", &server.own_uri());
    assert_eq!(phone.ask(&ping).status(), 200);
}

#[test]
fn renewed_certificates_come_into_force_and_drop_nobody() {
    let server = certified(&["alice", "bob"], json!({}));
    let mut live: Vec<Phone> = (0..50).map(|n| server.tls_phone("eve", 100 + n)).collect();
    let (mut alice, mut bob) = (server.tls_phone("alice", 20), server.tls_phone("bob", 30));
    alice.register();
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    let folder = server.folder.path();
    for _ in 0..2 {
        let before = shown(&server);
        alone(&leaf(DOMAIN)).write(folder, "own");
        eventually("the new certificate is shown", || (shown(&server) != before).then_some(()));
    }
    let before = shown(&server);
    std::fs::write(folder.join("own.pem"), "-----BEGIN CERTIFICATE-----\nbroken").expect("written");
    eventually("the refusal is counted", || {
        let count = &server.listing(&["status"])["counters"]["tls-reload-failures"];
        (*count == 1).then_some(())
    });
    assert!(server.log().contains("the old ones stay in force"));
    assert_eq!(shown(&server), before);
    live.iter_mut().for_each(|phone| ping(phone, &server));
    hang_up(&mut bob, &mut call.callee, &mut alice);
}

#[test]
fn a_session_is_resumed_after_a_restart() {
    let mut server = certified(&[], json!({}));
    let config = trusting();
    let visit = |server: &Subject| {
        let stream = dial(server, 20, config.clone()).expect("a handshake");
        let kind = stream.conn.handshake_kind().expect("it is over");
        let link = Link::Tls(Box::new(stream), Vec::new());
        let mut phone = Phone::new(link, server.tls_address(), "eve", server.transcript.clone());
        // Tickets come with the first answer.
        ping(&mut phone, server);
        kind
    };
    assert_eq!(visit(&server), HandshakeKind::Full);
    assert_eq!(visit(&server), HandshakeKind::Resumed);
    assert_eq!(server.stop(), 0);
    server.start_again();
    assert_eq!(visit(&server), HandshakeKind::Resumed);
}

#[test]
fn a_profile_is_chosen_by_the_name_asked_for_and_an_address_comes_first() {
    let profile =
        |server: &str| json!({ "server": server, "certificate": "b.pem", "key": "b.key" });
    let mut server = certified(&[], json!({}));
    let other = alone(&leaf("other.example.org"));
    other.write(server.folder.path(), "b");
    let asked = |server: &Subject, name: &str| {
        let socket = connect_from([127, 0, 0, 60].into(), server.tls_address());
        shown_by(&handshake(socket, name, trusting()).expect("a handshake"))
    };
    let own = shown(&server);
    for (matcher, same) in
        [("Other.Example.org", true), (&*server.tls_address().to_string(), false)]
    {
        assert_eq!(server.stop(), 0);
        let own_keys = json!({ "certificate": "own.pem", "key": "own.key",
            "profiles": [profile(matcher)] });
        let setup = Setup::new().with_tls().no_flood().config(json!({ "tls": own_keys }));
        server.write_config(&setup.complete(server.address.port()));
        server.start_again();
        assert_ne!(asked(&server, "other.example.org"), own);
        assert_eq!(asked(&server, DOMAIN) == own, same, "{matcher}");
    }
}

#[test]
fn check_names_a_key_that_does_not_fit_and_one_that_is_encrypted() {
    let mut server = certified(&[], json!({}));
    assert_eq!(server.stop(), 0);
    let (folder, one, two) =
        (server.folder.path().to_owned(), alone(&leaf("a")), alone(&leaf("b")));
    one.write(&folder, "own");
    std::fs::write(folder.join("own.key"), &two.key).expect("written");
    let says = server.command(&["check"]);
    assert_eq!(says.code, 1);
    assert!(says.stderr.contains("is not that of the key"), "{}", says.stderr);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(folder.join("own.key"), encrypted).expect("written");
    let says = server.command(&["check"]);
    assert!(says.stderr.contains("openssl pkey"), "{}", says.stderr);
    let mut ending = leaf(DOMAIN);
    harness::authority::valid(&mut ending, -300, 10);
    Authority::new("house").issue(&ending).write(&folder, "own");
    let says = server.listing(&["check"]).to_string();
    assert!(says.contains("expires in"), "{says}");
}
