//! `RECORD` files: whatever the bytes are, reading them ends, with no more rows than there are bytes.

#![no_main]

use imgtool::packaging::record::record_entries;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entries) = record_entries(bytes) else {
        return;
    };
    let mut rows = 0;
    for entry in entries {
        rows += 1;
        assert!(rows <= bytes.len());
        // What is wrong with one row is no end of the others.
        let Ok(entry) = entry else { continue };
        assert!(!entry.path.is_empty());
        assert_ne!(entry.hash.as_deref(), Some(""));
    }
});
