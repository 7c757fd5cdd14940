//! What is remembered of messages that nobody read.

use std::cell::RefCell;
use std::rc::Rc;

use actix::prelude::*;

use super::stage::{Stage, settings, settle, udp, with_flood};
use crate::bans::Bans;
use crate::decisions::{Asked, Memory, Told, Verdict};
use crate::gate::{CountDecisions, Explain, Gate, Inbound};
use crate::router::Router;
use crate::wire::Batch;

async fn told(gate: &Addr<Gate>, ip: &str) -> Told {
    let source = Some(udp(ip).source());
    gate.send(Explain(Asked { source, ..Asked::default() })).await.expect("the gate answers")
}

#[actix::test]
async fn what_a_full_router_has_no_room_for_is_remembered_by_its_sender() {
    let mut stage = Stage::new(settings(), 1);
    // A router that never starts takes nothing, like one that is full.
    let gone = Context::<Router>::new().address();
    let (bans, memory) = (Rc::new(RefCell::new(Bans::default())), Memory::default());
    let pool = stage.doors[0].pool.clone();
    let gate = Gate::new(stage.shared.clone(), bans, memory, pool, gone).start();
    let mut batch = Batch::new();
    for last in 1..=20 {
        let (flow, message) = stage.options(udp(&format!("198.51.100.{last}")));
        batch.push(flow, &message);
    }
    gate.send(Inbound(batch)).await.expect("the gate takes it");
    let first = told(&gate, "198.51.100.1").await.decisions;
    let [decision] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((decision.outcome.reason, decision.outcome.verdict), ("shed", Verdict::Dropped));
    let rule = ("overload".to_owned(), "router-mailbox is full".to_owned());
    assert_eq!(decision.rules, [rule]);
    assert!(told(&gate, "198.51.100.20").await.decisions.is_empty(), "the first few alone");
    assert_eq!(stage.shared.counters.snapshot().get("shed:router-mailbox"), Some(&20));
    assert_eq!(gate.send(CountDecisions).await.expect("the gate answers"), (0, 8));
}

#[actix::test]
async fn a_ban_is_one_decision_and_what_it_drops_is_a_number() {
    let mut stage = Stage::new(with_flood(), 1);
    let flow = udp("198.51.100.7");
    let burst: Vec<_> = (0..17).map(|_| stage.options(flow)).collect();
    stage.play(&burst).await;
    settle().await;
    for _ in 0..400 {
        assert!(stage.doors[0].is_banned(&flow));
    }
    let told = told(&stage.doors[0].gate, "198.51.100.7").await;
    let bans = told.decisions.iter().filter(|it| it.outcome.verdict == Verdict::Banned);
    let bans: Vec<_> = bans.map(|it| (it.outcome.reason, it.times)).collect();
    assert_eq!((bans.as_slice(), told.dropped), (&[("flooding", 1)][..], 400));
}
