//! Certificates of clients: every policy against every kind of certificate, and none wrongly
//! accepted (R45 to R47).

mod harness;

use std::net::IpAddr;

use harness::authority::{Authority, Pair, alone, leaf, valid};
use harness::link::Link;
use harness::tls::{connect, showing, trusting};
use harness::{DOMAIN, PATIENCE, Phone, Setup, Subject};
use rcgen::{DnType, ExtendedKeyUsagePurpose, SerialNumber};
use rustls::HandshakeKind;
use serde_json::json;

/// A kind of certificate, and whether it proves anything.
type Kind = (&'static str, Option<Pair>, bool);

const REVOKED: u64 = 77;

fn kinds(house: &Authority) -> Vec<Kind> {
    let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = leaf("alice");
        change(&mut params);
        params
    };
    let expired = with(&|params| valid(params, -20, -10));
    let early = with(&|params| valid(params, 10, 20));
    let revoked = with(&|params| params.serial_number = Some(SerialNumber::from(REVOKED)));
    let server_only =
        with(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let nul = with(&|params| {
        params.distinguished_name.push(DnType::CommonName, "alice\0.example.org");
    });
    let stranger = Authority::new("house");
    vec![
        ("absent", None, false),
        ("good", Some(house.issue(&leaf("alice"))), true),
        ("expired", Some(house.issue(&expired)), false),
        ("not yet valid", Some(house.issue(&early)), false),
        ("revoked", Some(house.issue(&revoked)), false),
        ("untrusted", Some(stranger.issue(&leaf("alice"))), false),
        ("self-signed", Some(alone(&leaf("alice"))), false),
        ("server only", Some(house.issue(&server_only)), false),
        ("embedded NUL", Some(house.issue(&nul)), false),
    ]
}

/// A server that measures clients by `house`.
fn server(house: &Authority, verify: &str) -> Subject {
    let setup = Setup::new().with_tls().no_flood();
    let mut server = setup.clone().start();
    assert_eq!(server.stop(), 0);
    let folder = server.folder.path();
    alone(&leaf(DOMAIN)).write(folder, "own");
    std::fs::write(folder.join("ca.pem"), &house.certificate).expect("written");
    std::fs::write(folder.join("crl.pem"), house.revoking(REVOKED)).expect("written");
    let keys = json!({ "certificate": "own.pem", "key": "own.key", "verify": verify,
        "ca": "ca.pem", "crl": ["crl.pem"] });
    server.write_config(&setup.config(json!({ "tls": keys })).complete(server.address.port()));
    server.start_again();
    server
}

/// Whether a client that shows `pair` is answered.
fn is_served(server: &Subject, pair: Option<&Pair>) -> bool {
    let config = pair.map_or_else(trusting, showing);
    let Ok(stream) = connect(IpAddr::from([127, 0, 0, 20]), server.tls_address(), config) else {
        return false;
    };
    let link = Link::Tls(Box::new(stream), Vec::new());
    let mut phone = Phone::new(link, server.tls_address(), "alice", server.transcript.clone());
    let ping = phone.request("OPTIONS", &server.own_uri());
    // In TLS 1.3 a client has finished before the server has looked at its certificate.
    phone.try_send_raw(&ping.bytes()) && phone.maybe_response(&ping, PATIENCE).is_some()
}

#[test]
fn no_policy_accepts_a_certificate_that_proves_nothing() {
    let house = Authority::new("house");
    let kinds = kinds(&house);
    for verify in ["required", "optional", "none"] {
        let server = server(&house, verify);
        for (name, pair, proves) in &kinds {
            let expected = match verify {
                "required" => *proves,
                "optional" => *proves || pair.is_none(),
                _ => true,
            };
            assert_eq!(is_served(&server, pair.as_ref()), expected, "{verify}, {name}");
        }
    }
}

#[test]
fn who_shows_a_certificate_shows_it_each_time() {
    let house = Authority::new("house");
    let server = server(&house, "optional");
    let config = showing(&house.issue(&leaf("alice")));
    for _ in 0..2 {
        let stream = connect(IpAddr::from([127, 0, 0, 20]), server.tls_address(), config.clone());
        let stream = stream.expect("a handshake");
        assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Full));
        let link = Link::Tls(Box::new(stream), Vec::new());
        let mut phone = Phone::new(link, server.tls_address(), "alice", server.transcript.clone());
        let ping = phone.request("OPTIONS", &server.own_uri());
        assert_eq!(phone.ask(&ping).status(), 200);
    }
}

#[test]
fn asking_for_certificates_without_saying_which_are_good_is_refused() {
    let keys = json!({ "tls": { "verify": "required" } });
    let mut server = Setup::new().with_tls().start();
    assert_eq!(server.stop(), 0);
    let setup = Setup::new().with_tls().config(keys);
    server.write_config(&setup.complete(server.address.port()));
    let says = server.command(&["check"]);
    assert_eq!(says.code, 1);
    assert!(says.stderr.contains("tls: verify asks for certificates"), "{}", says.stderr);
}
