//! TLS over the connections of `tcp`: a handshake before anything is read, within a deadline, by
//! the profile that the config has for the peer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rempart_actors::identity::Session;
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

use super::connections::Handle;
use super::intake::Intake;
use super::station::Station;
use crate::tls::{Profiles, peer_identity};

/// How long a handshake may take, the peer's first octet included.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Carries out the handshake of a connection that a peer opened to our address `local`. What it
/// makes is on the heap, where it is moved for the price of a pointer.
pub(super) async fn accept<I: Intake>(
    stream: TcpStream,
    local: SocketAddr,
    handle: &Handle,
    station: &Station<I>,
) -> Option<Box<server::TlsStream<TcpStream>>> {
    // On the heap, so that the connection does not keep its room for the rest of its life.
    let handshake = Box::pin(greet(stream, local, &station.shared.profiles));
    let (stream, session) = within_deadline(handshake, handle, station).await?;
    handle.agree(session);
    Some(stream)
}

/// Carries out the handshake of a connection that we opened.
pub(super) async fn connect<I: Intake>(
    stream: TcpStream,
    handle: &Handle,
    station: &Station<I>,
) -> Option<Box<client::TlsStream<TcpStream>>> {
    let handshake = Box::pin(introduce(stream, handle, &station.shared.profiles));
    let (stream, session) = within_deadline(handshake, handle, station).await?;
    handle.agree(session);
    Some(stream)
}

async fn within_deadline<T, I: Intake>(
    handshake: impl Future<Output = io::Result<T>>,
    handle: &Handle,
    station: &Station<I>,
) -> Option<T> {
    let outcome = tokio::select! {
        outcome = timeout(HANDSHAKE_DEADLINE, handshake) => outcome,
        () = handle.cut.notified() => return None,
        () = station.closing() => return None,
    };
    let error = match outcome {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => error,
        Err(late) => late.into(),
    };
    station.shared.counts.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    let source = handle.remote.ip();
    if handle.ours {
        // Somebody here waits for this connection.
        tracing::warn!(%source, %error, name = handle.name.as_deref(), "no TLS with this peer");
    } else {
        tracing::debug!(%source, %error, "TLS handshake failed");
    }
    None
}

async fn greet(
    stream: TcpStream,
    local: SocketAddr,
    profiles: &Profiles,
) -> io::Result<(Box<server::TlsStream<TcpStream>>, Session)> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let profile = profiles.server(local, hello.client_hello().server_name());
    let profile = profile.ok_or_else(|| io::Error::other("no TLS profile"))?;
    let stream = Box::new(hello.into_stream(profile.config.clone()).await?);
    let session = Session {
        // What a client showed was checked, or the handshake would have failed.
        peer: peer_identity(stream.get_ref().1.peer_certificates(), true),
        own: profile.own.clone(),
        profile: profile.key.clone(),
        must_match: profile.must_match,
        as_digest: profile.as_digest,
        name: None,
    };
    Ok((stream, session))
}

async fn introduce(
    stream: TcpStream,
    handle: &Handle,
    profiles: &Profiles,
) -> io::Result<(Box<client::TlsStream<TcpStream>>, Session)> {
    let name = handle.name.as_deref();
    let profile = profiles.client(handle.remote, name);
    let server_name = match name {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(io::Error::other)?,
        None => ServerName::IpAddress(handle.remote.ip().into()),
    };
    let connector = TlsConnector::from(profile.config.clone());
    let stream = Box::new(connector.connect(server_name, stream).await?);
    let session = Session {
        peer: peer_identity(stream.get_ref().1.peer_certificates(), profile.proves),
        own: profile.own.clone(),
        profile: profile.key.clone(),
        must_match: None,
        as_digest: false,
        name: name.filter(|_| profile.proves).map(Arc::from),
    };
    Ok((stream, session))
}
