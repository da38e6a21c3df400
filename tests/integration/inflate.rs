//! The gzip reader beside flate2: the same bytes and the same yes or no, whatever is read and however it comes.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use imgtool::inflate::{BUFFER, GzipReader};
use proptest::collection::vec;
use proptest::prelude::*;

/// What a reader gave until its end or an error.
fn drain(mut reader: impl Read) -> (Vec<u8>, io::Result<()>) {
    let mut text = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return (text, Ok(())),
            Ok(read) => text.extend(&buffer[..read]),
            Err(error) => return (text, Err(error)),
        }
    }
}

/// Reads a file with both readers: one says yes as the other, and what one gave begins as what the other gave.
fn agree(file: &[u8]) -> (Vec<u8>, io::Result<()>) {
    let (text, result) = drain(GzipReader::new(file));
    let (theirs, their_result) = drain(flate2::bufread::MultiGzDecoder::new(file));
    assert_eq!(
        result.is_ok(),
        their_result.is_ok(),
        "{result:?}, but flate2 says {their_result:?}: {file:02x?}"
    );
    let common = text.len().min(theirs.len());
    assert!(text[..common] == theirs[..common], "{file:02x?}");
    assert!(result.is_err() || text.len() == theirs.len());
    (text, result)
}

/// A source that gives a byte at a time and is interrupted before every third.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let some = buffer.len().min(1);
        self.0.read(&mut buffer[..some])
    }
}

/// Numbers that are random enough and the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("48 bits") % limit
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }
}

/// Texts of the kinds that layers have, and some that try the limits of the format.
fn text(kind: usize, length: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 300);
    while text.len() < length {
        match kind {
            // Nothing repeats: stored blocks, or codes of eight bits.
            0 => text.push(numbers.byte()),
            // The longest matches at the shortest distance.
            1 => text.push(0),
            // Short periods, each of its own.
            2 => {
                let period: Vec<u8> = (0..=numbers.below(40)).map(|_| numbers.byte()).collect();
                for _ in 0..numbers.below(30) {
                    text.extend(&period);
                }
            }
            // Each byte half as frequent as the one before: codes of all lengths up to 15 bits, so subtables.
            3 => text.push(numbers.0.trailing_zeros().to_le_bytes()[0] + (numbers.byte() & 1)),
            // Lines of a listing.
            4 => {
                let file = numbers.below(5000);
                text.extend(format!("usr/lib/python3/site-packages/{file:x}.py\n").bytes());
            }
            // The farthest distance, and one byte more.
            5 => {
                let period: Vec<u8> = (0..32 << 10).map(|_| numbers.byte()).collect();
                for extra in 0..3 {
                    text.extend(&period);
                    text.extend(vec![0; extra]);
                }
            }
            // All of them.
            _ => {
                let part = 1 + numbers.below(3000);
                let kind = numbers.below(5);
                text.extend(self::text(kind, part, numbers));
            }
        }
    }
    text.truncate(length);
    text
}

fn compressed(text: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

/// A member around a deflate stream, with a trailer of zeros.
fn member(stream: &[u8]) -> Vec<u8> {
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    [&header[..], stream, &[0; 8]].concat()
}

/// Bytes from numbers of so many bits each, lowest bit first.
fn bits(numbers: &[(u64, u32)]) -> Vec<u8> {
    let mut bits = Vec::new();
    for &(number, count) in numbers {
        bits.extend((0..count).map(|bit| number >> bit & 1 == 1));
    }
    bits.chunks(8)
        .map(|byte| {
            byte.iter()
                .rev()
                .fold(0, |byte, &bit| byte << 1 | u8::from(bit))
        })
        .collect()
}

fn message(file: &[u8]) -> String {
    agree(file).1.expect_err("corrupt data").to_string()
}

#[test]
fn texts_of_all_kinds_and_levels_come_back() {
    let mut numbers = Numbers(1);
    for level in 0..=9 {
        for kind in 0..7 {
            for length in [0, 1, 2, 3, 17, 257, 258, 259, 5_000, 70_000] {
                let text = text(kind, length, &mut numbers);
                let (read, result) = agree(&compressed(&text, level));
                result.expect("sound data");
                assert!(read == text, "kind {kind}, level {level}, length {length}");
            }
        }
    }
}

#[test]
fn long_texts_come_back_though_the_window_moves() {
    let mut numbers = Numbers(2);
    for (kind, level) in [(0, 0), (0, 6), (1, 9), (2, 6), (4, 1), (5, 9), (6, 6)] {
        let text = text(kind, 1_500_000, &mut numbers);
        let (read, result) = agree(&compressed(&text, level));
        result.expect("sound data");
        assert!(read == text, "kind {kind}, level {level}");
    }
}

#[test]
fn thousands_of_small_texts_come_back() {
    let mut numbers = Numbers(3);
    for _ in 0..3_000 {
        let kind = numbers.below(7);
        let length = numbers.below(600);
        let text = text(kind, length, &mut numbers);
        let level = u32::try_from(numbers.below(10)).expect("small");
        let (read, result) = agree(&compressed(&text, level));
        result.expect("sound data");
        assert!(read == text, "kind {kind}, level {level}, length {length}");
    }
}

#[test]
fn a_source_may_give_a_byte_at_a_time() {
    let mut numbers = Numbers(4);
    for level in [0, 1, 6, 9] {
        for kind in 0..7 {
            let text = text(kind, 20_000, &mut numbers);
            let file = compressed(&text, level);
            let (read, result) = drain(GzipReader::new(Dribble(&file, 0)));
            result.expect("sound data");
            assert!(read == text, "kind {kind}, level {level}");
        }
    }
}

#[test]
fn a_cut_file_ends_early_wherever_it_is_cut() {
    let mut numbers = Numbers(5);
    for level in [0, 1, 6] {
        for kind in 0..7 {
            let text = text(kind, 900, &mut numbers);
            let file = compressed(&text, level);
            for cut in 0..file.len() {
                let (read, result) = agree(&file[..cut]);
                let error = result.expect_err("a cut file");
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
                assert!(
                    text.starts_with(&read),
                    "kind {kind}, level {level}, cut {cut}"
                );
            }
        }
    }
}

#[test]
fn what_of_a_cut_file_is_whole_is_given() {
    let text = text(4, 2_000_000, &mut Numbers(6));
    let file = compressed(&text, 6);
    let (read, result) = drain(GzipReader::new(&file[..file.len() / 2]));
    result.expect_err("a cut file");
    assert!(read.len() > text.len() / 3 && text.starts_with(&read));
}

#[test]
fn corrupt_files_are_told_as_flate2_tells_them() {
    let mut numbers = Numbers(7);
    let mut sound = 0;
    for round in 0..6_000 {
        let length = 1 + numbers.below(400);
        let text = text(round % 7, length, &mut numbers);
        let mut file = compressed(&text, u32::try_from(round % 10).expect("small"));
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(file.len());
            file[at] = match numbers.below(3) {
                0 => file[at] ^ 1 << numbers.below(8),
                1 => numbers.byte(),
                _ => 0,
            };
        }
        sound += usize::from(agree(&file).1.is_ok());
    }
    assert!((1..3_000).contains(&sound), "{sound} of 6000 were sound");
}

#[test]
fn streams_of_random_bits_are_told_as_flate2_tells_them() {
    let mut numbers = Numbers(8);
    for round in 0..20_000 {
        let mut stream: Vec<u8> = (0..numbers.below(200)).map(|_| numbers.byte()).collect();
        if let [first, ..] = &mut stream[..] {
            // A block of each compressed type, last or not, with so few codes that some sets are complete.
            *first = (*first & 0b1111_1000) | [0b010, 0b011, 0b100, 0b101][round % 4];
        }
        agree(&member(&stream)).1.expect_err("not sound by chance");
    }
}

#[test]
fn members_follow_one_another() {
    let mut numbers = Numbers(9);
    let mut file = Vec::new();
    let mut all = Vec::new();
    for round in 0..60 {
        let length = [0, 1, 10, 40_000][round % 4];
        let text = text(round % 7, length, &mut numbers);
        file.extend(compressed(&text, u32::try_from(round % 10).expect("small")));
        all.extend(text);
    }
    let (read, result) = agree(&file);
    result.expect("sound members");
    assert!(read == all);
    let (read, result) = drain(GzipReader::new(Dribble(&file, 0)));
    result.expect("sound members");
    assert!(read == all);
}

#[test]
fn a_member_does_not_see_the_one_before() {
    // A match of three bytes, one byte back, with the fixed codes.
    let stream = bits(&[(0b011, 3), (0b100_0000, 7), (0, 5), (0, 7)]);
    let file = [compressed(b"text", 6), member(&stream)].concat();
    assert!(message(&file).contains("a match begins before the data"));
}

#[test]
fn zeros_may_fill_up_the_end_but_nothing_else() {
    for padding in [1, 7, 8, 511, 300_000] {
        let mut file = compressed(b"text", 6);
        file.resize(file.len() + padding, 0);
        let (read, result) = drain(GzipReader::new(&file[..]));
        result.expect("padding");
        assert_eq!(read, b"text");
        file.push(1);
        let (read, result) = drain(GzipReader::new(&file[..]));
        let error = result.expect_err("more than padding");
        assert!(error.to_string().contains("other data follows"), "{error}");
        assert_eq!(read, b"text");
    }
    let file = [compressed(b"text", 6), b"more".to_vec()].concat();
    assert!(message(&file).contains("magic number"));
}

#[test]
fn all_fields_of_a_header_are_read() {
    for fields in 0..8 {
        let mut builder = GzBuilder::new().mtime(1_700_000_000).operating_system(3);
        if fields & 1 != 0 {
            builder = builder.extra(vec![7; 60_000]);
        }
        if fields & 2 != 0 {
            builder = builder.filename("layer.tar");
        }
        if fields & 4 != 0 {
            builder = builder.comment("a comment");
        }
        let mut encoder = builder.write(Vec::new(), Compression::new(6));
        encoder.write_all(b"text").expect("memory");
        let file = encoder.finish().expect("memory");
        let (read, result) = agree(&file);
        result.expect("a sound header");
        assert_eq!(read, b"text");
        for cut in (0..file.len()).step_by(if fields & 1 == 0 { 1 } else { 997 }) {
            let error = agree(&file[..cut]).1.expect_err("a cut file");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

#[test]
fn the_checksum_of_a_header_is_verified() {
    let sound = compressed(b"text", 6);
    let mut header = [&sound[..10], b"layer.tar\0"].concat();
    header[3] = 0b01010;
    let checksum = crc32fast::hash(&header).to_le_bytes();
    for (checksum, is_sound) in [
        ([checksum[0], checksum[1]], true),
        ([checksum[0], !checksum[1]], false),
    ] {
        let file = [&header[..], &checksum, &sound[10..]].concat();
        assert_eq!(agree(&file).1.is_ok(), is_sound);
    }
}

#[test]
fn a_header_that_is_none_is_an_error() {
    let sound = compressed(b"text", 6);
    for (at, byte, expected) in [
        (0, b'P', "magic number"),
        (1, 0x8c, "magic number"),
        (2, 7, "unknown method"),
        (3, 0b10_0000, "reserved flags"),
    ] {
        let mut file = sound.clone();
        file[at] = byte;
        let message = message(&file);
        assert!(message.contains(expected), "{message}");
    }
    let error = agree(b"").1.expect_err("nothing at all");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn the_trailer_is_verified() {
    let sound = compressed(b"text", 6);
    for (back, expected) in [
        (8, "checksum"),
        (5, "checksum"),
        (4, "length"),
        (1, "length"),
    ] {
        let mut file = sound.clone();
        let at = file.len() - back;
        file[at] ^= 1;
        let message = message(&file);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn every_rule_of_a_block_is_checked() {
    let dynamic = |literals: u64, distances: u64, lengths: &[u64]| {
        let described = u64::try_from(lengths.len()).expect("few") - 4;
        let mut numbers = vec![
            (0b101, 3),
            (literals - 257, 5),
            (distances - 1, 5),
            (described, 4),
        ];
        numbers.extend(lengths.iter().map(|&length| (length, 3)));
        numbers
    };
    // Lengths of codes are told in this order: 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1. Here 18,
    // which is many zeros, has the code 1, and 1 or 2 has the code 0.
    let ones = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let twos = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let after = |zeros: u64, codes: usize| {
        let mut numbers = vec![(1, 1), (138 - 11, 7), (1, 1), (zeros - 138 - 11, 7)];
        numbers.extend(vec![(0, 1); codes]);
        numbers
    };
    let block = |parts: &[Vec<(u64, u32)>]| parts.concat();
    for (stream, expected) in [
        (vec![(0b111, 3)], "unknown type"),
        (vec![(0b001, 8), (4, 16), (4, 16)], "two lengths"),
        (
            dynamic(287, 1, &[0; 4]),
            "more codes than there are symbols",
        ),
        (
            dynamic(257, 31, &[0; 4]),
            "more codes than there are symbols",
        ),
        (dynamic(257, 1, &[0; 4]), "incomplete"),
        (dynamic(257, 1, &[1, 0, 0, 0]), "incomplete"),
        (dynamic(257, 1, &[1, 1, 1, 0]), "oversubscribed"),
        (
            block(&[dynamic(257, 1, &[1, 1, 0, 0]), vec![(0, 1)]]),
            "repetition",
        ),
        (
            block(&[dynamic(257, 1, &ones), after(258, 0)]),
            "no code for its end",
        ),
        (
            block(&[dynamic(257, 1, &ones), after(270, 0)]),
            "more codes than it has",
        ),
        (
            block(&[dynamic(258, 2, &ones), after(255, 5)]),
            "oversubscribed",
        ),
        (
            block(&[dynamic(258, 3, &ones), after(256, 5)]),
            "oversubscribed",
        ),
        (
            block(&[dynamic(257, 1, &twos), after(256, 2)]),
            "incomplete",
        ),
        // The only code is one bit, zero; the other bit has no meaning.
        (
            block(&[dynamic(257, 1, &ones), after(256, 2), vec![(1, 1)]]),
            "no meaning",
        ),
        // Symbols 286 and 287 of the fixed codes, and distances 30 and 31.
        (vec![(0b011, 3), (0b0110_0011, 8)], "no meaning"),
        (vec![(0b011, 3), (0b1110_0011, 8)], "no meaning"),
        (
            vec![(0b011, 3), (0b100_0000, 7), (0b0_1111, 5)],
            "no meaning",
        ),
        (
            vec![(0b011, 3), (0b100_0000, 7), (0b1_1111, 5)],
            "no meaning",
        ),
        (vec![(0b011, 3), (0b100_0000, 7), (0, 5)], "before the data"),
    ] {
        let file = [&member(&bits(&stream))[..], &[0; 700]].concat();
        let message = message(&file);
        assert!(message.contains(expected), "{message}, not {expected}");
    }
}

#[test]
fn an_error_comes_after_the_text_before_it_and_is_final() {
    let text = text(4, 1_000_000, &mut Numbers(10));
    let mut file = compressed(&text, 6);
    let last = file.len() - 1;
    file[last] ^= 1;
    let mut reader = GzipReader::new(&file[..]);
    let mut read = Vec::new();
    let error = reader.read_to_end(&mut read).expect_err("a wrong length");
    assert!(error.to_string().contains("another length"), "{error}");
    assert!(read == text);
    for _ in 0..3 {
        reader
            .read(&mut [0; 8])
            .expect_err("no way behind an error");
    }
}

#[test]
fn errors_of_the_source_are_passed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let file = compressed(&text(4, 100_000, &mut Numbers(11)), 6);
    let source = (&file[..file.len() / 2]).chain(Broken);
    let error = drain(GzipReader::new(source)).1.expect_err("the source's");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn lent_bytes_may_be_consumed_in_parts() {
    let text = text(6, 700_000, &mut Numbers(12));
    let file = compressed(&text, 6);
    let mut reader = GzipReader::new(&file[..]);
    let mut read: Vec<u8> = Vec::new();
    let mut numbers = Numbers(13);
    loop {
        let lent = reader.fill_buf().expect("sound data");
        if lent.is_empty() {
            break;
        }
        let some = 1 + numbers.below(lent.len());
        read.extend(&lent[..some]);
        reader.consume(some);
    }
    assert!(read == text);
    assert!(
        reader.into_inner().is_empty(),
        "the source is read to its end"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any parts, each flushed at its end, so that streams have blocks of all types and lengths.
    #[test]
    fn parts_come_back(parts in vec((vec(any::<u8>(), 0..40), 1..200_usize), 0..12), level in 0..10_u32) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        let mut text = Vec::new();
        for (part, times) in parts {
            let part = part.repeat(times);
            encoder.write_all(&part).expect("memory");
            encoder.flush().expect("memory");
            text.extend(part);
        }
        let file = encoder.finish().expect("memory");
        let (read, result) = agree(&file);
        prop_assert!(result.is_ok());
        prop_assert!(read == text);
    }

    /// Whatever the bytes are, nothing panics, and flate2 says the same.
    #[test]
    fn any_stream_is_told(stream in vec(any::<u8>(), 0..300)) {
        let _ = agree(&member(&stream));
    }
}

/// Reads by exchange of buffers, of which there are `spares` at a time, and lends in between where `lends`.
fn exchanged(file: &[u8], spares: usize, lends: bool) -> (Vec<u8>, io::Result<()>) {
    let mut reader = GzipReader::new(file);
    // What is in a spare buffer must not matter; neither may one of another length.
    let mut buffers: VecDeque<Vec<u8>> = (0..spares).map(|n| vec![0xa5; n * BUFFER]).collect();
    let mut text = Vec::new();
    let mut numbers = Numbers(14);
    loop {
        if lends && numbers.below(2) == 0 {
            match reader.fill_buf() {
                Ok(lent) => {
                    let some = numbers.below(lent.len() + 1);
                    text.extend(&lent[..some]);
                    reader.consume(some);
                }
                Err(error) => return (text, Err(error)),
            }
        }
        let spare = buffers.pop_front().unwrap_or_default();
        match reader.exchange(spare) {
            Ok((_, new)) if new.is_empty() => return (text, Ok(())),
            Ok((mut buffer, new)) => {
                assert_eq!(buffer.len(), BUFFER);
                text.extend(&buffer[new]);
                buffer.fill(0x5a);
                buffers.push_back(buffer);
            }
            Err(error) => return (text, Err(error)),
        }
    }
}

#[test]
fn exchanged_buffers_hold_what_reading_gives() {
    let mut numbers = Numbers(15);
    for kind in 0..=6 {
        let text = text(kind, 1_500_000, &mut numbers);
        let file = compressed(&text, 6);
        for (spares, lends) in [(0, false), (1, false), (3, false), (3, true)] {
            let (read, result) = exchanged(&file, spares, lends);
            result.expect("sound data");
            assert!(read == text, "kind {kind}, {spares} spare buffers");
        }
        // Cut anywhere, the same comes before the same error.
        let cut = &file[..numbers.below(file.len())];
        let (expected, reading) = drain(GzipReader::new(cut));
        let (read, exchanging) = exchanged(cut, 2, false);
        assert!(read == expected, "kind {kind}");
        assert_eq!(
            exchanging.expect_err("it is cut").to_string(),
            reading.expect_err("it is cut").to_string()
        );
    }
}

#[test]
fn an_exchanged_buffer_is_full_however_short_the_members_are() {
    let member = compressed(b"a byte or two", 6);
    let file = member.repeat(50_000);
    let mut reader = GzipReader::new(&file[..]);
    let mut lengths = Vec::new();
    loop {
        let (_, new) = reader.exchange(Vec::new()).expect("sound data");
        if new.is_empty() {
            break;
        }
        lengths.push(new.len());
    }
    assert_eq!(lengths.iter().sum::<usize>(), 13 * 50_000);
    assert_eq!(lengths.len(), 3, "{lengths:?}");
    for _ in 0..3 {
        let (buffer, none) = reader.exchange(Vec::new()).expect("the end stays");
        assert_eq!((buffer.len(), none.len()), (BUFFER, 0));
    }
}

#[test]
fn an_error_comes_after_the_exchange_of_the_text_before_it_and_is_final() {
    let text = text(4, 1_000_000, &mut Numbers(16));
    let mut file = compressed(&text, 6);
    let checksum = file.len() - 8;
    file[checksum] ^= 1;
    let mut reader = GzipReader::new(&file[..]);
    let mut read: Vec<u8> = Vec::new();
    let error = loop {
        match reader.exchange(Vec::new()) {
            Ok((buffer, new)) => {
                assert!(!new.is_empty(), "no end without an error");
                read.extend(&buffer[new]);
            }
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("another checksum"), "{error}");
    assert!(read == text);
    for _ in 0..3 {
        reader
            .exchange(Vec::new())
            .expect_err("no way behind an error");
    }
}
