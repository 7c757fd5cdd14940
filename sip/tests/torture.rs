//! Every RFC 4475 message with the verdict that a proxy and registrar owes it, through scan and
//! screen. Where the RFC leaves a choice, the verdict here is ours.

use rempart_sip::message::{HeaderName, Index, Message, NameAddr};
use rempart_sip::refusal::Refusal;
use rempart_sip::scan::scan;
use rempart_sip::screen::screen;
use std::path::{Path, PathBuf};

/// What comes of a message.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Well formed; whatever happens next is no business of the parser.
    Served,
    /// Answered with this status and reason phrase.
    Answered(u16, String),
    /// Refused, and there is nothing to answer or nobody to answer to.
    Dropped,
}

use Verdict::{Dropped, Served};

fn answered(status: u16, reason: &str) -> Verdict {
    Verdict::Answered(status, reason.to_owned())
}

fn expected(name: &str) -> Verdict {
    match name {
        "badinv01" => answered(400, "Bad Via"),
        "clerr" | "ncl" => answered(400, "Bad Content-Length"),
        "scalar02" => answered(400, "Bad CSeq"),
        "scalarlg" | "bigcode" => Dropped,
        "quotbal" => answered(400, "Unterminated quote in To"),
        "ltgtruri" | "lwsruri" | "lwsstart" | "escruri" => answered(400, "Bad Request-URI"),
        "trws" => answered(400, "Bad Request-Line"),
        "baddn" => answered(400, "Missing blank line"),
        "badvers" => answered(505, "Version Not Supported"),
        "mismatch01" | "mismatch02" => answered(400, "CSeq method does not match"),
        // It lacks From, To and Call-ID, without which no response can be built.
        "insuf" => Dropped,
        "unkscm" | "novelsc" => answered(416, "Unsupported URI Scheme"),
        "bext01" => answered(420, "Bad Extension"),
        "multi01" => answered(400, "Duplicate CSeq"),
        "mcl01" => answered(400, "Duplicate Content-Length"),
        "zeromf" => answered(483, "Too Many Hops"),
        _ => Served,
    }
}

fn verdict(raw: &[u8]) -> Verdict {
    let mut index = Index::default();
    let scanned = scan(raw, &mut index).map_err(Refusal::from);
    let message = Message::new(raw, &index);
    match scanned.and_then(|()| screen(message)) {
        Ok(()) => Served,
        Err(refusal) if message.can_answer() => {
            answered(refusal.status().unwrap_or(0), refusal.reason())
        }
        Err(_) => Dropped,
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let entries = std::fs::read_dir(folder)
        .expect("a good test message")
        .map(|entry| entry.expect("a good test message").path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "dat")).collect()
}

fn raw(name: &str) -> Vec<u8> {
    let path = files().into_iter().find(|path| path.file_stem().is_some_and(|s| s == name));
    std::fs::read(path.expect("a good test message")).expect("a good test message")
}

fn with<T>(name: &str, look: impl FnOnce(Message<'_>) -> T) -> T {
    let (raw, mut index) = (raw(name), Index::default());
    scan(&raw, &mut index).expect("a good test message");
    look(Message::new(&raw, &index))
}

#[test]
fn every_message_gets_its_verdict() {
    assert_eq!(files().len(), 49);
    for path in files() {
        let name =
            path.file_stem().expect("a good test message").to_str().expect("a good test message");
        assert_eq!(
            verdict(&std::fs::read(&path).expect("a good test message")),
            expected(name),
            "{name}"
        );
    }
}

#[test]
fn short_tortuous_invite_is_read_whole() {
    with("wsinv", |m| {
        assert_eq!(m.to_tag(), Some(&b"1918181833n"[..]));
        assert_eq!(m.from_tag(), Some(&b"98asjd8"[..]));
        assert_eq!(m.from().expect("a good test message").display, br#"J Rosenberg \\\""#);
        assert_eq!(
            (m.cseq().expect("a good test message").number, m.max_forwards()),
            (9, Some(Ok(68)))
        );
        let hosts: Vec<_> = m.vias().map(|via| via.host).collect();
        assert_eq!(hosts, [&b"192.0.2.2"[..], b"spindle.example.com", b"192.168.255.111"]);
        let branches: Vec<_> = m.vias().filter_map(|via| via.branch).collect();
        assert_eq!(branches, [&b"390skdjuw"[..], b"z9hG4bK9ikj8", b"z9hG4bK30239"]);
        let contact = NameAddr::parse(m.header(HeaderName::Contact).expect("a good test message"))
            .expect("a good test message");
        assert_eq!(contact.params.get("q"), Some(&b"0.33"[..]));
        assert_eq!(contact.params.get("newparam"), Some(&b"newvalue"[..]));
        assert_eq!(m.body().len(), 150);
    });
}

#[test]
fn extra_octets_in_a_datagram_are_not_the_message() {
    with("dblreq", |m| {
        assert_eq!(m.body(), b"");
        assert_eq!(m.values(HeaderName::Via).count(), 1);
        assert!(m.raw().ends_with(b"Content-Length: 0\r\n\r\n"));
    });
}

#[test]
fn what_is_no_escape_stays_as_it_is() {
    with("esc02", |m| {
        assert_eq!(m.method().as_bytes(), b"RE%47IST%45R");
        assert_eq!(m.values(HeaderName::Contact).count(), 2);
        assert_eq!(m.other("C%6Fntact"), Some(&b"<sip:alias2@host2.example.com>"[..]));
    });
}

#[test]
fn transports_we_do_not_speak_are_read() {
    with("transports", |m| {
        let tokens: Vec<_> = m.vias().map(|via| via.transport).collect();
        assert_eq!(tokens, [&b"UDP"[..], b"SCTP", b"TLS", b"UNKNOWN", b"TCP"]);
    });
}

#[test]
fn contact_with_headers_outside_brackets_is_for_the_registrar_to_refuse() {
    with("regbadct", |m| {
        assert_eq!(
            NameAddr::parse(m.header(HeaderName::Contact).expect("a good test message")),
            None
        );
    });
}

#[test]
fn contact_parameter_is_told_from_a_uri_parameter() {
    let parsed = |name: &str| {
        with(name, |m| {
            let contact =
                NameAddr::parse(m.header(HeaderName::Contact).expect("a good test message"))
                    .expect("a good test message");
            (contact.uri.to_vec(), contact.params.as_bytes().to_vec())
        })
    };
    assert_eq!(parsed("cparam01").1, b";unknownparam");
    assert_eq!(parsed("cparam02").1, b"");
    assert_eq!(parsed("cparam02").0, b"sip:+19725552222@gw1.example.net;unknownparam");
}

#[test]
fn reason_phrases_may_be_odd_or_empty() {
    with("noreason", |m| assert_eq!((m.status(), m.reason()), (100, &b""[..])));
    with("unreason", |m| assert!(m.status() == 200 && m.reason().starts_with(b"= 2**3")));
}
