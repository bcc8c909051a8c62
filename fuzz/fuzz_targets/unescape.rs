//! Lists and escapes: no input panics, and what is read is written back as the same bytes.
#![no_main]

use deltaflood::{list, pairs, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(names) = list::decode(input) {
        // There is one form of a list, so equal lists are equal bytes.
        assert_eq!(list::encode(names.iter().map(|name| name.as_ref())), input);
    }
    let mut field = b"k\t".to_vec();
    write::escape(&mut field, input);
    let (_, value) = pairs(&field).next().expect("a pair").expect("sound");
    assert_eq!(value.decode().as_ref(), input);
    for (key, value) in pairs(input).flatten() {
        // A reader also takes a CR that was not escaped; no other field has two forms.
        for text in [key, value].into_iter().filter(|text| !text.raw().contains(&b'\r')) {
            let mut again = Vec::new();
            write::escape(&mut again, &text.decode());
            assert_eq!(again, text.raw());
        }
    }
});
