//! The faults that were measured at Kamailio, one attack each, against whichever subject
//! `REMPART_SUBJECT` names: the peer must show its fault, Rempart must hold. `tests/peer/run`
//! plays them against both and prints the table that stands in tests/README.md.

mod harness;

mod peer {
    pub mod flood;
    pub mod guessing;
    pub mod reflection;
    pub mod relay;
    pub mod row;
}

use peer::row::{Mark, Row, judge};
use peer::{flood, guessing, reflection, relay};

#[test]
fn p1_a_forged_dialog_opens_no_relay() {
    judge(&Row::new("P1", "a To-tag and a Route, no credentials"), relay::forged_dialog);
}

#[test]
fn p2_forged_packets_do_not_silence_the_phone_they_name() {
    let row = Row::new("P2", "48 forged packets from a phone's address");
    judge(&row.marked(Mark::ExpectedToFail), flood::forged_source);
}

#[test]
fn p3_the_limit_is_the_same_whoever_else_talks() {
    judge(&Row::new("P3", "30 packets at once: the first one refused"), flood::first_refused);
}

#[test]
fn p4_an_office_behind_one_address_comes_back_after_a_power_cut() {
    let row = Row::new("P4", "20 phones behind one address register at once");
    judge(&row.marked(Mark::ExpectedToFail), flood::office);
}

#[test]
fn p6_a_burst_of_wrong_passwords_closes_the_lock() {
    let row = Row::new("P6", "wrong passwords in parallel, 40 users each (listing 1)");
    judge(&row, guessing::bursts);
}

#[test]
fn p7_wrong_guesses_elsewhere_do_not_lock_the_user_out() {
    let row = Row::new("P7", "three wrong guesses from elsewhere, then the user (listing 1)");
    judge(&row, guessing::stranger);
}

#[test]
fn p10_a_retransmission_or_a_made_up_nonce_counts_nothing() {
    let row =
        Row::new("P10", "one wrong answer sent three times; three made-up nonces (listing 2)");
    judge(&row, guessing::repeated);
}

#[test]
fn p11_a_captured_answer_is_worth_nothing_elsewhere() {
    let row = Row::new("P11", "captured Authorization, other address, attacker's Contact");
    judge(&row, guessing::captured);
}

#[test]
fn p13_a_forged_trusted_address_relays_nothing() {
    let row = Row::new("P13", "the whitelisted address forged over UDP (Rempart: strict)");
    judge(&row, relay::forged_trusted);
}

#[test]
fn p14_little_is_reflected_to_a_forged_source() {
    let row = Row::new("P14", "bytes out for a byte in, to a forged source");
    judge(&row, reflection::amplification);
}

#[test]
fn p15_a_contact_does_not_reach_an_inner_service() {
    let row = Row::new("P15", "Contact names a port of 127.0.0.1, then a call");
    judge(&row, relay::inner_contact);
}
