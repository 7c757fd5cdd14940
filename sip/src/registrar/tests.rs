//! REGISTERs against sets of bindings, each rule a test.

use super::*;
use crate::flow::Transport;
use crate::message::OwnedMessage;
use proptest::prelude::*;

const LIMITS: Limits = Limits { min: 60, default: 3600, max: 7200, contacts_max: 3 };
const NOW: u64 = 1_700_000_000;

fn flow(port: u16) -> Flow {
    let local = "192.0.2.1:5060".parse().expect("an address of this test");
    let remote = std::net::SocketAddr::from(([198, 51, 100, 7], port));
    Flow { transport: Transport::Udp, local, remote, connection: 0 }
}

fn request(call_id: &str, cseq: u32, fields: &[&str]) -> OwnedMessage {
    let mut text = format!(
        "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5062;branch=z9hG4bK1\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\n"
    );
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    OwnedMessage::new(text.into_bytes()).expect("a message of this test")
}

/// A registrar and the REGISTERs sent to it; every one has a CSeq of its own.
#[derive(Default)]
struct Registrar {
    bindings: Vec<Binding>,
    cseq: u32,
}

impl Registrar {
    /// From port 5062, with the phone's next CSeq.
    fn register(&mut self, fields: &[&str]) -> Result<Outcome, Refusal> {
        self.register_from(5062, fields)
    }

    fn register_from(&mut self, port: u16, fields: &[&str]) -> Result<Outcome, Refusal> {
        self.cseq += 1;
        self.send("c1", self.cseq, port, fields)
    }

    fn send(
        &mut self,
        call_id: &str,
        cseq: u32,
        port: u16,
        fields: &[&str],
    ) -> Result<Outcome, Refusal> {
        let request = request(call_id, cseq, fields);
        let outcome = register(request.view(), &self.bindings, flow(port), NOW, &LIMITS)?;
        self.bindings.clone_from(&outcome.bindings);
        Ok(outcome)
    }

    fn contacts(&self) -> Vec<String> {
        let text = |b: &Binding| String::from_utf8_lossy(&b.contact).into_owned();
        self.bindings.iter().map(text).collect()
    }
}

/// The binding that one REGISTER makes.
fn binding(fields: &[&str]) -> Binding {
    let outcome = Registrar::default().register(fields).expect("a REGISTER of this test");
    outcome.bindings.into_iter().next().expect("one binding")
}

fn life(fields: &[&str]) -> u64 {
    binding(fields).expires_at - NOW
}

fn refusal(fields: &[&str]) -> Refusal {
    let mut registrar = Registrar::default();
    registrar.register(&["Contact: <sip:a@192.0.2.9>"]).expect("a first binding");
    let before = registrar.bindings.clone();
    let refusal = registrar.register(fields).expect_err(&fields.join(" "));
    assert_eq!(registrar.bindings, before);
    refusal
}

const BAD_CONTACT: Refusal = Refusal::bad_request("Bad Contact");

#[test]
fn contact_becomes_a_binding_with_its_flow() {
    let outcome = Registrar::default().register(&["Contact: \"A\" <sip:a@10.0.0.1:5062>"]);
    let outcome = outcome.expect("a good REGISTER");
    assert_eq!((outcome.changed, outcome.added, outcome.removed), (true, 1, 0));
    let binding = &outcome.bindings[0];
    assert_eq!(binding.contact, b"sip:a@10.0.0.1:5062");
    assert_eq!((binding.q, binding.expires_at), (1000, NOW + 3600));
    assert_eq!((&binding.call_id[..], binding.cseq), (&b"c1"[..], 1));
    assert_eq!((binding.flow, binding.via_is_source), (flow(5062), true));
}

#[test]
fn sent_by_that_is_not_the_source_is_remembered() {
    let outcome = Registrar::default().register_from(40_000, &["Contact: <sip:a@h>"]);
    assert!(!outcome.expect("a good REGISTER").bindings[0].via_is_source);
}

#[test]
fn request_without_contact_is_a_query() {
    let mut registrar = Registrar::default();
    registrar.register(&["Contact: <sip:a@h>"]).expect("a good REGISTER");
    let outcome = registrar.send("c2", 1, 1, &["Expires: 0"]).expect("a query");
    assert_eq!((outcome.changed, outcome.added, outcome.removed), (false, 0, 0));
    assert_eq!(outcome.bindings.len(), 1);
}

#[test]
fn parameter_beats_header_and_default() {
    assert_eq!(life(&["Contact: <sip:a@h>"]), 3600);
    assert_eq!(life(&["Contact: <sip:a@h>", "Expires: 120"]), 120);
    assert_eq!(life(&["Contact: <sip:a@h>;expires=90", "Expires: 120"]), 90);
    assert_eq!(life(&["Contact: <sip:a@h>;expires=90", "Expires: 0"]), 90);
}

#[test]
fn unreadable_life_is_the_default_and_a_long_one_is_cut() {
    assert_eq!(life(&["Contact: <sip:a@h>;expires=soon"]), 3600);
    assert_eq!(life(&["Contact: <sip:a@h>;expires"]), 3600);
    assert_eq!(life(&["Contact: <sip:a@h>", "Expires: soon"]), 3600);
    assert_eq!(life(&["Contact: <sip:a@h>;expires=99999999999999999999"]), 7200);
}

#[test]
fn too_short_a_life_is_refused_for_the_whole_request() {
    let brief = Refusal::IntervalTooBrief { min: 60 };
    assert_eq!(refusal(&["Contact: <sip:b@h>;expires=59"]), brief);
    assert_eq!(refusal(&["Contact: <sip:b@h>, <sip:c@h>;expires=1"]), brief);
    assert_eq!(life(&["Contact: <sip:a@h>;expires=60"]), 60);
}

#[test]
fn zero_removes_that_contact_only() {
    let mut registrar = Registrar::default();
    registrar.register(&["Contact: <sip:a@h>, <sip:b@h>"]).expect("two contacts");
    let outcome = registrar.register(&["Contact: <sip:a@h>;expires=0"]).expect("a removal");
    assert_eq!((outcome.changed, outcome.added, outcome.removed), (true, 0, 1));
    assert_eq!(registrar.contacts(), ["sip:b@h"]);
    let outcome = registrar.register(&["Contact: <sip:z@h>", "Expires: 0"]).expect("a removal");
    assert_eq!((outcome.changed, outcome.removed), (false, 0));
}

#[test]
fn star_removes_everything() {
    let mut registrar = Registrar::default();
    registrar.register(&["Contact: <sip:a@h>, <sip:b@h>"]).expect("two contacts");
    let outcome = registrar.register(&["Contact: *", "Expires: 0"]).expect("a removal");
    assert_eq!((outcome.changed, outcome.removed), (true, 2));
    assert!(registrar.bindings.is_empty());
}

#[test]
fn star_stands_alone_and_with_expires_0() {
    assert_eq!(refusal(&["Contact: *"]), BAD_CONTACT);
    assert_eq!(refusal(&["Contact: *", "Expires: 60"]), BAD_CONTACT);
    assert_eq!(refusal(&["Contact: *, <sip:b@h>", "Expires: 0"]), BAD_CONTACT);
    assert_eq!(refusal(&["Contact: *", "Contact: *", "Expires: 0"]), BAD_CONTACT);
    assert_eq!(refusal(&["Contact: *;expires=0", "Expires: 0"]), BAD_CONTACT);
    assert_eq!(refusal(&["Contact: <*>", "Expires: 0"]), BAD_CONTACT);
}

#[test]
fn bad_contact_refuses_the_whole_request() {
    let bad = ["Contact:", "Contact: <sip:b@h>, <sip:>", "Contact: sip:b@h?x=y", "Contact: b"];
    let more = ["Contact: <tel:+1201>", "Contact: <sip:b@h>;+sip.instance=a\\b"];
    for field in bad.into_iter().chain(more) {
        assert_eq!(refusal(&[field]), BAD_CONTACT, "{field}");
    }
}

#[test]
fn same_contact_is_refreshed_by_the_rules_of_uris() {
    let mut registrar = Registrar::default();
    registrar.register(&["Contact: <sip:a@Example.org;transport=udp>"]).expect("a contact");
    let outcome = registrar.register(&["Contact: <SIP:%61@example.org;transport=UDP>;q=0.3"]);
    let outcome = outcome.expect("a refresh");
    assert_eq!((outcome.changed, outcome.added, outcome.removed), (true, 0, 0));
    assert_eq!((outcome.bindings.len(), outcome.bindings[0].q), (1, 300));
    registrar.register(&["Contact: <sip:A@example.org;transport=udp>"]).expect("another user");
    assert_eq!(registrar.bindings.len(), 2);
}

#[test]
fn same_contact_twice_in_one_request_is_one_binding() {
    let mut registrar = Registrar::default();
    let outcome = registrar.register(&["Contact: <sip:a@h>;q=0.1, <sip:a@h>;q=0.2"]);
    assert_eq!(outcome.expect("one contact").added, 1);
    assert_eq!(registrar.bindings[0].q, 200);
    registrar.register(&["Contact: <sip:a@h>, <sip:a@h>;expires=0"]).expect("a removal");
    assert!(registrar.bindings.is_empty());
}

#[test]
fn cseq_must_grow_within_a_call_id() {
    let out_of_order = Err(Refusal::bad_request("CSeq Out Of Order"));
    let mut registrar = Registrar::default();
    registrar.send("c1", 5, 1, &["Contact: <sip:a@h>, <sip:b@h>"]).expect("two contacts");
    for cseq in [4, 5] {
        let new_and_old = ["Contact: <sip:c@h>, <sip:a@h>"];
        assert_eq!(registrar.send("c1", cseq, 1, &new_and_old), out_of_order);
        let removal = ["Contact: <sip:a@h>;expires=0"];
        assert_eq!(registrar.send("c1", cseq, 1, &removal), out_of_order);
        assert_eq!(registrar.send("c1", cseq, 1, &["Contact: *", "Expires: 0"]), out_of_order);
    }
    assert_eq!(registrar.contacts(), ["sip:a@h", "sip:b@h"]);
    assert!(registrar.send("c1", 6, 1, &["Contact: <sip:a@h>"]).is_ok());
    assert!(registrar.send("c2", 1, 1, &["Contact: <sip:a@h>"]).is_ok());
    assert!(registrar.send("c1", 4, 1, &["Contact: <sip:d@h>"]).is_ok());
}

#[test]
fn unknown_extensions_are_listed() {
    assert!(Registrar::default().register(&["Require: Path", "Supported: path, outbound"]).is_ok());
    let refusal = refusal(&["Require: gruu, path, foo", "Proxy-Require: bar"]);
    assert_eq!(refusal, Refusal::BadExtension(b"gruu, foo, bar".to_vec()));
}

#[test]
fn one_contact_too_many_is_refused() {
    let mut registrar = Registrar::default();
    for (port, contact) in [(1, "a"), (2, "b"), (3, "c")] {
        let field = format!("Contact: <sip:{contact}@h>");
        registrar.register_from(port, &[&field]).expect("room for three");
    }
    let full = registrar.register_from(4, &["Contact: <sip:d@h>"]);
    assert_eq!(full, Err(Refusal::TooManyContacts));
    assert_eq!(registrar.bindings.len(), 3);
    registrar.register_from(4, &["Contact: <sip:b@h>"]).expect("a refresh");
    let swap = ["Contact: <sip:a@h>;expires=0, <sip:d@h>"];
    assert_eq!(registrar.register_from(4, &swap).expect("room was made").added, 1);
    assert_eq!(registrar.contacts(), ["sip:d@h", "sip:b@h", "sip:c@h"]);
}

#[test]
fn full_set_gives_the_place_of_the_same_flow() {
    let mut registrar = Registrar::default();
    for port in [1, 2, 3] {
        let field = format!("Contact: <sip:a@h:{port}>");
        registrar.register_from(port, &[&field]).expect("room for three");
    }
    let outcome = registrar.register_from(2, &["Contact: <sip:a@h:9>"]).expect("a replacement");
    assert_eq!((outcome.added, outcome.removed), (1, 1));
    assert_eq!(registrar.contacts(), ["sip:a@h:9", "sip:a@h:3", "sip:a@h:1"]);
}

#[test]
fn full_set_gives_the_place_of_the_same_instance() {
    let mut registrar = Registrar::default();
    for port in [1, 2, 3] {
        let field = format!("Contact: <sip:a@h:{port}>;+sip.instance=\"<urn:uuid:{port}>\"");
        registrar.register_from(port, &[&field]).expect("room for three");
    }
    let again = ["Contact: <sip:a@h:9>;+sip.instance=\"<URN:uuid:3>\""];
    assert!(registrar.register_from(9, &again).is_ok());
    assert_eq!(registrar.contacts(), ["sip:a@h:9", "sip:a@h:2", "sip:a@h:1"]);
}

#[test]
fn late_register_does_not_take_the_place_of_a_newer_one() {
    let mut registrar = Registrar::default();
    let three = ["Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>"];
    registrar.send("c1", 5, 1, &three).expect("room for three");
    let late = registrar.send("c1", 4, 1, &["Contact: <sip:d@h>"]);
    assert_eq!(late, Err(Refusal::TooManyContacts));
}

#[test]
fn lowered_maximum_still_lets_phones_refresh() {
    let mut registrar = Registrar::default();
    registrar.register(&["Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>"]).expect("three contacts");
    let limits = Limits { contacts_max: 1, ..LIMITS };
    let refresh = |cseq, field| {
        let request = request("c1", cseq, &[field]);
        register(request.view(), &registrar.bindings, flow(9), NOW, &limits)
    };
    assert!(refresh(2, "Contact: <sip:b@h>").is_ok());
    assert_eq!(refresh(2, "Contact: <sip:d@h>"), Err(Refusal::TooManyContacts));
    let many = "Contact: <sip:d@h>, <sip:e@h>, <sip:f@h>";
    assert_eq!(refresh(2, many), Err(Refusal::TooManyContacts));
}

#[test]
fn outbound_flow_is_known_by_instance_and_number() {
    let mut registrar = Registrar::default();
    let instance = "+sip.instance=\"<urn:uuid:0>\"";
    let contact = |uri, id| format!("Contact: <{uri}>;{instance};reg-id={id}");
    registrar.register(&[&contact("sip:a@h", 1)]).expect("the first flow");
    registrar.register(&[&contact("sip:a@h", 2)]).expect("the second flow");
    assert_eq!(registrar.bindings.len(), 2);
    let outcome = registrar.register(&[&contact("sip:b@h", 1)]).expect("the first flow again");
    assert_eq!((outcome.added, outcome.removed), (0, 0));
    assert_eq!(registrar.contacts(), ["sip:b@h", "sip:a@h"]);
}

#[test]
fn expired_bindings_are_gone_before_anything_else() {
    let mut registrar = Registrar::default();
    registrar.register(&["Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>"]).expect("three contacts");
    let later = |fields: &[&str], cseq| {
        let request = request("c1", cseq, fields);
        register(request.view(), &registrar.bindings, flow(9), NOW + 3600, &LIMITS)
    };
    let outcome = later(&["Contact: <sip:d@h>"], 1).expect("all the others have expired");
    assert_eq!((outcome.bindings.len(), outcome.added, outcome.removed), (1, 1, 0));
    assert!(later(&[], 1).expect("a query").bindings.is_empty());
}

#[test]
fn best_contact_comes_first_and_then_the_newest() {
    let mut registrar = Registrar::default();
    registrar.register(&["Contact: <sip:a@h>;q=0.5, <sip:b@h>;q=0.9"]).expect("two contacts");
    registrar.register(&["Contact: <sip:c@h>;q=0.5"]).expect("a third one");
    assert_eq!(registrar.contacts(), ["sip:b@h", "sip:c@h", "sip:a@h"]);
}

#[test]
fn path_user_agent_and_allow_are_kept() {
    let binding = binding(&[
        "Contact: <sip:a@h>",
        "Path: <sip:p1;lr>, <sip:p2;lr;ob>",
        "Path: <sip:p3;lr>",
        "User-Agent: Phone/1\r\n 2",
        "Allow: INVITE,ACK",
        "Allow: BYE",
    ]);
    assert_eq!(binding.path, [&b"<sip:p1;lr>"[..], b"<sip:p2;lr;ob>", b"<sip:p3;lr>"]);
    assert_eq!(
        (&binding.user_agent[..], &binding.allow[..]),
        (&b"Phone/1   2"[..], &b"INVITE, ACK, BYE"[..],)
    );
    assert!(binding.allows(b"BYE") && !binding.allows(b"MESSAGE"));
}

#[test]
fn phone_that_does_not_say_allows_everything() {
    assert!(binding(&["Contact: <sip:a@h>"]).allows(b"MESSAGE"));
    let long = format!("Allow: INVITE, {}", "X".repeat(BINDING_TEXT_MAX));
    assert!(binding(&["Contact: <sip:a@h>", &long]).allows(b"MESSAGE"));
}

#[test]
fn path_that_is_bad_or_too_long_is_refused() {
    let bad_path = Refusal::bad_request("Bad Path");
    assert_eq!(refusal(&["Contact: <sip:b@h>", "Path: <nowhere>"]), bad_path);
    let long = format!("Path: {}", ["<sip:p;lr>"; PATHS_MAX + 1].join(", "));
    assert_eq!(refusal(&["Contact: <sip:b@h>", &long]), bad_path);
}

#[test]
fn texts_kept_with_a_binding_are_bounded() {
    let agent = format!("User-Agent: {}", "x".repeat(BINDING_TEXT_MAX * 2));
    assert_eq!(binding(&["Contact: <sip:a@h>", &agent]).user_agent.len(), BINDING_TEXT_MAX);
    let call_id = "x".repeat(BINDING_TEXT_MAX + 1);
    let long = Registrar::default().send(&call_id, 1, 1, &["Contact: <sip:a@h>"]);
    assert_eq!(long, Err(Refusal::bad_request("Call-ID Too Long")));
    let contact = format!("Contact: <sip:a@h;x={}>", "x".repeat(REQUEST_URI_MAX));
    assert_eq!(refusal(&[&contact]), BAD_CONTACT);
}

#[test]
fn contacts_are_written_with_what_the_phone_needs() {
    let mut registrar = Registrar::default();
    let fields = [
        "Contact: <sip:a@h;ob>;+sip.instance=\"<urn:uuid:0>\";reg-id=1",
        "Contact: <sip:b@h>;q=0.25;expires=60, <sip:c@h>;q=0",
    ];
    registrar.register(&fields).expect("three contacts");
    let mut out = Vec::new();
    write_contacts(&mut out, &registrar.bindings, NOW + 1);
    let expected = "Contact: <sip:a@h;ob>;expires=3599;+sip.instance=\"<urn:uuid:0>\";reg-id=1\r\n\
         Contact: <sip:b@h>;expires=59;q=0.25\r\nContact: <sip:c@h>;expires=3599;q=0.0\r\n";
    assert_eq!(String::from_utf8_lossy(&out), expected);
    out.clear();
    write_contacts(&mut out, &registrar.bindings, NOW + 60);
    assert_eq!(out.iter().filter(|octet| **octet == b'\n').count(), 2);
}

/// A Contact of a few that meet each other often.
fn contact() -> impl Strategy<Value = (String, bool)> {
    let uri = prop::sample::select(vec!["a@h", "a@H", "a@h:5060", "b@h", "c@h", "d@h", "e@h"]);
    let expires = prop::sample::select(vec!["", ";expires=0", ";expires=600", ";expires=9"]);
    let device = prop::sample::select(vec!["", ";reg-id=1", ";reg-id=2"]);
    (uri, expires, device, 0..1000u16).prop_map(|(uri, expires, device, q)| {
        let instance = if device.is_empty() { "" } else { ";+sip.instance=\"<urn:x>\"" };
        let text = format!("<sip:{uri}>;q=0.{q:03}{expires}{instance}{device}");
        (text, expires == ";expires=0")
    })
}

proptest! {
    #[test]
    fn registers_are_all_or_nothing_and_stay_within_the_maximum(
        requests in prop::collection::vec(
            (prop::collection::vec(contact(), 0..5), 0..2u8, 0..9u32, 1..4u16, 0..400u64),
            1..12,
        ),
    ) {
        let (mut bindings, mut now) = (Vec::new(), NOW);
        for (contacts, call_id, cseq, port, wait) in requests {
            now += wait;
            let fields: Vec<String> =
                contacts.iter().map(|(contact, _)| format!("Contact: {contact}")).collect();
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let message = request(&call_id.to_string(), cseq, &fields);
            let result = register(message.view(), &bindings, flow(port), now, &LIMITS);
            let Ok(outcome) = result else { continue };
            check(&outcome, &bindings, &contacts, now)?;
            bindings = outcome.bindings;
        }
    }
}

/// What holds after every REGISTER that was taken.
fn check(
    outcome: &Outcome,
    before: &[Binding],
    contacts: &[(String, bool)],
    now: u64,
) -> Result<(), TestCaseError> {
    let after = &outcome.bindings;
    prop_assert!(after.len() <= LIMITS.contacts_max);
    prop_assert!(after.is_sorted_by_key(|binding| Reverse(binding.q)));
    let lives = |binding: &Binding| binding.expires_at > now && binding.expires_at <= now + 7200;
    prop_assert!(after.iter().all(lives));
    let live = before.iter().filter(|binding| binding.expires_at > now).count();
    prop_assert_eq!(live + outcome.added, after.len() + outcome.removed);
    for (index, (text, removes)) in contacts.iter().enumerate() {
        let contact = Contact::parse(text.as_bytes(), 3600, &LIMITS)
            .map_err(|_| TestCaseError::fail("a Contact of this test"))?;
        let named = after.iter().filter(|binding| contact.names(binding)).count();
        // A later Contact of the same request may have had another word on it.
        if index + 1 == contacts.len() {
            prop_assert_eq!(named, usize::from(!removes));
        }
    }
    Ok(())
}
