//! Members of a gzip file: RFC 1952, section 2.3.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use crc32fast::Hasher;

use super::bits::Source;
use super::block::{CAPACITY, Inflater, Output};
use super::{corrupt, truncated};

/// What comes next in a file.
enum State {
    /// The header of the first member.
    Start,
    /// The stream of a member.
    Stream,
    /// Another member, zeros that fill up a tape's block, or nothing.
    Behind,
    Ended,
    Failed,
}

/// Bytes of the buffers that [`GzipReader::exchange`] takes without allocating.
pub const BUFFER: usize = CAPACITY;

/// A reader of what a gzip file (RFC 1952) with its deflate streams (RFC 1951) holds.
///
/// Members that follow one another are read as one text, as the format has it. Zeros behind the last member are skipped
/// as gzip(1) does; anything else there is an error. The length and the checksum of each member are verified when its
/// end is reached: until then what was read may be wrong, though never more than what the file says.
///
/// Memory is bounded by about half a megabyte. The source is read ahead in large pieces, so it needs no buffer, and to
/// its very end.
///
/// [`BufRead::fill_buf`] lends up to 256 KiB where they were decoded, so who can work with that saves a copy.
/// [`GzipReader::exchange`] hands them over, for another thread to work with.
///
/// # Errors
/// `InvalidData` if the data breaks a rule, `UnexpectedEof` if it ends early, and the errors of the source but
/// `Interrupted`, after which is tried again. What was decoded before comes first. An error is final.
pub struct GzipReader<R> {
    source: Source<R>,
    inflater: Inflater,
    output: Output,
    /// Up to where the output is consumed.
    consumed: usize,
    state: State,
    /// Why the state is `Failed`, until it was told.
    failure: Option<io::Error>,
    /// Checksum and length of the member so far.
    checksum: Hasher,
    length: u32,
}

impl<R: Read> GzipReader<R> {
    /// A reader of the gzip file that `source` has.
    pub fn new(source: R) -> Self {
        Self {
            source: Source::new(source),
            inflater: Inflater::new(),
            output: Output::new(),
            consumed: 0,
            state: State::Start,
            failure: None,
            checksum: Hasher::new(),
            length: 0,
        }
    }

    /// The source, from which more may have been read than was decoded.
    pub fn into_inner(self) -> R {
        self.source.into_reader()
    }

    /// Hands over the buffer that was decoded into, and where in it lie the bytes that were not consumed: about 256 KiB,
    /// or less at the end of the file, or none behind that. They count as consumed.
    ///
    /// In exchange `spare` is decoded into from now on: best a buffer that was handed over before. Its contents do not
    /// matter, and if its length is not [`BUFFER`] a new one is allocated in its place.
    ///
    /// # Errors
    /// As those of reading.
    pub fn exchange(&mut self, spare: Vec<u8>) -> io::Result<(Vec<u8>, Range<usize>)> {
        // Members may be tiny, and each exchange copies a window: so it waits for a full buffer.
        while !self.output.is_full() && self.advance()? {}
        let new = self.consumed..self.output.made();
        let buffer = self.output.exchange(spare);
        self.consumed = self.output.made();
        Ok((buffer, new))
    }

    /// Takes a step and tells whether there may be more: neither the end is reached nor an error.
    ///
    /// An error is told at once only if there is nothing to consume before it.
    fn advance(&mut self) -> io::Result<bool> {
        let error = match self.step() {
            Ok(state) => {
                self.state = state;
                return Ok(!matches!(self.state, State::Ended));
            }
            Err(error) => error,
        };
        self.state = State::Failed;
        if self.consumed == self.output.made() {
            return Err(error);
        }
        self.failure = Some(error);
        Ok(false)
    }

    /// One step in a file; the next state.
    fn step(&mut self) -> io::Result<State> {
        match self.state {
            State::Start => {
                let first = self.byte()?;
                self.read_header(first)
            }
            State::Stream => self.read_stream(),
            State::Behind => match self.source.chunk(1)? {
                [] => Ok(State::Ended),
                [0] => self.skip_zeros(),
                &[first, ..] => self.read_header(first),
            },
            State::Ended => Ok(State::Ended),
            State::Failed => Err(self
                .failure
                .take()
                .unwrap_or_else(|| corrupt("it was read beyond an error"))),
        }
    }

    /// Reads the header of a member, whose first byte is read already.
    fn read_header(&mut self, first: u8) -> io::Result<State> {
        const HAS_CHECKSUM: u8 = 1 << 1;
        const HAS_EXTRA: u8 = 1 << 2;
        const HAS_NAME: u8 = 1 << 3;
        const HAS_COMMENT: u8 = 1 << 4;
        const RESERVED: u8 = 0b1110_0000;
        const DEFLATE: u8 = 8;

        let mut header = Header {
            source: &mut self.source,
            checksum: Hasher::new(),
        };
        header.checksum.update(&[first]);
        if [first, header.byte()?] != [0x1f, 0x8b] {
            return Err(corrupt("a member does not begin with the magic number"));
        }
        if header.byte()? != DEFLATE {
            return Err(corrupt("a member has an unknown method"));
        }
        let flags = header.byte()?;
        if flags & RESERVED != 0 {
            return Err(corrupt("a member has reserved flags"));
        }
        // The time, a word on the effort, and the system.
        header.skip(6)?;
        if flags & HAS_EXTRA != 0 {
            let length = u16::from_le_bytes([header.byte()?, header.byte()?]);
            header.skip(length)?;
        }
        if flags & HAS_NAME != 0 {
            header.skip_text()?;
        }
        if flags & HAS_COMMENT != 0 {
            header.skip_text()?;
        }
        if flags & HAS_CHECKSUM != 0 {
            let [low, high, ..] = header.checksum.clone().finalize().to_le_bytes();
            if [header.byte()?, header.byte()?] != [low, high] {
                return Err(corrupt("the header of a member has another checksum"));
            }
        }
        self.output.begin_stream();
        self.checksum.reset();
        self.length = 0;
        Ok(State::Stream)
    }

    /// Decodes what there is room for, and verifies a member at its end.
    fn read_stream(&mut self) -> io::Result<State> {
        let start = self.output.made();
        let ended = self.inflater.run(&mut self.source, &mut self.output);
        let new = self.output.since(start);
        self.checksum.update(new);
        // The format counts modulo 2^32, and what is new is far shorter.
        self.length = self
            .length
            .wrapping_add(u32::try_from(new.len()).unwrap_or_default());
        if !ended? {
            return Ok(State::Stream);
        }
        if self.number()? != self.checksum.clone().finalize() {
            return Err(corrupt("a member has another checksum"));
        }
        if self.number()? != self.length {
            return Err(corrupt("a member has another length"));
        }
        Ok(State::Behind)
    }

    fn skip_zeros(&mut self) -> io::Result<State> {
        loop {
            let chunk = self.source.chunk(usize::MAX >> 1)?;
            if chunk.is_empty() {
                return Ok(State::Ended);
            }
            if chunk.iter().any(|&byte| byte != 0) {
                return Err(corrupt("other data follows the last member"));
            }
        }
    }

    fn number(&mut self) -> io::Result<u32> {
        let bytes = [self.byte()?, self.byte()?, self.byte()?, self.byte()?];
        Ok(u32::from_le_bytes(bytes))
    }

    fn byte(&mut self) -> io::Result<u8> {
        byte(&mut self.source)
    }
}

impl<R: Read> BufRead for GzipReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.consumed == self.output.made() {
            self.output.make_room();
            self.consumed = self.output.made();
            if !self.advance()? {
                break;
            }
        }
        Ok(self.output.since(self.consumed))
    }

    fn consume(&mut self, amount: usize) {
        self.consumed = self.output.made().min(self.consumed + amount);
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// A header that is being read, and its checksum so far.
struct Header<'a, R> {
    source: &'a mut Source<R>,
    checksum: Hasher,
}

impl<R: Read> Header<'_, R> {
    fn byte(&mut self) -> io::Result<u8> {
        let byte = byte(self.source)?;
        self.checksum.update(&[byte]);
        Ok(byte)
    }

    fn skip(&mut self, count: u16) -> io::Result<()> {
        for _ in 0..count {
            self.byte()?;
        }
        Ok(())
    }

    /// Skips a text and the zero behind it.
    fn skip_text(&mut self) -> io::Result<()> {
        while self.byte()? != 0 {}
        Ok(())
    }
}

fn byte<R: Read>(source: &mut Source<R>) -> io::Result<u8> {
    source.chunk(1)?.first().copied().ok_or_else(truncated)
}
