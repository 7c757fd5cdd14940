//! A fault of ours costs one transaction; nobody waits for ever because of it.

use std::time::Duration;

use super::stage::{FAULT, Stage, pass, settings, udp};

#[actix::test]
async fn a_panic_in_a_handler_costs_one_message() {
    let (mut stage, phone) = (Stage::new(settings(), 1), udp("203.0.113.7"));
    let faulty = stage.register(phone, FAULT, "");
    let batch = [stage.options(phone), faulty, stage.options(phone)];
    assert_eq!(stage.play(&batch).await, [200, 200]);
    assert_eq!(stage.shared.counters.snapshot().get("refusal:panic"), Some(&1));
    assert_eq!(stage.in_flight.count(), 0);
    pass(Duration::from_secs(60)).await;
    assert_eq!(stage.judged(phone, "alice", "secret").await, 200);
}
