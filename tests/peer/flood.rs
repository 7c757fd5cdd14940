//! The flood limit turned against those it protects: a forged source, the neighbours' traffic,
//! an office behind one address.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::row::Outcome;
use crate::harness::{Phone, QUIET, Request, Setup, Subject};

/// P2: somebody sends in the name of a phone's address; on loopback that is another socket of
/// the same address. The phone then asks three times what it asks every day.
pub fn forged_source() -> Outcome {
    let server = Setup::users(&["alice"]).start();
    let mut victim = server.phone("alice", 30);
    victim.register();
    let before = answered(&mut victim, &server);
    let mut forger = server.stranger(30);
    for _ in 0..48 {
        let ping = forger.request("OPTIONS", &server.own_uri());
        forger.send(&ping);
    }
    forger.drain(QUIET * 2);
    let after = answered(&mut victim, &server);
    assert_eq!(before, 3, "the phone is served before the attack");
    Outcome { held: after == 3, did: format!("the phone hears {after} of 3 answers") }
}

/// How many of a re-registration, an OPTIONS and a MESSAGE are answered.
fn answered(phone: &mut Phone, server: &Subject) -> usize {
    let requests = [
        phone.registration(3600),
        phone.request("OPTIONS", &server.own_uri()),
        phone.request("MESSAGE", &server.uri("alice")),
    ];
    let heard = requests.iter().filter(|request| {
        phone.send(request);
        phone.maybe_response(request, QUIET * 8).is_some()
    });
    heard.count()
}

/// P3: thirty packets at once from an address that never talked before: the first of its network,
/// two beside loud neighbours of their /24, and one of another /24.
pub fn first_refused() -> Outcome {
    let server = Setup::new().start();
    let first = [[127, 40, 1, 1], [127, 40, 1, 2], [127, 40, 9, 1], [127, 40, 1, 3]]
        .map(|address| refusal(&server, address.into()));
    let [alone, beside, afar, third] = first;
    if first == [17; 4] {
        return Outcome { held: true, did: "packet 17, whoever else talks".into() };
    }
    let did =
        format!("packet ~{alone} alone, ~{beside} and ~{third} beside neighbours, ~{afar} afar");
    Outcome { held: false, did }
}

/// The number of the first packet that is not answered.
fn refusal(server: &Subject, address: IpAddr) -> usize {
    let mut phone = server.stranger_at(address);
    let mut pending: Vec<String> = Vec::new();
    for _ in 0..30 {
        let ping = phone.request("OPTIONS", &server.own_uri());
        pending.push(ping.header("Call-ID").to_string());
        phone.send(&ping);
    }
    let mut answers = Vec::new();
    while let Some(answer) = phone.anything(QUIET * 5) {
        answers.push(answer);
    }
    let answered = |id: &String| answers.iter().any(|answer| answer.call_id() == id);
    pending.iter().position(|id| !answered(id)).unwrap_or(30) + 1
}

/// How many phones the office has.
const PHONES: usize = 20;

/// RFC 3261 section 17.1.1.1.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// How much later each phone has started than the one before it.
const STAGGER: Duration = Duration::from_millis(20);

/// How long the office hears nothing at all before it counts as dark: the fourth retransmission
/// of RFC 3261 section 17.1.2.2 lies within.
const DARK: Duration = Duration::from_secs(5);

/// P4: every phone of an office sends its REGISTER within the same half second and retransmits as
/// RFC 3261 says, until it is registered or the office is dark.
pub fn office() -> Outcome {
    let users: Vec<String> = (0..PHONES).map(|number| format!("desk{number}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let server = Setup::users(&names).start();
    let mut desks: Vec<Desk> = names.iter().map(|name| Desk::new(server.phone(name, 30))).collect();
    let began = Instant::now();
    let mut heard = began;
    while desks.iter().any(|desk| !desk.registered) && heard.elapsed() < DARK {
        for (desk, number) in desks.iter_mut().zip(0..) {
            if began.elapsed() >= STAGGER * number && desk.step() {
                heard = Instant::now();
            }
        }
    }
    let registered = desks.iter().filter(|desk| desk.registered).count();
    let end = if registered < PHONES { ", then the office is dark" } else { "" };
    let mark = if registered < PHONES { "~" } else { "" };
    Outcome { held: registered == PHONES, did: format!("{mark}{registered} of 20 registered{end}") }
}

/// One phone that registers without making the others wait.
struct Desk {
    phone: Phone,
    request: Request,
    next_sending: Instant,
    interval: Duration,
    registered: bool,
}

impl Desk {
    fn new(mut phone: Phone) -> Self {
        let request = phone.registration(3600);
        Self { phone, request, next_sending: Instant::now(), interval: T1, registered: false }
    }

    /// Takes an answer if there is one, or sends when it is time; whether one came.
    fn step(&mut self) -> bool {
        if self.registered {
            return false;
        }
        self.send_when_due();
        let answer = self.phone.maybe_response(&self.request, Duration::from_millis(1));
        let Some(answer) = answer else { return false };
        match answer.status() {
            200 => self.registered = true,
            401 => {
                self.request = self.phone.authorized(&self.request, &answer);
                (self.next_sending, self.interval) = (Instant::now(), T1);
                self.send_when_due();
            }
            _ => {}
        }
        true
    }

    /// Timer E of RFC 3261 section 17.1.2.2: T1 doubled up to T2.
    fn send_when_due(&mut self) {
        if self.next_sending <= Instant::now() {
            self.phone.send(&self.request);
            self.next_sending = Instant::now() + self.interval;
            self.interval = (self.interval * 2).min(T2);
        }
    }
}
