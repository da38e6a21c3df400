//! The gzip reader beside flate2: one says yes as the other, and what one gives begins as what the other gives.
//!
//! The input is a deflate stream. A header is put before it, and a trailer that is right behind it, since no fuzzer
//! finds a checksum by chance.
#![no_main]

use std::io::{self, Read};

use flate2::Crc;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
use imgtool::inflate::GzipReader;
use libfuzzer_sys::fuzz_target;

/// So much is read, lest a bomb end the run.
const LIMIT: usize = 16 << 20;

fn drain(reader: impl Read) -> (Vec<u8>, io::Result<usize>) {
    let mut text = Vec::new();
    let result = reader.take(LIMIT as u64).read_to_end(&mut text);
    (text, result)
}

fuzz_target!(|stream: &[u8]| {
    let mut decoder = DeflateDecoder::new(stream);
    let (text, _) = drain(&mut decoder);
    if text.len() == LIMIT {
        return;
    }
    let taken = usize::try_from(decoder.total_in()).expect("what fits into memory");
    let mut checksum = Crc::new();
    checksum.update(&text);
    let file = [
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255],
        &stream[..taken],
        &checksum.sum().to_le_bytes(),
        &checksum.amount().to_le_bytes(),
    ]
    .concat();

    let (theirs, their_result) = drain(MultiGzDecoder::new(&file[..]));
    let (ours, our_result) = drain(GzipReader::new(&file[..]));
    assert_eq!(our_result.is_ok(), their_result.is_ok(), "{our_result:?}");
    let common = ours.len().min(theirs.len());
    assert_eq!(ours[..common], theirs[..common]);
    assert!(our_result.is_err() || ours.len() == theirs.len());
});
