//! No input makes the parser panic, and what it takes for sound is sound to the last byte.
#![no_main]

use deltaflood::Change;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let Ok(change) = Change::parse(line) else {
        return;
    };
    let sound = change.columns().all(|column| column.is_ok());
    if change.validate().is_ok() {
        assert!(sound);
        assert!(!line.contains(&b'\n'));
    }
    for (name, value) in change.columns().flatten() {
        assert!(!name.decode().is_empty());
        assert!(value.decode().len() <= value.raw().len());
    }
});
