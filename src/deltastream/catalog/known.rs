//! What a capture knows of the catalogs, kept beside its stream: so that what is done while none
//! runs is noticed as well.
//!
//! The file `catalog.tsv` in the stream's folder. Its first line says whose it is: `id I key K`,
//! the capture's own id and what only it knows ([`super::message`]). Each other line is of a table:
//! `fingerprint F line L`, where L is its `schema` line. A file that is not of this form, or of
//! another capture, is as good as none. Nobody but its owner may read it.

use crate::daystream;
use crate::libpq::Oid;
use deltaflood::{Change, pairs, write};
use std::collections::BTreeMap;
use std::path::Path;

/// Its name.
const FILE: &str = "catalog.tsv";

/// A table as it was described last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Of what the catalogs said.
    pub(super) fingerprint: String,
    /// Its `schema` line, without a transaction.
    pub(super) line: Vec<u8>,
}

/// Tables by object id.
pub(super) type Known = BTreeMap<Oid, Table>;

/// The key that is kept in a stream's folder by the capture of this id; `None`: none.
pub(in crate::deltastream) fn key(dir: &Path, id: &str) -> Option<String> {
    let bytes = std::fs::read(dir.join(FILE)).ok()?;
    key_of(bytes.split(|byte| *byte == b'\n').next()?, id)
}

/// The key in the first line of a file, when it is of the capture of this id.
fn key_of(first: &[u8], id: &str) -> Option<String> {
    let [whose, key] = fields(first, ["id", "key"])?;
    let key = String::from_utf8(key).ok()?;
    (whose == id.as_bytes() && !key.is_empty()).then_some(key)
}

/// What is kept in a stream's folder by the capture of this id; `None`: nothing.
pub(super) fn load(dir: &Path, id: &str) -> Option<Known> {
    let bytes = std::fs::read(dir.join(FILE)).ok()?;
    let mut lines = bytes.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    key_of(lines.next()?, id)?;
    let table = |line| {
        let [fingerprint, line] = fields(line, ["fingerprint", "line"])?;
        let oid = Change::parse(&line).ok()?.oid?;
        Some((oid, Table { fingerprint: String::from_utf8(fingerprint).ok()?, line }))
    };
    lines.map(table).collect()
}

/// The values of these keys, which are all that a line has.
fn fields<const N: usize>(line: &[u8], keys: [&str; N]) -> Option<[Vec<u8>; N]> {
    let mut found = Vec::with_capacity(N);
    for (field, key) in pairs(line).zip(keys) {
        let (name, value) = field.ok()?;
        if name.raw() != key.as_bytes() {
            return None;
        }
        found.push(value.decode().into_owned());
    }
    found.try_into().ok()
}

/// Keeps it.
///
/// # Errors
/// Those of the file system.
pub(super) fn save(
    dir: &Path,
    (id, key): (&str, &str),
    known: &Known,
) -> Result<(), daystream::Error> {
    let mut bytes = format!("id\t{id}\tkey\t{key}\n").into_bytes();
    for Table { fingerprint, line } in known.values() {
        bytes.extend_from_slice(format!("fingerprint\t{fingerprint}\tline\t").as_bytes());
        write::escape(&mut bytes, line);
        bytes.push(b'\n');
    }
    daystream::replace_private(dir, FILE, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_kept_is_found_by_the_capture_that_kept_it() {
        let dir = tempfile::tempdir().expect("folder");
        assert_eq!(load(dir.path(), "0a"), None);
        let line = b"_table\ta\\tb\t_oid\t7\t_action\tschema\tc\ttext".to_vec();
        let known = Known::from([(7, Table { fingerprint: "ff".to_owned(), line })]);
        save(dir.path(), ("0a", "77"), &known).expect("saved");
        assert_eq!(load(dir.path(), "0a"), Some(known));
        assert_eq!(key(dir.path(), "0a").as_deref(), Some("77"));
        assert_eq!((load(dir.path(), "0b"), key(dir.path(), "0b")), (None, None));
        let mode = std::fs::metadata(dir.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let torn = "id\t0a\tkey\t77\nfingerprint\tff\n";
        std::fs::write(dir.path().join(FILE), torn).expect("written");
        assert_eq!(load(dir.path(), "0a"), None);
        std::fs::write(dir.path().join(FILE), "id\t0a\n").expect("written");
        assert_eq!((load(dir.path(), "0a"), key(dir.path(), "0a")), (None, None));
    }
}
