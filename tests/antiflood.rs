//! The seed's flood rule, exact: sixteen requests in two seconds are served, the seventeenth
//! starts a ban of five minutes (requirements R5, R23 to R32, R35).

mod harness;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use harness::call::invite;
use harness::subject::field;
use harness::{Phone, QUIET, Setup, Subject, eventually, let_pass};
use serde_json::{Value, json};

/// Sends so many keep-alive OPTIONS at once.
fn burst(phone: &mut Phone, server: &Subject, count: usize) {
    for _ in 0..count {
        let ping = phone.request("OPTIONS", &server.own_uri());
        phone.send(&ping);
    }
}

/// How many of so many OPTIONS sent at once are answered.
fn answered(phone: &mut Phone, server: &Subject, count: usize) -> usize {
    burst(phone, server, count);
    let mut answers = 0;
    // The answers that must come are waited for with patience, those that must not for a moment.
    let wait = |answers: usize| if answers < count.min(16) { harness::PATIENCE } else { QUIET };
    while answers < count && phone.anything(wait(answers)).is_some() {
        answers += 1;
    }
    answers
}

/// The window and the ban in their shortest form.
fn scaled() -> Setup {
    Setup::new().config(json!({ "flood": { "window": "1s", "ban": "1s", "forget": "2s" } }))
}

/// The entry of this address in `ban list`.
fn ban_of(server: &Subject, address: &str) -> Option<Value> {
    let list = server.listing(&["ban", "list"]);
    let list = list.as_array().cloned().expect("a list");
    list.into_iter().find(|entry| entry["address"].as_str().is_some_and(|a| a.starts_with(address)))
}

#[test]
fn r23_sixteen_requests_are_answered_and_the_seventeenth_is_not() {
    let server = Setup::new().start();
    let mut phone = server.stranger(66);
    assert_eq!(answered(&mut phone, &server, 17), 16);
}

#[test]
fn r23_the_limit_is_the_same_for_every_source_whoever_else_talks() {
    let server = Setup::new().start();
    for last in 60..70 {
        let mut phone = server.stranger(last);
        assert_eq!(answered(&mut phone, &server, 17), 16, "127.0.0.{last}");
    }
}

#[test]
fn r23_the_window_slides_with_the_sender() {
    let server = scaled().config(json!({ "flood": { "ban": "300s" } })).start();
    let mut phone = server.stranger(66);
    let began = Instant::now();
    assert_eq!(answered(&mut phone, &server, 8), 8);
    let_pass(Duration::from_millis(600), began);
    // Windows aligned to a clock of their own would let these through in one phase or another.
    burst(&mut phone, &server, 9);
    let answers = phone.drain(QUIET * 2);
    assert_eq!(answers.len(), 8, "the ninth is the seventeenth within one second");
}

#[test]
fn r23_a_source_at_exactly_the_limit_is_never_banned() {
    let server = scaled().start();
    let mut phone = server.stranger(66);
    for _ in 0..3 {
        assert_eq!(answered(&mut phone, &server, 16), 16);
        let_pass(Duration::from_millis(1050), Instant::now());
    }
}

#[test]
fn r23_every_method_and_transport_counts_with_the_address() {
    let server = Setup::users(&["bob"]).guard("seed-ip-user").start();
    let mut stream = server.tcp_phone("stranger", 66);
    let mut phone = server.stranger(66);
    for _ in 0..8 {
        let ping = stream.request("OPTIONS", &server.own_uri());
        assert_eq!(stream.ask(&ping).status(), 200);
    }
    for _ in 0..4 {
        let call = invite(&phone, &server.uri("nobody"));
        // INVITE and its ACK: two requests.
        assert_eq!(phone.ask(&call).status(), 404);
    }
    assert_eq!(answered_once(&mut phone, &server), 0, "the seventeenth");
    let ping = stream.request("OPTIONS", &server.own_uri());
    stream.try_send_raw(&ping.bytes());
    assert!(stream.maybe_response(&ping, QUIET).is_none(), "banned on TCP too");
}

fn answered_once(phone: &mut Phone, server: &Subject) -> usize {
    let ping = phone.request("OPTIONS", &server.own_uri());
    phone.send(&ping);
    usize::from(phone.maybe_response(&ping, QUIET).is_some())
}

#[test]
fn r24_crossing_the_limit_is_logged_once_with_its_source() {
    let server = Setup::new().start();
    let mut phone = server.stranger(66);
    burst(&mut phone, &server, 40);
    let line = server.event("flood.ban");
    let source = field(&line, "source").expect("a field named source");
    assert!(source.starts_with("127.0.0.66"), "{line}");
    fence(&server);
    assert_eq!(server.events("flood.ban").len(), 1);
}

/// Something later than all that was sent before it has been served.
fn fence(server: &Subject) {
    let mut other = server.stranger(99);
    assert_eq!(answered(&mut other, server, 1), 1);
}

#[test]
fn r25_a_ban_silences_the_whole_address_and_ends_by_itself() {
    let server = scaled().guard("seed-ip-user").start();
    let (mut phone, mut same_host) = (server.stranger(66), server.stranger(66));
    assert_eq!(answered(&mut phone, &server, 17), 16);
    assert_eq!(answered_once(&mut same_host, &server), 0, "another port of the address");
    // Hits during the ban must not prolong it, so this ends although it keeps asking.
    eventually("the ban ends", || (answered_once(&mut same_host, &server) == 1).then_some(()));
}

#[test]
fn r25_the_ban_lasts_five_minutes() {
    let server = Setup::new().start();
    let mut phone = server.stranger(66);
    burst(&mut phone, &server, 17);
    let ban = eventually("the ban is listed", || ban_of(&server, "127.0.0.66"));
    let (since, until) = (seconds(&ban["since"]), seconds(&ban["until"]));
    assert!((299..=301).contains(&(until - since)), "{ban}");
}

/// Seconds of the day of an RFC 3339 time, over midnight.
fn seconds(time: &Value) -> i64 {
    let text = time.as_str().expect("an RFC 3339 time");
    let (day, clock) = text.split_once('T').expect("date and time");
    let day: i64 = day.rsplit('-').next().and_then(|day| day.parse().ok()).expect("a day");
    let parts = clock.split(':').map(|part| part.get(..2).and_then(|part| part.parse().ok()));
    let clock = parts.fold(0, |sum, part: Option<i64>| sum * 60 + part.expect("two digits"));
    day * 86_400 + clock
}

#[test]
fn r26_an_idle_address_is_forgotten() {
    let server = scaled().start();
    let mut phone = server.stranger(66);
    assert_eq!(answered(&mut phone, &server, 15), 15);
    let_pass(Duration::from_millis(1050), Instant::now());
    assert_eq!(answered(&mut phone, &server, 16), 16, "nothing is left of the earlier fifteen");
}

#[test]
fn r27_the_limit_is_adjustable() {
    let server = Setup::new().config(json!({ "flood": { "requests": 5 } })).start();
    let mut phone = server.stranger(66);
    burst(&mut phone, &server, 6);
    let answers = phone.drain(QUIET * 3);
    assert_eq!(answers.len(), 5);
}

#[test]
fn r27_the_limit_can_be_switched_off() {
    let server = Setup::new().no_flood().start();
    let mut phone = server.stranger(66);
    for _ in 0..5 {
        assert_eq!(answered(&mut phone, &server, 16), 16);
    }
}

#[test]
fn r28_the_trusted_skip_the_count_the_banned_are_dropped_the_rest_is_counted() {
    let setup = Setup::new().guard("seed-ip-user");
    let server = setup.trusted(json!({ "net": "127.0.0.40/32", "group": 1 })).start();
    let mut friend = server.stranger(40);
    for _ in 0..4 {
        assert_eq!(answered(&mut friend, &server, 16), 16, "trusted");
    }
    let mut phone = server.stranger(66);
    server.command(&["ban", "add", "127.0.0.66", "--for", "300s"]).ok();
    assert_eq!(answered_once(&mut phone, &server), 0, "banned before anything is counted");
    server.command(&["unban", "127.0.0.66"]).ok();
    assert_eq!(answered(&mut phone, &server, 17), 16, "a fresh window after the unban");
}

#[test]
fn r29_the_servers_own_address_is_exempt() {
    let server = Setup::new().start();
    let mut own = server.stranger(1);
    for _ in 0..4 {
        assert_eq!(answered(&mut own, &server, 16), 16);
    }
}

#[test]
fn r30_a_configured_gateway_is_exempt() {
    let gateway = UdpSocket::bind("127.0.0.9:0").expect("a socket");
    let address = gateway.local_addr().expect("an address");
    let server = Setup::new().gateway(address).start();
    let mut probe = server.stranger(9);
    for _ in 0..4 {
        assert_eq!(answered(&mut probe, &server, 16), 16);
    }
}

#[test]
fn r31_requests_of_a_banned_address_leave_no_line_and_no_answer() {
    let server = Setup::new().guard("seed-ip-user").start();
    let mut phone = server.stranger(66);
    assert_eq!(answered(&mut phone, &server, 17), 16);
    server.event("flood.ban");
    let lines = server.log().lines().count();
    burst(&mut phone, &server, 50);
    fence(&server);
    phone.quiet();
    let log = server.log();
    let new = log.lines().skip(lines).filter(|line| line.contains("127.0.0.66"));
    assert_eq!(new.count(), 0, "nothing per packet at info level");
}

#[test]
fn r32_the_request_over_the_limit_is_neither_answered_nor_relayed() {
    let server = Setup::users(&["bob"]).start();
    let mut bob = server.phone("bob", 30);
    bob.register();
    let mut phone = server.stranger(66);
    assert_eq!(answered(&mut phone, &server, 16), 16);
    let text = phone.request("MESSAGE", &server.uri("bob"));
    phone.send(&text);
    assert!(phone.maybe_response(&text, QUIET).is_none());
    bob.quiet();
}

#[test]
fn r35_the_ban_list_says_who_why_on_what_evidence_and_until_when() {
    let server = Setup::new().start();
    assert_eq!(server.listing(&["ban", "list"]), json!([]));
    let mut phone = server.stranger(66);
    burst(&mut phone, &server, 17);
    let ban = eventually("the ban is listed", || ban_of(&server, "127.0.0.66"));
    assert_eq!(ban["kind"], "ban");
    assert_eq!(ban["user"], Value::Null);
    assert_eq!(ban["evidence"], "unproven");
    assert!(ban["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{ban}");
    let table = server.command(&["ban", "list"]).ok().stdout;
    assert!(table.contains("127.0.0.66"), "{table}");
}

#[test]
fn a_ban_by_hand_is_in_force_when_the_command_returns_and_so_is_its_end() {
    let server = Setup::new().guard("seed-ip-user").start();
    let mut phone = server.stranger(66);
    assert_eq!(answered_once(&mut phone, &server), 1);
    server.command(&["ban", "add", "127.0.0.66", "--for", "300s"]).ok();
    assert_eq!(ban_of(&server, "127.0.0.66").expect("listed")["evidence"], "manual");
    assert_eq!(answered_once(&mut phone, &server), 0);
    server.command(&["unban", "127.0.0.66"]).ok();
    assert!(ban_of(&server, "127.0.0.66").is_none());
    assert_eq!(answered_once(&mut phone, &server), 1);
}

#[test]
fn r5_replies_are_not_counted_as_requests() {
    let server = Setup::new().start();
    let mut phone = server.stranger(66);
    let ping = phone.request("OPTIONS", &server.own_uri());
    let reply = phone.ask(&ping).raw;
    for _ in 0..100 {
        phone.send_raw(&reply);
    }
    assert_eq!(answered_once(&mut phone, &server), 1, "a hundred stray replies ban nobody");
}

#[test]
fn a_stranger_gets_one_answer_hardly_larger_than_his_request() {
    let server = Setup::users(&["alice"]).start();
    let mut phone = server.phone("alice", 66);
    let uri = server.uri("alice");
    let requests = [phone.registration(60), phone.request("INVITE", &uri), invite(&phone, &uri)];
    for request in requests {
        phone.send(&request);
        let answers = phone.drain(Duration::from_millis(700));
        assert_eq!(answers.len(), 1, "no retransmission by timer: {}", request.method);
        let (asked, given) = (request.bytes().len(), answers[0].raw.len());
        let most = if asked >= 500 { asked } else { asked + 350 };
        assert!(given <= most, "{given} octets for {asked}: {}", answers[0].start);
    }
}
