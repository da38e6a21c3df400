//! Core metadata and the `requires.txt` of eggs: whatever the bytes are, reading them ends, and what was read can be
//! written and read again.

#![no_main]

use imgtool::packaging::Requirement;
use imgtool::packaging::direct_url::DirectUrl;
use imgtool::packaging::egg_info::parse_requires;
use imgtool::packaging::metadata::{CoreMetadata, RawMetadata, parse_requires_python};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let raw = RawMetadata::parse(bytes);
    assert_eq!(RawMetadata::parse(&raw.to_header()), raw);
    for text in &raw.requires_dist {
        let _ = Requirement::parse_lenient(text);
    }
    if let Some(text) = &raw.requires_python {
        let _ = parse_requires_python(text);
    }
    let _ = CoreMetadata::parse(bytes);
    let _ = DirectUrl::parse(bytes).map(|url| url.path());

    let requires = parse_requires(&String::from_utf8_lossy(bytes));
    for text in &requires.requires_dist {
        let _ = Requirement::parse_lenient(text);
    }
});
