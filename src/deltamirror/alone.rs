//! Whether somebody else follows into the same file: that is no error, but nobody means it.
//!
//! A socket in the kernel's abstract namespace, called after the file's device and inode, says so:
//! it leaves nothing on the disk, and ends with the process. Another host, or a container with a
//! network of its own, is not seen.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

/// The word that this process follows into a file; taken back when it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    _held: Option<UnixListener>,
}

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// To follow into the file.
    Follows,
    /// To reload its tables, as one who follows with a connection to PostgreSQL.
    Reloads,
}

impl Claim {
    /// Says so.
    pub(super) fn of(file: &Path, role: Role) -> (Claim, Others) {
        let Some(name) = name(file, role) else { return (Claim { _held: None }, Others::Unknown) };
        let bound = SocketAddr::from_abstract_name(name)
            .and_then(|address| UnixListener::bind_addr(&address));
        match bound {
            Ok(listener) => (Claim { _held: Some(listener) }, Others::None),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                (Claim { _held: None }, Others::Some)
            }
            Err(_) => (Claim { _held: None }, Others::Unknown),
        }
    }

    /// Whether somebody says so, without saying it: one who begins meanwhile is not told of this.
    pub(super) fn seen(file: &Path, role: Role) -> Others {
        let (Some(name), Ok(sockets)) = (name(file, role), std::fs::read("/proc/net/unix")) else {
            return Others::Unknown;
        };
        let name = format!(" @{name}");
        let is_it = |line: &[u8]| line.ends_with(name.as_bytes());
        if sockets.split(|byte| *byte == b'\n').any(is_it) { Others::Some } else { Others::None }
    }
}

/// The socket's name for a file.
fn name(file: &Path, role: Role) -> Option<String> {
    let of = file.metadata().ok()?;
    let role = match role {
        Role::Follows => "",
        Role::Reloads => "-reloads",
    };
    Some(format!("pgsqlite-deltamirror-{:x}-{:x}{role}", of.dev(), of.ino()))
}

/// Whether there are others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// None on this host.
    None,
    /// Somebody was here first.
    Some,
    /// It cannot be told.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_and_the_next_after_the_first_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (first, others) = Claim::of(file.path(), Role::Follows);
        assert_eq!(others, Others::None);
        assert_eq!(Claim::of(file.path(), Role::Follows).1, Others::Some);
        assert_eq!(Claim::seen(file.path(), Role::Follows), Others::Some);
        // Another claim is another one's.
        assert_eq!(Claim::seen(file.path(), Role::Reloads), Others::None);
        assert_eq!(Claim::of(file.path(), Role::Reloads).1, Others::None);
        drop(first);
        assert_eq!(Claim::seen(file.path(), Role::Follows), Others::None);
        assert_eq!(Claim::of(file.path(), Role::Follows).1, Others::None);
        assert_eq!(Claim::of(Path::new("/nowhere/at/all"), Role::Follows).1, Others::Unknown);
    }
}
