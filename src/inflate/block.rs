//! Blocks of a deflate stream (RFC 1951, section 3.2.3): their headers, and the loop that everything waits for.

use std::io::{self, Read};

use super::bits::{self, Bits, Source};
use super::huffman::{CODE_LENGTHS, DISTANCES, Entry, LITERALS_AND_LENGTHS, SYMBOLS, Table};
use super::{corrupt, truncated};

/// How far back a match may reach.
const WINDOW: usize = 32 << 10;
/// Bytes that are decoded before they are handed over: with the window they stay in a core's own cache.
const ROOM: usize = 256 << 10;
/// A match is copied in chunks of so many bytes, the last of which may reach beyond its end.
const CHUNK: usize = 16;
/// Slack of the output: more than one turn of the loop writes, which is four times two literals, the longest match,
/// and three chunks where the first of them go to a short distance.
const OUTPUT_SLACK: usize = 4 * 2 + 258 + 4 * CHUNK;
/// Slack of the input: more than one turn of the loop loads.
const INPUT_SLACK: usize = 4 * bits::WORD;
/// More than the bytes of the largest header of a block.
const HEADER: usize = 640;
/// Bytes of the output buffer.
pub(super) const CAPACITY: usize = WINDOW + ROOM + OUTPUT_SLACK;
/// Where the output is full: beyond there is only slack.
const FULL: usize = CAPACITY - OUTPUT_SLACK;

/// Decoded bytes: behind those that matches may still refer to lie the new ones.
pub(super) struct Output {
    bytes: Box<[u8; CAPACITY]>,
    /// Where the next byte goes.
    made: usize,
    /// Where the stream begins: matches do not reach farther.
    begin: usize,
}

impl Output {
    pub(super) fn new() -> Self {
        Self {
            bytes: buffer(Vec::new()),
            made: 0,
            begin: 0,
        }
    }

    pub(super) fn made(&self) -> usize {
        self.made
    }

    pub(super) fn is_full(&self) -> bool {
        self.made > FULL
    }

    pub(super) fn since(&self, start: usize) -> &[u8] {
        &self.bytes[start..self.made]
    }

    /// Another stream begins, which knows nothing of what came before.
    pub(super) fn begin_stream(&mut self) {
        self.begin = self.made;
    }

    /// Forgets all but the window if there is no room.
    pub(super) fn make_room(&mut self) {
        if self.is_full() {
            let window = self.made - WINDOW..self.made;
            self.bytes.copy_within(window, 0);
            self.keep(WINDOW);
        }
    }

    /// Hands over the buffer and goes on in `spare`, into which only the window is copied. A spare of another length than
    /// [`CAPACITY`] is replaced.
    pub(super) fn exchange(&mut self, spare: Vec<u8>) -> Vec<u8> {
        let mut next = buffer(spare);
        let window = self.made.min(WINDOW);
        next[..window].copy_from_slice(&self.bytes[self.made - window..self.made]);
        self.keep(window);
        (std::mem::replace(&mut self.bytes, next) as Box<[u8]>).into_vec()
    }

    /// The last bytes that were made now lie first.
    fn keep(&mut self, window: usize) {
        self.begin = self.begin.saturating_sub(self.made - window);
        self.made = window;
    }
}

/// `spare` as a buffer of the output, or a new one.
fn buffer(spare: Vec<u8>) -> Box<[u8; CAPACITY]> {
    spare.try_into().unwrap_or_else(|_| {
        vec![0; CAPACITY]
            .try_into()
            .expect("a vector of this length")
    })
}

/// What comes next in a stream.
#[derive(Clone, Copy)]
enum State {
    Header,
    /// So many bytes of a stored block.
    Stored(usize),
    /// Symbols of a compressed block.
    Symbols,
}

/// Roots so wide that most codes end in them, and so small that both stay in the fastest cache.
type Literals = Table<12, 8192>;
type Distances = Table<8, 512>;

/// A decoder for one stream after another.
pub(super) struct Inflater {
    state: State,
    /// Whether the block is the last of its stream.
    last: bool,
    literals: Box<Literals>,
    distances: Box<Distances>,
    /// Whether the tables are those of the fixed codes: a stream of tiny blocks would else make them all the time.
    fixed: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            state: State::Header,
            last: false,
            literals: Box::new(Table::new()),
            distances: Box::new(Table::new()),
            fixed: false,
        }
    }

    /// Decodes until the stream ends or the output is full; tells whether the stream has ended.
    ///
    /// # Errors
    /// The reader's, and those of the data. What was made until then is right.
    pub(super) fn run<R: Read>(
        &mut self,
        source: &mut Source<R>,
        output: &mut Output,
    ) -> io::Result<bool> {
        while !output.is_full() {
            let mut block_ended = false;
            match self.state {
                State::Header => self.read_header(source)?,
                State::Stored(0) => block_ended = true,
                State::Stored(left) => {
                    let chunk = source.chunk(left.min(CAPACITY - output.made))?;
                    if chunk.is_empty() {
                        return Err(truncated());
                    }
                    let end = output.made + chunk.len();
                    output.bytes[output.made..end].copy_from_slice(chunk);
                    output.made = end;
                    self.state = State::Stored(left - chunk.len());
                }
                State::Symbols => block_ended = self.decode_symbols(source, output)?,
            }
            if block_ended {
                self.state = State::Header;
                if std::mem::take(&mut self.last) {
                    source.align();
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn read_header<R: Read>(&mut self, source: &mut Source<R>) -> io::Result<()> {
        source.look_ahead(HEADER)?;
        source.bits.refill(&source.bytes);
        self.last = source.bits.take(1) == 1;
        let state = match source.bits.take(2) {
            0 => stored_length(source).map(State::Stored),
            1 => self.use_fixed_codes().map(|()| State::Symbols),
            2 => self.read_codes(source).map(|()| State::Symbols),
            _ => Err(corrupt("a block has an unknown type")),
        };
        // A header that is cut short reads as one that goes on with zeros, whatever is wrong with that.
        if source.is_overdrawn() {
            return Err(truncated());
        }
        self.state = state?;
        Ok(())
    }

    /// Makes the tables of RFC 1951, section 3.2.6.
    fn use_fixed_codes(&mut self) -> io::Result<()> {
        if !self.fixed {
            let mut lengths = [8; SYMBOLS];
            lengths[144..256].fill(9);
            lengths[256..280].fill(7);
            self.literals.build(&lengths, &LITERALS_AND_LENGTHS)?;
            self.distances.build(&[5; 32], &DISTANCES)?;
            self.fixed = true;
        }
        Ok(())
    }

    /// Makes the tables that a block describes: RFC 1951, section 3.2.7.
    fn read_codes<R>(&mut self, source: &mut Source<R>) -> io::Result<()> {
        const ORDER: [usize; 19] = [
            16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
        ];
        let bits = &mut source.bits;
        let literals = 257 + bits.take(5);
        let distances = 1 + bits.take(5);
        let described = 4 + bits.take(4);
        if literals > 286 || distances > 30 {
            return Err(corrupt("a block has more codes than there are symbols"));
        }
        let mut lengths = [0; ORDER.len()];
        for &symbol in &ORDER[..described] {
            bits.refill(&source.bytes);
            lengths[symbol] = low_byte(bits.take(3));
        }
        let mut table = Table::<7, 128>::new();
        table.build(&lengths, &CODE_LENGTHS)?;

        let mut lengths = [0; 286 + 30];
        let lengths = &mut lengths[..literals + distances];
        let mut at = 0;
        while at < lengths.len() {
            bits.refill(&source.bytes);
            let entry = table.look(bits.word);
            bits.consume(entry.consumed());
            let (length, times) = match entry.as_number() {
                16 if at == 0 => return Err(corrupt("the first length of a code is a repetition")),
                16 => (lengths[at - 1], 3 + bits.take(2)),
                17 => (0, 3 + bits.take(3)),
                18 => (0, 11 + bits.take(7)),
                length => (low_byte(length), 1),
            };
            let Some(repeated) = lengths.get_mut(at..at + times) else {
                return Err(corrupt("a block describes more codes than it has"));
            };
            repeated.fill(length);
            at += times;
        }
        if lengths[256] == 0 {
            return Err(corrupt("a block has no code for its end"));
        }
        self.fixed = false;
        self.literals
            .build(&lengths[..literals], &LITERALS_AND_LENGTHS)?;
        self.distances.build(&lengths[literals..], &DISTANCES)
    }

    /// Decodes symbols as far as input and output allow; tells whether the block has ended.
    fn decode_symbols<R: Read>(
        &self,
        source: &mut Source<R>,
        output: &mut Output,
    ) -> io::Result<bool> {
        if source.look_ahead(INPUT_SLACK)? {
            let limit = source.end - INPUT_SLACK;
            return self.decode_until(limit, &source.bytes, &mut source.bits, output);
        }
        // The source has ended, so these are the last few bytes, and zeros behind them. What the zeros would be
        // decoded to is not told from what the bytes are; so all of it is dropped if it was too much.
        let before = output.made;
        let limit = source.end + bits::WORD;
        let block_ended = self.decode_until(limit, &source.bytes, &mut source.bits, output);
        if source.is_overdrawn() {
            output.made = before;
            return Err(truncated());
        }
        block_ended
    }

    /// The loop: turns begin as long as no more than `limit` bytes were loaded and the output is not full.
    ///
    /// It knows nothing of where the bytes come from, so there is but one of it, into which all that it calls is inlined.
    fn decode_until(
        &self,
        limit: usize,
        bytes: &[u8; bits::SIZE],
        from: &mut Bits,
        output: &mut Output,
    ) -> io::Result<bool> {
        let (literals, distances) = (&*self.literals, &*self.distances);
        // In variables of its own the state stays in registers.
        let mut bits = *from;
        let mut out = Front {
            bytes: &mut output.bytes,
            made: output.made,
        };
        bits.refill(bytes);
        let mut entry = literals.look(bits.word);
        let block_ended = loop {
            // There are 56 bits, of which `entry` has looked at some but consumed none.
            if bits.next > limit || out.made > FULL {
                break Ok(false);
            }
            // Up to three looks at the root, 36 bits. They are written out since each is a branch that the processor
            // predicts for itself.
            let mut word = out.take_literals(entry, &mut bits);
            if entry.is_literals() {
                entry = literals.look(bits.word);
                word = out.take_literals(entry, &mut bits);
                if entry.is_literals() {
                    entry = literals.look(bits.word);
                    word = out.take_literals(entry, &mut bits);
                    if entry.is_literals() {
                        entry = literals.look(bits.word);
                        bits.refill(bytes);
                        continue;
                    }
                }
            }
            if entry.is_exception() {
                if entry.is_subtable() {
                    entry = literals.look_on(entry, bits.word);
                    word = out.take_literals(entry, &mut bits);
                    if entry.is_literals() {
                        entry = literals.look(bits.word);
                        bits.refill(bytes);
                        continue;
                    }
                }
                if entry.is_exception() {
                    break if entry.is_end() {
                        Ok(true)
                    } else {
                        Err(corrupt("a code has no meaning"))
                    };
                }
            }
            let length = entry.length(word);
            // At least 8 bits are left: 12 bits went to each look, and up to 3 to the subtable and 5 to extra bits.
            let mut far = distances.look(bits.word);
            bits.refill(bytes);
            if far.is_exception() {
                bits.consume(far.consumed());
                if far.is_subtable() {
                    far = distances.look_on(far, bits.word);
                }
                if far.is_exception() {
                    break Err(corrupt("a code has no meaning"));
                }
            }
            let distance = far.distance(bits.word);
            bits.consume(far.consumed());
            // The next look waits for nothing; neither the copy nor the refill.
            entry = literals.look(bits.word);
            bits.refill(bytes);
            if distance > out.made - output.begin {
                break Err(corrupt("a match begins before the data"));
            }
            out.copy_match(distance, length);
        };
        *from = bits;
        output.made = out.made;
        block_ended
    }
}

/// The output as the loop has it.
struct Front<'a> {
    bytes: &'a mut [u8; CAPACITY],
    made: usize,
}

impl Front<'_> {
    /// Writes the literals of an entry, if any, and consumes it. Returns the bits as they were before.
    #[inline]
    fn take_literals(&mut self, entry: Entry, bits: &mut Bits) -> u64 {
        let word = bits.word;
        // Always two, for there is no branch in that; the next write corrects it.
        self.bytes[self.made..self.made + 2].copy_from_slice(&entry.literals());
        self.made += entry.literal_count();
        bits.consume(entry.consumed());
        word
    }

    /// Appends `length` bytes that begin `distance` bytes back, where they may not all be yet.
    #[inline]
    fn copy_match(&mut self, mut distance: usize, length: usize) {
        let mut from = self.made - distance;
        let mut to = self.made;
        self.made += length;
        // Closer than a chunk, the bytes repeat: so much as there is of them doubles with every copy.
        while distance < CHUNK {
            self.copy_chunk(from, to);
            to += distance;
            distance *= 2;
        }
        // Two chunks without asking: few matches are longer.
        self.copy_chunk(from, to);
        self.copy_chunk(from + CHUNK, to + CHUNK);
        while to + 2 * CHUNK < self.made {
            from += CHUNK;
            to += CHUNK;
            self.copy_chunk(from + CHUNK, to + CHUNK);
        }
    }

    #[inline]
    fn copy_chunk(&mut self, from: usize, to: usize) {
        self.bytes.copy_within(from..from + CHUNK, to);
    }
}

/// The length of a stored block: RFC 1951, section 3.2.4.
fn stored_length<R: Read>(source: &mut Source<R>) -> io::Result<usize> {
    source.align();
    source.bits.refill(&source.bytes);
    let length = source.bits.take(16);
    let complement = source.bits.take(16);
    source.align();
    if length != complement ^ 0xffff {
        return Err(corrupt("a stored block has two lengths"));
    }
    Ok(length)
}

/// A number of a few bits as what the tables are made from.
fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}
