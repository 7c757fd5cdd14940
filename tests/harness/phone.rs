//! A small SIP phone: it builds requests with every knob, answers challenges, and plays the
//! called side. One step at a time, on the test's own thread, every wait with a deadline.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::challenge::Challenge;
use super::link::Link;
use super::message::Message;
use super::request::Request;
use super::transcript::Transcript;
use super::{PATIENCE, QUIET, unique};

/// A phone, an attacker's tool, a gateway: whoever speaks SIP to the subject.
pub struct Phone {
    /// User part, also the user name of credentials.
    pub user: String,
    /// Password used by [`Phone::ask_as`].
    pub password: String,
    /// Address of record, without brackets.
    pub aor: String,
    /// The URI in Contact.
    pub contact: String,
    /// What stands as sent-by in Via.
    pub sent_by: String,
    /// Our own address.
    pub local: SocketAddr,
    /// Where everything is sent.
    pub server: SocketAddr,
    link: Link,
    transcript: Transcript,
    inbox: VecDeque<Message>,
    seen: HashSet<Vec<u8>>,
    registration: (String, u32),
}

impl Phone {
    /// A phone on a link of its own; `aor` without `sip:`.
    pub fn new(link: Link, server: SocketAddr, user: &str, transcript: Transcript) -> Self {
        let local = link.local();
        let transport = match link {
            Link::Udp(_) => "",
            Link::Tcp(..) => ";transport=tcp",
            Link::Tls(..) | Link::Accepted(..) => ";transport=tls",
        };
        Self {
            user: user.to_string(),
            password: super::password_of(user),
            aor: format!("sip:{user}@{}", super::DOMAIN),
            contact: format!("sip:{user}@{local}{transport}"),
            sent_by: local.to_string(),
            local,
            server,
            link,
            transcript,
            inbox: VecDeque::new(),
            seen: HashSet::new(),
            registration: (unique("reg"), 0),
        }
    }

    /// A request of ours outside any dialog.
    pub fn request(&self, method: &str, uri: &str) -> Request {
        let empty =
            Request { method: method.into(), uri: uri.into(), lines: Vec::new(), body: Vec::new() };
        let transport = self.link.transport();
        let via =
            format!("SIP/2.0/{transport} {};rport;branch={}", self.sent_by, unique("z9hG4bK"));
        empty
            .with("Via", via)
            .with("Max-Forwards", "70")
            .with("From", format!("<{}>;tag={}", self.aor, unique("f")))
            .with("To", format!("<{uri}>"))
            .with("Call-ID", unique("call"))
            .with("CSeq", format!("1 {method}"))
            .with("Contact", format!("<{}>", self.contact))
    }

    /// Our next REGISTER, in the series of one Call-ID (RFC 3261 section 10.2).
    pub fn registration(&mut self, expires: u32) -> Request {
        self.registration.1 += 1;
        let request = self.request("REGISTER", &format!("sip:{}", super::DOMAIN));
        request
            .set("To", format!("<{}>", self.aor))
            .set("Call-ID", self.registration.0.clone())
            .set("CSeq", format!("{} REGISTER", self.registration.1))
            .with("Expires", expires.to_string())
    }

    /// The answer to a registration with our own password, such as `403 Try later`.
    pub fn try_register(&mut self) -> String {
        let request = self.registration(600);
        self.ask_as(request).answer().to_string()
    }

    /// Registers for an hour, through the challenge; fails the test unless the answer is 200.
    pub fn register(&mut self) -> Message {
        let request = self.registration(3600);
        let answer = self.ask_as(request);
        assert_eq!(answer.status(), 200, "{} registers: {}", self.user, answer.start);
        answer
    }

    /// Sends a request.
    pub fn send(&mut self, request: &Request) {
        self.send_raw(&request.bytes());
    }

    /// Sends any octets.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.transcript.message(self.local, self.server, bytes);
        self.link.send(bytes, self.server).expect("loopback takes the message");
    }

    /// Sends, and does not mind when the server has closed the connection meanwhile.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        self.link.send(bytes, self.server).is_ok()
    }

    /// The next message of any kind, taken from the wire only.
    pub fn next(&mut self, deadline: Instant) -> Option<Message> {
        loop {
            let (bytes, from) = self.link.receive(deadline)?;
            self.transcript.message(from, self.local, &bytes);
            if let Some(message) = Message::parse(&bytes, from) {
                return Some(message);
            }
        }
    }

    /// The next octets, keep-alives included.
    pub fn next_raw(&mut self) -> Option<Vec<u8>> {
        self.link.receive(Instant::now() + PATIENCE).map(|(bytes, _)| bytes)
    }

    /// The next message that `wanted` accepts; what it does not is kept for later.
    pub fn take(
        &mut self,
        deadline: Instant,
        mut wanted: impl FnMut(&Message) -> bool,
    ) -> Option<Message> {
        if let Some(place) = self.inbox.iter().position(&mut wanted) {
            return self.inbox.remove(place);
        }
        loop {
            let message = self.next(deadline)?;
            if wanted(&message) {
                return Some(message);
            }
            self.inbox.push_back(message);
        }
    }

    /// The next response to this request, provisional or final.
    pub fn response_to(&mut self, request: &Request) -> Message {
        let found = self.maybe_response(request, PATIENCE);
        found.unwrap_or_else(|| panic!("{}: no response to {}", self.local, request.method))
    }

    /// The next response to this request within `wait`.
    pub fn maybe_response(&mut self, request: &Request, wait: Duration) -> Option<Message> {
        let (call_id, cseq) = (request.header("Call-ID").to_string(), request.cseq());
        let method = request.method.clone();
        self.take(Instant::now() + wait, |message| {
            !message.is_request()
                && message.call_id() == call_id
                && message.cseq() == cseq
                && message.method() == method
        })
    }

    /// The final response to this request; a failed INVITE is acknowledged.
    pub fn final_to(&mut self, request: &Request) -> Message {
        loop {
            let response = self.response_to(request);
            if response.status() < 200 {
                continue;
            }
            if request.method == "INVITE" && response.status() >= 300 {
                let ack = request.ack(response.header("to").unwrap_or(""));
                self.send(&ack);
            }
            return response;
        }
    }

    /// Sends and waits for the final response.
    pub fn ask(&mut self, request: &Request) -> Message {
        self.send(request);
        self.final_to(request)
    }

    /// Sends, answers one challenge with our password, and returns the final response.
    pub fn ask_as(&mut self, request: Request) -> Message {
        self.send(&request);
        self.finish_as(request).1
    }

    /// Waits for the final response of a request already sent, through one challenge; returns
    /// the request that was answered last.
    pub fn finish_as(&mut self, request: Request) -> (Request, Message) {
        let first = self.final_to(&request);
        if !matches!(first.status(), 401 | 407) {
            return (request, first);
        }
        let second = self.authorized(&request, &first);
        let answer = self.ask(&second);
        (second, answer)
    }

    /// Sends a request through its challenge without waiting for what comes after.
    pub fn send_as(&mut self, request: Request) -> Request {
        let challenged = self.ask(&request);
        assert!(matches!(challenged.status(), 401 | 407), "challenged: {}", challenged.start);
        let second = self.authorized(&request, &challenged);
        self.send(&second);
        second
    }

    /// The request once more, as a new transaction, with our credentials for that challenge.
    pub fn authorized(&mut self, request: &Request, challenged: &Message) -> Request {
        let password = self.password.clone();
        self.authorized_with(request, challenged, &password)
    }

    /// The same with another password.
    pub fn authorized_with(
        &mut self,
        request: &Request,
        challenged: &Message,
        password: &str,
    ) -> Request {
        let challenge = challenge_in(challenged);
        let value = challenge.answer(&self.user, password, &request.method, &request.uri);
        if request.method == "REGISTER" {
            self.registration.1 = self.registration.1.max(request.cseq() + 1);
        }
        request.clone().again().set(credentials_header(challenged), value)
    }

    /// One wrong guess with a fresh nonce; returns the final answer to it.
    pub fn guess(&mut self, password: &str) -> Message {
        let request = self.registration(60);
        let challenged = self.ask(&request);
        assert_eq!(challenged.status(), 401, "a challenge: {}", challenged.start);
        let second = self.authorized_with(&request, &challenged, password);
        self.ask(&second)
    }

    /// Waits for a request; its retransmissions are not delivered twice.
    pub fn expect_request(&mut self, method: &str) -> Message {
        let found = self.maybe_request(method, PATIENCE);
        found.unwrap_or_else(|| panic!("{} ({}): no {method} came", self.local, self.user))
    }

    /// The next request of that method within `wait`.
    pub fn maybe_request(&mut self, method: &str, wait: Duration) -> Option<Message> {
        let seen = std::mem::take(&mut self.seen);
        let found = self.take(Instant::now() + wait, |message| {
            message.is_request() && message.method() == method && !seen.contains(&message.raw)
        });
        self.seen = seen;
        self.seen.extend(found.iter().map(|message| message.raw.clone()));
        found
    }

    /// Answers a received request.
    pub fn respond(&mut self, request: &Message, status: u16, reason: &str) -> Vec<u8> {
        self.respond_with(request, status, reason, &[])
    }

    /// Answers with further header lines; returns the octets sent.
    pub fn respond_with(
        &mut self,
        request: &Message,
        status: u16,
        reason: &str,
        more: &[(&str, &str)],
    ) -> Vec<u8> {
        let mut text = format!("SIP/2.0 {status} {reason}\r\n");
        let copied = ["via", "record-route", "from", "call-id", "cseq"];
        for (name, value) in &request.fields {
            if copied.contains(&name.as_str()) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let to = request.header("to").unwrap_or("");
        let tag =
            if status > 100 && request.to_tag().is_none() { self.to_tag() } else { "".into() };
        text.push_str(&format!("To: {to}{tag}\r\nContact: <{}>\r\n", self.contact));
        for (name, value) in more {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("Content-Length: 0\r\n\r\n");
        self.transcript.message(self.local, request.source, text.as_bytes());
        self.link.send(text.as_bytes(), request.source).expect("loopback takes the response");
        text.into_bytes()
    }

    /// The next request waits no longer than a moment: fails the test if anything came.
    pub fn quiet(&mut self) {
        if let Some(message) = self.anything(QUIET) {
            panic!("{} ({}) should hear nothing: {}", self.local, self.user, message.start);
        }
    }

    /// Whatever is waiting or comes within `wait`.
    pub fn anything(&mut self, wait: Duration) -> Option<Message> {
        self.inbox.pop_front().or_else(|| self.next(Instant::now() + wait))
    }

    /// Everything that is waiting or comes within `wait`.
    pub fn drain(&mut self, wait: Duration) -> Vec<Message> {
        let deadline = Instant::now() + wait;
        let mut messages: Vec<Message> = self.inbox.drain(..).collect();
        while let Some(message) = self.next(deadline) {
            messages.push(message);
        }
        messages
    }

    /// Whether the server closes our connection within [`PATIENCE`].
    pub fn is_closed(&mut self) -> bool {
        self.link.closed_by(Instant::now() + PATIENCE)
    }

    /// Moves to another source address: a new socket, the same identity.
    pub fn move_to(&mut self, ip: IpAddr) {
        self.link = Link::udp(ip);
        self.local = self.link.local();
        self.sent_by = self.local.to_string();
        self.contact = format!("sip:{}@{}", self.user, self.local);
    }

    fn to_tag(&self) -> String {
        format!(";tag=to{}p{}", self.user, self.local.port())
    }
}

/// The first challenge of a 401 or 407.
pub fn challenge_in(response: &Message) -> Challenge {
    let value = response.header("www-authenticate").or(response.header("proxy-authenticate"));
    let found = value.and_then(Challenge::parse);
    found.unwrap_or_else(|| panic!("a digest challenge in: {}", response.start))
}

/// The header that answers this challenge.
pub fn credentials_header(challenged: &Message) -> &'static str {
    if challenged.status() == 407 { "Proxy-Authorization" } else { "Authorization" }
}
