//! The socket file: made with mode 0600 from its first moment, removed when the server stops. One
//! that a killed server left behind is replaced; one that answers belongs to another server.

use std::fmt;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

/// Connections the kernel holds for us before we accept them.
const BACKLOG: i32 = 64;

/// Why there is no control socket.
#[derive(Debug)]
pub enum SocketError {
    /// One answers there.
    Running {
        /// The socket.
        path: PathBuf,
    },
    /// Something else stands there.
    Occupied {
        /// What is no socket.
        path: PathBuf,
    },
    /// The operating system refused.
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl std::error::Error for SocketError {}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Running { path } => write!(
                f,
                "{}: another rempart is running with this control socket; stop it, or give this \
                 one a \"control\" and a \"storage\" of its own",
                path.display()
            ),
            Self::Occupied { path } => write!(
                f,
                "{}: stands there and is no socket; remove it, or change \"control\"",
                path.display()
            ),
            Self::Io { path, source } => {
                write!(
                    f,
                    "{}: cannot open the control socket: {source}; change \"control\"",
                    path.display()
                )
            }
        }
    }
}

/// The bound control socket; dropping it removes the file.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Opens the socket at `path` and makes its folder. Must be called within a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        clear(path)?;
        let socket = open(path).map_err(failed)?;
        let inode = inode(path).map_err(failed)?;
        Ok(Self { socket, path: path.to_owned(), inode })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.socket.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Another server may have taken the place meanwhile; its file is not ours to remove.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn inode(path: &Path) -> io::Result<u64> {
    std::fs::symlink_metadata(path).map(|data| data.ino())
}

/// Makes room at `path`: removes the socket of a server that is gone.
fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let data = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    };
    if !std::os::unix::fs::FileTypeExt::is_socket(&data.file_type()) {
        return Err(SocketError::Occupied { path: path.to_owned() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(SocketError::Running { path: path.to_owned() }),
    }
}

fn open(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux gives the file the mode its socket has when it is bound, so there is no moment in
    // which others could open it.
    let file = File::from(OwnedFd::from(socket));
    file.set_permissions(Permissions::from_mode(0o600))?;
    let socket = Socket::from(OwnedFd::from(file));
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(std::os::unix::net::UnixListener::from(OwnedFd::from(socket)))
}
