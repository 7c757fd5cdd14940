//! The command line's end of the control socket; blocking, one request after the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LINE_MAX;
use crate::admin::{AdminError, AdminReply, AdminRequest, Done};

/// How long the server may let us wait for a line.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a running server.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects; `None` if nobody answers there.
    pub fn connect(path: &Path) -> Result<Option<Self>, AdminError> {
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                    io::ErrorKind::PermissionDenied => Err(AdminError(format!(
                        "{}: belongs to another user; run this as the server's user",
                        path.display()
                    ))),
                    _ => Err(AdminError(format!("{}: cannot connect: {error}", path.display()))),
                };
            }
        };
        let limits = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        limits.map_err(|error| AdminError(format!("{}: {error}", path.display())))?;
        Ok(Some(Self { reader: BufReader::new(stream), path: path.to_owned() }))
    }

    /// Sends a request and hands every row of the answer to `each`.
    pub fn ask(
        &mut self,
        request: &AdminRequest,
        each: &mut dyn FnMut(AdminReply),
    ) -> Result<Done, AdminError> {
        self.send(request).map_err(|error| self.lost(&error))?;
        loop {
            match self.receive().map_err(|error| self.lost(&error))? {
                AdminReply::Done(done) => return Ok(done),
                AdminReply::Failed { error } => return Err(AdminError(error)),
                row => each(row),
            }
        }
    }

    fn send(&mut self, request: &AdminRequest) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line)
    }

    fn receive(&mut self) -> io::Result<AdminReply> {
        let mut line = Vec::new();
        (&mut self.reader).take(LINE_MAX as u64).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&line)?)
    }

    fn lost(&self, error: &io::Error) -> AdminError {
        AdminError(format!(
            "{}: the server answers, but not to this: {error}; see its log, and whether both are \
             the same release",
            self.path.display()
        ))
    }
}
