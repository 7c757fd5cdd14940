//! Not an open relay: whatever a stranger forges, nothing of his leaves for a foreign host, the
//! PSTN or an inner service (requirements R1, R4, R14, R17, guard.md P1, P13, P15 and section 6).

mod harness;

use std::net::{IpAddr, UdpSocket};

use harness::call::invite;
use harness::link::Link;
use harness::{METHODS, Message, Phone, QUIET, Request, Setup, Subject, establish, unique};
use serde_json::json;

const NUMBER: &str = "+33123456789";

/// Who must hear nothing, and a local user who may be called.
struct Victims {
    /// Somebody else's server.
    foreign: Phone,
    /// The paid way out.
    gateway: Phone,
    /// A service that only this machine should reach.
    internal: Phone,
    /// A registered local user.
    bob: Phone,
}

impl Victims {
    /// Starts the server around them, without the flood limit.
    fn around(setup: Setup) -> (Subject, Self) {
        let socket = UdpSocket::bind("127.0.0.9:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let server = setup.no_flood().gateway(address).start();
        let log = server.transcript.clone();
        let gateway = Phone::new(Link::Udp(socket), server.address, "gateway", log.clone());
        let inner = Link::udp(IpAddr::from([127, 0, 0, 1]));
        let internal = Phone::new(inner, server.address, "internal", log);
        let mut bob = server.phone("bob", 30);
        bob.register();
        let foreign = server.stranger(50);
        (server, Self { foreign, gateway, internal, bob })
    }

    /// Fails the test if anything reached the three who must hear nothing.
    fn untouched(&mut self) {
        for victim in [&mut self.foreign, &mut self.gateway, &mut self.internal] {
            victim.quiet();
        }
    }

    /// Shows that a request let through does arrive: what makes the silence mean something.
    fn reachable(&mut self, server: &Subject) {
        let mut alice = server.phone("alice", 20);
        let uris = [format!("sip:friend@{}", self.foreign.local), server.uri(NUMBER)];
        for (uri, victim) in uris.iter().zip([&mut self.foreign, &mut self.gateway]) {
            harness::call::message(&mut alice, victim, uri);
        }
    }

    /// The four targets of the matrix.
    fn targets(&self, server: &Subject) -> [(&'static str, String); 4] {
        [
            ("local", server.uri("bob")),
            ("foreign", format!("sip:friend@{}", self.foreign.local)),
            ("pstn", format!("sip:{NUMBER}@{}", self.gateway.local)),
            ("internal", format!("sip:x@{}", self.internal.local)),
        ]
    }
}

/// Route sets of this length that name us first, and end at ourselves or beyond.
fn route_sets(server: &Subject, beyond: &str, length: usize) -> Vec<Vec<String>> {
    let own = format!("<{};lr>", server.own_uri());
    let with_seal = format!("<{};lr;s=AAAAAAAAAAAAAAAAAAAAAAAAAAAA>", server.own_uri());
    let mut ours: Vec<String> = vec![own, with_seal.clone(), with_seal];
    ours.truncate(length);
    let Some(last) = length.checked_sub(1) else { return vec![ours] };
    let mut away = ours.clone();
    away[last] = format!("<sip:{beyond};lr>");
    vec![ours, away]
}

/// One cell of the matrix as a request.
fn forged(tool: &Phone, method: &str, uri: &str, from: &str, tag: bool) -> Request {
    let request = tool.request(method, uri).by(from);
    if tag { request.tagged(&unique("forged")) } else { request }
}

#[test]
fn forged_in_dialog_requests_relay_nothing_for_a_stranger() {
    let (server, mut victims) = Victims::around(Setup::users(&["alice", "bob"]));
    let mut tools: Vec<Phone> =
        (1..=64).map(|last| server.stranger_at(IpAddr::from([127, 0, 9, last]))).collect();
    let beyond = victims.foreign.local.to_string();
    let mut sent = 0;
    for (method, (_, uri)) in cells(&victims.targets(&server)) {
        for from in [server.uri("alice"), "sip:mallory@mallory.example.net".into()] {
            for tag in [true, false] {
                for routes in (0..=3).flat_map(|length| route_sets(&server, &beyond, length)) {
                    let tool = &mut tools[sent % 64];
                    let request = forged(tool, method, uri, &from, tag);
                    let request = routes.iter().fold(request, |r, route| r.with("Route", route));
                    tool.send(&request);
                    sent += 1;
                    if sent % 64 == 0 {
                        let_server_catch_up(&server, &mut victims);
                    }
                }
            }
        }
    }
    assert_eq!(sent, 14 * 4 * 2 * 2 * 7, "14 methods, 4 targets, 2 callers, 2 tags, 7 route sets");
    judge(&mut victims, &server);
}

/// Every method with every target.
fn cells<'a>(
    targets: &'a [(&'static str, String); 4],
) -> impl Iterator<Item = (&'static str, &'a (&'static str, String))> {
    METHODS.into_iter().flat_map(move |method| targets.iter().map(move |target| (method, target)))
}

/// Waits for an answer, so that no socket overflows, and picks up what the called user hears.
fn let_server_catch_up(server: &Subject, victims: &mut Victims) {
    let mut pace = server.stranger(1);
    let ping = pace.request("OPTIONS", &server.own_uri());
    assert_eq!(pace.ask(&ping).status(), 200);
    for heard in victims.bob.drain(std::time::Duration::ZERO) {
        judge_local(&heard);
        if heard.method() == "INVITE" {
            victims.bob.respond(&heard, 486, "Busy Here");
        }
    }
}

/// A stranger may call a local user (R16): by his own name, without credentials, by no detour.
fn judge_local(heard: &Message) {
    let from = heard.header("from").unwrap_or("");
    assert!(!from.contains("alice"), "in a local user's name: {}", heard.start);
    assert!(heard.header("route").is_none(), "with a route: {}", heard.start);
    assert_ne!(heard.method(), "REGISTER", "a REGISTER is never relayed");
}

fn judge(victims: &mut Victims, server: &Subject) {
    victims.untouched();
    victims.bob.drain(QUIET).iter().filter(|heard| heard.is_request()).for_each(judge_local);
    victims.reachable(server);
}

#[test]
fn a_foreigner_cannot_turn_his_own_valid_seal_anywhere_else() {
    let (server, mut victims) = Victims::around(Setup::users(&["alice", "bob"]));
    let mut foreigner = server.stranger(66);
    let mut call = establish(&mut foreigner, &mut victims.bob, &server.uri("bob"));
    assert!(!call.caller.routes.is_empty(), "the server stays on the path");
    for (method, (_, uri)) in cells(&victims.targets(&server)) {
        for uri in [uri.clone(), server.uri(NUMBER)] {
            // RFC 3261 section 12.2.2 has the called phone refuse old CSeq numbers; none is old.
            call.caller.target = uri;
            let request = call.caller.request(&foreigner, method);
            let away = format!("<sip:{};lr>", victims.foreign.local);
            foreigner.send(&request);
            foreigner.send(&request.with("Route", away).fresh_branch());
        }
    }
    let_seal_be_reused_in_another_dialog(&mut foreigner, &call.caller, &victims, &server);
    victims.bob.drain(QUIET);
    victims.untouched();
    victims.reachable(&server);
}

/// The same Route with another Call-ID or other tags is no seal at all.
fn let_seal_be_reused_in_another_dialog(
    foreigner: &mut Phone,
    dialog: &harness::Dialog,
    victims: &Victims,
    server: &Subject,
) {
    for (method, (_, uri)) in cells(&victims.targets(server)) {
        let mut other = dialog.clone();
        other.target = uri.clone();
        let request = other.request(foreigner, method);
        foreigner.send(&request.clone().set("Call-ID", unique("other")).fresh_branch());
        let tags = request.clone().by("sip:mallory@mallory.example.net").fresh_branch();
        foreigner.send(&tags.set("To", "<sip:bob@sip.example.org>;tag=else"));
        let local = request.by(&server.uri("alice")).fresh_branch();
        foreigner.send(&local.set("To", "<sip:bob@sip.example.org>;tag=else"));
    }
}

#[test]
fn r1_nothing_is_forwarded_unless_a_rule_says_so() {
    let (server, mut victims) = Victims::around(Setup::users(&["alice", "bob"]));
    let mut stranger = server.stranger(66);
    for method in METHODS.into_iter().filter(|method| !["ACK", "CANCEL"].contains(method)) {
        let uri = format!("sip:friend@{}", victims.foreign.local);
        let request = stranger.request(method, &uri);
        let answer = stranger.ask(&request);
        assert!(answer.status() >= 400, "{method}: {}", answer.start);
    }
    judge(&mut victims, &server);
}

#[test]
fn r17_foreign_to_foreign_is_not_relayed() {
    let (server, mut victims) = Victims::around(Setup::users(&["alice", "bob"]));
    let mut stranger = server.stranger(66);
    for method in ["INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER", "INFO"] {
        let request = stranger.request(method, &format!("sip:friend@{}", victims.foreign.local));
        assert_eq!(stranger.ask(&request).answer(), "403 Not relaying", "{method}");
    }
    victims.untouched();
}

#[test]
fn a_foreign_callers_route_beyond_ourselves_is_refused() {
    let (server, mut victims) = Victims::around(Setup::users(&["alice", "bob"]));
    let mut stranger = server.stranger(66);
    let beyond = victims.foreign.local.to_string();
    for routes in (1..=3).map(|length| route_sets(&server, &beyond, length).remove(1)) {
        let call = invite(&stranger, &server.uri("bob"));
        let call = routes.iter().fold(call, |call, route| call.with("Route", route));
        assert_eq!(stranger.ask(&call).status(), 403, "{routes:?}");
    }
    victims.bob.quiet();
    victims.untouched();
}

#[test]
fn a_to_tag_without_a_seal_gives_no_way_and_is_answered_481() {
    let (server, mut victims) = Victims::around(Setup::users(&["alice", "bob"]));
    let mut stranger = server.stranger(66);
    let request = stranger.request("BYE", &server.uri("nobody")).tagged("made-up");
    let answer = stranger.ask(&request);
    assert!(matches!(answer.status(), 481 | 404), "{}", answer.start);
    let ack = stranger.request("ACK", &server.uri("bob")).tagged("made-up");
    stranger.send(&ack);
    stranger.quiet();
    victims.bob.quiet();
}

#[test]
fn r4_a_reply_that_matches_no_transaction_goes_nowhere() {
    let (server, mut victims) = Victims::around(Setup::users(&["alice", "bob"]));
    let mut stranger = server.stranger(66);
    let ours = format!("SIP/2.0/UDP {};branch=z9hG4bKguessed", server.address);
    for victim in [&victims.foreign, &victims.internal, &victims.bob] {
        for status in ["180 Ringing", "200 OK", "302 Moved", "401 Unauthorized"] {
            let via = format!("SIP/2.0/UDP {};branch=z9hG4bKforged", victim.local);
            stranger.send_raw(&reply(status, &[&ours, &via]));
            stranger.send_raw(&reply(status, &[&via]));
        }
    }
    let_server_catch_up(&server, &mut victims);
    victims.bob.quiet();
    judge(&mut victims, &server);
}

fn reply(status: &str, vias: &[&String]) -> Vec<u8> {
    let vias: String = vias.iter().map(|via| format!("Via: {via}\r\n")).collect();
    format!(
        "SIP/2.0 {status}\r\n{vias}From: <sip:a@sip.example.org>;tag=a\r\n\
         To: <sip:bob@sip.example.org>;tag=b\r\nCall-ID: forged\r\nCSeq: 1 INVITE\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_registered_contact_does_not_reach_where_egress_forbids() {
    let setup = Setup::users(&["alice", "bob"]);
    let setup = setup.config(json!({ "egress": { "deny": ["127.0.0.77/32"] } }));
    let server = setup.no_flood().start();
    let mut inner = Phone::new(
        Link::udp(IpAddr::from([127, 0, 0, 77])),
        server.address,
        "inner",
        server.transcript.clone(),
    );
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 66));
    bob.contact = format!("sip:bob@{}", inner.local);
    bob.register();
    let text = alice.request("MESSAGE", &server.uri("bob"));
    let sent = alice.send_as(text);
    // Refused, or led back to the flow that registered: never to the service named.
    alice.maybe_response(&sent, QUIET);
    inner.quiet();
    let text = alice.request("MESSAGE", &format!("sip:x@{}", inner.local));
    assert_eq!(alice.ask_as(text).status(), 403);
    inner.quiet();
}

#[test]
fn a_server_on_every_address_keeps_contacts_away_from_loopback_services() {
    let server = Setup::users(&["alice", "bob"]).host("0.0.0.0").no_flood().start();
    let mut inner = server.stranger(77);
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 66));
    bob.contact = format!("sip:bob@{}", inner.local);
    bob.register();
    let text = alice.request("MESSAGE", &server.uri("bob"));
    let sent = alice.send_as(text);
    alice.maybe_response(&sent, QUIET);
    inner.quiet();
}

#[test]
fn the_server_never_sends_to_its_own_listener() {
    let timers = json!({ "timers": { "t1": "100ms", "final_response": "1s" } });
    let server = Setup::users(&["alice", "bob"]).no_flood().config(timers).start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 66));
    bob.contact = format!("sip:bob@{}", server.address);
    bob.register();
    let text = alice.request("MESSAGE", &server.uri("bob"));
    let answer = alice.ask_as(text);
    assert!(answer.status() >= 400, "{}", answer.start);
}
