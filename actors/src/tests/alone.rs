//! The flood and guard actors in a house without SIP: no shard, no router, no store.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use parking_lot::Mutex;
use rempart_sip::flow::{Flow, SourceKey, Transport};
use rempart_sip::message::OwnedMessage;
use rempart_sip::refusal::Refusal;
use rempart_sip::uri::Aor;
use rempart_storage::{Evidence, Suspension};

use super::stage::{Stage, flow, pass, settings, settle, udp};
use crate::auth_guard::{Attempt, AuthGuard, GuardKey, Judgement, Keeper};
use crate::clock::now;
use crate::flood::{Banned, Flood, Hit};
use crate::guard_desk::{GuardDesk, Ruling};
use crate::meter::{SEED_RULE, Verdict};
use crate::settings::{GuardMode, GuardRule};
use crate::subscriber::{ForgetBindings, Register, Subscriber};
use crate::suspensions::Suspensions;

/// Notes the bans it hears of.
#[derive(Default)]
struct Watchman(Rc<RefCell<Vec<Banned>>>);

impl Actor for Watchman {
    type Context = Context<Self>;
}

impl Handler<Banned> for Watchman {
    type Result = ();

    fn handle(&mut self, banned: Banned, _: &mut Self::Context) {
        self.0.borrow_mut().push(banned);
    }
}

async fn verdicts(flood: &Addr<Flood<()>>, flow: Flow, count: usize) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for _ in 0..count {
        verdicts.push(flood.send(Hit(flow)).await.expect("it lives"));
    }
    verdicts
}

#[actix::test]
async fn a_flood_actor_alone_answers_and_reports_a_ban_once() {
    tokio::time::pause();
    let (bans, client) = (Watchman::default(), flow(Transport::Tcp, "203.0.113.7"));
    let heard = bans.0.clone();
    let flood = Flood::alone(client.source(), SEED_RULE, bans.start().recipient()).start();
    assert_eq!(verdicts(&flood, client, 16).await, [Verdict::Pass; 16]);
    assert_eq!(verdicts(&flood, client, 1).await, [Verdict::Ban]);
    assert_eq!(verdicts(&flood, client, 5).await, [Verdict::Drop; 5]);
    pass(Duration::from_millis(299_999)).await;
    assert_eq!(verdicts(&flood, client, 1).await, [Verdict::Drop]);
    pass(Duration::from_millis(1)).await;
    assert_eq!(verdicts(&flood, client, 1).await, [Verdict::Pass]);
    let heard = heard.borrow();
    assert_eq!(heard.len(), 1);
    let row = heard[0].row(&SEED_RULE, 1000);
    assert_eq!((row.since, row.until, row.evidence), (1000, 1300, Evidence::Proven));
    assert_eq!(row.source.to_string(), "203.0.113.7/32");
}

#[actix::test]
async fn a_flood_actor_alone_is_gone_when_its_source_is_quiet() {
    tokio::time::pause();
    let client = flow(Transport::Tcp, "203.0.113.7");
    let bans = Watchman::default().start().recipient();
    let flood = Flood::alone(client.source(), SEED_RULE, bans).start();
    assert_eq!(verdicts(&flood, client, 1).await, [Verdict::Pass]);
    pass(Duration::from_millis(3999)).await;
    assert!(flood.connected());
    pass(Duration::from_millis(1001)).await;
    assert!(!flood.connected(), "timers fire on whole milliseconds");
}

#[actix::test]
async fn a_subscriber_actor_alone_is_a_registrar() {
    let mut stage = Stage::new(settings(), 1);
    let (phone, aor) = (udp("203.0.113.7"), Aor::parse("alice@sip.example.org"));
    let aor = aor.expect("an AOR");
    let registrar = Subscriber::new(aor.clone(), stage.shared.clone()).start();
    let (flow, octets) = stage.register(phone, "alice", "");
    let request = Box::new(OwnedMessage::new(octets).expect("SIP"));
    let answer = registrar.send(Register { request, flow }).await.expect("it lives");
    assert_eq!(answer.map(|bindings| bindings.len()), Ok(1));
    let (flow, octets) = stage.register(phone, "alice", "Expires: 1\r\n");
    let request = Box::new(OwnedMessage::new(octets).expect("SIP"));
    let answer = registrar.send(Register { request, flow }).await.expect("it lives");
    assert!(matches!(answer, Err(Refusal::IntervalTooBrief { .. })), "{answer:?}");
    assert_eq!(registrar.send(ForgetBindings(aor)).await, Ok(Ok(1)));
}

/// A house with one password, which counts how often it was compared.
#[derive(Default)]
struct House {
    suspensions: Suspensions,
    compared: AtomicUsize,
    heard: Mutex<Vec<Suspension>>,
    off: bool,
}

impl House {
    fn compared(&self) -> usize {
        self.compared.load(Ordering::Relaxed)
    }
}

impl Keeper for House {
    type Proof = &'static str;

    fn rule(&self) -> GuardRule {
        let mode = if self.off { GuardMode::Off } else { GuardMode::SeedIpUser };
        GuardRule { mode, ..GuardRule::default() }
    }

    fn is_right(&self, user: &Aor, password: &&'static str) -> bool {
        self.compared.fetch_add(1, Ordering::Relaxed);
        user.user() == "alice" && *password == "secret"
    }

    fn suspensions(&self) -> &Suspensions {
        &self.suspensions
    }

    fn suspended(&self, suspension: Suspension) {
        self.heard.lock().push(suspension);
    }
}

fn attempt(source: &str, password: &'static str) -> Attempt<&'static str> {
    let source = SourceKey::of(source.parse().expect("an address"));
    let user = Aor::parse("alice@example.org").expect("an AOR");
    Attempt { key: GuardKey { user, source: Some(source) }, source, proof: password }
}

/// What the desk, or the guard it names, makes of an attempt.
async fn judged(desk: &mut GuardDesk<House>, attempt: Attempt<&'static str>) -> Judgement {
    match desk.judge(&attempt) {
        Ruling::Now(judgement) => judgement,
        Ruling::Ask(guard) => guard.send(attempt).await.expect("it lives"),
    }
}

const WRONG: [Judgement; 3] = [
    Judgement::Wrong { failures: 1 },
    Judgement::Wrong { failures: 2 },
    Judgement::Wrong { failures: 3 },
];

#[actix::test]
async fn a_desk_alone_suspends_a_pair_and_nobody_else() {
    tokio::time::pause();
    let house = Arc::new(House::default());
    let mut desk = GuardDesk::new(house.clone());
    for wrong in WRONG {
        assert_eq!(judged(&mut desk, attempt("203.0.113.7", "guess")).await, wrong);
    }
    let (here, there) = (attempt("203.0.113.7", "secret"), attempt("203.0.113.8", "secret"));
    assert_eq!(judged(&mut desk, here.clone()).await, Judgement::Suspended);
    assert_eq!(judged(&mut desk, there).await, Judgement::Right);
    assert_eq!((house.compared(), house.heard.lock().len()), (4, 1));
    pass(Duration::from_secs(900)).await;
    assert_eq!(judged(&mut desk, here).await, Judgement::Right);
}

#[actix::test]
async fn a_suspension_outlives_the_guard_that_made_it() {
    tokio::time::pause();
    let mut desk = GuardDesk::new(Arc::new(House::default()));
    for wrong in WRONG {
        assert_eq!(judged(&mut desk, attempt("203.0.113.7", "guess")).await, wrong);
    }
    desk.lift(|_| true);
    settle().await;
    let here = attempt("203.0.113.7", "secret");
    assert_eq!(judged(&mut desk, here).await, Judgement::Suspended);
}

#[actix::test]
async fn attempts_that_wait_together_are_compared_three_times() {
    tokio::time::pause();
    let house = Arc::new(House::default());
    let guard = AuthGuard::fresh(attempt("203.0.113.7", "").key, house.clone()).start();
    let guesses = (0..16).map(|_| guard.send(attempt("203.0.113.7", "guess")));
    let mut suspended = 0;
    for asked in guesses.collect::<Vec<_>>() {
        suspended += usize::from(asked.await == Ok(Judgement::Suspended));
    }
    assert_eq!((house.compared(), suspended), (3, 13));
    assert_eq!(house.suspensions.rows(now()).len(), 1);
}

#[actix::test]
async fn a_desk_whose_rule_is_off_counts_nothing() {
    tokio::time::pause();
    let mut desk = GuardDesk::new(Arc::new(House { off: true, ..House::default() }));
    for _ in 0..9 {
        let judgement = judged(&mut desk, attempt("203.0.113.7", "guess")).await;
        assert_eq!(judgement, WRONG[0], "never a second");
    }
    assert_eq!(judged(&mut desk, attempt("203.0.113.7", "secret")).await, Judgement::Right);
}
