//! Facts of the scan beyond the RFC 4475 messages of tests/torture.rs.

use super::*;
use crate::message::OwnedMessage;

const OPTIONS: &str = "OPTIONS sip:h SIP/2.0\r\n\
    Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
    From: <sip:a@h>;tag=1\r\n\
    To: <sip:b@h>\r\n\
    Call-ID: x\r\n\
    CSeq: 7 OPTIONS\r\n\
    Max-Forwards: 70\r\n\
    Content-Length: 0\r\n\r\n";

fn verdict(text: &str) -> Result<(), Malformed> {
    OwnedMessage::new(text.as_bytes().to_vec()).map(drop)
}

fn reason(text: &str) -> &'static str {
    verdict(text).err().map_or("", |fault| fault.reason)
}

fn with(line: &str) -> String {
    OPTIONS.replace("Max-Forwards: 70", line)
}

#[test]
fn line_ends_keep_alives_and_case_are_taken_liberally() {
    assert_eq!(verdict(OPTIONS), Ok(()));
    assert_eq!(verdict(&OPTIONS.replace("\r\n", "\n")), Ok(()));
    assert_eq!(verdict(&format!("\r\n\r\n{OPTIONS}")), Ok(()));
    assert_eq!(verdict(&OPTIONS.replace(" SIP/2.0\r", " sip/2.0\r")), Ok(()));
}

#[test]
fn uris_of_every_kind_pass_and_brackets_do_not() {
    for uri in ["tel:+1234", "sip:[2001:db8::1]:5062;transport=tcp", "urn:service:sos", "sip:a;b@h"]
    {
        assert_eq!(verdict(&OPTIONS.replace("sip:h", uri)), Ok(()), "{uri}");
    }
    for uri in ["<sip:h>", "sip:h h", "", "sip:\0h", "sip:h\t"] {
        assert_eq!(reason(&OPTIONS.replace("sip:h", uri)), "Bad Request-URI", "{uri}");
    }
}

#[test]
fn versions_we_do_not_speak_are_told_from_noise() {
    let version = |v: &str| verdict(&OPTIONS.replace(" SIP/2.0\r", &format!(" {v}\r")));
    assert_eq!(version("SIP/7.0").expect_err("a fault").status, 505);
    assert_eq!(version("SIP/2.1").expect_err("a fault").status, 505);
    assert_eq!(version("HTTP/1.1").expect_err("a fault").status, 400);
    assert_eq!(version("SIP/2.0 ").expect_err("a fault").status, 400);
    assert_eq!(version("SIP/2").expect_err("a fault").status, 400);
}

#[test]
fn fields_that_stand_once_may_not_stand_twice() {
    assert_eq!(reason(&with("f: <sip:c@h>")), "Duplicate From");
    assert_eq!(reason(&with("To: <sip:c@h>")), "Duplicate To");
    assert_eq!(reason(&with("I: y")), "Duplicate Call-ID");
    assert_eq!(reason(&with("CSeq: 7 OPTIONS")), "Duplicate CSeq");
    assert_eq!(reason(&with("l: 0")), "Duplicate Content-Length");
    assert_eq!(reason(&with("Max-Forwards: 1\r\nMax-Forwards: 1")), "Duplicate Max-Forwards");
}

#[test]
fn missing_fields_are_named() {
    assert_eq!(reason(&OPTIONS.replace("Via:", "X:")), "Missing Via");
    assert_eq!(reason(&OPTIONS.replace("From:", "X:")), "Missing From");
    assert_eq!(reason(&OPTIONS.replace("To:", "X:")), "Missing To");
    assert_eq!(reason(&OPTIONS.replace("Call-ID:", "X:")), "Missing Call-ID");
    assert_eq!(reason(&OPTIONS.replace("CSeq:", "X:")), "Missing CSeq");
    assert_eq!(reason(&OPTIONS.replace("Call-ID: x", "Call-ID:")), "Missing Call-ID");
}

#[test]
fn lengths_that_lie_are_refused() {
    for length in ["1", "-1", "+0", "0x0", "0 0", "0,0", "", "99999999999999999999999"] {
        let text = OPTIONS.replace("Length: 0", &format!("Length: {length}"));
        assert_eq!(reason(&text), "Bad Content-Length", "{length}");
    }
    assert_eq!(verdict(&OPTIONS.replace("Length: 0", "Length: 000")), Ok(()));
}

#[test]
fn cseq_is_under_two_to_the_31_and_of_the_same_method() {
    let cseq = |value: &str| reason(&OPTIONS.replace("7 OPTIONS", value));
    assert_eq!(cseq("2147483647 OPTIONS"), "");
    assert_eq!(cseq("0009\r\n OPTIONS"), "");
    assert_eq!(cseq("2147483648 OPTIONS"), "Bad CSeq");
    assert_eq!(cseq("OPTIONS"), "Bad CSeq");
    assert_eq!(cseq("7"), "Bad CSeq");
    assert_eq!(cseq("7 options"), "CSeq method does not match");
}

#[test]
fn what_two_readers_would_read_differently_is_refused() {
    assert_eq!(reason(&with("X: a\rVia: b")), "Bare CR in header");
    assert_eq!(reason(&with("X\0Y: a")), "Bad header line");
    assert_eq!(reason(&with("no colon")), "Bad header line");
    assert_eq!(reason(&with("Contact: \"a <sip:b@h>")), "Unterminated quote in Contact");
    assert_eq!(reason(&OPTIONS.replace("\r\n\r\n", "\r\n")), "Missing blank line");
    assert_eq!(reason(&OPTIONS.replace("SIP/2.0/UDP a", "SIP/2.0/UDP")), "Bad Via");
}

#[test]
fn limits_hold() {
    let many = "X: 1\r\n".repeat(HEADERS_MAX);
    assert_eq!(reason(&with(&format!("{many}X: 1"))), "Too many header fields");
    let long = format!("sip:{}", "h".repeat(REQUEST_URI_MAX));
    assert_eq!(verdict(&OPTIONS.replace("sip:h", &long)).expect_err("a fault").status, 414);
    let huge = with(&format!("X: {}", "x".repeat(MESSAGE_MAX)));
    assert_eq!(verdict(&huge).expect_err("a fault").status, 513);
}

#[test]
fn refused_request_can_still_be_answered() {
    let text = OPTIONS.replace(" SIP/2.0\r", " SIP/7.0\r");
    let mut index = Index::default();
    assert!(scan(text.as_bytes(), &mut index).is_err());
    let m = Message::new(text.as_bytes(), &index);
    assert!(m.can_answer());
    assert_eq!((m.method(), m.call_id()), (Method::Options, &b"x"[..]));
}

#[test]
fn index_holds_nothing_of_the_message_before() {
    let mut index = Index::default();
    scan(OPTIONS.as_bytes(), &mut index).expect("a good test message");
    assert!(scan(b"\r\n\r\n", &mut index).is_err());
    let m = Message::new(b"\r\n\r\n", &index);
    assert!(!m.is_request() && !m.can_answer());
    assert_eq!(m.header(HeaderName::Via), None);
}

#[test]
fn noise_is_neither_request_nor_response() {
    let mut index = Index::default();
    for noise in
        [&b""[..], b"\0\x01\x02", b"\x16\x03\x01\x02\0\x01", b"SIP/2.0", b"SIP/2.0 99 x\r\n"]
    {
        assert!(scan(noise, &mut index).is_err());
        let m = Message::new(noise, &index);
        assert!(!m.can_answer() && m.status() == 0);
    }
}
