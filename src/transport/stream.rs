//! One stream connection, whatever carries it: read into messages, written from its queue.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rempart_actors::wire::Batch;
use rempart_sip::edit::{self, Reply};
use rempart_sip::flow::Flow;
use rempart_sip::framing::{Frame, Framer, FramingError};
use rempart_sip::message::{Index, Message};
use rempart_sip::scan::scan;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Shared;
use super::connections::{Chunk, Handle, Seat};
use super::intake::Intake;
use super::station::Station;

/// How long a peer may leave octets of ours unread before the connection is given up.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// How long a connection that is being closed may take to write what is queued.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// Rest of a reader whose shard has no room; the peer's window fills meanwhile.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(5);

/// Octets taken from a stream in one read.
const READ: usize = 16 * 1024;

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    /// The peer, who has to say something soon.
    Peer,
    /// We did.
    Us,
}

/// How a connection comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At once: the peer is gone, late, banned or does not read.
    Gone,
    /// After what is queued was written.
    Flush,
    /// After the answer to the last message was written.
    Answer,
}

/// Reads and writes one connection until either side ends it.
pub(super) async fn serve<S, I>(
    stream: S,
    flow: Flow,
    seat: Seat,
    opener: Opener,
    station: Station<I>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    I: Intake,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let handle = seat.handle().clone();
    let mut input = Input::new(reader, flow, handle.clone(), opener, &station);
    let mut chunk = Chunk::default();
    let end = tokio::select! {
        end = input.run() => end,
        () = write_all(&mut writer, &handle, &mut chunk) => End::Gone,
        () = handle.cut.notified() => End::Gone,
        () = station.closing() => End::Flush,
    };
    // A peer that neither reads nor closes must not hold the connection.
    let ending = finish(end, &mut writer, &handle, &mut chunk, &mut input.reader);
    timeout(CLOSE_DEADLINE, ending).await.ok();
    seat.report(&chunk);
}

/// Writes what the end of a connection still asks for.
async fn finish<R, W>(
    end: End,
    writer: &mut W,
    handle: &Handle,
    chunk: &mut Chunk,
    reader: &mut R,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if end == End::Gone {
        return Ok(());
    }
    while end == End::Answer && !handle.take(chunk) {
        handle.more.notified().await;
    }
    flush(writer, handle, chunk).await?;
    writer.shutdown().await?;
    // Closing with octets unread resets the connection, and the peer may lose our answer.
    while end == End::Answer && reader.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}

/// Writes what is queued, whenever something is; returns when the peer takes no more.
async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, handle: &Handle, chunk: &mut Chunk) {
    while flush(writer, handle, chunk).await.is_ok() {
        handle.more.notified().await;
    }
}

/// Writes until nothing is queued. What was written is noted octet by octet, so that this may be
/// dropped anywhere and taken up again.
async fn flush<W: AsyncWrite + Unpin>(
    writer: &mut W,
    handle: &Handle,
    chunk: &mut Chunk,
) -> io::Result<()> {
    while handle.take(chunk) {
        let written = timeout(WRITE_DEADLINE, writer.write(chunk.rest())).await??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        chunk.advance(written);
    }
    writer.flush().await
}

/// The reading side of a connection.
struct Input<R, I> {
    reader: R,
    framer: Framer,
    flow: Flow,
    handle: Arc<Handle>,
    intake: I,
    shared: Arc<Shared>,
    /// Whether the peer has shown that it speaks SIP, or need not.
    proved: bool,
    /// When the message at hand began.
    begun: Option<Instant>,
    /// When the peer last said anything.
    heard: Instant,
}

impl<R: AsyncRead + Unpin, I: Intake> Input<R, I> {
    fn new(
        reader: R,
        flow: Flow,
        handle: Arc<Handle>,
        opener: Opener,
        station: &Station<I>,
    ) -> Self {
        let shared = station.shared.clone();
        Self {
            reader,
            framer: Framer::new(shared.limits.message),
            flow,
            handle,
            intake: station.intake.clone(),
            shared,
            proved: opener == Opener::Us,
            begun: None,
            heard: Instant::now(),
        }
    }

    async fn run(&mut self) -> End {
        loop {
            let deadline = self.deadline();
            let reading = read_some(&mut self.reader, &mut self.framer);
            match timeout_at(deadline, reading).await {
                Ok(Ok(0)) => return End::Flush,
                Ok(Ok(_)) if self.intake.is_banned(&self.flow) => return End::Gone,
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return End::Gone,
            }
            if let Some(end) = self.take_frames().await {
                return end;
            }
        }
    }

    /// When the peer has to have said more.
    fn deadline(&self) -> Instant {
        let limits = &self.shared.limits;
        match self.begun {
            Some(begun) => begun + limits.message_deadline,
            None if self.proved => self.heard + limits.idle_deadline,
            None => self.heard + limits.first_message_deadline,
        }
    }

    async fn take_frames(&mut self) -> Option<End> {
        let mut batch = self.intake.batch();
        let (mut whole, mut error) = (false, None);
        for frame in self.framer.by_ref() {
            match frame {
                Ok(Frame::Message(message)) => batch.push(self.flow, &message),
                Ok(Frame::Ping) => drop(self.handle.push(b"\r\n", None)),
                Ok(Frame::Pong) => {}
                Err(found) => error = Some(found),
            }
            whole = true;
        }
        self.note(whole);
        let end = error.map(|error| self.give_up(error, &mut batch));
        if !batch.is_empty() {
            self.deliver(batch).await;
        }
        end
    }

    /// Notes the time, for the deadlines.
    fn note(&mut self, whole: bool) {
        let now = Instant::now();
        self.heard = if whole || self.proved { now } else { self.heard };
        if whole && !std::mem::replace(&mut self.proved, true) {
            self.shared.connections.settle(&self.handle);
        }
        self.begun = match self.begun {
            _ if !self.framer.pending() => None,
            Some(begun) if !whole => Some(begun),
            _ => Some(now),
        };
    }

    /// Sees to the 400 that a head without a usable Content-Length is owed; where the next message
    /// would begin is not known any more.
    fn give_up(&self, error: FramingError, batch: &mut Batch) -> End {
        tracing::debug!(source = %self.flow.remote.ip(), %error, "stream ends");
        if error != FramingError::ContentLength {
            return End::Flush;
        }
        let message = self.framer.rest();
        let mut index = Index::default();
        if scan(message, &mut index).is_err() {
            batch.push(self.flow, message);
        } else {
            // Past this point it would pass for a datagram, which needs no Content-Length.
            self.refuse_missing_length(Message::new(message, &index));
        }
        End::Answer
    }

    fn refuse_missing_length(&self, request: Message<'_>) {
        if !request.can_answer() {
            return;
        }
        let tag = format!("{:x}", self.flow.connection);
        let reply = Reply {
            status: 400,
            reason: "Missing Content-Length",
            to_tag: Some(tag.as_bytes()),
            headers: &[],
            received: Some(self.flow.remote),
        };
        let mut out = Vec::new();
        edit::reply(&mut out, request, &reply);
        self.handle.push(&out, None).ok();
    }

    /// Waits until the shard has room: a stream is held back, not shed.
    async fn deliver(&self, mut batch: Batch) {
        while let Err(refused) = self.intake.deliver(batch) {
            batch = refused;
            sleep(NO_ROOM_PAUSE).await;
        }
    }
}

/// Reads what is there into the framer. The buffer lives on the stack while octets are copied,
/// not in every waiting connection.
async fn read_some<R: AsyncRead + Unpin>(reader: &mut R, framer: &mut Framer) -> io::Result<usize> {
    poll_fn(|context| {
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        let reading = Pin::new(&mut *reader).poll_read(context, &mut buffer);
        reading.map_ok(|()| {
            framer.push(buffer.filled());
            buffer.filled().len()
        })
    })
    .await
}
