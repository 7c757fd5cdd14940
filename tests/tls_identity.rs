//! Whom a client's certificate names: who may stand in From, what `explain` says of it, and when
//! it replaces a password (R49, R50).

mod harness;

use std::net::IpAddr;
use std::sync::Arc;

use harness::authority::{Authority, Pair, alone, leaf};
use harness::link::Link;
use harness::tls::{connect, showing, trusting};
use harness::{DOMAIN, Phone, Setup, Subject, eventually};
use rcgen::SanType;
use rustls::ClientConfig;
use serde_json::{Value, json};

/// A server with alice and bob that measures clients by `house`, with these keys of `tls`.
fn server(house: &Authority, keys: Value) -> Subject {
    let setup = Setup::users(&["alice", "bob"]).with_tls().no_flood();
    let mut server = setup.clone().start();
    assert_eq!(server.stop(), 0);
    let folder = server.folder.path();
    alone(&leaf(DOMAIN)).write(folder, "own");
    std::fs::write(folder.join("ca.pem"), &house.certificate).expect("written");
    let own = json!({ "certificate": "own.pem", "key": "own.key", "ca": "ca.pem" });
    let setup = setup.config(json!({ "tls": own })).config(json!({ "tls": keys }));
    server.write_config(&setup.complete(server.address.port()));
    server.start_again();
    server
}

/// A certificate of `house` with this common name, and this alternative name.
fn named(house: &Authority, name: &str, uri: Option<&str>) -> Pair {
    let mut params = leaf(name);
    let uri = uri.map(|uri| SanType::URI(uri.try_into().expect("ASCII")));
    params.subject_alt_names.extend(uri);
    house.issue(&params)
}

/// A phone of `user` that shows this certificate.
fn phone(server: &Subject, user: &str, pair: Option<&Pair>) -> Phone {
    let config: Arc<ClientConfig> = pair.map_or_else(trusting, showing);
    let stream = connect(IpAddr::from([127, 0, 0, 20]), server.tls_address(), config);
    let link = Link::Tls(Box::new(stream.expect("a handshake")), Vec::new());
    Phone::new(link, server.tls_address(), user, server.transcript.clone())
}

/// What a keep-alive with this From is answered.
fn answered(server: &Subject, pair: Option<&Pair>, from: &str) -> String {
    let mut phone = phone(server, "alice", pair);
    let ping = phone.request("OPTIONS", &server.own_uri());
    let ping = ping.set("From", format!("<{from}>;tag=1"));
    phone.ask(&ping).answer().to_owned()
}

#[test]
fn the_certificate_must_name_the_user_in_from() {
    let house = Authority::new("house");
    let keys = json!({ "verify": "optional", "certificate_must_match": "from-user" });
    let server = server(&house, keys);
    let alice = named(&house, "alice", None);
    let own = server.uri("alice");
    assert_eq!(answered(&server, Some(&alice), &own), "200 Keepalive");
    let others = ["bob", "ali", "alicex", "Alice"].map(|name| named(&house, name, None));
    for pair in others.iter().map(Some).chain([None]) {
        assert_eq!(answered(&server, pair, &own), "403 User id mismatch");
    }
    let nul = format!("sip:alice%00@{DOMAIN}");
    for from in [format!("sip:{DOMAIN}"), nul, server.uri("bob"), server.uri("alicex")] {
        assert_eq!(answered(&server, Some(&alice), &from), "403 User id mismatch", "{from}");
    }
    let mut bob = phone(&server, "bob", Some(&alice));
    let request = bob.registration(3600);
    assert_eq!(bob.ask(&request).answer(), "403 User id mismatch", "no challenge");
}

#[test]
fn the_certificate_must_name_the_whole_address_in_from() {
    let house = Authority::new("house");
    let keys = json!({ "verify": "optional", "certificate_must_match": "from-aor" });
    let server = server(&house, keys);
    let own = server.uri("alice");
    let good = named(&house, "whoever", Some(&own));
    assert_eq!(answered(&server, Some(&good), &own), "200 Keepalive");
    let elsewhere = named(&house, "alice", Some("sip:alice@elsewhere.example"));
    for pair in [Some(&elsewhere), Some(&named(&house, "alice", None)), None] {
        assert_eq!(answered(&server, pair, &own), "403 User id mismatch");
    }
    assert_eq!(answered(&server, Some(&good), &server.uri("bob")), "403 User id mismatch");
}

#[test]
fn a_certificate_stands_in_for_the_password_of_the_user_it_names() {
    let house = Authority::new("house");
    let server = server(
        &house,
        json!({ "verify": "required", "certificate_must_match": "from-aor",
            "certificate_as_digest": true }),
    );
    let pair = named(&house, "whoever", Some(&server.uri("alice")));
    let mut alice = phone(&server, "alice", Some(&pair));
    let request = alice.registration(3600);
    assert_eq!(alice.ask(&request).status(), 200, "no password was asked for");
    let other = alice.registration(3600).set("To", format!("<{}>", server.uri("bob")));
    assert_eq!(alice.ask(&other).status(), 401, "bob's phones are not hers to move");
    let unknown = server.uri("nobody");
    let pair = named(&house, "nobody", Some(&unknown));
    let mut nobody = phone(&server, "nobody", Some(&pair));
    let request = nobody.registration(3600);
    assert_eq!(nobody.ask(&request).status(), 401, "a certificate makes no subscriber");
}

#[test]
fn explain_says_whom_the_certificate_names() {
    let house = Authority::new("house");
    let server = server(&house, json!({ "verify": "required" }));
    let pair = named(&house, "alice", Some("sip:alice@elsewhere.example"));
    let mut alice = phone(&server, "alice", Some(&pair));
    let call = alice.registration(3600);
    assert_eq!(alice.ask(&call).status(), 401);
    let says = eventually("it is explained", || {
        let text = server.command(&["explain", call.header("Call-ID")]).ok().stdout;
        text.contains("fingerprint").then_some(text)
    });
    for part in ["verified, fingerprint ", "CN alice", "SAN sip:alice@elsewhere.example", "serial"]
    {
        assert!(says.contains(part), "{part} in:\n{says}");
    }
}
