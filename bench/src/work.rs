//! The kinds of work: OPTIONS, a digest registration, an authenticated call. Each writes whole
//! requests as a phone does and says what of the server's answers completes it.

use std::fmt::Write;
use std::io;
use std::net::Ipv4Addr;

use crate::digest::{Answer, Challenge};
use crate::load::{Target, Unit, call_id, source};
use crate::message::Message;
use crate::socket::Socket;

mod call;
mod callee;
mod options;
mod register;

pub use call::Call;
pub use callee::Callees;
pub use options::Options;
pub use register::Register;

/// The session description of both sides of a call; nobody sends media.
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

/// The users of a row and where they are: user n is at the n-th address after `base`.
#[derive(Clone, Debug)]
pub struct Phones {
    /// Server and domain.
    pub target: Target,
    /// First user's number.
    pub first: u64,
    /// How many users there are.
    pub count: u64,
    /// The first user's address.
    pub base: Ipv4Addr,
    /// Tag of the run, for Call-IDs and branches.
    pub run: String,
}

impl Phones {
    /// The user whose turn it is in this unit.
    fn user(&self, unit: Unit) -> u64 {
        self.first + unit.serial % self.count
    }

    fn address(&self, user: u64) -> Ipv4Addr {
        source(self.base, user - self.first)
    }

    /// Writes a request of this user into the socket's queue.
    fn send(&self, unit: Unit, request: &Request<'_>, socket: &mut Socket) -> io::Result<()> {
        let user = self.user(unit);
        let (address, port) = (self.address(user), socket.port());
        let text = self.write(unit, request, (address, port));
        socket.queue(address, self.target.address)?.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn write(&self, unit: Unit, request: &Request<'_>, local: (Ipv4Addr, u16)) -> String {
        let Request { method, uri, to, cseq, contact, extra, body } = request;
        let (run, name, domain) = (&self.run, user_name(self.user(unit)), &self.target.domain);
        let ((address, port), Unit { place, serial }) = (local, unit);
        // The ACK of a refusal has its INVITE's branch; an ACK of a 2xx and every other request
        // has its own (RFC 3261 sections 17.1.1.3 and 13.2.2.4).
        let branch = if *contact == Contact::Acknowledges { "a" } else { "" };
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {address}:{port};rport;branch=z9hG4bK{run}.{place}.{serial}.{cseq}\
             {branch}\r\nMax-Forwards: 70\r\nFrom: <sip:{name}@{domain}>;tag=f{place}.{serial}\r\n\
             To: {to}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n",
            call_id(run, unit)
        );
        // Writing to a String cannot fail.
        if *contact == Contact::Given {
            let _ = write!(text, "Contact: <sip:{name}@{address}:{port}>\r\n");
        }
        let _ = write!(text, "{extra}User-Agent: rempart-bench\r\n");
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let _ = write!(text, "{kind}Content-Length: {}\r\n\r\n{body}", body.len());
        text
    }

    /// The header that answers a challenge, None when the response has none for MD5.
    fn credentials(
        &self,
        unit: Unit,
        refused: Message<'_>,
        request: &Request<'_>,
    ) -> Option<String> {
        let (asks, answers) = match refused.status()? {
            401 => ("WWW-Authenticate", "Authorization"),
            _ => ("Proxy-Authenticate", "Proxy-Authorization"),
        };
        let challenge = refused.lines(asks).find_map(Challenge::parse)?;
        let user = self.user(unit);
        let (name, password) = (user_name(user), password(user));
        let (method, uri) = (request.method, request.uri);
        let mut line = format!("{answers}: ");
        challenge.answer(&Answer { user: &name, password: &password, method, uri }, &mut line);
        line.push_str("\r\n");
        Some(line)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contact {
    /// The user's own address.
    Given,
    Absent,
    /// None, and the branch is not the INVITE's.
    Acknowledges,
}

#[derive(Clone, Debug)]
struct Request<'a> {
    method: &'a str,
    uri: &'a str,
    to: &'a str,
    cseq: u32,
    contact: Contact,
    /// Whole header lines.
    extra: &'a str,
    body: &'a str,
}

impl<'a> Request<'a> {
    fn new(method: &'a str, uri: &'a str, to: &'a str, cseq: u32) -> Self {
        Self { method, uri, to, cseq, contact: Contact::Absent, extra: "", body: "" }
    }
}

/// User part of user n.
pub fn user_name(number: u64) -> String {
    format!("u{number:07}")
}

/// Password of user n.
pub fn password(number: u64) -> String {
    format!("p{number:07}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phones() -> Phones {
        let address = "127.0.0.1:5060".parse().expect("an address");
        let target = Target { address, domain: "d.test".into() };
        Phones { target, first: 5, count: 2, base: Ipv4Addr::new(127, 10, 0, 0), run: "r".into() }
    }

    #[test]
    fn users_take_turns() {
        let user = |serial| phones().user(Unit { place: 0, serial });
        assert_eq!((user(0), user(1), user(2)), (5, 6, 5));
        assert_eq!(phones().address(6), Ipv4Addr::new(127, 10, 0, 1));
    }

    #[test]
    fn a_request_is_a_whole_message() {
        let unit = Unit { place: 1, serial: 7 };
        let mut request = Request::new("REGISTER", "sip:d.test", "<sip:u@d.test>", 2);
        request.contact = Contact::Given;
        let text = phones().write(unit, &request, (Ipv4Addr::new(127, 10, 0, 0), 5170));
        let message = Message::new(text.as_bytes()).expect("text");
        assert_eq!(message.request(), Some(("REGISTER", "sip:d.test")));
        assert_eq!(message.cseq(), Some((2, "REGISTER")));
        assert_eq!(message.header("Call-ID"), Some("r.1.7"));
        assert_eq!(message.contact(), Some("sip:u0000006@127.10.0.0:5170"));
        let via = "SIP/2.0/UDP 127.10.0.0:5170;rport;branch=z9hG4bKr.1.7.2";
        assert_eq!(message.header("Via"), Some(via));
        assert!(text.ends_with("Content-Length: 0\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_challenge_is_answered_in_the_header_that_belongs_to_it() {
        let refused = b"SIP/2.0 407 Proxy Authentication Required\r\n\
            Proxy-Authenticate: Digest realm=\"d.test\", nonce=\"n\"\r\n\r\n";
        let refused = Message::new(refused).expect("text");
        let unit = Unit { place: 0, serial: 0 };
        let request = Request::new("INVITE", "sip:x@d.test", "<sip:x@d.test>", 1);
        let line = phones().credentials(unit, refused, &request).expect("credentials");
        let start = "Proxy-Authorization: Digest username=\"u0000005\", realm=\"d.test\"";
        assert!(line.starts_with(start) && line.ends_with("\r\n"), "{line}");
    }
}
