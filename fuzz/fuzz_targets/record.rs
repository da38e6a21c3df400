//! `RECORD` files: whatever the bytes are, reading them ends, with no more rows than there are bytes.

#![no_main]

use imgtool::packaging::record::parse_record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(rows) = parse_record(bytes) {
        assert!(rows.len() <= bytes.len());
        assert!(rows.iter().all(|row| !row.path.is_empty()));
    }
});
