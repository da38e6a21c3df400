//! Executables: what is told of one does not depend on how its bytes are cut, and stays small.

#![no_main]

use imgtool::rootfs::executable::ExecutableScanner;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (size, bytes) = input;
    let mut whole = ExecutableScanner::new();
    whole.push(&bytes);
    let whole = whole.finish();

    let mut pieces = ExecutableScanner::new();
    for piece in bytes.chunks(usize::from(size).max(1)) {
        pieces.push(piece);
    }
    assert_eq!(pieces.finish(), whole);

    let mut header = ExecutableScanner::for_header();
    header.push(&bytes);
    let header = header.finish();
    assert_eq!(header.elf, whole.elf);
    assert_eq!(header.is_script, whole.is_script);
    assert!(whole.versions.len() <= 200);
    assert!(whole.versions.iter().all(|text| text.len() <= 512));
});
