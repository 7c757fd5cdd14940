//! TLS between two servers of the test: names, proof, and handshakes that do not end.

use super::*;

/// A client profile for one address that takes the certificate of `server` alone.
fn pinning(server: &Server) -> Profiles {
    let pin = server.transports.shared.profiles.certificates();
    let pin = &pin.first().expect("a certificate").fingerprint;
    let json = serde_json::json!({
        "listen": ["tls:127.0.0.1:0"], "storage": { "memory": {} },
        "tls": { "profiles": [{ "client": server.address().to_string(), "pinned": [pin] }] },
    });
    profiles_of(&json.to_string())
}

fn tls_server(profiles: Profiles) -> Server {
    Server::with(&["tls:127.0.0.1:0"], 1, Limits::default(), profiles)
}

#[actix::test]
async fn a_pinned_peer_is_reached_by_name_and_one_connection_serves_the_name() {
    let peer = tls_server(profiles());
    let ours = tls_server(pinning(&peer));
    let mut outbox = ours.outbox();
    let flow = outbox.connection_to(Transport::Tls, peer.address(), Some("b.example"));
    let flow = flow.expect("a connection is begun");
    assert!(outbox.session(&flow).is_none(), "nothing is proven yet");
    outbox.send(&flow, OPTIONS, None);
    let (theirs, message) = peer.recorder().message().await;
    assert_eq!(message, OPTIONS);
    peer.outbox().send(&theirs, b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", None);
    assert_eq!(ours.recorder().message().await.0, flow);
    let session = outbox.session(&flow).expect("proven");
    assert_eq!(session.name.as_deref(), Some("b.example"));
    assert!(outbox.identity(&flow).is_some_and(|peer| peer.verified));
    let mut named = |name| outbox.connection_to(Transport::Tls, peer.address(), name);
    assert_eq!(named(Some("B.example")), Some(flow));
    assert_ne!(named(Some("c.example")), Some(flow));
    assert_ne!(named(None), Some(flow));
}

#[actix::test]
async fn a_connection_of_ours_that_has_gone_is_opened_again_and_one_of_theirs_is_not() {
    let peer = tls_server(profiles());
    let ours = tls_server(pinning(&peer));
    let mut outbox = ours.outbox();
    let flow = outbox.connection_to(Transport::Tls, peer.address(), Some("b.example"));
    let flow = flow.expect("a connection is begun");
    outbox.send(&flow, OPTIONS, None);
    let (theirs, _) = peer.recorder().message().await;
    peer.transports.shared.connections.named(&theirs).expect("it stands").cut.notify_one();
    while outbox.session(&flow).is_some() {
        tokio::task::yield_now().await;
    }
    assert!(outbox.is_open(&flow));
    outbox.send(&flow, OPTIONS, None);
    let (again, _) = peer.recorder().message().await;
    assert_ne!(again.connection, theirs.connection);
    assert!(!peer.outbox().is_open(&theirs));
    peer.outbox().send(&theirs, OPTIONS, Some(SendToken(9)));
    assert_eq!(peer.recorder().failure().await, SendToken(9));
}

#[actix::test]
async fn a_peer_that_proves_nothing_gets_no_message_and_the_loss_is_reported() {
    let (peer, ours) = (tls_server(profiles()), tls_server(profiles()));
    let mut outbox = ours.outbox();
    let flow = outbox.connection_to(Transport::Tls, peer.address(), Some("b.example"));
    outbox.send(&flow.expect("a connection is begun"), OPTIONS, Some(SendToken(7)));
    assert_eq!(ours.recorder().failure().await, SendToken(7));
    let by_address = Flow { connection: 0, ..flow.expect("a connection is begun") };
    outbox.send(&by_address, OPTIONS, Some(SendToken(8)));
    assert_eq!(ours.recorder().failure().await, SendToken(8));
    assert!(peer.recorder().heard.borrow().messages.is_empty());
    assert_eq!(ours.transports.counts().handshakes_failed, 2);
}

#[actix::test]
async fn a_handshake_that_does_not_end_is_given_up() {
    let server = tls_server(profiles());
    let mut stalled = TcpStream::connect(server.address()).await.expect("it listens");
    stalled.write_all(b"\x16\x03\x01").await.expect("it is open");
    while server.transports.counts().connections == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    let begun = Instant::now();
    assert_eq!(stalled.read(&mut [0; 8]).await.expect("closed in order"), 0);
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(server.transports.counts().connections, 0);
}
