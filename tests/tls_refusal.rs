//! What a TLS listener refuses: old versions, weak suites, plain SIP, garbage. Hellos are written
//! by hand, because no library of today offers what must be refused.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;

use harness::link::connect_from;
use harness::{PATIENCE, Setup, Subject};

const TLS_1_0: u16 = 0x0301;
const TLS_1_1: u16 = 0x0302;
const TLS_1_2: u16 = 0x0303;

/// Suites of TLS 1.2 that nobody may get.
const WEAK: [(&str, u16); 13] = [
    ("NULL", 0x0000),
    ("RSA with NULL, MD5", 0x0001),
    ("RSA with NULL, SHA-256", 0x003b),
    ("ECDHE-ECDSA with NULL", 0xc006),
    ("anonymous DH", 0x0034),
    ("anonymous ECDH", 0xc018),
    ("RC4", 0x0005),
    ("ECDHE-RSA with RC4", 0xc011),
    ("3DES", 0x000a),
    ("ECDHE-RSA with 3DES", 0xc012),
    ("export", 0x0003),
    ("static RSA with CBC", 0x002f),
    ("static RSA with GCM", 0x009c),
];

/// ECDHE-ECDSA with AES-128-GCM, which the shipped pair can do.
const GOOD: u16 = 0xc02b;

/// Length and content.
fn counted<const N: usize>(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_be_bytes();
    [&length[8 - N..], content].concat()
}

fn extension(code: u16, content: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &counted::<2>(content)].concat()
}

/// A ClientHello of that version with those suites (RFC 5246 section 7.4.1.2).
fn hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let groups = extension(10, &counted::<2>(&[0, 0x1d, 0, 0x17]));
    let points = extension(11, &counted::<1>(&[0]));
    let schemes = extension(13, &counted::<2>(&[4, 3, 8, 4, 4, 1, 2, 1]));
    let secret = extension(23, &[]);
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &counted::<1>(&[]),
        &counted::<2>(&suites),
        &counted::<1>(&[0]),
        &counted::<2>(&[groups, points, schemes, secret].concat()),
    ]
    .concat();
    let handshake = [&[1][..], &counted::<3>(&body)].concat();
    [&[0x16, 3, 1][..], &counted::<2>(&handshake)].concat()
}

fn dial(server: &Subject) -> TcpStream {
    let stream = connect_from([127, 0, 0, 20].into(), server.tls_address());
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout is settable");
    stream
}

/// The first octet that comes back: 22 is a handshake, 21 an alert; `None` when it is closed.
fn first_answer(mut stream: TcpStream, sent: &[u8]) -> Option<u8> {
    stream.write_all(sent).expect("loopback takes it");
    let mut first = [0];
    match stream.read(&mut first) {
        Ok(1) => Some(first[0]),
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("neither answered nor closed: {error}"),
    }
}

fn serves_others(server: &Subject) {
    let mut phone = server.tls_phone("alice", 21);
    let ping = phone.request("OPTIONS", &server.own_uri());
    assert_eq!(phone.ask(&ping).status(), 200);
}

#[test]
fn old_versions_and_weak_suites_are_refused() {
    let server = Setup::new().with_tls().no_flood().start();
    let good = first_answer(dial(&server), &hello(TLS_1_2, &[GOOD]));
    assert_eq!(good, Some(22), "the hello itself is in order");
    for version in [TLS_1_0, TLS_1_1] {
        let answer = first_answer(dial(&server), &hello(version, &[GOOD, 0xc009, 0x002f]));
        assert_eq!(answer, Some(21), "version {version:#x}");
    }
    for (name, suite) in WEAK {
        let answer = first_answer(dial(&server), &hello(TLS_1_2, &[suite]));
        assert_eq!(answer, Some(21), "{name}");
    }
    serves_others(&server);
}

#[test]
fn plain_sip_on_the_tls_port_harms_nobody() {
    let server = Setup::new().with_tls().no_flood().start();
    let ping = server.tcp_phone("alice", 20).request("OPTIONS", &server.own_uri());
    let answer = first_answer(dial(&server), &ping.bytes());
    assert!(matches!(answer, Some(21) | None), "{answer:?}");
    serves_others(&server);
}

#[test]
fn garbage_inside_tls_ends_its_connection_alone() {
    let server = Setup::new().with_tls().no_flood().start();
    let mut calm = server.tls_phone("alice", 21);
    for garbage in
        [&b"\x16\x03\x01\x02\x00"[..], &[0; 4096], &[0xff; 100], b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut loud = server.tls_phone("alice", 20);
        loud.try_send_raw(garbage);
        assert!(loud.is_closed(), "{:?}", &garbage[..4]);
    }
    let ping = calm.request("OPTIONS", &server.own_uri());
    assert_eq!(calm.ask(&ping).status(), 200);
}
