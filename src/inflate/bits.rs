//! The bytes that were read ahead, and the bits that were loaded from them: RFC 1951, section 3.1.1.

use std::io::{self, Read};

/// Bytes that are read ahead at most.
const CAPACITY: usize = 128 << 10;
/// Zeros that follow the last byte of the source: more than the largest header of a block, so that whoever reads one
/// asks once, at its end, whether the source had that much.
const PADDING: usize = 1 << 10;
/// Bytes of the buffer.
pub(super) const SIZE: usize = CAPACITY + PADDING;
/// Bytes that a load reads, though it may not take them all.
pub(super) const WORD: usize = 8;

/// Bits that are loaded, and where the next ones lie.
#[derive(Clone, Copy)]
pub(super) struct Bits {
    /// The bits, the next one lowest. Above `count` there are none, or already what the next load brings.
    pub(super) word: u64,
    /// How many bits are loaded, modulo 64: what lies above the low six bits is noise.
    count: u32,
    /// Where the byte lies that is loaded next.
    pub(super) next: usize,
}

impl Bits {
    /// Loads bits until there are 56 to 63.
    #[inline]
    pub(super) fn refill(&mut self, bytes: &[u8; SIZE]) {
        // One comparison in place of the two that a range asks for. Callers stop before the padding does.
        assert!(self.next <= SIZE - WORD, "loads end with the padding");
        let mut word = [0; WORD];
        word.copy_from_slice(&bytes[self.next..self.next + WORD]);
        let count = self.count & 63;
        self.word |= u64::from_le_bytes(word) << count;
        self.next += (63 - count as usize) >> 3;
        self.count = count | 0b11_1000;
    }

    /// Drops as many bits as the low six bits of `count` say. To leave the rest of it, which would cost a step in the
    /// innermost loop, is why `Bits::count` has noise.
    #[inline]
    pub(super) fn consume(&mut self, count: u32) {
        self.word >>= count & 63;
        self.count = self.count.wrapping_sub(count);
    }

    /// Takes up to 16 bits as a number.
    pub(super) fn take(&mut self, count: u32) -> usize {
        let taken = low(self.word & ((1 << count) - 1));
        self.consume(count);
        taken
    }

    fn loaded(&self) -> usize {
        (self.count & 63) as usize
    }
}

/// The low bits of a word as an index.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "low bits are what is asked for"
)]
pub(super) fn low(word: u64) -> usize {
    word as usize
}

/// A reader with the bytes that were read ahead from it.
pub(super) struct Source<R> {
    reader: R,
    pub(super) bytes: Box<[u8; SIZE]>,
    /// Where the bytes end that were read.
    pub(super) end: usize,
    /// Whether nothing follows them.
    ended: bool,
    pub(super) bits: Bits,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            bytes: vec![0; SIZE].try_into().expect("a vector of this length"),
            end: 0,
            ended: false,
            bits: Bits {
                word: 0,
                count: 0,
                next: 0,
            },
        }
    }

    /// Reads until `wanted` bytes lie ahead or the source has ended; tells whether they do.
    pub(super) fn look_ahead(&mut self, wanted: usize) -> io::Result<bool> {
        if !self.ended && self.bits.next + wanted > self.end {
            // Bytes that are loaded may be put back.
            let keep = self.bits.next.saturating_sub(WORD);
            self.bytes.copy_within(keep..self.end, 0);
            self.end -= keep;
            self.bits.next -= keep;
            while !self.ended && self.bits.next + wanted > self.end {
                match self.reader.read(&mut self.bytes[self.end..CAPACITY]) {
                    Ok(0) => {
                        self.ended = true;
                        self.bytes[self.end..self.end + PADDING].fill(0);
                    }
                    Ok(read) => self.end += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.bits.next + wanted <= self.end)
    }

    /// Whether more bits were taken than the source had.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.bits.next * 8 - self.bits.loaded() > self.end * 8
    }

    /// Skips what is left of a byte and puts whole bytes back.
    pub(super) fn align(&mut self) {
        self.bits.next -= self.bits.loaded() / 8;
        self.bits.word = 0;
        self.bits.count = 0;
    }

    /// The next bytes: at least one and at most `limit`, or none at the end of the source. No bits may be loaded.
    pub(super) fn chunk(&mut self, limit: usize) -> io::Result<&[u8]> {
        self.look_ahead(1)?;
        let from = self.bits.next;
        self.bits.next = self.end.min(from + limit);
        Ok(&self.bytes[from..self.bits.next])
    }

    pub(super) fn into_reader(self) -> R {
        self.reader
    }
}
