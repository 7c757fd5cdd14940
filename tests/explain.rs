//! `rempart explain`: every decision can be asked for by Call-ID, address and user, with its
//! reason, the values that were compared and what undoes it.

mod harness;

use harness::call::{establish, hang_up, invite};
use harness::{DOMAIN, Setup, Subject, eventually};
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
