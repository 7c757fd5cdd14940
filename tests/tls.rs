//! TLS: phones register and call over it, whatever the other side speaks, and the pair that a first
//! start makes (R36 to R40).

mod harness;

use std::os::unix::fs::PermissionsExt;

use harness::{Setup, establish, hang_up};

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
