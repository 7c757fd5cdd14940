//! Gateways that fail, to the millisecond: when the next one is tried, what a late answer does,
//! whom an ICMP error can harm.

use std::time::Duration;

use rempart_sip::flow::Flow;
use rempart_sip::message::{HeaderName, OwnedMessage};
use rempart_storage::TrustedAddress;

use super::stage::{DOMAIN, Stage, pass, settings, udp};
use crate::settings::{Gateway, Pstn, Settings};

const FIRST: &str = "203.0.113.9";
const SECOND: &str = "203.0.113.10";
const PATIENCE: Duration = Duration::from_secs(4);

/// The caller, whose address needs no password.
fn caller() -> Flow {
    udp("203.0.113.7")
}

fn gateways(hosts: &[&str], probe: Option<Duration>) -> Settings {
    let gateway =
        |host: &&str| Gateway { uri: format!("sip:{host}"), prefixes: Vec::new(), weight: None };
    let gateways = hosts.iter().map(gateway).collect();
    let trusted = vec![TrustedAddress::new("203.0.113.7/32".parse().expect("a network"))];
    let settings = settings();
    Settings { pstn: Pstn { gateways, probe, ..settings.pstn }, trusted, ..settings }
}

/// What was sent since the last look: where, and its method or status.
async fn seen(stage: &mut Stage) -> Vec<(String, String)> {
    let sent = stage.sent().await;
    sent.iter().map(|(flow, message)| (flow.remote.ip().to_string(), what(message))).collect()
}

fn what(message: &OwnedMessage) -> String {
    match message.view().is_request() {
        true => String::from_utf8_lossy(message.view().method().as_bytes()).into_owned(),
        false => message.view().status().to_string(),
    }
}

fn rows(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(to, what)| (to.to_string(), what.to_string())).collect()
}

/// The answer of the one that a request was sent to.
fn answer((flow, request): &(Flow, OwnedMessage), status: u16) -> (Flow, Vec<u8>) {
    let request = request.view();
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    let copied = [HeaderName::Via, HeaderName::RecordRoute, HeaderName::From, HeaderName::CallId];
    for name in copied.into_iter().chain([HeaderName::CSeq, HeaderName::To]) {
        for value in request.values(name) {
            let tag = if name == HeaderName::To { ";tag=gw" } else { "" };
            let value = String::from_utf8_lossy(value);
            text.push_str(&format!("{}: {value}{tag}\r\n", name.as_str()));
        }
    }
    let contact = flow.remote;
    text.push_str(&format!("Contact: <sip:gw@{contact}>\r\nContent-Length: 0\r\n\r\n"));
    (*flow, text.into_bytes())
}

/// Dials a number; what the first gateway was sent.
async fn dial(stage: &mut Stage) -> (Flow, OwnedMessage) {
    let call = stage.invite(caller(), "alice", &format!("sip:+33123456789@{DOMAIN}"));
    assert!(stage.offer(&[call]), "room");
    let sent = stage.sent().await;
    let (trying, invite): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|(flow, _)| flow.remote == caller().remote);
    assert_eq!(trying.len(), 1, "100 Trying");
    invite.into_iter().next().expect("an INVITE")
}

/// Dials, and lets the first gateway be silent; what both were sent.
async fn dial_past_the_first(stage: &mut Stage) -> [(Flow, OwnedMessage); 2] {
    let first = dial(stage).await;
    pass(PATIENCE).await;
    let mut sent = stage.sent().await.into_iter();
    let second = sent.rfind(|(flow, _)| flow.remote.ip().to_string() == SECOND);
    [first, second.expect("the second is tried")]
}

#[actix::test]
async fn the_next_gateway_is_tried_after_four_seconds_and_the_first_one_left_in_peace() {
    let mut stage = Stage::new(gateways(&[FIRST, SECOND], None), 1);
    dial(&mut stage).await;
    pass(PATIENCE - Duration::from_millis(1)).await;
    let repeats = seen(&mut stage).await;
    assert!(repeats.iter().all(|(to, what)| to == FIRST && what == "INVITE"), "{repeats:?}");
    pass(Duration::from_millis(2)).await;
    assert_eq!(seen(&mut stage).await, rows(&[(SECOND, "INVITE")]));
    pass(Duration::from_millis(502)).await;
    assert_eq!(seen(&mut stage).await, rows(&[(SECOND, "INVITE")]), "the second is repeated");
}

#[actix::test]
async fn the_last_gateway_has_all_the_time_of_a_transaction() {
    let mut stage = Stage::new(gateways(&[FIRST], None), 1);
    dial(&mut stage).await;
    pass(Duration::from_millis(29_900)).await;
    assert!(seen(&mut stage).await.iter().all(|(to, _)| to == FIRST));
    pass(Duration::from_millis(200)).await;
    assert_eq!(seen(&mut stage).await, rows(&[("203.0.113.7", "502")]));
}

#[actix::test]
async fn a_late_success_is_the_callers_while_he_waits() {
    let mut stage = Stage::new(gateways(&[FIRST, SECOND], None), 1);
    let [first, second] = dial_past_the_first(&mut stage).await;
    assert!(stage.offer(&[answer(&second, 180)]), "room");
    assert_eq!(seen(&mut stage).await, rows(&[("203.0.113.7", "180")]));
    assert!(stage.offer(&[answer(&first, 200)]), "room");
    let expected = rows(&[("203.0.113.7", "200"), (SECOND, "CANCEL")]);
    assert_eq!(seen(&mut stage).await, expected);
}

#[actix::test]
async fn a_late_success_after_a_failure_is_acknowledged_and_hung_up() {
    let mut stage = Stage::new(gateways(&[FIRST, SECOND], None), 1);
    let [first, second] = dial_past_the_first(&mut stage).await;
    assert!(stage.offer(&[answer(&second, 503)]), "room");
    assert_eq!(seen(&mut stage).await, rows(&[(SECOND, "ACK"), ("203.0.113.7", "502")]));
    assert!(stage.offer(&[answer(&first, 200)]), "room");
    let sent = stage.sent().await;
    let kinds: Vec<String> = sent.iter().map(|(_, message)| what(message)).collect();
    assert_eq!(kinds, ["ACK", "BYE"]);
    for (flow, message) in &sent {
        assert_eq!(flow.remote.ip().to_string(), FIRST);
        assert_eq!(message.view().request_uri(), b"sip:gw@203.0.113.9:5060");
        assert_eq!(message.view().to_tag(), Some(&b"gw"[..]));
    }
    assert!(stage.offer(&[answer(&first, 200)]), "room");
    let again = seen(&mut stage).await;
    assert_eq!(again, rows(&[(FIRST, "ACK")]), "the success repeated: no second BYE");
    assert!(stage.offer(&[answer(&sent[1], 200)]), "room");
    assert_eq!(seen(&mut stage).await, rows(&[]));
    assert_eq!(stage.shared.counters.snapshot().get("refusal:stray-response"), None);
}

#[actix::test]
async fn a_gateway_given_up_that_rings_is_cancelled_even_when_the_call_is_over() {
    let mut stage = Stage::new(gateways(&[FIRST, SECOND], None), 1);
    let [first, second] = dial_past_the_first(&mut stage).await;
    assert!(stage.offer(&[answer(&second, 486)]), "room");
    assert_eq!(seen(&mut stage).await, rows(&[(SECOND, "ACK"), ("203.0.113.7", "486")]));
    let ringing = answer(&first, 180);
    assert!(stage.offer(std::slice::from_ref(&ringing)), "room");
    assert_eq!(seen(&mut stage).await, rows(&[(FIRST, "CANCEL")]));
    assert!(stage.offer(&[ringing, answer(&first, 487)]), "room");
    assert_eq!(seen(&mut stage).await, rows(&[(FIRST, "ACK")]));
}

#[actix::test]
async fn an_icmp_error_counts_if_it_quotes_our_branch_and_names_its_gateway() {
    let mut stage = Stage::new(gateways(&[FIRST, SECOND], None), 2);
    let (flow, invite) = dial(&mut stage).await;
    let quote = invite.view().raw()[..300].to_vec();
    let forged: Vec<u8> = String::from_utf8_lossy(&quote).replace("z9hG4bK", "z9hG4bKA").into();
    stage.doors[0].returned(flow.remote, &forged);
    stage.doors[0].returned(flow.remote, b"");
    stage.doors[0].returned(udp(SECOND).remote, &quote);
    assert_eq!(seen(&mut stage).await, rows(&[]), "forged, cut short, of another address");
    // The kernel may tell any shard's socket.
    stage.doors[1].returned(flow.remote, &quote);
    assert_eq!(seen(&mut stage).await, rows(&[(SECOND, "INVITE")]), "at once");
    stage.doors[1].returned(flow.remote, &quote);
    assert_eq!(seen(&mut stage).await, rows(&[]), "it has failed already");
}

#[actix::test]
async fn an_icmp_error_harms_no_phone() {
    let (mut stage, phone) = (Stage::new(gateways(&[FIRST], None), 1), udp("203.0.113.50"));
    assert_eq!(stage.judged(phone, "alice", "secret").await, 200);
    let call = stage.invite(caller(), "bob", &format!("sip:alice@{DOMAIN}"));
    assert!(stage.offer(&[call]), "room");
    let mut sent = stage.sent().await.into_iter();
    let arrived = sent.find(|(flow, _)| flow.remote == phone.remote).expect("an INVITE");
    stage.doors[0].returned(phone.remote, arrived.1.view().raw());
    assert_eq!(seen(&mut stage).await, rows(&[]));
    assert!(stage.offer(&[answer(&arrived, 200)]), "room");
    assert_eq!(seen(&mut stage).await, rows(&[("203.0.113.7", "200")]));
}

/// Lets the phones of the stage answer their probes as told; `None` is silence.
async fn probed(stage: &mut Stage, status: Option<u16>) -> usize {
    let sent = stage.sent().await;
    let probes: Vec<_> = sent.iter().filter(|(_, message)| what(message) == "OPTIONS").collect();
    let answers: Vec<_> = probes.iter().filter_map(|probe| Some(answer(probe, status?))).collect();
    assert!(stage.offer(&answers), "room");
    probes.len()
}

fn up(stage: &Stage) -> Vec<bool> {
    stage.shared.gateway_health.lock().states().iter().map(|state| state.up).collect()
}

#[actix::test]
async fn probes_take_a_gateway_down_and_bring_it_back() {
    let minute = Duration::from_secs(60);
    let mut stage = Stage::new(gateways(&[FIRST], Some(minute)), 2);
    pass(Duration::from_millis(101)).await;
    assert_eq!(probed(&mut stage, Some(404)).await, 1, "one shard probes, soon after the start");
    assert_eq!(up(&stage), [true]);
    for expected in [true, false] {
        pass(minute + Duration::from_secs(1)).await;
        assert_eq!(probed(&mut stage, Some(503)).await, 1);
        pass(Duration::ZERO).await;
        assert_eq!(up(&stage), [expected]);
    }
    pass(minute + Duration::from_secs(1)).await;
    probed(&mut stage, Some(200)).await;
    pass(Duration::ZERO).await;
    assert_eq!(up(&stage), [true]);
    assert_eq!(stage.shared.counters.snapshot().get("refusal:stray-response"), None);
}

#[actix::test]
async fn a_probe_answered_too_late_still_shows_that_the_gateway_lives() {
    let interval = Duration::from_secs(10);
    let mut stage = Stage::new(gateways(&[FIRST], Some(interval)), 1);
    let mut probe = None;
    for _ in 0..2 {
        pass(interval).await;
        probe = stage.sent().await.into_iter().next();
        pass(PATIENCE).await;
    }
    assert_eq!(up(&stage), [false]);
    stage.sent().await;
    assert!(stage.offer(&[answer(&probe.expect("an OPTIONS"), 200)]), "room");
    pass(Duration::ZERO).await;
    assert_eq!(up(&stage), [true]);
}

#[actix::test]
async fn a_gateway_whose_name_is_not_found_is_down_and_the_next_one_is_tried() {
    let settings = gateways(&["gw.example.net", SECOND], Some(Duration::from_secs(10)));
    let mut stage = Stage::new(settings, 1);
    let (flow, _) = dial(&mut stage).await;
    assert_eq!(flow.remote.ip().to_string(), SECOND);
    assert_eq!(up(&stage), [false, true]);
}
