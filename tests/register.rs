//! Registration: who may register, what a phone hears, and what the location service then knows
//! (RFC 3261 section 10, RFC 7616; requirements R11, R13, R52, R68).

mod harness;

use std::time::{Duration, Instant};

use harness::challenge::Nc;
use harness::phone::challenge_in;
use harness::{Message, Phone, Setup, eventually, let_pass};
use serde_json::json;

#[test]
fn r11_only_a_provisioned_user_registers() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let mut mallory = server.phone("mallory", 66);
    let answer = alice.register();
    assert_eq!(answer.contact(), alice.contact);
    let request = mallory.registration(600);
    assert_eq!(mallory.ask_as(request).status(), 401, "an unknown user is challenged again");
}

#[test]
fn r13_register_is_challenged_with_401_in_one_digest_challenge() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let challenged = alice.ask(&request);
    assert_eq!(challenged.answer(), "401 Unauthorized");
    let header = challenged.header("www-authenticate").expect("WWW-Authenticate");
    assert!(header.contains("qop=\"auth\""), "{header}");
    assert!(header.contains("algorithm=MD5"), "{header}");
    let challenge = challenge_in(&challenged);
    assert_eq!(challenge.realm, harness::DOMAIN);
    assert!(!challenge.stale);
    assert!(challenged.header("contact").is_none(), "nothing about bindings before the proof");
}

#[test]
fn every_challenge_has_a_nonce_of_its_own() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let (first, second) = (alice.registration(600), alice.registration(600));
    let first = challenge_in(&alice.ask(&first));
    let second = challenge_in(&alice.ask(&second));
    assert_ne!(first.nonce, second.nonce);
}

#[test]
fn r52_after_init_there_is_no_subscriber_and_101_with_101_is_refused() {
    let server = Setup::new().start();
    assert_eq!(server.listing(&["subscriber", "list"]), json!([]));
    let mut guesser = server.phone("101", 66);
    guesser.password = "101".into();
    let request = guesser.registration(600);
    assert_eq!(guesser.ask_as(request).status(), 401);
}

#[test]
fn r68_a_subscriber_added_while_the_server_runs_registers_at_once() {
    let server = Setup::new().start();
    let added = ["subscriber", "add", "carol@sip.example.org", "--password-stdin"];
    server.command_with(&added, "first word\n").ok();
    let mut carol = server.phone("carol", 20);
    carol.password = "first word".into();
    carol.register();
    let changed = ["subscriber", "passwd", "carol@sip.example.org", "--password-stdin"];
    server.command_with(&changed, "second word\n").ok();
    let request = carol.registration(600);
    assert_eq!(carol.ask_as(request).status(), 401, "the old password is void");
    carol.password = "second word".into();
    carol.register();
    server.command(&["subscriber", "remove", "carol@sip.example.org"]).ok();
    let request = carol.registration(600);
    assert_eq!(carol.ask_as(request).status(), 401, "a removed subscriber is a stranger");
}

#[test]
fn a_generated_password_is_printed_once_and_registers() {
    let server = Setup::new().start();
    let added = server.command(&["subscriber", "add", "carol@sip.example.org"]).ok();
    let words = added.stdout.split(|letter: char| letter.is_whitespace() || letter == '│');
    let mut carol = server.phone("carol", 20);
    // The password is the longest word of the output that is not the address of record.
    let strong = words.filter(|word| !word.contains('@')).max_by_key(|word| word.len());
    carol.password = strong.expect("a password on standard output").to_string();
    assert!(carol.password.len() >= 12, "strong: {}", added.stdout);
    carol.register();
    let shown = server.command(&["subscriber", "show", "carol@sip.example.org"]).ok();
    assert!(!shown.stdout.contains(&carol.password), "never shown again");
}

#[test]
fn sha_256_is_offered_first_where_the_configuration_says_so() {
    let algorithms = json!({ "auth": { "algorithms": ["SHA-256", "MD5"] } });
    let server = Setup::users(&["alice"]).config(algorithms).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let challenged = alice.ask(&request);
    let offered = challenged.fields.iter().filter(|(name, _)| name == "www-authenticate");
    let offered: Vec<&str> = offered.map(|(_, value)| value.as_str()).collect();
    assert_eq!(offered.len(), 2, "one header per algorithm");
    assert!(offered[0].contains("SHA-256") && offered[1].contains("MD5"), "{offered:?}");
    let second = alice.authorized(&request, &challenged);
    assert!(second.header("Authorization").contains("SHA-256"));
    assert_eq!(alice.ask(&second).status(), 200);
}

#[test]
fn an_algorithm_that_was_not_offered_is_refused() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let mut challenge = challenge_in(&alice.ask(&request));
    challenge.algorithm = "SHA-256".into();
    let value = challenge.answer("alice", &alice.password, "REGISTER", &request.uri);
    let answer = alice.ask(&request.again().set("Authorization", value));
    assert!(matches!(answer.status(), 400..=403), "{}", answer.start);
}

#[test]
fn a_phone_without_qop_is_served_but_its_nonce_works_once() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let challenge = challenge_in(&alice.ask(&request));
    let plain = Nc { count: 1, cnonce: "", qop: false };
    let value = challenge.answer_with("alice", &alice.password, "REGISTER", &request.uri, &plain);
    let first = request.again().set("Authorization", value);
    assert_eq!(alice.ask(&first).status(), 200);
    let again = alice.ask(&first.again());
    assert_eq!(again.status(), 401, "the same nonce a second time");
    assert!(challenge_in(&again).stale);
}

#[test]
fn a_nonce_serves_a_rising_count_and_no_count_twice() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let challenge = challenge_in(&alice.ask(&request));
    let mut request = request;
    let mut counted = |alice: &mut Phone, count: u32| {
        let nc = Nc { count, cnonce: "0a4f113b", qop: true };
        let value = challenge.answer_with("alice", &alice.password, "REGISTER", &request.uri, &nc);
        request = request.clone().again().set("Authorization", value);
        alice.ask(&request)
    };
    assert_eq!(counted(&mut alice, 1).status(), 200);
    assert_eq!(counted(&mut alice, 2).status(), 200);
    let replayed = counted(&mut alice, 2);
    assert_eq!(replayed.status(), 401);
    assert!(challenge_in(&replayed).stale, "a replay is told to come with a new nonce");
}

#[test]
fn credentials_captured_on_the_way_do_not_register_another_address() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let challenged = alice.ask(&request);
    let authorized = alice.authorized(&request, &challenged);
    assert_eq!(alice.ask(&authorized).status(), 200);
    let mut thief = server.phone("alice", 66);
    let contact = format!("<{}>", thief.contact);
    let via = thief.registration(600).header("Via").to_string();
    let stolen = authorized.clone().set("Contact", contact).set("Via", via);
    for request in [stolen.clone(), stolen.again()] {
        let answer = thief.ask(&request);
        assert_eq!(answer.status(), 401, "{}", answer.start);
    }
    let shown = server.command(&["location", "show", "alice@sip.example.org", "--json"]).ok();
    assert!(!shown.stdout.contains(&thief.local.to_string()), "{}", shown.stdout);
}

#[test]
fn a_nonce_past_its_life_is_stale_and_costs_nothing() {
    let setup = Setup::users(&["alice"]).config(json!({ "auth": { "nonce_life": "1s" } }));
    let server = setup.start();
    let mut alice = server.phone("alice", 20);
    let mut request = alice.registration(600);
    let challenged = alice.ask(&request);
    let issued = Instant::now();
    let_pass(Duration::from_millis(1200), issued);
    for _ in 0..4 {
        request = alice.authorized_with(&request, &challenged, "wrong");
        let answer = alice.ask(&request);
        assert_eq!(answer.status(), 401);
        assert!(challenge_in(&answer).stale, "an old nonce is not a wrong password");
    }
    alice.register();
}

#[test]
fn a_made_up_nonce_is_not_a_failure() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let mut challenge = challenge_in(&alice.ask(&request));
    challenge.nonce = "made-up-by-the-phone".into();
    let mut request = request;
    for _ in 0..4 {
        let value = challenge.answer("alice", "wrong", "REGISTER", &request.uri);
        request = request.again().set("Authorization", value);
        assert_eq!(alice.ask(&request).status(), 401);
    }
    alice.register();
}

#[test]
fn a_retransmitted_register_gets_the_stored_answer() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    let challenged = alice.ask(&request);
    let authorized = alice.authorized(&request, &challenged);
    let first = alice.ask(&authorized);
    assert_eq!(first.status(), 200);
    let repeated = alice.ask(&authorized);
    assert_eq!(repeated.raw, first.raw, "octet for octet");
}

/// Registers these Contact values together and returns the answer.
fn register_all(phone: &mut Phone, contacts: &[&str]) -> Message {
    let request = phone.registration(600).without("Contact");
    let request =
        contacts.iter().fold(request, |request, contact| request.with("Contact", *contact));
    phone.ask_as(request)
}

#[test]
fn several_contacts_are_kept_and_listed_with_their_expiry() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let contacts = ["<sip:desk@127.0.0.20:7001>;q=0.5", "<sip:hall@127.0.0.20:7002>;expires=120"];
    let answer = register_all(&mut alice, &contacts);
    assert_eq!(answer.status(), 200);
    let listed = answer.values("contact");
    assert_eq!(listed.len(), 2, "{listed:?}");
    let hall = listed.iter().find(|value| value.contains("hall")).expect("the second contact");
    assert!(hall.contains("expires=1"), "about 120 seconds: {hall}");
    let one = ["<sip:desk@127.0.0.20:7001>;expires=0"];
    let answer = register_all(&mut alice, &one);
    assert_eq!(answer.values("contact").len(), 1, "one removed, one left");
    let request = alice.registration(0).set("Contact", "*");
    let answer = alice.ask_as(request);
    assert_eq!((answer.status(), answer.values("contact").len()), (200, 0));
}

#[test]
fn a_register_without_contact_only_asks() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    alice.register();
    let question = alice.registration(600).without("Contact").without("Expires");
    let answer = alice.ask_as(question);
    assert_eq!(answer.contact(), alice.contact);
}

#[test]
fn a_refused_register_changes_nothing() {
    let setup = Setup::users(&["alice"]).no_flood();
    let server = setup.config(json!({ "registrar": { "contacts_max": 2 } })).start();
    let mut alice = server.phone("alice", 20);
    alice.register();
    let good = "<sip:new@127.0.0.20:7001>";
    let cases: [(&[&str], u16, &str); 5] = [
        (&[good, "<sip:brief@127.0.0.20:7002>;expires=5"], 423, "min-expires"),
        (&[good, "<sip:second@127.0.0.20:7002>", "<sip:third@127.0.0.20:7003>"], 403, ""),
        (&[good, "sip:no brackets"], 400, ""),
        (&[good, "*"], 400, ""),
        (&["*"], 400, ""),
    ];
    for (contacts, status, field) in cases {
        let answer = register_all(&mut alice, contacts);
        assert_eq!(answer.status(), status, "{contacts:?}: {}", answer.start);
        assert!(field.is_empty() || answer.header(field) == Some("60"), "{field}");
        let question = alice.registration(600).without("Contact").without("Expires");
        let kept = alice.ask_as(question).values("contact");
        assert_eq!(kept.len(), 1, "after {contacts:?}: {kept:?}");
    }
}

#[test]
fn a_phone_that_moved_replaces_its_own_binding_where_no_more_fit() {
    let setup = Setup::users(&["alice"]).no_flood();
    let server = setup.config(json!({ "registrar": { "contacts_max": 1 } })).start();
    let mut alice = server.phone("alice", 20);
    alice.register();
    let moved = "<sip:moved@127.0.0.20:7001>";
    let answer = register_all(&mut alice, &[moved]);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.values("contact"), [format!("{moved};expires=600")]);
    let mut other = server.phone("alice", 21);
    assert_eq!(register_all(&mut other, &["<sip:other@127.0.0.21:7001>"]).status(), 403);
}

#[test]
fn an_older_cseq_of_the_same_call_id_is_refused() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let late = alice.registration(600).set("CSeq", "3 REGISTER");
    alice.ask(&late);
    let newer = alice.registration(600).set("CSeq", "50 REGISTER");
    assert_eq!(alice.ask_as(newer).status(), 200);
    let older = late.set("CSeq", "5 REGISTER").fresh_branch();
    assert_eq!(alice.ask_as(older).status(), 400);
}

#[test]
fn an_unknown_extension_is_named_in_the_refusal() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600).with("Require", "teleport, 100rel");
    let answer = alice.ask_as(request);
    assert_eq!(answer.answer(), "420 Bad Extension");
    assert!(answer.header("unsupported").is_some_and(|list| list.contains("teleport")));
}

#[test]
fn one_user_cannot_register_for_another() {
    let server = Setup::users(&["alice", "bob"]).start();
    let mut bob = server.phone("bob", 66);
    bob.aor = server.uri("alice");
    for _ in 0..4 {
        let request = bob.registration(600);
        assert_eq!(bob.ask_as(request).answer(), "403 Forbidden");
    }
    bob.aor = server.uri("bob");
    bob.register();
}

#[test]
fn from_and_to_of_a_register_name_one_user() {
    let server = Setup::users(&["alice", "bob"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600).by(&server.uri("bob"));
    assert_eq!(alice.ask_as(request).answer(), "403 Forbidden");
}

#[test]
fn a_binding_ends_when_its_time_is_over() {
    let short = json!({ "registrar": { "expires": { "min": "1s" } } });
    let server = Setup::users(&["alice"]).config(short).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(1);
    let answer = alice.ask_as(request);
    assert!(answer.values("contact")[0].contains("expires=1"));
    eventually("the binding is gone", || {
        let shown = server.command(&["location", "show", "alice@sip.example.org", "--json"]);
        (!shown.stdout.contains(&alice.local.to_string())).then_some(())
    });
}

#[test]
fn a_binding_is_shown_and_removed_by_command() {
    let server = Setup::users(&["alice"]).start();
    let mut alice = server.phone("alice", 20);
    alice.register();
    let shown = server.command(&["location", "show", "alice@sip.example.org", "--json"]).ok();
    assert!(shown.stdout.contains(&alice.local.to_string()), "{}", shown.stdout);
    server.command(&["location", "remove", "alice@sip.example.org"]).ok();
    let question = alice.registration(600).without("Contact").without("Expires");
    assert_eq!(alice.ask_as(question).values("contact").len(), 0);
}
