//! Lines taken into a stream in pieces of any size are those taken in whole: the same outcome, and
//! the same stream. The first byte is the size of the pieces.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pgsqlite::daystream::{
    Clock, Intake, Reader, ReaderOptions, Start, Taken, Writer, WriterOptions,
};
use pgsqlite::error::Coded;

type Outcome = (Result<Taken, String>, Vec<Vec<u8>>);

/// The stamp of every line.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> i64 {
        1_600_000_000
    }
}

fn take(dir: &Path, input: &[u8], size: usize) -> Outcome {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir(dir).expect("folder");
    let options = WriterOptions { clock: Box::new(Still), ..WriterOptions::default() };
    let mut writer = Writer::open(dir, options).expect("writer");
    let mut intake = Intake::new();
    let mut done = Ok(());
    for piece in input.chunks(size) {
        done = done.and_then(|()| intake.push(piece, &mut writer));
    }
    let taken = done.and_then(|()| intake.finish(&mut writer));
    writer.abandon().expect("abandoned");
    writer.flush().expect("flushed");
    let mut lines = Vec::new();
    if let Ok(mut reader) = Reader::open(dir, Start::Begin, ReaderOptions::default()) {
        while let Some(entry) = reader.next().expect("a sound stream") {
            lines.push(entry.change.line().to_vec());
        }
    }
    (taken.map_err(|error| format!("{:?}", error.code())), lines)
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, input)) = input.split_first() else {
        return;
    };
    let dir = std::env::temp_dir().join(format!("pgsqlite-fuzz-{}", std::process::id()));
    let whole = take(&dir, input, input.len().max(1));
    assert_eq!(take(&dir, input, usize::from(size).max(1)), whole);
});
