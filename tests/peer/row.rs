//! One row of the table: what was tried, what the subject did, and whether that is what must be.

use std::fs::File;
use std::io::Write as _;

/// What an attack achieved.
pub struct Outcome {
    /// Whether the subject stood it.
    pub held: bool,
    /// What it did, in a few words. A figure behind `~` may differ from run to run.
    pub did: String,
}

/// What is known about Rempart's side of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It holds.
    None,
    /// It falls for now: a row that holds all the same must lose this mark.
    ExpectedToFail,
}

/// A fact of the table.
pub struct Row {
    /// Its number.
    pub id: &'static str,
    /// What is tried.
    pub attack: &'static str,
    /// What is expected of Rempart.
    pub mark: Mark,
}

impl Row {
    /// A row that Rempart must stand.
    pub const fn new(id: &'static str, attack: &'static str) -> Self {
        Self { id, attack, mark: Mark::None }
    }

    /// With another expectation.
    pub const fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }
}

/// Runs the attack, reports what it did, and fails the test unless it went as it must.
pub fn judge(row: &Row, attack: fn() -> Outcome) {
    let outcome = attack();
    report(row, &outcome);
    if let Err(fault) = verdict(is_peer(), outcome.held, row.mark) {
        panic!("{}: {}: {fault}", row.id, outcome.did);
    }
}

/// Whether the subject is Kamailio.
pub fn is_peer() -> bool {
    std::env::var("REMPART_SUBJECT").is_ok_and(|subject| subject == "kamailio")
}

fn verdict(peer: bool, held: bool, mark: Mark) -> Result<(), &'static str> {
    match (peer, held, mark) {
        (true, true, _) => Err("the peer does not show the recorded fault"),
        (false, true, Mark::ExpectedToFail) => {
            Err("it holds now: remove the mark in tests/peer.rs")
        }
        (false, false, Mark::None) => Err("Rempart falls, and no mark says that it does"),
        _ => Ok(()),
    }
}

/// Appends the row to the file that `tests/peer/run` reads: tab-separated, one line.
fn report(row: &Row, outcome: &Outcome) {
    println!("{} {}: {}", row.id, row.attack, outcome.did);
    let Some(path) = std::env::var_os("REMPART_PEER_RESULTS") else { return };
    let held = if outcome.held { "held" } else { "fell" };
    let mark = if row.mark == Mark::ExpectedToFail { "expected to fail" } else { "" };
    let line = format!("{}\t{}\t{}\t{held}\t{mark}\n", row.id, row.attack, outcome.did);
    let file = File::options().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the results are written");
}

#[test]
fn a_row_that_does_not_go_as_it_must_fails_the_run() {
    let (peer, rempart) = (true, false);
    assert!(verdict(peer, true, Mark::None).is_err(), "the fault is not reproduced");
    assert!(verdict(rempart, false, Mark::None).is_err(), "it falls unmarked");
    assert!(verdict(rempart, true, Mark::ExpectedToFail).is_err(), "it holds, still marked");
    assert!(verdict(peer, false, Mark::None).is_ok());
    assert!(verdict(peer, false, Mark::ExpectedToFail).is_ok(), "the mark is Rempart's");
    assert!(verdict(rempart, true, Mark::None).is_ok());
    assert!(verdict(rempart, false, Mark::ExpectedToFail).is_ok());
}
