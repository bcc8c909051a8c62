//! What a disk may hold after a power loss, worked out from a record of file operations.
//!
//! Legal is: everything made durable by fsync, of a file or of its folder, is there. Beyond that,
//! of the bytes written since a file's last fsync any sectors of 512 bytes, each new or old, with
//! zeros where there was nothing; of the names made, renamed or removed since a folder's last fsync
//! any, in any choice. A file's cut and what is written behind it may each be there without the
//! other. After an fsync that failed no later one covers what was written before it: that may be
//! there or not, until it is written again.

use super::Dice;
use pgsqlite::daystream::Done;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

const SECTOR: u64 = 512;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    Folder,
    File(usize),
}

enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
}

enum Name {
    Set(PathBuf, Node),
    Move(PathBuf, PathBuf, Node),
    Unset(PathBuf),
}

#[derive(Default)]
struct Bytes {
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// How many of them were given up by an fsync that failed.
    given_up: usize,
}

/// A disk with what is durable on it and what is on its way.
#[derive(Default)]
pub struct Disk {
    files: Vec<Bytes>,
    inodes: HashMap<u64, usize>,
    /// Names as the running system sees them.
    live: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: BTreeMap<PathBuf, Vec<Name>>,
}

/// How much of what is on its way has arrived.
#[derive(Clone, Copy)]
enum Arrived {
    All,
    None,
    Half,
    Most,
}

impl Arrived {
    fn pick(dice: &mut Dice) -> Arrived {
        match dice.below(5) {
            0 => Arrived::All,
            1 => Arrived::None,
            2 => Arrived::Most,
            _ => Arrived::Half,
        }
    }

    fn has(self, dice: &mut Dice) -> bool {
        match self {
            Arrived::All => true,
            Arrived::None => false,
            Arrived::Half => dice.below(2) == 0,
            Arrived::Most => dice.below(8) != 0,
        }
    }
}

impl Disk {
    /// Takes in one operation.
    pub fn take(&mut self, done: &Done) {
        match done {
            Done::Folder(path) => self.name(path, Name::Set(path.clone(), Node::Folder)),
            Done::Create(path, inode) => {
                let file = self.files.len();
                self.files.push(Bytes::default());
                self.inodes.insert(*inode, file);
                self.name(path, Name::Set(path.clone(), Node::File(file)));
            }
            Done::Write(inode, offset, bytes) => {
                self.file(*inode).pending.push(Change::Write(*offset, bytes.clone()));
            }
            Done::Truncate(inode, length) => self.file(*inode).pending.push(Change::Cut(*length)),
            Done::Sync(inode) => {
                let file = self.file(*inode);
                let pending = std::mem::take(&mut file.pending);
                let (given_up, covered) = pending.split_at(file.given_up);
                let cut = |change: &&Change| matches!(change, Change::Cut(_));
                // The length is the file system's own, and in its journal.
                for change in given_up.iter().filter(cut).chain(covered) {
                    apply(&mut file.durable, change);
                }
                file.given_up = 0;
            }
            Done::SyncFailed(inode) => {
                let file = self.file(*inode);
                file.given_up = file.pending.len();
            }
            Done::SyncFolder(path) => {
                for name in self.pending.remove(path).unwrap_or_default() {
                    rename(&mut self.durable, &name);
                }
            }
            Done::Rename(from, to) => {
                let node = self.live[from];
                self.name(to, Name::Move(from.clone(), to.clone(), node));
            }
            Done::Remove(path) => self.name(path, Name::Unset(path.clone())),
        }
    }

    fn file(&mut self, inode: u64) -> &mut Bytes {
        &mut self.files[self.inodes[&inode]]
    }

    fn name(&mut self, path: &Path, name: Name) {
        rename(&mut self.live, &name);
        let folder = path.parent().expect("a folder").to_owned();
        self.pending.entry(folder).or_default().push(name);
    }

    /// Makes the folder `to` one that a power loss now may leave of the folder `root`.
    pub fn crash(&self, root: &Path, to: &Path, dice: &mut Dice) {
        let mut names = self.durable.clone();
        for pending in self.pending.values() {
            let arrived = Arrived::pick(dice);
            for name in pending {
                if arrived.has(dice) {
                    rename(&mut names, name);
                }
            }
        }
        let contents: Vec<Vec<u8>> = self.files.iter().map(|file| image(file, dice)).collect();
        for (path, node) in &names {
            let Some(inside) = path.strip_prefix(root).ok().filter(|p| *p != Path::new("")) else {
                continue;
            };
            let there = to.join(inside);
            if !there.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match node {
                Node::Folder => std::fs::create_dir(&there).expect("folder"),
                Node::File(file) => std::fs::write(&there, &contents[*file]).expect("file"),
            }
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, Node>, name: &Name) {
    match name {
        Name::Set(path, node) => {
            names.insert(path.clone(), *node);
        }
        Name::Move(from, to, node) => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
        Name::Unset(path) => {
            names.remove(path);
        }
    }
}

/// Makes a change.
fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Cut(length) => bytes.resize(*length as usize, 0),
        Change::Write(offset, new) => put(bytes, *offset as usize, new),
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.resize(bytes.len().max(at + new.len()), 0);
    bytes[at..at + new.len()].copy_from_slice(new);
}

/// What a power loss may leave of a file.
fn image(file: &Bytes, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = file.durable.clone();
    let arrived = Arrived::pick(dice);
    let mut longest = bytes.len();
    let mut writes: Vec<(u64, &[u8])> = Vec::new();
    for change in &file.pending {
        match change {
            Change::Write(offset, new) => {
                longest = longest.max(*offset as usize + new.len());
                writes.push((*offset, new));
            }
            Change::Cut(length) => {
                arrive(&mut bytes, &std::mem::take(&mut writes), arrived, dice);
                if arrived.has(dice) {
                    bytes.resize(*length as usize, 0);
                }
                longest = longest.max(*length as usize);
            }
        }
    }
    arrive(&mut bytes, &writes, arrived, dice);
    // The length may have arrived before the bytes.
    if bytes.len() < longest && dice.below(3) == 0 {
        bytes.resize(longest, 0);
    }
    bytes
}

/// Some sectors of these writes arrive. A sector is written as a whole, as it was at some moment:
/// with a write's bytes it has those of the writes before.
fn arrive(bytes: &mut Vec<u8>, writes: &[(u64, &[u8])], arrived: Arrived, dice: &mut Dice) {
    let sectors = |(at, new): &(u64, &[u8])| *at / SECTOR..(at + new.len() as u64).div_ceil(SECTOR);
    let last = writes.iter().map(|write| sectors(write).end).max().unwrap_or(0);
    for sector in 0..last {
        let touching: Vec<_> = writes.iter().filter(|w| sectors(w).contains(&sector)).collect();
        let some = if arrived.has(dice) { touching.len() } else { 0 };
        let some = if dice.below(4) == 0 { some.min(dice.below(9) as usize) } else { some };
        for (at, new) in touching.into_iter().take(some) {
            let begin = (sector * SECTOR).max(*at);
            let end = ((sector + 1) * SECTOR).min(at + new.len() as u64);
            put(bytes, begin as usize, &new[(begin - at) as usize..(end - at) as usize]);
        }
    }
}
