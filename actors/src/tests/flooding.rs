//! The seed's flood rule through the gate, exact to the millisecond.

use std::time::Duration;

use actix::Actor;
use rempart_sip::flow::{Flow, Transport};
use rempart_storage::{Ban, Evidence, TrustedAddress};

use super::stage::{Stage, flow, pass, settings, settle, udp, with_flood};
use crate::bans::network;
use crate::clock::now_unix;
use crate::flood::{Flood, Metered};
use crate::gate::{BanSource, ListBans, UnbanSource};
use crate::meter::{Meter, SEED_RULE};
use crate::settings::{FloodRule, Settings};
use crate::wire::Batch;

/// How many of so many keep-alives in one batch are answered.
async fn answered(stage: &mut Stage, flow: Flow, count: usize) -> usize {
    let batch: Vec<_> = (0..count).map(|_| stage.options(flow)).collect();
    stage.play(&batch).await.len()
}

#[actix::test]
async fn seventeenth_request_in_any_two_seconds_is_silent_whatever_the_phase() {
    let mut stage = Stage::new(with_flood(), 1);
    for before in 1..=16 {
        for micros in [0, 333, 999] {
            pass(Duration::from_micros(1000 + micros)).await;
            let phone = udp(&format!("203.0.{before}.{}", micros % 250));
            assert_eq!(answered(&mut stage, phone, before).await, before);
            pass(Duration::from_millis(1999)).await;
            let rest = answered(&mut stage, phone, 17 - before).await;
            assert_eq!(rest, 16 - before, "{before} before, {micros} us past the millisecond");
        }
    }
}

#[actix::test]
async fn a_source_at_the_limit_is_never_banned_whatever_the_phase() {
    let mut stage = Stage::new(with_flood(), 1);
    for before in 1..=16 {
        for micros in [0, 333, 999] {
            pass(Duration::from_micros(1000 + micros)).await;
            let phone = udp(&format!("203.0.{before}.{}", micros % 250));
            assert_eq!(answered(&mut stage, phone, before).await, before);
            pass(Duration::from_micros(2_000_000)).await;
            assert_eq!(answered(&mut stage, phone, 16).await, 16, "{before} before, {micros} us");
        }
    }
}

#[actix::test]
async fn a_batch_is_counted_message_by_message() {
    let mut stage = Stage::new(with_flood(), 1);
    assert_eq!(answered(&mut stage, udp("203.0.113.7"), 100).await, 16);
}

#[actix::test]
async fn a_larger_limit_is_as_exact_in_one_batch() {
    let flood = Some(FloodRule { requests: 100, ..SEED_RULE });
    let mut stage = Stage::new(Settings { flood, ..settings() }, 1);
    assert_eq!(answered(&mut stage, udp("203.0.113.7"), 120).await, 100);
}

#[actix::test]
async fn udp_and_tcp_and_a_whole_ipv6_64_count_together() {
    let mut stage = Stage::new(with_flood(), 2);
    let tcp = flow(Transport::Tcp, "203.0.113.7");
    assert_eq!(answered(&mut stage, udp("203.0.113.7"), 10).await, 10);
    assert_eq!(answered(&mut stage, tcp, 10).await, 6);
    let mut all = 0;
    for host in 1..=20 {
        all += answered(&mut stage, udp(&format!("2001:db8:1:2::{host:x}")), 1).await;
    }
    assert_eq!(all, 16);
    assert_eq!(answered(&mut stage, udp("2001:db8:1:3::1"), 16).await, 16, "another /64");
}

#[actix::test]
async fn sources_in_one_batch_do_not_count_for_each_other() {
    let mut stage = Stage::new(with_flood(), 1);
    let phones: Vec<Flow> = (1..=8).map(|last| udp(&format!("203.0.113.{last}"))).collect();
    let requests = (0..17 * 8).map(|number| phones[number % 8]);
    let batch: Vec<_> = requests.map(|phone| stage.options(phone)).collect();
    assert_eq!(stage.play(&batch).await.len(), 16 * 8);
}

#[actix::test]
async fn a_ban_ends_after_300_seconds_and_hits_do_not_prolong_it() {
    let mut stage = Stage::new(with_flood(), 1);
    let phone = udp("203.0.113.7");
    assert_eq!(answered(&mut stage, phone, 17).await, 16);
    for _ in 0..299 {
        pass(Duration::from_secs(1)).await;
        assert_eq!(answered(&mut stage, phone, 1).await, 0);
    }
    pass(Duration::from_millis(1000)).await;
    assert_eq!(answered(&mut stage, phone, 17).await, 16, "and then a fresh window");
}

#[actix::test]
async fn the_flood_actor_is_gone_when_its_ban_ends() {
    let stage = Stage::new(with_flood(), 1);
    let (phone, door) = (udp("203.0.113.7"), &stage.doors[0]);
    let at = crate::clock::now();
    let meter = Meter::new(SEED_RULE, [], at);
    let flood = {
        let bans = door.gate.clone().recipient();
        Flood::new(phone.source(), meter, door.router.clone(), bans).start()
    };
    for _ in 0..17 {
        let batch = Batch::of(phone, b"OPTIONS");
        flood.send(Metered { batch, at }).await.expect("it lives");
    }
    pass(Duration::from_secs(299)).await;
    assert!(flood.connected());
    pass(Duration::from_millis(1001)).await;
    assert!(!flood.connected(), "timers fire on whole milliseconds");
}

#[actix::test]
async fn an_unban_gives_a_fresh_window() {
    let mut stage = Stage::new(with_flood(), 1);
    let phone = udp("203.0.113.7");
    for _ in 0..3 {
        assert_eq!(answered(&mut stage, phone, 17).await, 16);
        let lifted = stage.doors[0].gate.send(UnbanSource(phone.source())).await;
        assert_eq!(lifted, Ok(true));
    }
}

#[actix::test]
async fn a_ban_is_told_and_persisted_with_its_evidence_and_holds_after_a_restart() {
    let mut stage = Stage::new(with_flood(), 1);
    let tcp = flow(Transport::Tcp, "203.0.113.7");
    assert_eq!(answered(&mut stage, tcp, 17).await, 16);
    let bans = stage.doors[0].gate.send(ListBans).await.expect("a list");
    assert_eq!((bans.len(), bans[0].until - bans[0].since), (1, 300));
    assert_eq!(bans[0].evidence, Evidence::Proven);
    stage.shared.written().await;
    let mut after = Stage::over(stage.store.clone(), with_flood(), 2);
    assert_eq!(answered(&mut after, udp("203.0.113.7"), 1).await, 0);
    assert_eq!(answered(&mut after, udp("203.0.113.8"), 1).await, 1);
}

fn banned(phone: Flow) -> BanSource {
    BanSource(Ban {
        source: network(phone.source()),
        reason: "by hand".to_owned(),
        evidence: Evidence::Manual,
        since: now_unix(),
        until: now_unix() + 300,
        level: 0,
    })
}

#[actix::test]
async fn a_trusted_source_passes_before_bans_are_asked() {
    let phone = udp("203.0.113.7");
    let trusted = vec![TrustedAddress::new(network(phone.source()))];
    let mut stage = Stage::new(Settings { trusted, ..with_flood() }, 1);
    stage.doors[0].gate.send(banned(phone)).await.expect("it lives");
    assert_eq!(answered(&mut stage, phone, 1).await, 1);
}

#[actix::test]
async fn a_ban_by_hand_holds_without_a_flood_rule() {
    let phone = udp("203.0.113.7");
    let mut stage = Stage::new(settings(), 1);
    let requests = [stage.options(phone)];
    // Already past the reader when the ban comes.
    stage.doors[0].gate.do_send(banned(phone));
    assert_eq!(stage.play(&requests).await.len(), 0);
}

#[actix::test]
async fn work_in_hand_is_bounded_and_every_place_comes_back() {
    let mut stage = Stage::new(with_flood(), 1);
    let flood: Vec<_> = (0..64).map(|_| stage.options(udp("203.0.113.7"))).collect();
    let batches = (0..10).filter(|_| stage.offer(&flood)).count();
    assert_eq!(batches, 4, "four batches of 64 fill 256 places");
    settle().await;
    assert_eq!(stage.in_flight.count(), 0);
    assert_eq!(stage.answers().await.len(), 16);
}
