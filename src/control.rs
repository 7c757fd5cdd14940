//! The control socket: a Unix socket of mode 0600 that carries [`AdminRequest`]s and
//! [`AdminReply`]s as lines of JSON. Whoever can open it is the server's user or root, so nobody
//! is asked for a password.
//!
//! A connection may carry several requests, one after the other. Each is answered by its rows,
//! one line each, and one line that ends the answer. Lines, connections and waiting are bounded.

mod client;
mod socket;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{debug, warn};

pub use self::client::Client;
pub use self::socket::{Listener, SocketError};
use crate::admin::{
    About, AdminError, AdminReply, AdminRequest, Change, Done, Live, Office, lifted, removed,
    running,
};

/// Longest line either side reads, in bytes: a batch of an import is the longest there is.
pub const LINE_MAX: usize = 1 << 20;
/// Connections served at once; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 32;
/// How long a connection may stay without a request.
const IDLE: Duration = Duration::from_secs(30);
/// How long a reader of an answer may let us wait.
const STALLED: Duration = Duration::from_secs(30);
/// Rows of a listing read ahead of the one who reads it.
const ROWS_AHEAD: usize = 256;

/// Opens the control socket at `path`; see [`Listener::bind`].
pub fn bind(path: &Path) -> Result<Listener, SocketError> {
    Listener::bind(path)
}

/// Serves the socket until the future is dropped. Runs on the thread of `live`, within a
/// `LocalSet` or an actix system.
pub async fn serve<L: Live>(listener: Listener, office: Office, live: Rc<L>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => {
                let (office, live) = (office.clone(), live.clone());
                actix_rt::spawn(async move {
                    if let Err(error) = converse(stream, &office, &*live).await {
                        debug!(%error, "control connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "control socket does not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse<L: Live>(stream: UnixStream, office: &Office, live: &L) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(LINE_MAX as u64);
        if timeout(IDLE, bounded.read_until(b'\n', &mut line)).await?? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let error = format!("a request is one line of at most {LINE_MAX} bytes");
            return write(&mut writer, &AdminReply::Failed { error }).await;
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answer(request, office, live, &mut writer).await?,
            Err(error) => Err(AdminError(format!("this is no request: {error}"))),
        };
        let last = match answer {
            Ok(done) => AdminReply::Done(done),
            Err(AdminError(error)) => AdminReply::Failed { error },
        };
        write(&mut writer, &last).await?;
    }
}

/// Carries out one request; the inner error is the operator's, the outer the connection's.
async fn answer<L: Live>(
    request: AdminRequest,
    office: &Office,
    live: &L,
    writer: &mut OwnedWriteHalf,
) -> std::io::Result<Result<Done, AdminError>> {
    let rows: Result<(Vec<AdminReply>, Done), AdminError> = match &request {
        AdminRequest::Status => live
            .status()
            .await
            .map(|row| (vec![AdminReply::Status(Box::new(row))], Done::new("", 1))),
        AdminRequest::Reload => live.reload().await.map(|done| (Vec::new(), done)),
        AdminRequest::BanList => live.bans().await.map(|rows| {
            let count = rows.len() as u64;
            (rows.into_iter().map(AdminReply::Ban).collect(), Done::new("", count))
        }),
        AdminRequest::Explain { about } => explained(about, office, live).await,
        AdminRequest::LocationShow(who) => located(&who.user, office, live).await,
        AdminRequest::LocationRemove(who) => {
            forget(&who.user, office, live).await.map(|done| (Vec::new(), done))
        }
        AdminRequest::Unban(lift) => {
            let mut lift = lift.clone();
            lift.user = lift.user.map(|user| office.suspended_user(&user));
            match live.unban(&lift).await {
                Err(error) => Err(error),
                Ok(count) => {
                    let stored = stored(office, AdminRequest::Unban(lift.clone()), writer).await?;
                    let count = stored.map(|(done, _)| done.count.max(count));
                    count.map(|count| (Vec::new(), lifted(&lift, count)))
                }
            }
        }
        _ => {
            let outcome = stored(office, request, writer).await?;
            return Ok(match outcome {
                Ok((done, change)) => enforce(live, &change).await.map(|()| done),
                Err(error) => Err(error),
            });
        }
    };
    match rows {
        Err(error) => Ok(Err(error)),
        Ok((rows, done)) => {
            for row in &rows {
                write(writer, row).await?;
            }
            Ok(Ok(done))
        }
    }
}

async fn explained<L: Live>(
    about: &str,
    office: &Office,
    live: &L,
) -> Result<(Vec<AdminReply>, Done), AdminError> {
    let about = About::read(about, office);
    let (bans, told) = (live.bans().await?, live.explain(&about.asked()).await?);
    let mut rows = match &about.user {
        Some((_, Some(aor))) => live.locations(aor).await?,
        _ => Vec::new(),
    }
    .into_iter()
    .map(AdminReply::Binding)
    .collect::<Vec<_>>();
    rows.extend(running(&about, office.config.guard.mode, bans, &told));
    let done = Done::new("", rows.len() as u64);
    Ok((rows, done))
}

async fn located<L: Live>(
    user: &str,
    office: &Office,
    live: &L,
) -> Result<(Vec<AdminReply>, Done), AdminError> {
    let rows = live.locations(&office.aor(user)?).await?;
    let count = rows.len() as u64;
    Ok((rows.into_iter().map(AdminReply::Binding).collect(), Done::new("", count)))
}

async fn forget<L: Live>(user: &str, office: &Office, live: &L) -> Result<Done, AdminError> {
    let aor = office.aor(user)?;
    let count = live.remove_location(&aor).await?;
    Ok(removed(&aor, count))
}

async fn enforce<L: Live>(live: &L, change: &Change) -> Result<(), AdminError> {
    match change {
        Change::Nothing => Ok(()),
        Change::Subscribers(aors) => live.subscriber_changed(aors).await,
        Change::Trusted => live.trusted_changed().await,
        Change::Banned(ban) => live.ban(ban).await,
    }
}

/// The part that waits for the disk, on a thread that may; rows are written while it goes on.
async fn stored(
    office: &Office,
    request: AdminRequest,
    writer: &mut OwnedWriteHalf,
) -> std::io::Result<Result<(Done, Change), AdminError>> {
    let (sender, mut rows) = mpsc::channel(ROWS_AHEAD);
    let office = office.clone();
    let work = tokio::task::spawn_blocking(move || {
        // A reader that went away is told by the writing below; the work itself goes on.
        office.execute(&request, &mut |row| drop(sender.blocking_send(row)))
    });
    while let Some(row) = rows.recv().await {
        write(writer, &row).await?;
    }
    work.await.map_err(std::io::Error::other)
}

async fn write(writer: &mut OwnedWriteHalf, reply: &AdminReply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(STALLED, writer.write_all(&line)).await?
}

#[cfg(test)]
mod tests;
