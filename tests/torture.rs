//! The RFC 4475 messages over the wire: each gets the verdict that a proxy and registrar owes
//! it, and the server goes on serving. The octets are those of sip/tests/torture.

mod harness;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use harness::{QUIET, Setup, Subject};
use serde_json::json;

/// What the sender of a torture message hears.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    /// One of these statuses.
    Answer(&'static [u16]),
    /// An answer to a message that was understood: a challenge or a refusal of its request.
    Served,
    /// Nothing: a stray response, or a request that cannot be answered.
    Silence,
}

use Verdict::{Answer, Served, Silence};

/// The verdicts; where the RFC leaves a choice, both are named.
fn verdict(name: &str) -> Verdict {
    match name {
        "unreason" | "noreason" | "scalarlg" | "bigcode" | "bcast" | "insuf" => Silence,
        "badinv01" | "clerr" | "ncl" | "scalar02" | "quotbal" | "multi01" | "mcl01" => {
            Answer(&[400])
        }
        "ltgtruri" | "lwsruri" | "lwsstart" | "trws" | "escruri" | "mismatch01" => Answer(&[400]),
        "mismatch02" => Answer(&[400, 501]),
        "badvers" => Answer(&[505]),
        "unkscm" | "novelsc" => Answer(&[416]),
        "bext01" => Answer(&[420]),
        "zeromf" => Answer(&[483, 200]),
        "regaut01" => Answer(&[401]),
        "regbadct" => Answer(&[400, 401]),
        // Bytes that no user name has, schemes that no user has.
        "escnull" => Answer(&[400, 401, 403, 404]),
        "unksm2" => Answer(&[400, 401, 403, 404, 416]),
        // The RFC lets the element be liberal.
        "baddate" | "badaspec" | "baddn" | "badbranch" => Answer(&[400, 401, 403, 404, 407]),
        _ => Served,
    }
}

/// Answers that show that the message itself was understood.
const UNDERSTOOD: &[u16] = &[401, 403, 404, 407, 480, 481];

fn messages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip/tests/torture");
    let entries = std::fs::read_dir(folder).expect("the torture folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "dat"));
    files.sort();
    files
}

/// A server of the domains that the messages name.
fn server() -> Subject {
    let com = ["example.com", "registrar.example.com", "chair-dnrc.example.com"];
    let domains = [&com[..], &["example.org", "company.com"]].concat();
    Setup::new().no_flood().config(json!({ "domains": domains })).start()
}

#[test]
fn every_torture_message_gets_its_verdict() {
    let server = server();
    let files = messages();
    assert_eq!(files.len(), 49);
    for (place, file) in files.iter().enumerate() {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let source = IpAddr::from([127, 0, 7, place as u8 + 1]);
        let mut tool = server.stranger_at(source);
        tool.send_raw(&std::fs::read(file).expect("the message"));
        let expected = verdict(name);
        let wait = if matches!(expected, Silence) { QUIET } else { harness::PATIENCE };
        let mut heard = tool.anything(wait).map(|answer| answer.status());
        while heard.is_some_and(|status| status < 200) {
            heard = tool.anything(wait).map(|answer| answer.status());
        }
        let fits = match expected {
            Silence => heard.is_none(),
            Answer(statuses) => heard.is_some_and(|status| statuses.contains(&status)),
            Served => heard.is_some_and(|status| UNDERSTOOD.contains(&status)),
        };
        assert!(fits, "{name}: {expected:?} expected, heard {heard:?}");
    }
    goes_on(&server);
}

#[test]
fn torture_messages_on_a_stream_harm_nobody_else() {
    let server = server();
    let mut steady = server.tcp_phone("steady", 20);
    for file in messages() {
        let mut tool = server.tcp_phone("tool", 66);
        tool.try_send_raw(&std::fs::read(file).expect("the message"));
        let ping = steady.request("OPTIONS", &server.own_uri());
        assert_eq!(steady.ask(&ping).status(), 200);
    }
    goes_on(&server);
}

#[test]
fn noise_is_dropped_without_an_answer() {
    let server = server();
    let mut tool = server.stranger(66);
    let noise: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS sip:example.com SIP/2.0\r\n",
        b"SIP/2.0\r\n\r\n",
        b"\xff\xfe\xfd\xfc\r\n\r\n",
        &[b'A'; 60_000],
    ];
    noise.iter().for_each(|bytes| tool.send_raw(bytes));
    // A keep-alive may be echoed (RFC 5626 section 4.4); nothing may be answered as a message.
    tool.quiet();
    goes_on(&server);
}

/// The server answers, and no handler has panicked.
fn goes_on(server: &Subject) {
    let mut phone = server.stranger(99);
    let ping = phone.request("OPTIONS", &server.own_uri());
    assert_eq!(phone.ask(&ping).status(), 200);
    assert!(!server.log().contains("panicked"), "a handler panicked");
}
