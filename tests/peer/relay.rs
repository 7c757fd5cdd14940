//! Ways to have the server send where it must not: a forged dialog, a forged trusted address, a
//! Contact that names an inner service.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::json;

use super::row::Outcome;
use crate::harness::call::{invite, message};
use crate::harness::{Phone, QUIET, Request, Setup, Subject};

/// P1: 48 requests with a To-tag and a Route to a foreign host, then 60 without the tag, each
/// from an address of its own, so that no flood limit has a part in it.
pub fn forged_dialog() -> Outcome {
    let server = Setup::users(&["alice"]).start();
    let mut victim = server.stranger(50);
    let away = format!("<sip:{};lr>", victim.local);
    reachable(&server, &mut victim);
    let tagged = relayed(&server, &mut victim, 48, |request, own| {
        let request = request.tagged("forged");
        let request =
            if own { request.with("Route", format!("<{};lr>", server.own_uri())) } else { request };
        request.with("Route", &*away)
    });
    let plain = relayed(&server, &mut victim, 60, |request, _| request.with("Route", &*away));
    Outcome {
        held: tagged + plain == 0,
        did: format!("{tagged} of 48 relayed; without the tag {plain} of 60"),
    }
}

/// Shows that a local user's message does arrive there: what makes the silence mean something.
fn reachable(server: &Subject, elsewhere: &mut Phone) {
    let uri = format!("sip:friend@{}", elsewhere.local);
    message(&mut server.phone("alice", 20), elsewhere, &uri);
}

/// How many of so many forged requests reach the victim.
fn relayed(
    server: &Subject,
    victim: &mut Phone,
    count: usize,
    forge: impl Fn(Request, bool) -> Request,
) -> usize {
    let methods = ["INVITE", "MESSAGE", "BYE", "INFO", "REFER", "SUBSCRIBE"];
    let mut call_ids = HashSet::new();
    for serial in 0..count {
        let last = u8::try_from(serial + 1).expect("fewer than 255");
        let mut tool = server.stranger_at(IpAddr::from([127, 0, 9, last]));
        let uri = format!("sip:friend@{}", victim.local);
        let request = tool.request(methods[serial % methods.len()], &uri);
        let request = forge(request, (serial / methods.len()).is_multiple_of(2));
        call_ids.insert(request.header("Call-ID").to_string());
        tool.send(&request);
    }
    settle(server);
    let heard = victim.drain(QUIET * 2).into_iter().filter(|message| message.is_request());
    let heard: HashSet<String> = heard.map(|message| message.call_id().to_string()).collect();
    heard.intersection(&call_ids).count()
}

/// Something later than all that was sent before has been served.
fn settle(server: &Subject) {
    let mut last = server.stranger(99);
    let ping = last.request("OPTIONS", &server.own_uri());
    assert_eq!(last.ask(&ping).status(), 200);
}

/// P13: an INVITE and a MESSAGE to a foreign host, from another socket of the listed address.
pub fn forged_trusted() -> Outcome {
    let entry = json!({ "net": "127.0.0.40/32", "group": 1, "strict": true });
    let server = Setup::users(&["alice"]).trusted(entry).start();
    let mut elsewhere = server.stranger(50);
    let uri = format!("sip:friend@{}", elsewhere.local);
    reachable(&server, &mut elsewhere);
    let mut neighbour = server.stranger(41);
    let call = invite(&neighbour, &uri);
    assert_eq!(neighbour.ask(&call).answer(), "403 Not relaying", "an address not listed");
    let mut forger = server.stranger(40);
    let requests = [invite(&forger, &uri), forger.request("MESSAGE", &uri)];
    requests.iter().for_each(|request| forger.send(request));
    settle(&server);
    let heard = ["INVITE", "MESSAGE"].map(|method| elsewhere.maybe_request(method, QUIET * 2));
    let relayed = heard.iter().flatten().count();
    Outcome { held: relayed == 0, did: format!("{relayed} of 2 relayed without credentials") }
}

/// P15: a user registers an inner service as his Contact and is called.
pub fn inner_contact() -> Outcome {
    let server = Setup::users(&["alice", "bob"]).host("0.0.0.0").start();
    let mut inner = server.stranger(1);
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 66));
    bob.contact = format!("sip:x@{}", inner.local);
    bob.register();
    let call = invite(&alice, &server.uri("bob"));
    alice.send_as(call);
    let reached = inner.maybe_request("INVITE", QUIET * 3).is_some();
    let rings = bob.maybe_request("INVITE", QUIET * 3).is_some();
    let did = match (reached, rings) {
        (true, _) => "datagram delivered to the inner port",
        (false, true) => "the call goes to the phone that registered",
        (false, false) => "the call goes nowhere",
    };
    Outcome { held: !reached, did: did.into() }
}
