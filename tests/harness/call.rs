//! A call between two phones: each side's dialog (RFC 3261 section 12) and the usual steps.

use super::message::{Message, bare_uri};
use super::phone::Phone;
use super::request::Request;
use super::unique;

/// One side's view of a dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// Call-ID of both sides.
    pub call_id: String,
    /// From of what this side sends, with tag.
    pub local: String,
    /// To of what this side sends, with tag.
    pub remote: String,
    /// The other side's Contact.
    pub target: String,
    /// Route values in sending order.
    pub routes: Vec<String>,
    /// The last CSeq this side used.
    pub cseq: u32,
}

impl Dialog {
    /// The caller's side, from the request and the response that made the dialog.
    pub fn caller(request: &Request, response: &Message) -> Self {
        let mut routes = response.values("record-route");
        routes.reverse();
        Self {
            call_id: request.header("Call-ID").into(),
            local: request.header("From").into(),
            remote: response.header("to").unwrap_or("").into(),
            target: response.contact(),
            routes,
            cseq: request.cseq(),
        }
    }

    /// The called side, from the request as it came and the response as it left.
    pub fn callee(request: &Message, response: &[u8]) -> Self {
        let response = Message::parse(response, request.source).expect("our own response reads");
        Self {
            call_id: request.call_id().into(),
            local: response.header("to").unwrap_or("").into(),
            remote: request.header("from").unwrap_or("").into(),
            target: request.contact(),
            routes: request.values("record-route"),
            cseq: 100,
        }
    }

    /// The next request of this side inside the dialog.
    pub fn request(&mut self, phone: &Phone, method: &str) -> Request {
        if method != "ACK" {
            self.cseq += 1;
        }
        let target = self.target.clone();
        let request = phone.request(method, &target);
        let request = request
            .set("From", self.local.clone())
            .set("To", self.remote.clone())
            .set("Call-ID", self.call_id.clone())
            .set("CSeq", format!("{} {method}", self.cseq));
        self.routes.iter().fold(request, |request, route| request.with("Route", route.clone()))
    }
}

/// An answered and acknowledged call.
pub struct Call {
    /// The caller's side.
    pub caller: Dialog,
    /// The called side.
    pub callee: Dialog,
    /// The INVITE as it reached the called phone.
    pub invite: Message,
    /// The 200 as it reached the caller.
    pub ok: Message,
}

/// A session description worth sending.
pub const OFFER: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
m=audio 40000 RTP/AVP 0\r\n";

/// An INVITE with an offer.
pub fn invite(caller: &Phone, uri: &str) -> Request {
    caller.request("INVITE", uri).body("application/sdp", OFFER)
}

/// The caller invites through his challenge if there is one; the other phone rings. Returns the
/// INVITE as sent last and as it arrived.
pub fn invite_ringing(caller: &mut Phone, callee: &mut Phone, uri: &str) -> (Request, Message) {
    let first = invite(caller, uri);
    caller.send(&first);
    let request = through_challenge(caller, first);
    let arrived = callee.expect_request("INVITE");
    callee.respond(&arrived, 180, "Ringing");
    loop {
        let response = caller.response_to(&request);
        assert!(response.status() < 200, "ringing, not {}", response.start);
        if response.status() == 180 {
            return (request, arrived);
        }
    }
}

/// Answers the challenge to an INVITE already sent, if the first response is one.
fn through_challenge(caller: &mut Phone, request: Request) -> Request {
    let first = caller.response_to(&request);
    match first.status() {
        100..200 => request,
        401 | 407 => {
            caller.send(&request.ack(first.header("to").unwrap_or("")));
            let second = caller.authorized(&request, &first);
            caller.send(&second);
            second
        }
        _ => panic!("{} calls: {}", caller.user, first.start),
    }
}

/// A whole call up to its ACK.
pub fn establish(caller: &mut Phone, callee: &mut Phone, uri: &str) -> Call {
    let (request, invite) = invite_ringing(caller, callee, uri);
    answer(caller, callee, &request, invite)
}

/// The called phone picks up; the caller acknowledges.
pub fn answer(caller: &mut Phone, callee: &mut Phone, request: &Request, invite: Message) -> Call {
    let sent = callee.respond(&invite, 200, "OK");
    let ok = caller.final_to(request);
    assert_eq!(ok.status(), 200, "the call is answered: {}", ok.start);
    let mut caller_side = Dialog::caller(request, &ok);
    let ack = caller_side.request(caller, "ACK");
    caller.send(&ack);
    callee.expect_request("ACK");
    Call { caller: caller_side, callee: Dialog::callee(&invite, &sent), invite, ok }
}

/// One side ends the call; the other agrees.
pub fn hang_up(from: &mut Phone, dialog: &mut Dialog, other: &mut Phone) {
    let bye = dialog.request(from, "BYE");
    let answer = in_dialog(from, &bye, other);
    assert_eq!(answer.status(), 200, "BYE: {}", answer.start);
}

/// A request inside the dialog and the other side's 200.
pub fn in_dialog(from: &mut Phone, request: &Request, other: &mut Phone) -> Message {
    from.send(request);
    let arrived = other.expect_request(&request.method);
    other.respond(&arrived, 200, "OK");
    from.final_to(request)
}

/// A MESSAGE through the caller's challenge, accepted by the called phone.
pub fn message(caller: &mut Phone, callee: &mut Phone, uri: &str) -> Message {
    let text = unique("hello ");
    let request = caller.request("MESSAGE", uri).body("text/plain", text.as_bytes());
    let sent = caller.send_as(request);
    let arrived = callee.expect_request("MESSAGE");
    assert_eq!(arrived.body, text.as_bytes(), "the text arrives as sent");
    callee.respond(&arrived, 200, "OK");
    assert_eq!(caller.final_to(&sent).status(), 200);
    arrived
}

/// The host and port part of a Record-Route or Route value.
pub fn route_host(value: &str) -> String {
    let uri = bare_uri(value);
    let host = uri.split_once('@').map_or(uri.as_str(), |(_, host)| host);
    let host = host.trim_start_matches("sip:");
    host.split(';').next().unwrap_or("").to_string()
}
