//! TCP: connections taken in and opened, for SIP as it is or for TLS to begin on.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rempart_sip::flow::{Flow, Transport};
use socket2::{SockRef, TcpKeepalive};
use tokio::time::{sleep, timeout};

use super::connections::Seat;
use super::intake::Intake;
use super::station::{Job, Station};
use super::stream::{self, Opener};
use super::tls;

/// How long a connection may take to open.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Rest after an error of `accept` that is not one connection's, such as too few descriptors:
/// the waiting connection stays ready and would be tried again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A quiet connection is probed after the first, then every second of these; four probes lost
/// close it, so that peers that vanished do not hold places.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(30));

/// Takes connections of one listener until the transports close.
pub(super) async fn accept<I: Intake>(
    transport: Transport,
    listener: TcpListener,
    station: Station<I>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::select! {
        never = accept_all(transport, &listener, &station) => match never {},
        () = station.closing() => Ok(()),
    }
}

async fn accept_all<I: Intake>(
    transport: Transport,
    listener: &tokio::net::TcpListener,
    station: &Station<I>,
) -> Infallible {
    let mut short = false;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                short = false;
                take(transport, stream, remote, station);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut short, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Errors that a connection brought with it (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// Lets one connection in and hands it to its source's shard; dropping it closes it.
fn take<I: Intake>(
    transport: Transport,
    stream: tokio::net::TcpStream,
    remote: SocketAddr,
    station: &Station<I>,
) {
    let Ok(local) = stream.local_addr() else { return };
    let flow = Flow { transport, local, remote, connection: 0 };
    if station.intake.is_banned(&flow) {
        return;
    }
    let Some(seat) = station.shared.connections.admit(transport, remote) else {
        station.shared.counts.connections_refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    // Each shard has a reactor of its own, in which the stream is registered anew.
    if let Ok(stream) = stream.into_std() {
        station.hand_over(station.intake.shard_of(remote.ip()), Job::Serve(stream, seat));
    }
}

/// Serves a connection that a peer opened.
pub(super) async fn serve_accepted<I: Intake>(stream: TcpStream, seat: Seat, station: Station<I>) {
    if seat.handle().is_closed() {
        return;
    }
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let Ok(local) = stream.local_addr() else { return };
    tune(&stream);
    let flow = flow_of(&seat, local);
    if flow.transport != Transport::Tls {
        return stream::serve(stream, flow, seat, Opener::Peer, station).await;
    }
    if let Some(stream) = tls::accept(stream, local, seat.handle(), &station).await {
        stream::serve(stream, flow, seat, Opener::Peer, station).await;
    }
}

/// Opens a connection and serves it. Messages queued meanwhile leave when it stands; `seat`
/// reports them when it does not.
pub(super) async fn connect<I: Intake>(seat: Seat, station: Station<I>) {
    let remote = seat.handle().remote;
    let opening = timeout(CONNECT_DEADLINE, tokio::net::TcpStream::connect(remote));
    let Ok(Ok(stream)) = opening.await else {
        return tracing::debug!(%remote, "cannot connect");
    };
    let Ok(own) = stream.local_addr() else { return };
    tune(&stream);
    // Our port of this connection is nobody's to send to: the flow names the listener.
    let transport = seat.handle().transport;
    let local = station.shared.listener_like(transport, own).unwrap_or(own);
    let flow = flow_of(&seat, local);
    if transport != Transport::Tls {
        return stream::serve(stream, flow, seat, Opener::Us, station).await;
    }
    if let Some(stream) = tls::connect(stream, seat.handle(), &station).await {
        stream::serve(stream, flow, seat, Opener::Us, station).await;
    }
}

fn flow_of(seat: &Seat, local: SocketAddr) -> Flow {
    let handle = seat.handle();
    Flow { transport: handle.transport, local, remote: handle.remote, connection: handle.id }
}

/// Without these options a connection still works, only slower or longer than it should.
fn tune(stream: &tokio::net::TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE.0).with_interval(KEEPALIVE.1);
    socket.set_tcp_nodelay(true).ok();
    socket.set_tcp_keepalive(&keepalive.with_retries(4)).ok();
}
