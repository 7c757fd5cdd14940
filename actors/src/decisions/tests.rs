//! The memory of decisions: bounded, collapsing, cut, and with a row for every reason.

use std::collections::HashSet;

use rempart_sip::flow::Transport;
use rempart_sip::uri::Host;

use super::*;

fn flow(number: u32) -> Flow {
    let remote = std::net::SocketAddr::from((std::net::Ipv4Addr::from(number), 5060));
    Flow { transport: Transport::Udp, local: remote, remote, connection: 0 }
}

fn message<'a>(number: u32, call_id: &'a str) -> Seen<'a> {
    Seen {
        flow: flow(number),
        method: b"INVITE",
        call_id: call_id.as_bytes(),
        from: b"sip:alice@EXAMPLE.org:5070",
        target: b"sip:bob@example.org;x=y",
    }
}

fn names() -> Names {
    Names::new(&["example.org".to_owned()], &[] as &[Host], &[])
}

fn told(decisions: &Decisions, asked: Asked) -> Vec<Decision> {
    decisions.told(&asked, &names()).decisions
}

fn by_source(number: u32) -> Asked {
    Asked { source: Some(flow(number).source()), ..Asked::default() }
}

const REFUSED: Outcome = Outcome { verdict: Verdict::Refused, reason: "not-relaying", status: 403 };

#[test]
fn every_refusal_and_every_acceptance_has_one_row() {
    let refusals = Refusal::ALL.iter().map(Refusal::id);
    for id in refusals.chain(ACCEPTED.iter().map(|reason| reason.id)) {
        let reason = reason(id).unwrap_or_else(|| panic!("{id} has no row"));
        assert!(reason.says.ends_with('.') && !reason.says.contains("  "), "{id}: {}", reason.says);
        let undo = reason.undo(None, None);
        let known = ["rempart ", "key ", "nothing to undo: "];
        assert!(known.iter().any(|start| undo.starts_with(start)), "{id}: {undo}");
    }
    let outcomes = [Outcome::relayed(200, false), Outcome::relayed(486, false)];
    let more = [Outcome::relayed(200, true), Outcome::PENDING];
    assert!(outcomes.iter().chain(&more).all(|outcome| reason(outcome.reason).is_some()));
}

#[test]
fn no_row_stands_twice_or_for_nothing() {
    let known: HashSet<&str> = Refusal::ALL.iter().map(Refusal::id).collect();
    let refused: Vec<&str> = reasons::REFUSED.iter().map(|reason| reason.id).collect();
    assert_eq!(refused.iter().copied().collect::<HashSet<_>>(), known);
    assert_eq!(refused.len(), known.len());
    assert!(ACCEPTED.iter().all(|reason| !known.contains(reason.id)));
}

#[test]
fn the_undo_names_the_source_and_the_user() {
    let suspended = reason("suspended").expect("a row");
    let text = suspended.undo(None, Some("alice@example.org"));
    assert_eq!(text, "rempart unban alice@example.org");
    let banned = reason("banned").expect("a row");
    assert_eq!(banned.undo(Some([192, 0, 2, 1].into()), None), "rempart unban 192.0.2.1");
}

#[test]
fn the_rings_stay_at_their_maximum_and_strangers_wash_out_no_user() {
    let mut decisions = Decisions::default();
    decisions.note(Who::Known, &message(1, "mine"), REFUSED, 1);
    for number in 0..3 * KNOWN_MAX as u32 {
        decisions.note(Who::Stranger, &message(100 + number, "x"), REFUSED, u64::from(number));
    }
    assert_eq!(decisions.counts(), (1, STRANGERS_MAX));
    assert_eq!(told(&decisions, by_source(1)).len(), 1);
    assert!(told(&decisions, by_source(100)).is_empty());
    let known = decisions.told(&by_source(1), &names());
    assert_eq!(known.known_since_ms, 0);
    assert_eq!(known.strangers_since_ms, (3 * KNOWN_MAX - STRANGERS_MAX - 1) as u64);
    for number in 0..2 * KNOWN_MAX as u32 {
        decisions.note(Who::Known, &message(9_000_000 + number, "x"), REFUSED, 1);
    }
    assert_eq!(decisions.counts(), (KNOWN_MAX, STRANGERS_MAX));
}

#[test]
fn repetitions_are_counted_after_the_first_few() {
    let mut decisions = Decisions::default();
    for number in 0..412 {
        let call_id = format!("call-{number}");
        decisions.note(Who::Stranger, &message(7, &call_id), REFUSED, 1_000 + number);
    }
    let mut rows = told(&decisions, by_source(7));
    assert_eq!(rows.len(), ring::SINGLES_MAX as usize);
    let last = rows.pop().expect("the last");
    assert_eq!((last.times, last.last_ms, last.call_id.as_str()), (405, 1_411, "call-411"));
    assert!(rows.iter().all(|row| row.times == 1));
    decisions.note(Who::Stranger, &message(7, "later"), REFUSED, 1_000_000);
    assert_eq!(told(&decisions, by_source(7)).len(), ring::SINGLES_MAX as usize + 1);
}

#[test]
fn the_same_call_is_one_record_and_other_decisions_are_not() {
    let mut decisions = Decisions::default();
    for now_ms in [1, 60_001, 120_001] {
        decisions.note(Who::Known, &message(7, "same"), REFUSED, now_ms);
    }
    decisions.note(Who::Known, &message(7, "same"), Outcome::relayed(200, false), 130_000);
    let rows = told(&decisions, Asked { call_id: Some("same".to_owned()), ..Asked::default() });
    let times: Vec<(u32, u64, u64)> =
        rows.iter().map(|row| (row.times, row.first_ms, row.last_ms)).collect();
    assert_eq!(times, [(3, 1, 120_001), (1, 130_000, 130_000)]);
}

#[test]
fn an_open_record_takes_the_rules_that_come_later() {
    let mut decisions = Decisions::default();
    decisions.rule("trusted", format_args!("no entry for {}", "192.0.2.1"));
    decisions.credentials("alice@example.org");
    let note = decisions.open(Who::Known, &message(7, "open"), 10);
    let open = told(&decisions, by_source(7));
    assert_eq!(open.first().map(|row| row.outcome), Some(Outcome::PENDING));
    decisions.rule("branch", format_args!("two\nlines"));
    decisions.close(note, Outcome::relayed(200, false), 20);
    let rows = told(&decisions, by_source(7));
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let rule = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let rules = [rule("trusted", "no entry for 192.0.2.1"), rule("branch", "two lines")];
    assert_eq!((row.rules.as_slice(), row.user.as_str()), (&rules[..], "alice@example.org"));
    assert_eq!((row.first_ms, row.last_ms, row.outcome.status), (10, 20, 200));
}

#[test]
fn what_happens_within_one_millisecond_stays_in_order() {
    let mut decisions = Decisions::default();
    let whos = [Who::Stranger, Who::Known, Who::Stranger];
    for (status, who) in whos.into_iter().enumerate() {
        let outcome = Outcome { status: status as u16, ..REFUSED };
        decisions.note(who, &message(7, "same"), outcome, 1);
    }
    let rows = told(&decisions, by_source(7));
    let order: Vec<u16> = rows.iter().map(|row| row.outcome.status).collect();
    assert_eq!(order, [0, 1, 2]);
}

#[test]
fn a_record_whose_slot_is_taken_is_left_alone() {
    let mut decisions = Decisions::default();
    let note = decisions.open(Who::Stranger, &message(1, "old"), 1);
    for number in 0..STRANGERS_MAX as u32 {
        decisions.note(Who::Stranger, &message(100 + number, "x"), REFUSED, 2);
    }
    decisions.close(note, Outcome::relayed(200, false), 3);
    let all = decisions.strangers.iter();
    assert!(all.map(|record| record.outcome).all(|outcome| outcome == REFUSED));
}

#[test]
fn a_user_is_found_by_every_name_he_has() {
    let mut decisions = Decisions::default();
    decisions.credentials("carol@example.org");
    decisions.note(Who::Known, &message(7, "call"), REFUSED, 1);
    for user in ["alice@example.org", "bob@example.org", "carol@example.org"] {
        let asked = Asked { user: Some(user.to_owned()), ..Asked::default() };
        assert_eq!(told(&decisions, asked).len(), 1, "{user}");
    }
    let asked = Asked { user: Some("mallory@example.org".to_owned()), ..Asked::default() };
    assert!(told(&decisions, asked).is_empty());
    assert!(told(&decisions, Asked::default()).is_empty());
}

#[test]
fn what_a_stranger_writes_is_cut_between_characters() {
    let mut decisions = Decisions::default();
    let long = "ä".repeat(1_000);
    let mut seen = message(7, &long);
    seen.method = b"\xff\xfeX";
    for _ in 0..100 {
        decisions.rule("long", format_args!("{long}"));
    }
    decisions.credentials(&long);
    decisions.note(Who::Stranger, &seen, REFUSED, 1);
    let rows = told(&decisions, Asked { call_id: Some(long), ..Asked::default() });
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.call_id.len(), row.user.len()), (VALUE_MAX, VALUE_MAX));
    assert_eq!(row.method, "\u{fffd}\u{fffd}X");
    let rules: usize = row.rules.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
    assert!(rules <= RULES_MAX && !row.rules.is_empty());
}

#[test]
fn one_question_is_answered_with_a_bounded_number_of_records() {
    let mut decisions = Decisions::default();
    for number in 0..2 * TOLD_MAX as u64 {
        let outcome = Outcome { status: number as u16, ..REFUSED };
        decisions.note(Who::Known, &message(7, "same"), outcome, number);
    }
    let rows = told(&decisions, by_source(7));
    assert_eq!(rows.len(), TOLD_MAX);
    assert_eq!(rows.last().map(|row| row.last_ms), Some(2 * TOLD_MAX as u64 - 1));
}
