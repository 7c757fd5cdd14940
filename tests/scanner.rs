//! Known attack tools are answered with the seed's 200 OK, or not at all, and get nothing else
//! (requirements R33, R34).

mod harness;

use harness::{QUIET, Setup};
use serde_json::json;

const TOOLS: [&str; 7] = [
    "friendly-scanner",
    "friendly/1.0",
    "scanner",
    "sipcli/v1.8",
    "sipvicious 0.3",
    "VaxSIPUserAgent/3.1",
    "pplsip",
];

#[test]
fn r33_every_tool_of_the_list_is_recognised_without_the_flood_limit() {
    let server = Setup::new().no_flood().start();
    let mut tool = server.stranger(66);
    for name in TOOLS {
        for agent in [name.to_string(), name.to_uppercase()] {
            let call = tool.request("INVITE", &server.uri("100")).with("User-Agent", &*agent);
            assert_eq!(tool.ask(&call).answer(), "200 OK", "{agent}");
        }
    }
}

#[test]
fn r34_a_scanner_hears_200_and_nothing_happens() {
    let server = Setup::users(&["alice", "bob"]).no_flood().start();
    let (mut tool, mut bob) = (server.stranger(66), server.phone("bob", 30));
    bob.register();
    let text = tool.request("MESSAGE", &server.uri("bob"));
    assert_eq!(tool.ask(&text.with("User-Agent", "friendly-scanner")).answer(), "200 OK");
    bob.quiet();
    let mut alice = server.phone("alice", 66);
    let request = alice.registration(600);
    let challenged = alice.ask(&request);
    let disguised = alice.authorized(&request, &challenged).with("User-Agent", "sipvicious");
    let answer = alice.ask(&disguised);
    assert_eq!(answer.answer(), "200 OK");
    assert!(answer.header("contact").is_none(), "not registered, whatever it thinks");
    let shown = server.command(&["location", "show", "alice@sip.example.org", "--json"]);
    assert!(!shown.stdout.contains("127.0.0.66"), "{}", shown.stdout);
}

#[test]
fn r34_a_scanner_is_met_with_silence_where_the_owner_prefers_it() {
    let setup = Setup::new().config(json!({ "scanners": { "answer": "silence" } }));
    let server = setup.start();
    let mut tool = server.stranger(66);
    let ping = tool.request("OPTIONS", &server.own_uri());
    tool.send(&ping.clone().with("User-Agent", "friendly-scanner"));
    assert!(tool.maybe_response(&ping, QUIET).is_none());
    let ping = tool.request("OPTIONS", &server.own_uri()).with("User-Agent", "Yealink SIP-T46U");
    assert_eq!(tool.ask(&ping).answer(), "200 Keepalive");
}

#[test]
fn a_name_is_matched_as_a_product_and_not_as_part_of_a_word() {
    let server = Setup::new().no_flood().start();
    let mut phone = server.stranger(50);
    for agent in ["UserFriendly Phone", "Unfriendly-Scanner-Guard/1", "mysipcli", "Scanners 2000"] {
        let ping = phone.request("OPTIONS", &server.own_uri()).with("User-Agent", agent);
        assert_eq!(phone.ask(&ping).answer(), "200 Keepalive", "{agent}");
    }
}

#[test]
fn a_scanner_is_logged_with_its_source() {
    let server = Setup::new().start();
    let mut tool = server.stranger(66);
    let ping = tool.request("OPTIONS", &server.own_uri()).with("User-Agent", "friendly-scanner");
    tool.ask(&ping);
    let line = server.event("scanner");
    let source = harness::subject::field(&line, "source").expect("a source");
    assert!(source.starts_with("127.0.0.66"));
}

#[test]
fn without_a_list_every_product_is_served() {
    let server = Setup::new().config(json!({ "scanners": null })).start();
    let mut tool = server.stranger(66);
    let ping = tool.request("OPTIONS", &server.own_uri()).with("User-Agent", "friendly-scanner");
    assert_eq!(tool.ask(&ping).answer(), "200 Keepalive");
}
