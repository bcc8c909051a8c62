//! Where clients come from: TCP, or a Unix socket of this machine.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::guests::Origin;
use crate::limits;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket's file, and its mode.
    Unix(PathBuf, u32),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path, _) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that clients connect to.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// The file of a Unix socket; removed when dropped, unless it is another one by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|meta| meta.ino() == self.inode) {
            // NOTE: one that stays is replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Listens; the file of a Unix socket goes with the second. Call it before the process has
    /// threads: it sets the umask for a moment.
    ///
    /// # Errors
    /// Those of the system; that another server listens there.
    pub fn bind(listen: &Listen) -> io::Result<(Bound, Option<SocketFile>)> {
        match listen {
            Listen::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok((Bound::Tcp(listener), None))
            }
            Listen::Unix(path, mode) => {
                remove_left(path)?;
                // NOTE: a mode that is set afterwards comes too late for who connects at once.
                let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777));
                let bound = std::os::unix::net::UnixListener::bind(path);
                rustix::process::umask(before);
                let listener = bound?;
                let file = SocketFile { path: path.clone(), inode: path.symlink_metadata()?.ino() };
                std::fs::set_permissions(path, Permissions::from_mode(*mode))?;
                listener.set_nonblocking(true)?;
                Ok((Bound::Unix(listener), Some(file)))
            }
        }
    }

    /// The port that is listened on, of TCP.
    ///
    /// # Errors
    /// Those of the system.
    pub fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Some),
            Listener::Unix(_) => Ok(None),
        }
    }

    /// The next client, its name for the log, and whose it is.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn accept(&self) -> io::Result<(Socket, String, Origin)> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                set_up(&socket);
                Ok((Socket::Tcp(socket), peer.to_string(), Origin::of(peer.ip())))
            }
            Listener::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                let user = socket.peer_cred()?.uid();
                Ok((Socket::Unix(socket), format!("user:{user}"), Origin::User(user)))
            }
        }
    }
}

/// One that listens, before there is a runtime.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener),
}

impl Bound {
    /// The same, within a runtime.
    ///
    /// # Errors
    /// Those of the system.
    pub fn listener(self) -> io::Result<Listener> {
        match self {
            Bound::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
            Bound::Unix(listener) => UnixListener::from_std(listener).map(Listener::Unix),
        }
    }
}

/// Removes the socket that a killed server left at `path`: nobody answers there.
fn remove_left(path: &Path) -> io::Result<()> {
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is another file"));
    }
    match BlockingStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there")),
    }
}

fn set_up(socket: &TcpStream) {
    use rustix::net::sockopt;
    let time = u32::try_from(limits::TCP_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(limits::UNSENT_BYTES);
    // NOTE: a socket without these serves as well, but for a peer that has gone without a word.
    let _ = socket.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, limits::TCP_TIMEOUT / 2);
    let _ = sockopt::set_tcp_keepintvl(socket, limits::TCP_TIMEOUT / 6);
    let _ = sockopt::set_tcp_user_timeout(socket, time);
}

/// A client's socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Of this machine.
    Unix(UnixStream),
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Socket>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(context, buffer),
            Socket::Unix(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Socket>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Socket>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(context, parts),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Socket>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_flush(context),
            Socket::Unix(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Socket>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}
