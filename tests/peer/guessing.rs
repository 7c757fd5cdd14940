//! The lock against guessed passwords: opened by a burst, closed on the wrong person, and by
//! attempts that are none.

use super::row::Outcome;
use crate::harness::challenge::Nc;
use crate::harness::phone::challenge_in;
use crate::harness::{Listing, Message, PATIENCE, Phone, QUIET, Request, Setup, Subject, unique};

/// The bursts and how many users suffer each.
const BURSTS: [usize; 3] = [8, 32, 200];
const USERS: usize = 40;

/// How many guesses of a burst share a socket.
const PER_SOCKET: usize = 25;

/// P6: wrong passwords at once for each of forty users; then the lock must be closed, and no
/// more than three of them may have been tried.
pub fn bursts() -> Outcome {
    let name = |burst: usize, user: usize| format!("u{burst}x{user}");
    let users: Vec<String> =
        BURSTS.iter().flat_map(|burst| (0..USERS).map(move |user| name(*burst, user))).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let server = Setup::users(&names).no_flood().peer_listing(Listing::First).start();
    let mut tried_most = 0;
    let open = BURSTS.map(|burst| {
        let open = (0..USERS).filter(|user| {
            let (tried, closed) = volley(&server, &name(burst, *user), burst);
            tried_most = tried_most.max(tried);
            !closed
        });
        open.count()
    });
    let held = open == [0, 0, 0] && tried_most <= 3;
    // What holds is the same in every run; what falls is a race.
    let about = if held { "" } else { "~" };
    let [small, middle, large] = open.map(|users| format!("{about}{users}"));
    let did = format!(
        "8, 32, 200 at once: open for {small}, {middle}, {large} of 40; \
         {about}{tried_most} tried at most"
    );
    Outcome { held, did }
}

/// So many wrong answers to one challenge: how many of them were tried, and whether the lock is
/// closed behind them.
fn volley(server: &Subject, user: &str, burst: usize) -> (usize, bool) {
    // Several sockets of one address, so that none overflows with the answers.
    let mut tools: Vec<Phone> =
        (0..burst.div_ceil(PER_SOCKET)).map(|_| server.phone(user, 66)).collect();
    let mut thief = server.phone(user, 66);
    let request = thief.registration(600);
    let challenge = challenge_in(&thief.ask(&request));
    let guesses: Vec<_> = (1..=burst as u32)
        .map(|count| {
            let nc = Nc { count, cnonce: "0a4f113b", qop: true };
            let guess = format!("guess {count}");
            let value = challenge.answer_with(user, &guess, "REGISTER", &request.uri, &nc);
            let request = request.clone().again().set("Call-ID", unique("guess"));
            request.with("Authorization", value)
        })
        .collect();
    for (tool, shares) in tools.iter_mut().zip(guesses.chunks(PER_SOCKET)) {
        shares.iter().for_each(|guess| tool.send(guess));
    }
    let tried = tools.iter_mut().zip(guesses.chunks(PER_SOCKET)).map(|(tool, shares)| {
        shares.iter().filter(|guess| tool.final_to(guess).status() == 401).count()
    });
    let tried = tried.sum();
    (tried, thief.guess("one more").answer() == "403 Try later")
}

/// P7: a stranger guesses three times; then the user comes from his own address.
pub fn stranger() -> Outcome {
    let server = Setup::users(&["alice"]).peer_listing(Listing::First).start();
    let mut thief = server.phone("alice", 66);
    for guess in ["123456", "alice", "password"] {
        assert_eq!(thief.guess(guess).status(), 401, "{guess}");
    }
    let answer = server.phone("alice", 20).try_register();
    Outcome { held: answer.starts_with("200"), did: format!("the user hears {answer}") }
}

/// P10: a mistyped password whose answer is retransmitted until three responses are heard; three
/// answers to nonces that nobody issued. Neither is three failures.
pub fn repeated() -> Outcome {
    let setup = Setup::users(&["alice", "bob", "carol", "dave"]).no_flood();
    let server = setup.peer_listing(Listing::Second).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let challenged = alice.ask(&request);
    let wrong = alice.authorized_with(&request, &challenged, "mistyped");
    retransmit(&mut alice, &wrong, &mut server.phone("carol", 21));
    let mut bob = server.phone("bob", 30);
    (0..3).for_each(|_| drop(made_up(&mut bob)));
    let mut dave = server.phone("dave", 31);
    assert_eq!(dave.guess("mistyped").status(), 401);
    assert_eq!(dave.try_register(), "200 OK", "sent once, a mistyped password costs nothing");
    let (slip, garbage) = (alice.try_register(), bob.try_register());
    Outcome {
        held: slip.starts_with("200") && garbage.starts_with("200"),
        did: format!("then the right password: {slip}; {garbage}"),
    }
}

/// Sends the same octets until three responses were heard. Somebody else talks in between, as in
/// the half second that a phone waits: Kamailio drops a retransmission only while a process of
/// its own still has that request as its last.
fn retransmit(phone: &mut Phone, request: &Request, other: &mut Phone) {
    let mut heard = 0;
    for _ in 0..16 {
        phone.send(request);
        heard += usize::from(phone.maybe_response(request, QUIET * 2).is_some());
        if heard == 3 {
            return;
        }
        for _ in 0..4 {
            let between = other.registration(600);
            other.ask(&between);
        }
    }
    panic!("sixteen sendings of one request, {heard} answers");
}

/// An answer to a nonce of our own making.
fn made_up(phone: &mut Phone) -> Message {
    let request = phone.registration(600);
    let value = format!(
        "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", algorithm=MD5, \
         response=\"{:032x}\"",
        phone.user,
        crate::harness::DOMAIN,
        unique("garbage"),
        request.uri,
        7
    );
    phone.ask(&request.with("Authorization", value))
}

/// P11: what was seen on the wire of a registration is sent from another address, with another
/// Contact, in a transaction of its own.
pub fn captured() -> Outcome {
    let server = Setup::users(&["alice", "bob"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(3600);
    let challenged = alice.ask(&request);
    let seen = alice.authorized(&request, &challenged);
    assert_eq!(alice.ask(&seen).status(), 200);
    let mut thief = server.phone("alice", 66);
    let replay = thief.registration(3600).with("Authorization", seen.header("Authorization"));
    let answer = thief.ask(&replay).answer().to_string();
    let hijacked = calls_reach(&server, &mut thief);
    assert!(alice.maybe_request("MESSAGE", PATIENCE).is_some(), "Alice herself is reached");
    let end = if hijacked { "calls reach the attacker" } else { "calls do not reach the attacker" };
    Outcome { held: !answer.starts_with("200") && !hijacked, did: format!("{answer}, {end}") }
}

/// Whether a message to Alice arrives at the attacker's phone.
fn calls_reach(server: &Subject, thief: &mut Phone) -> bool {
    let mut bob = server.phone("bob", 30);
    let text = bob.request("MESSAGE", &server.uri("alice"));
    bob.send_as(text);
    thief.maybe_request("MESSAGE", QUIET * 3).is_some()
}
