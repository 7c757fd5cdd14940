//! `rempart explain`: every decision can be asked for by Call-ID, address and user, with its
//! reason, the values that were compared and what undoes it.

mod harness;

use std::net::{Ipv4Addr, UdpSocket};

use harness::call::{establish, hang_up, invite};
use harness::dns::NameServer;
use harness::link::Link;
use harness::{DOMAIN, Phone, Request, Setup, Subject, eventually, invite_ringing};
use serde_json::{Value, json};

/// The decisions on what is asked about.
fn decisions(server: &Subject, about: &str) -> Vec<Value> {
    let rows = server.listing(&["explain", about]);
    let rows = rows.as_array().cloned().expect("a list");
    rows.into_iter().filter(|row| row["kind"] == "decision").collect()
}

/// The last decision on what is asked about.
fn last(server: &Subject, about: &str) -> Value {
    eventually(&format!("a decision on {about}"), || decisions(server, about).pop())
}

/// What a rule said in a decision; all of it where it was asked more than once.
fn rule(decision: &Value, name: &str) -> String {
    let rules = decision["rules"].as_array().cloned().expect("rules");
    let named = rules.iter().filter(|rule| rule["rule"] == name);
    named.filter_map(|rule| rule["value"].as_str()).collect::<Vec<_>>().join("; ")
}

fn text(server: &Subject, about: &str) -> String {
    server.command(&["explain", about]).ok().stdout
}

#[test]
fn a_foreign_relay_is_explained_by_call_id_and_address() {
    let server = Setup::new().start();
    let mut phone = server.stranger(66);
    let call = invite(&phone, "sip:victim@elsewhere.example");
    assert_eq!(phone.ask(&call).status(), 403);
    let row = last(&server, call.header("Call-ID"));
    assert_eq!(row["reason"], "not-relaying");
    assert_eq!((&row["verdict"], &row["status"]), (&json!("refused"), &json!(403)));
    assert_eq!(row["source"], format!("udp:{}", phone.local));
    assert_eq!(row["target"], "sip:victim@elsewhere.example");
    assert_eq!(rule(&row, "trusted"), "no entry for 127.0.0.66");
    assert_eq!(rule(&row, "relay"), "foreign caller, foreign target");
    let undo = row["undo"].as_str().expect("an undo");
    assert!(undo.starts_with("rempart trust add 127.0.0.66 --may foreign"), "{undo}");
    assert_eq!(decisions(&server, "127.0.0.66:5060").len(), 1, "any port of the address");
    let text = text(&server, "127.0.0.66");
    for part in ["INVITE refused 403 not-relaying", "foreign caller, foreign target", undo] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

#[test]
fn wrong_passwords_and_the_suspension_are_explained_by_user() {
    let server = Setup::users(&["alice"]).guard("seed-ip-user").start();
    let mut phone = server.phone("alice", 66);
    for _ in 0..3 {
        assert_eq!(phone.guess("wrong").status(), 401);
    }
    let user = format!("alice@{DOMAIN}");
    let row = last(&server, &user);
    assert_eq!((&row["reason"], &row["user"]), (&json!("wrong-password"), &json!(user)));
    assert_eq!(rule(&row, "guard"), "3 of 3 wrong passwords from 127.0.0.66");
    assert_eq!(phone.guess("letmein").status(), 403);
    let row = last(&server, &user);
    assert_eq!(row["reason"], "suspended");
    let undo = format!("rempart unban {user} --from 127.0.0.66");
    assert_eq!(row["undo"], undo);
    let rows = server.listing(&["explain", &user]);
    let standing = rows.as_array().and_then(|rows| rows.first()).cloned().expect("a row");
    assert_eq!((&standing["kind"], &standing["rule"]), (&json!("suspension"), &json!("suspended")));
    assert_eq!(standing["undo"], undo);
    let text = text(&server, &user);
    for part in [
        "is suspended since",
        "is not registered",
        "the last failure: suspended at",
        "3 of 3 wrong passwords",
        undo.as_str(),
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    let words: Vec<&str> = undo.split(' ').skip(1).collect();
    server.command(&words).ok();
    phone.register();
    assert_eq!(last(&server, &user)["reason"], "registered");
}

#[test]
fn a_ban_is_explained_with_its_values_and_what_it_dropped() {
    let server = Setup::new().start();
    let mut phone = server.stranger(66);
    for _ in 0..20 {
        let ping = phone.request("OPTIONS", &server.own_uri());
        phone.send(&ping);
    }
    let ban = eventually("the ban is explained", || {
        let rows = server.listing(&["explain", "127.0.0.66"]);
        let rows = rows.as_array().cloned().expect("a list");
        rows.into_iter().find(|row| row["kind"] == "ban")
    });
    assert_eq!((&ban["rule"], &ban["reason"]), (&json!("flooding"), &json!("flooding")));
    assert_eq!(ban["undo"], "rempart unban 127.0.0.66");
    let rows = decisions(&server, "127.0.0.66");
    let row = rows.iter().find(|row| row["verdict"] == "banned").expect("the ban's beginning");
    assert_eq!(rule(row, "flood"), "17 requests in 2s, limit 16");
    let pings = rows.iter().filter(|row| row["reason"] == "keep-alive");
    assert_eq!(pings.filter_map(|row| row["times"].as_u64()).sum::<u64>(), 16);
    // What comes under the ban is counted, not remembered one by one.
    let ping = phone.request("OPTIONS", &server.own_uri());
    phone.send(&ping);
    eventually("it is counted", || {
        let rows = server.listing(&["explain", "127.0.0.66"]);
        rows[0]["dropped"].as_u64().filter(|dropped| *dropped >= 1)
    });
    let list = server.listing(&["ban", "list"]);
    assert_eq!(list[0]["rule"], "flooding");
    let status = server.command(&["status"]).ok().stdout;
    assert!(status.contains("  banned "), "{status}");
}

#[test]
fn a_call_is_explained_from_its_challenge_to_its_end() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = (server.phone("alice", 2), server.phone("bob", 3));
    alice.register();
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    let call_id = call.caller.call_id.clone();
    hang_up(&mut alice, &mut call.caller, &mut bob);
    let rows = decisions(&server, &call_id);
    let reasons: Vec<&str> = rows.iter().filter_map(|row| row["reason"].as_str()).collect();
    assert_eq!(reasons, ["proxy-authentication", "relayed", "in-dialog"]);
    let relayed = &rows[1];
    let user = format!("alice@{DOMAIN}");
    assert_eq!((&relayed["status"], &relayed["user"]), (&json!(200), &json!(user)));
    assert_eq!(rule(relayed, "location"), format!("bindings of bob@{DOMAIN}: 1"));
    assert!(rule(relayed, "branch").contains(&bob.local.to_string()), "{relayed}");
    assert!(rule(relayed, "digest").contains("is right"), "{relayed}");
    // The callee finds the call as well, and where he is registered.
    let text = text(&server, &format!("sip:bob@{DOMAIN}"));
    assert!(text.contains(&call_id), "{text}");
    assert!(text.contains(&format!("is registered from udp:{}", bob.local)), "{text}");
}

#[test]
fn what_the_callee_answers_is_not_taken_for_a_refusal_of_ours() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = (server.phone("alice", 2), server.phone("bob", 3));
    bob.register();
    let call = invite(&alice, &server.uri("bob"));
    let call = alice.send_as(call);
    let arrived = bob.expect_request("INVITE");
    assert_eq!(last(&server, call.header("Call-ID"))["verdict"], "pending");
    bob.respond(&arrived, 486, "Busy Here");
    assert_eq!(alice.final_to(&call).status(), 486);
    let row = last(&server, call.header("Call-ID"));
    assert_eq!((&row["reason"], &row["status"]), (&json!("callee-declined"), &json!(486)));
}

/// What a stranger can be refused for, without any answer of ours but that.
fn refused_strangers(server: &Subject, phone: &Phone) -> Vec<(&'static str, Request)> {
    let call = |uri: &str| invite(phone, uri);
    let (bob, foreign) = (server.uri("bob"), "sip:x@elsewhere.example");
    let contacts = phone.request("MESSAGE", &bob);
    vec![
        ("not-relaying", call(foreign)),
        ("pstn-not-allowed", call(&server.uri("+33123456789"))),
        ("preloaded-route", call(&bob).with("Route", "<sip:192.0.2.7;lr>")),
        ("not-found", call(&server.uri("nobody"))),
        ("address-incomplete", call(&format!("sip:{DOMAIN}"))),
        ("unsupported-uri-scheme", call("http://sip.example.org/")),
        ("too-many-hops", call(&bob).set("Max-Forwards", "0")),
        ("max-breadth", call(&bob).with("Max-Breadth", "0")),
        ("bad-extension", call(&bob).with("Proxy-Require", "teleport")),
        ("malformed", call(&bob).set("CSeq", "1 BYE")),
        ("no-such-transaction", phone.request("BYE", &server.uri("nobody")).tagged("t")),
        ("stray-ack", phone.request("ACK", &bob).tagged("t")),
        ("stray-cancel", phone.request("CANCEL", &bob)),
        ("scanner", contacts.with("User-Agent", "friendly-scanner")),
        ("not-here", phone.request("PUBLISH", &bob)),
        ("proxy-authentication", call(&bob).by(&server.uri("alice"))),
        ("unauthorized", phone.request("REGISTER", &bob)),
        ("bad-credentials", {
            phone.request("REGISTER", &bob).with("Authorization", "Digest username=\"bob\"")
        }),
    ]
}

#[test]
fn every_refusal_a_stranger_meets_is_explained_by_its_call_id() {
    let gateway = "127.0.0.200:5060";
    let server = Setup::users(&["alice", "bob"]).no_flood().gateway(gateway).start();
    let mut phone = server.stranger(66);
    for (reason, request) in refused_strangers(&server, &phone) {
        phone.send(&request);
        let row = last(&server, request.header("Call-ID"));
        assert_eq!(row["reason"], reason, "{row}");
        assert_eq!(row["source"], format!("udp:{}", phone.local));
        let says = row["says"].as_str().expect("a sentence");
        assert!(!says.is_empty() && row["undo"] != "", "{row}");
        let silent = ["stray-ack", "stray-cancel"].contains(&reason);
        assert_eq!(row["status"].is_null(), silent, "{row}");
    }
    phone.send_raw(
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:a@b>;tag=2\r\nCall-ID: stray-one\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(last(&server, "stray-one")["reason"], "stray-response");
    let status = server.listing(&["status"]);
    assert!(status["refusals"]["stray-response"].as_u64() >= Some(1), "{status}");
    assert!(status["refused"].as_u64() >= Some(18) && status["decisions"]["strangers"] != 0);
}

/// What a user of ours is refused for once he has shown who he is.
fn refused_users(server: &Subject, alice: &mut Phone) -> Vec<(&'static str, Request)> {
    let call = |uri: &str| invite(alice, uri);
    let contacts = |header: &str| {
        let register = alice.request("REGISTER", &format!("sip:{DOMAIN}"));
        register.set("To", format!("<{}>", alice.aor)).set("Contact", header)
    };
    vec![
        ("egress-denied", call("sip:x@10.1.2.3")),
        ("unavailable", call(&server.uri("carol"))),
        ("method-not-allowed", alice.request("MESSAGE", &server.uri("bob"))),
        ("interval-too-brief", contacts(&format!("<{}>;expires=5", alice.contact))),
        ("too-many-contacts", {
            contacts("<sip:alice@127.0.0.2:7001>, <sip:alice@127.0.0.2:7002>")
        }),
        ("unresolved", call("sip:x@nowhere.invalid")),
        ("next-hop-failed", call("sip:x@127.0.0.77:9;transport=tcp")),
    ]
}

#[test]
fn every_refusal_a_user_meets_is_explained_with_his_name() {
    let names = NameServer::start(&[]);
    let keys = json!({
        "registrar": { "contacts_max": 1 },
        "dns": { "servers": [names.address] },
        "egress": { "allow": ["127.0.0.77/32"] },
    });
    let server = Setup::users(&["alice", "bob", "carol"]).no_flood().config(keys).start();
    let (mut alice, mut bob) = (server.phone("alice", 2), server.phone("bob", 3));
    let register = bob.registration(3600).with("Allow", "INVITE, ACK, BYE, CANCEL");
    assert_eq!(bob.ask_as(register).status(), 200);
    let user = format!("alice@{DOMAIN}");
    for (reason, request) in refused_users(&server, &mut alice) {
        let answer = alice.ask_as(request.clone());
        assert!(answer.status() >= 400, "{reason}: {}", answer.start);
        let row = last(&server, request.header("Call-ID"));
        assert_eq!((&row["reason"], &row["user"]), (&json!(reason), &json!(user)), "{row}");
        assert_eq!(row["status"], json!(answer.status()));
    }
    let rows = decisions(&server, &user);
    let all = rows.iter().map(|row| rule(row, "egress") + &rule(row, "dns")).collect::<String>();
    assert!(all.contains("10.1.2.3:5060 is private and not in egress.allow"), "{all}");
    assert!(all.contains("nowhere.invalid: "), "{all}");
}

#[test]
fn bad_proofs_are_explained_with_whose_they_are() {
    let server = Setup::users(&["alice", "bob"]).no_flood().start();
    let mut alice = server.phone("alice", 2);
    let asked = alice.registration(600);
    let challenged = alice.ask(&asked);
    let nonce = challenged.header("www-authenticate").expect("a challenge");
    let nonce = nonce.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next());
    let nonce = nonce.expect("a nonce").to_owned();
    let proof = |user: &str, nonce: &str, uri: &str, more: &str| {
        format!(
            "Digest username=\"{user}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"00000000000000000000000000000000\"{more}"
        )
    };
    let own = format!("sip:{DOMAIN}");
    let cases = [
        ("identity-mismatch", proof("bob", &nonce, &own, "")),
        ("digest-uri-mismatch", proof("alice", &nonce, "sip:x@elsewhere.example", "")),
        ("algorithm-not-offered", proof("alice", &nonce, &own, ", algorithm=SHA-256")),
        ("stale-nonce", proof("alice", "AAAA", &own, "")),
        ("wrong-password", proof("alice", &nonce, &own, "")),
    ];
    for (reason, value) in cases {
        let request = alice.registration(600).set("Call-ID", reason).set("Authorization", value);
        alice.ask(&request);
        let row = last(&server, reason);
        assert_eq!(row["reason"], reason, "{row}");
        let whose = if reason == "identity-mismatch" { "bob" } else { "alice" };
        assert_eq!(row["user"], format!("{whose}@{DOMAIN}"));
    }
    let by_credentials = decisions(&server, &format!("bob@{DOMAIN}"));
    assert_eq!(by_credentials.len(), 1, "found by whose credentials were shown");
}

#[test]
fn a_gateway_that_fails_is_named_with_what_it_said() {
    let sockets = [9, 10].map(|last| UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)));
    let sockets = sockets.map(|socket| socket.expect("a socket"));
    let uri = |socket: &UdpSocket| {
        format!("sip:{};transport=udp", socket.local_addr().expect("a bound socket"))
    };
    let gateways = sockets.each_ref().map(uri);
    let server = Setup::users(&["alice"]).no_flood().gateways(json!(gateways)).start();
    let [mut first, mut second] = sockets.map(|socket| {
        Phone::new(Link::Udp(socket), server.address, "gateway", server.transcript.clone())
    });
    let mut alice = server.phone("alice", 2);
    let call = invite(&alice, &server.uri("+33123456789"));
    let call = alice.send_as(call);
    let arrived = first.expect_request("INVITE");
    first.respond(&arrived, 503, "Service Unavailable");
    let arrived = second.expect_request("INVITE");
    second.respond(&arrived, 486, "Busy Here");
    assert_eq!(alice.final_to(&call).status(), 486);
    let row = last(&server, call.header("Call-ID"));
    let (peers, one, two) = (rule(&row, "peer"), first.local, second.local);
    for part in [format!("{one} answered 503"), format!("{two} answered 486")] {
        assert!(peers.contains(&part), "{part} in {peers}");
    }
    assert_eq!((&row["reason"], &row["status"]), (&json!("callee-declined"), &json!(486)));
    assert!(rule(&row, "relay").contains("telephone number +33123456789"), "{row}");
}

#[test]
fn a_call_the_caller_gave_up_says_so() {
    let server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = (server.phone("alice", 2), server.phone("bob", 3));
    bob.register();
    let (call, arrived) = invite_ringing(&mut alice, &mut bob, &server.uri("bob"));
    alice.ask(&call.cancel());
    bob.expect_request("CANCEL");
    bob.respond(&arrived, 487, "Request Terminated");
    assert_eq!(alice.final_to(&call).status(), 487);
    let row = last(&server, call.header("Call-ID"));
    assert_eq!(row["reason"], "request-terminated");
    assert_eq!(rule(&row, "cancel"), "by the caller");
}

#[test]
fn text_of_strangers_is_harmless_on_a_terminal() {
    let server = Setup::new().start();
    let mut phone = server.stranger(66);
    let call = invite(&phone, "sip:x@elsewhere.example").set("Call-ID", "a\u{1b}[2Jb");
    phone.send(&call);
    let row = last(&server, "127.0.0.66");
    assert!(row["rules"].is_array());
    let text = text(&server, "127.0.0.66");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn nothing_seen_is_said_and_is_no_failure() {
    let server = Setup::users(&["alice"]).start();
    assert_eq!(server.listing(&["explain", "no-such-call"]), json!([]));
    let text = text(&server, "192.0.2.7");
    assert!(text.contains("nothing was seen of 192.0.2.7 lately"), "{text}");
    assert!(text.contains("remembered: known users and peers since the start"), "{text}");
    let code = server.command(&["explain", ""]).code;
    assert_eq!(code, 2, "an empty text names nobody");
}

#[test]
fn a_stopped_server_shows_what_the_store_holds() {
    let mut server = Setup::users(&["alice"]).start();
    let mut phone = server.phone("alice", 2);
    phone.register();
    server.command(&["ban", "add", "192.0.2.7", "--reason", "a nuisance"]).ok();
    server.stop();
    let ban = text(&server, "192.0.2.7");
    assert!(ban.contains("banned-by-hand (a nuisance)"), "{ban}");
    assert!(ban.contains("rempart unban 192.0.2.7"), "{ban}");
    let user = text(&server, &format!("alice@{DOMAIN}"));
    assert!(user.contains(&format!("is registered from udp:{}", phone.local)), "{user}");
    assert!(user.contains("recent decisions live in the running server"), "{user}");
}
