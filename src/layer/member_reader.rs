//! The contents of one member of a wheel: unpacked as they are read, and held against their hash before the end is told.

use std::io::{self, BufReader, Read};

use flate2::bufread::DeflateDecoder;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::packaging::record::RecordHash;

use super::wheel_error::{WheelError, WheelFault};
use super::zip_archive::{Contents, Member, Method};

/// Packed bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// A part of an archive, as a reader.
#[derive(Debug)]
struct Part {
    contents: Contents,
    position: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        if length == 0 {
            return Ok(0);
        }
        let read = self
            .contents
            .read_at(&mut buffer[..length], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

#[derive(Debug)]
enum Unpacked {
    Stored(Part),
    Deflated(Box<DeflateDecoder<BufReader<Part>>>),
}

impl Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(part) => part.read(buffer),
            Self::Deflated(decoder) => decoder.read(buffer),
        }
    }
}

/// The algorithms of [`RecordHash`].
#[derive(Debug, Clone)]
enum Hashing {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Box<Sha512>),
}

impl Hashing {
    fn of(hash: &RecordHash) -> Self {
        match hash {
            RecordHash::Sha256(_) => Self::Sha256(Sha256::new()),
            RecordHash::Sha384(_) => Self::Sha384(Sha384::new()),
            RecordHash::Sha512(_) => Self::Sha512(Box::new(Sha512::new())),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha384(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    fn finish(self) -> RecordHash {
        match self {
            Self::Sha256(state) => RecordHash::Sha256(state.finalize().into()),
            Self::Sha384(state) => RecordHash::Sha384(state.finalize().into()),
            Self::Sha512(state) => RecordHash::Sha512(state.finalize().into()),
        }
    }
}

/// Reads the contents of one member of a wheel.
///
/// The last bytes are handed over only when size, checksum and hash are those that were promised: whoever has read as many
/// bytes as the member has, and no error, has read the right ones. Errors are [`WheelError`]s inside of [`io::Error`]s.
#[derive(Debug)]
pub struct MemberReader<'a> {
    unpacked: Unpacked,
    wheel: &'a str,
    member: &'a Member,
    expected: Option<RecordHash>,
    hashing: Option<Hashing>,
    checksum: crc32fast::Hasher,
    read: u64,
    ended: bool,
}

impl<'a> MemberReader<'a> {
    /// Reads `member` of the archive in `contents`, which belongs to `wheel`; `expected` is what RECORD states.
    pub(super) fn new(
        wheel: &'a str,
        contents: &Contents,
        member: &'a Member,
        expected: Option<RecordHash>,
    ) -> Self {
        let part = Part {
            contents: contents.clone(),
            position: member.start,
            end: member.start + member.packed,
        };
        let unpacked = match member.method {
            Method::Stored => Unpacked::Stored(part),
            Method::Deflated => Unpacked::Deflated(Box::new(DeflateDecoder::new(
                BufReader::with_capacity(CHUNK, part),
            ))),
        };
        Self {
            unpacked,
            wheel,
            member,
            expected,
            hashing: expected.as_ref().map(Hashing::of),
            checksum: crc32fast::Hasher::new(),
            read: 0,
            ended: false,
        }
    }

    fn differs(&self, promised: &'static str, mismatch: String) -> io::Error {
        let fault = WheelFault::Contents {
            member: self.member.name.clone(),
            promised,
            mismatch,
        };
        let error = WheelError::new(self.wheel, fault);
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// What is wrong with an unpacked stream, or with the machine.
    fn failed(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidData
            | io::ErrorKind::UnexpectedEof => self.differs(
                "its archive states",
                format!("it cannot be unpacked ({error})"),
            ),
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, WheelError::new(self.wheel, WheelFault::Io(error))),
        }
    }

    /// Compares everything at the end.
    fn check(&mut self) -> io::Result<()> {
        self.ended = true;
        if self.read != self.member.size {
            let (read, size) = (self.read, self.member.size);
            return Err(self.differs(
                "its archive states",
                format!("it has {read} bytes, not {size}"),
            ));
        }
        let found = std::mem::take(&mut self.checksum).finalize();
        if found != self.member.crc32 {
            let expected = self.member.crc32;
            return Err(self.differs(
                "its archive states",
                format!("its checksum is {found:08x}, not {expected:08x}"),
            ));
        }
        if let (Some(hashing), Some(expected)) = (self.hashing.take(), self.expected) {
            let found = hashing.finish();
            if found != expected {
                return Err(self.differs(
                    "RECORD states",
                    format!("its hash is {found}, not {expected}"),
                ));
            }
        }
        Ok(())
    }
}

impl Read for MemberReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.ended {
            return Ok(0);
        }
        let read = self
            .unpacked
            .read(buffer)
            .map_err(|error| self.failed(error))?;
        self.read += read as u64;
        self.checksum.update(&buffer[..read]);
        if let Some(hashing) = &mut self.hashing {
            hashing.update(&buffer[..read]);
        }
        if read > 0 && self.read == self.member.size {
            // The promised end: there must be nothing behind it.
            let more = self
                .unpacked
                .read(&mut [0])
                .map_err(|error| self.failed(error))?;
            self.read += more as u64;
            self.check()?;
        } else if read == 0 || self.read > self.member.size {
            self.check()?;
        }
        Ok(read)
    }
}
