//! The few fields of an ELF header that tell what an executable runs on: its machine and its loader.
//!
//! Specification: System V ABI, chapters 4 and 5, <https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html>.
//! A reader of the whole format (`object`, `goblin`) would bring thousands of lines for these four fields, and wants
//! the file at hand.
//!
//! Of a stream only what lies ahead can still be had. The program headers mostly follow the file header, and the path
//! of the loader them; but `patchelf` moves either to the end of the file. So the header says where the program
//! headers lie, they say where the path lies, and each place is waited for. For what lies behind by then, the first
//! [`HEAD`] bytes are kept.

use super::ElfFacts;

/// Bytes kept from the beginning: linkers put the path of the loader into the first page.
const HEAD: usize = 64 << 10;
/// Size of the file header of 64 bits; that of 32 is shorter.
const FILE_HEADER: usize = 64;
/// Program headers read at most; real executables have about a dozen.
const MAX_PROGRAM_HEADERS: u64 = 128;
/// Largest program header that is believed, in bytes: they have 32 or 56.
const MAX_PROGRAM_HEADER_SIZE: u64 = 256;
/// Longest loader path that is believed, in bytes (`PATH_MAX` of Linux).
const MAX_INTERPRETER: u64 = 4096;
/// Program header type of the loader's path.
const PT_INTERP: u64 = 3;

/// Reads the header out of a stream.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    /// The first bytes, at most [`HEAD`].
    head: Vec<u8>,
    /// How many bytes have gone by.
    position: u64,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// The file header is not complete yet.
    #[default]
    FileHeader,
    /// The program headers are waited for.
    ProgramHeaders(Header, Range),
    /// The path of the loader is waited for.
    Interpreter(Header, Range),
    /// All is known.
    Done(Option<ElfFacts>),
}

/// A part of the file that is wanted.
#[derive(Debug)]
struct Range {
    start: u64,
    length: usize,
    bytes: Vec<u8>,
}

impl Range {
    fn new(start: u64, length: u64) -> Self {
        Self {
            start,
            length: usize::try_from(length).unwrap_or(usize::MAX),
            bytes: Vec::new(),
        }
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(self.length as u64)
    }

    fn is_complete(&self) -> bool {
        self.bytes.len() >= self.length
    }

    /// Takes what continues this range out of `bytes`, which lie at `position`.
    fn fill(&mut self, position: u64, bytes: &[u8]) {
        let next = self.start.saturating_add(self.bytes.len() as u64);
        let offset = next
            .checked_sub(position)
            .and_then(|offset| usize::try_from(offset).ok());
        if let Some(rest) = offset.and_then(|offset| bytes.get(offset..)) {
            let missing = self.length - self.bytes.len();
            self.bytes
                .extend_from_slice(&rest[..rest.len().min(missing)]);
        }
    }
}

impl HeaderReader {
    /// Takes in the next bytes.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let missing = HEAD - self.head.len();
        self.head
            .extend_from_slice(&piece[..piece.len().min(missing)]);
        let position = self.position;
        self.position += piece.len() as u64;
        if self.head.len() >= FILE_HEADER || matches!(self.state, State::Done(_)) {
            self.advance(position, piece, false);
        }
    }

    /// Whether the bytes begin with `start`.
    pub(super) fn begins_with(&self, start: &[u8]) -> bool {
        self.head.starts_with(start)
    }

    /// Whether further bytes would tell nothing more.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// What the header says, as far as the file goes.
    pub(super) fn finish(mut self) -> Option<ElfFacts> {
        self.advance(self.position, &[], true);
        match self.state {
            State::Done(facts) => facts,
            // `advance` at the end leaves no other state.
            _ => None,
        }
    }

    /// Goes on from state to state as long as what is wanted is there; at the end of the file, with what there is.
    fn advance(&mut self, position: u64, piece: &[u8], at_end: bool) {
        loop {
            self.state = match std::mem::take(&mut self.state) {
                State::FileHeader => match Header::parse(&self.head) {
                    Some(header) => {
                        let range = Range::new(header.program_headers_at, header.table_size());
                        // What is behind the file header and not ahead of it is in the head.
                        self.wait(range, 0, |range| State::ProgramHeaders(header, range))
                    }
                    None => State::Done(None),
                },
                State::ProgramHeaders(header, mut range) => {
                    range.fill(position, piece);
                    if !range.is_complete() && !at_end {
                        self.state = State::ProgramHeaders(header, range);
                        return;
                    }
                    match header.interpreter_in(&range.bytes) {
                        Some(wanted) => self.wait(wanted, range.end(), |wanted| {
                            State::Interpreter(header, wanted)
                        }),
                        None => State::Done(Some(header.facts(None))),
                    }
                }
                State::Interpreter(header, mut range) => {
                    range.fill(position, piece);
                    if !range.is_complete() && !at_end {
                        self.state = State::Interpreter(header, range);
                        return;
                    }
                    let end = memchr::memchr(0, &range.bytes).unwrap_or(range.bytes.len());
                    let path = std::str::from_utf8(&range.bytes[..end]).ok();
                    State::Done(Some(header.facts(path)))
                }
                State::Done(facts) => {
                    self.head.truncate(2);
                    self.state = State::Done(facts);
                    return;
                }
            };
        }
    }

    /// The state that waits for `range`, which what ends at `known_at` told of. A range that has gone by and is not in
    /// the head stays empty: which bytes of it the present piece still has is chance.
    fn wait(&self, mut range: Range, known_at: u64, state: impl FnOnce(Range) -> State) -> State {
        if range.end() <= HEAD as u64 || range.start >= known_at {
            range.fill(0, &self.head);
        } else {
            range.length = 0;
        }
        state(range)
    }
}

/// The fixed fields at the start of the file.
#[derive(Debug)]
struct Header {
    wide: bool,
    little: bool,
    machine: u64,
    program_headers_at: u64,
    program_header_size: u64,
    program_headers: u64,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(b"\x7fELF") {
            return None;
        }
        let wide = match bytes.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let little = match bytes.get(5)? {
            1 => true,
            2 => false,
            _ => return None,
        };
        let field = |offset, size| number(bytes, offset, size, little);
        let (offset_at, size_at) = if wide { ((32, 8), 54) } else { ((28, 4), 42) };
        Some(Self {
            wide,
            little,
            machine: field(18, 2)?,
            program_headers_at: field(offset_at.0, offset_at.1)?,
            program_header_size: field(size_at, 2)?,
            program_headers: field(size_at + 2, 2)?,
        })
    }

    /// Size of the program headers that are looked at, in bytes.
    fn table_size(&self) -> u64 {
        if self.program_header_size > MAX_PROGRAM_HEADER_SIZE {
            return 0;
        }
        self.program_header_size * self.program_headers.min(MAX_PROGRAM_HEADERS)
    }

    /// Where the program headers say that the path of the loader lies.
    fn interpreter_in(&self, table: &[u8]) -> Option<Range> {
        let size = usize::try_from(self.program_header_size).ok()?.max(1);
        table.chunks_exact(size).find_map(|bytes| {
            let field = |offset, size| number(bytes, offset, size, self.little);
            let (offset, length) = if self.wide {
                (field(8, 8)?, field(32, 8)?)
            } else {
                (field(4, 4)?, field(16, 4)?)
            };
            let is_wanted = field(0, 4)? == PT_INTERP && length <= MAX_INTERPRETER;
            is_wanted.then(|| Range::new(offset, length))
        })
    }

    fn facts(&self, interpreter: Option<&str>) -> ElfFacts {
        ElfFacts {
            architecture: self.architecture().map(ToOwned::to_owned),
            interpreter: interpreter
                .filter(|path| !path.is_empty())
                .map(ToOwned::to_owned),
        }
    }

    fn architecture(&self) -> Option<&'static str> {
        Some(match (self.machine, self.wide, self.little) {
            (3, ..) => "i686",
            (20 | 21, true, false) => "ppc64",
            (21, true, true) => "ppc64le",
            (22, true, _) => "s390x",
            (40, ..) => "armv7l",
            (62, true, _) => "x86_64",
            (183, ..) => "aarch64",
            (243, true, _) => "riscv64",
            (258, true, _) => "loongarch64",
            _ => return None,
        })
    }
}

/// An unsigned number of `size` bytes at `offset`; `None` beyond the end.
fn number(bytes: &[u8], offset: usize, size: usize, little: bool) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(size)?)?;
    let push = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    Some(if little {
        bytes.iter().rev().fold(0, push)
    } else {
        bytes.iter().fold(0, push)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const LOADER: &str = "/lib/ld-musl-aarch64.so.1";

    /// A 64-bit little-endian executable of `machine` whose program header lies at `headers_at` and whose loader's path
    /// at `loader_at`.
    fn moved(machine: u16, loader: &str, headers_at: usize, loader_at: usize) -> Vec<u8> {
        let mut bytes = vec![0; (headers_at + 56).max(loader_at + loader.len() + 1)];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&(headers_at as u64).to_le_bytes());
        bytes[54] = 56;
        bytes[56] = 1;
        let header = &mut bytes[headers_at..headers_at + 56];
        header[0] = 3;
        header[8..16].copy_from_slice(&(loader_at as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(loader.len() as u64 + 1).to_le_bytes());
        bytes[loader_at..loader_at + loader.len()].copy_from_slice(loader.as_bytes());
        bytes
    }

    /// A 64-bit little-endian executable of `machine` that names `loader` and carries `text`, NUL-terminated.
    pub(in super::super) fn executable(machine: u16, loader: &str, text: &str) -> Vec<u8> {
        let mut bytes = moved(machine, loader, 64, 120);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        bytes
    }

    fn read(pieces: &[&[u8]]) -> Option<ElfFacts> {
        let mut reader = HeaderReader::default();
        for piece in pieces {
            reader.push(piece);
        }
        reader.finish()
    }

    #[test]
    fn machine_and_loader_are_read_wherever_they_lie() {
        let far = HEAD + 5000;
        for (headers_at, loader_at, found) in [
            (64, 120, true),
            (64, far, true),
            (far, far + 100, true),
            // Behind the program headers, but in the head.
            (far, 64, true),
            // Behind, and gone: the machine is still known.
            (far, HEAD + 10, false),
            (far, HEAD - 10, false),
        ] {
            let bytes = moved(183, LOADER, headers_at, loader_at);
            let expected = Some(ElfFacts {
                architecture: Some("aarch64".to_owned()),
                interpreter: found.then(|| LOADER.to_owned()),
            });
            assert_eq!(read(&[&bytes]), expected, "{headers_at} {loader_at}");
            for cut in (0..bytes.len()).step_by(if bytes.len() > 1000 { 97 } else { 1 }) {
                let (first, second) = bytes.split_at(cut);
                assert_eq!(
                    read(&[first, second]),
                    expected,
                    "{headers_at} {loader_at} {cut}"
                );
            }
        }
    }

    #[test]
    fn no_cut_and_no_byte_makes_it_panic() {
        let whole = executable(62, "/lib64/ld-linux-x86-64.so.2", "3.10.13");
        for end in 0..whole.len() {
            let facts = read(&[&whole[..end]]);
            assert_eq!(facts.is_some(), end >= 58, "{end}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[at] = value;
                let facts = read(&[&broken]);
                for cut in [1, 63, 64, 65, 119, 121] {
                    let (first, second) = broken.split_at(cut);
                    assert_eq!(read(&[first, second]), facts);
                }
            }
        }
        assert_eq!(read(&[b"#!/bin/sh\n"]), None);
    }
}
