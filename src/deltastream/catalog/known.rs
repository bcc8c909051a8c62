//! What a capture knows of the catalogs, kept beside its stream: so that what is done while none
//! runs is noticed as well.
//!
//! The file `catalog.tsv` in the stream's folder. Its first line says whose it is: `id I`, the
//! capture's own id. Each other line is of a table: `fingerprint F line L`, where L is its `schema`
//! line. A file that is not of this form, or of another capture, is as good as none.

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

/// What is kept in a stream's folder by the capture of this id; `None`: nothing.
pub(super) fn load(dir: &Path, id: &str) -> Option<Known> {
    let bytes = std::fs::read(dir.join(FILE)).ok()?;
    let mut lines = bytes.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    let [whose] = fields(lines.next()?, ["id"])?;
    if whose != id.as_bytes() {
        return None;
    }
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
pub(super) fn save(dir: &Path, id: &str, known: &Known) -> Result<(), daystream::Error> {
    let mut bytes = format!("id\t{id}\n").into_bytes();
    for Table { fingerprint, line } in known.values() {
        bytes.extend_from_slice(format!("fingerprint\t{fingerprint}\tline\t").as_bytes());
        write::escape(&mut bytes, line);
        bytes.push(b'\n');
    }
    daystream::replace_file(dir, FILE, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_by_the_capture_that_kept_it() {
        let dir = tempfile::tempdir().expect("folder");
        assert_eq!(load(dir.path(), "0a"), None);
        let line = b"_table\ta\\tb\t_oid\t7\t_action\tschema\tc\ttext".to_vec();
        let known = Known::from([(7, Table { fingerprint: "ff".to_owned(), line })]);
        save(dir.path(), "0a", &known).expect("saved");
        assert_eq!(load(dir.path(), "0a"), Some(known));
        assert_eq!(load(dir.path(), "0b"), None);
        std::fs::write(dir.path().join(FILE), "id\t0a\nfingerprint\tff\n").expect("written");
        assert_eq!(load(dir.path(), "0a"), None);
    }
}
