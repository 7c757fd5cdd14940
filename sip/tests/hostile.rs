//! Hostile and odd octets through everything that reads a message: nothing panics, nothing is
//! read beyond the message, and forwarding keeps what it does not edit. rsip is the oracle for
//! the simple messages that it reads at all.

use proptest::prelude::*;
use rempart_sip::edit::{Forward, Reply, Routes, forward_request, forward_response, reply};
use rempart_sip::edit::{ack_failure, cancel};
use rempart_sip::framing::{Frame, Framer};
use rempart_sip::message::{HeaderName, Index, Message, NameAddr, Params, Values, Via};
use rempart_sip::scan::scan;
use rempart_sip::screen::{Scanners, screen};
use rempart_sip::vocabulary::{canonical, to_rsip};
use rsip::headers::{ToTypedHeader, UntypedHeader};
use rsip::message::{HasHeaders, HeadersExt};
use std::path::Path;
use std::sync::LazyLock;

static TORTURE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let entries = std::fs::read_dir(folder).expect("the folder of messages");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let messages = paths.filter(|path| path.extension().is_some_and(|e| e == "dat"));
    messages.map(|path| std::fs::read(path).expect("a readable message")).collect()
});

/// Ids that cover lists, addresses, single fields and the rest.
const NAMES: [HeaderName; 9] = [
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::Contact,
    HeaderName::Route,
    HeaderName::CSeq,
    HeaderName::Expires,
    HeaderName::Authorization,
    HeaderName::Other,
];

/// Asks for everything that a message can be asked for.
fn read_all(m: Message<'_>) {
    let _ = (m.raw(), m.reason(), m.method(), m.request_uri(), m.body(), m.can_answer());
    let _ = (m.call_id(), m.cseq(), m.from_tag(), m.to_tag(), m.via(), m.max_forwards());
    let _ = (m.expires(), m.other("Subject"), screen(m), m.vias().count());
    for name in NAMES {
        for value in m.values(name) {
            let _ = NameAddr::parse(value).map(|address| address.params.iter().count());
            let _ = Via::parse(value).map(|via| via.params.iter().count());
            Scanners::new(["x"]).matches(value);
        }
    }
}

fn forward() -> Forward<'static> {
    Forward {
        request_uri: None,
        via: b"SIP/2.0/UDP proxy;branch=z9hG4bKours",
        received: Some(([192, 0, 2, 9], 4444).into()),
        record_routes: &[],
        routes: Routes::Keep { skip: 1, push: Some(b"<sip:next;lr>") },
        max_forwards: 69,
        remove: &[],
        add: &[],
    }
}

/// Reads and edits as a server would; what comes out of an edit must be readable again.
fn walk(raw: &[u8]) {
    let (mut index, mut out) = (Index::default(), Vec::new());
    let fine = scan(raw, &mut index).is_ok();
    let m = Message::new(raw, &index);
    read_all(m);
    let answer = Reply {
        status: 401,
        reason: "Unauthorized",
        to_tag: Some(b"t"),
        headers: &[],
        received: forward().received,
    };
    if m.can_answer() {
        reply(&mut out, m, &answer);
        assert!(out.len() < raw.len() + 200, "an answer amplifies");
    }
    forward_request(&mut out, m, &forward());
    if fine && m.is_request() {
        assert_eq!(scan(&out, &mut Index::default()), Ok(()), "{}", out.escape_ascii());
    }
    forward_response(&mut out, m, None);
    cancel(&mut out, m);
    ack_failure(&mut out, m, m);
    canonical(&mut out, m);
    if fine {
        let _ = to_rsip(m);
    }
}

/// Changes to a message: place, what is done there, with which octet.
fn mutated(message: &[u8], changes: &[(usize, u8, u8)]) -> Vec<u8> {
    const ODD: &[u8] = b"\r\n \t,;:<>\"\\@=%?/()[]{}\0\xff0-9zSIP";
    let mut raw = message.to_vec();
    for (place, kind, octet) in changes {
        let at = place % (raw.len() + 1);
        let odd = ODD[usize::from(*octet) % ODD.len()];
        match kind % 4 {
            0 => raw.insert(at, odd),
            1 if at < raw.len() => drop(raw.remove(at)),
            2 if at < raw.len() => raw[at] = odd,
            3 if *octet < 16 => raw.truncate(at),
            _ => raw.insert(at, *octet),
        }
    }
    raw
}

/// Header lines of a message that forwarding has no business with, as written.
fn untouched(raw: &[u8]) -> Vec<Vec<u8>> {
    let head = raw.split(|o| *o == b'\n').map(<[u8]>::to_vec);
    let lines = head.skip(1).take_while(|line| line != b"\r");
    lines.filter(|line| line.starts_with(b"X-") || line.starts_with(b" ")).collect()
}

fn simple_message() -> impl Strategy<Value = Vec<u8>> {
    let word = "[a-z][a-z0-9]{0,8}";
    let extra = proptest::collection::vec(("[A-Z][a-z]{1,6}", "[ -~]{0,20}", 0..3u8), 0..6);
    let body = proptest::collection::vec(any::<u8>(), 0..40);
    (word, word, word, 1u32..0x7fff_ffff, extra, body).prop_map(
        |(user, host, tag, cseq, extra, body)| {
            let mut text = format!(
                "INVITE sip:{user}@{host}.example.com SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {host};branch=z9hG4bK{tag}\r\n\
                 Max-Forwards: 70\r\n\
                 From: <sip:{tag}@{host}>;tag={tag}\r\n\
                 To: <sip:{user}@{host}>\r\n\
                 Call-ID: {tag}@{host}\r\n\
                 CSeq: {cseq} INVITE\r\n"
            );
            for (name, value, folds) in extra {
                let fold = "\r\n  more\t".repeat(usize::from(folds));
                text += &format!("X-{name}: {}{fold}\r\n", value.trim());
            }
            text += &format!("Content-Length: {}\r\n\r\n", body.len());
            [text.as_bytes(), &body].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_octets_are_survived(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
        walk(&raw);
        Values::new(&raw).for_each(|value| assert_eq!(Params::new(value).get("no such"), None));
    }

    #[test]
    fn mutated_torture_messages_are_survived(
        which in any::<usize>(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 0..12),
    ) {
        walk(&mutated(&TORTURE[which % TORTURE.len()], &changes));
    }

    #[test]
    fn datagram_and_stream_agree_where_a_message_ends(
        which in any::<usize>(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 0..4),
    ) {
        let raw = mutated(&TORTURE[which % TORTURE.len()], &changes);
        let mut framer = Framer::new(65_535);
        framer.push(&raw);
        let cut = framer.find_map(|frame| match frame {
            Ok(Frame::Message(message)) => Some(message),
            _ => None,
        });
        let mut index = Index::default();
        if let (Some(cut), Ok(())) = (cut, scan(&raw, &mut index)) {
            prop_assert_eq!(cut, Message::new(&raw, &index).raw());
        }
    }

    #[test]
    fn forwarding_keeps_what_it_does_not_edit(raw in simple_message()) {
        let mut index = Index::default();
        prop_assert_eq!(scan(&raw, &mut index), Ok(()));
        let mut out = Vec::new();
        forward_request(&mut out, Message::new(&raw, &index), &forward());
        let mut after = Index::default();
        prop_assert_eq!(scan(&out, &mut after), Ok(()));
        let (old, new) = (Message::new(&raw, &index), Message::new(&out, &after));
        prop_assert_eq!(old.body(), new.body());
        prop_assert_eq!(untouched(&raw), untouched(&out));
        prop_assert_eq!(new.max_forwards(), Some(Ok(69)));
        prop_assert_eq!(new.vias().count(), old.vias().count() + 1);
        prop_assert_eq!(new.via().and_then(|via| via.branch), Some(&b"z9hG4bKours"[..]));
    }

    #[test]
    fn rsip_reads_simple_messages_as_we_do(raw in simple_message()) {
        let mut index = Index::default();
        prop_assert_eq!(scan(&raw, &mut index), Ok(()));
        let m = Message::new(&raw, &index);
        let read = to_rsip(m).expect("rsip reads simple messages");
        let call_id = read.call_id_header().expect("a Call-ID").value().as_bytes().to_vec();
        prop_assert_eq!(call_id, m.call_id());
        let from = read.from_header().expect("a From").value().as_bytes().to_vec();
        prop_assert_eq!(Some(&from[..]), m.header(HeaderName::From));
        let cseq = read.cseq_header().expect("a CSeq").seq().expect("a number");
        prop_assert_eq!(Some(cseq), m.cseq().map(|cseq| cseq.number));
        let via = read.via_header().expect("a Via").typed().expect("a good Via");
        let branch = via.branch().expect("a branch").to_string();
        prop_assert_eq!(Some(branch.as_bytes()), m.via().and_then(|via| via.branch));
        let extra = read.headers().iter().filter(|h| matches!(h, rsip::Header::Other(..)));
        prop_assert_eq!(extra.count(), m.lines(HeaderName::Other).count());
    }
}
