//! The entries of a layer in the order in which they come: a walk over the blocks of a tar archive that holds one header
//! at a time and never copies a body that nobody asked for.
//!
//! Specification: POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Extended Header"; the GNU tar manual, "Basic
//! Tar Format" and "Sparse Formats"; OCI image-spec `layer.md`. Where these leave something open, Go's `archive/tar` is
//! followed, since every engine reads layers with it: entries that are only headers have no body whatever their size
//! says, an archive may lack its end marker, a single zero block before another header is an error, and records of a
//! global pax header apply to nothing.
//!
//! The `tar` crate tells where the fields of a header lie. Its own iterator is not used, as it holds names and extended
//! headers of any length in memory.

pub mod decompress;
pub mod path;
mod pax;

use std::io::{self, BufRead};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::Attributes;
use super::limits::{Bounded, LimitExceeded, MAX_PATH_BYTES, MAX_PAX_BYTES, MAX_SPARSE_PIECES};
use pax::PaxRecords;

/// Size of a block in bytes.
const BLOCK: usize = 512;

/// Zeros of which the holes of sparse files are made.
const ZEROS: [u8; 4096] = [0; 4096];

/// What an entry of an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link; its target is the entry's link.
    Symlink,
    /// Another name of the file that the entry's link names, seen from the root.
    HardLink,
    /// A device or a pipe.
    Other,
}

/// The facts of one entry.
#[derive(Debug)]
pub struct ArchiveEntry {
    /// Its path, normalized as [`path::normalize`] does; empty for the root. Not always UTF-8.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: ArchiveKind,
    /// The size of its contents in bytes, holes of a sparse file included.
    pub size: u64,
    /// The target of a link, as it stands in the archive.
    pub link: Vec<u8>,
    /// Whether the file has holes.
    pub is_sparse: bool,
    /// Permissions and owner. A number that cannot be read counts as 0: nothing else depends on it.
    pub attributes: Attributes,
}

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The reader below failed.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// The archive is broken.
    #[error("{reason}, {place}")]
    Invalid {
        /// The entry, or the one before.
        place: Place,
        /// What is wrong.
        reason: &'static str,
    },
    /// The archive exceeds a bound.
    #[error("{limit}, {place}")]
    Limit {
        /// The entry, or the one before.
        place: Place,
        /// The bound.
        limit: LimitExceeded,
    },
    /// What takes the bodies failed.
    #[error("cannot be kept")]
    Keep(#[source] io::Error),
}

/// Where in an archive something went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In its first header.
    Start,
    /// At or behind the entry of this name.
    Entry(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start => f.write_str("at its beginning"),
            Self::Entry(name) => write!(f, "at or behind its entry `{name}`"),
        }
    }
}

/// Where the data of a sparse file belongs.
#[derive(Debug)]
enum Sparse {
    /// The file has no holes.
    No,
    /// Offset and length of each piece in turn.
    Pieces(Vec<u64>),
    /// The map stands before the data.
    InBody,
    /// It has more pieces than are remembered.
    TooMany,
}

/// A walk over the entries of an archive.
#[derive(Debug)]
pub struct Entries<R> {
    reader: R,
    entry: ArchiveEntry,
    sparse: Sparse,
    /// Bytes of the body that have not been read.
    remaining: u64,
    /// Bytes that follow the body up to the next block.
    padding: u64,
    /// Whether an entry has been read.
    started: bool,
    ended: bool,
}

/// What stands where a header is expected.
enum Block {
    Header(Box<Header>),
    End,
}

impl<R: BufRead> Entries<R> {
    /// Walks the uncompressed archive `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            entry: ArchiveEntry {
                path: Vec::new(),
                kind: ArchiveKind::Other,
                size: 0,
                link: Vec::new(),
                is_sparse: false,
                attributes: Attributes::IMPLIED,
            },
            sparse: Sparse::No,
            remaining: 0,
            padding: 0,
            started: false,
            ended: false,
        }
    }

    /// The entry that [`Entries::advance`] came to.
    pub fn entry(&self) -> &ArchiveEntry {
        &self.entry
    }

    /// Goes to the next entry, past what was not read of the one before; `false` once there is none, when the reader has
    /// been read to its end, whatever stands behind the archive's end marker.
    ///
    /// # Errors
    /// Every [`WalkError`] but `Keep`.
    pub fn advance(&mut self) -> Result<bool, WalkError> {
        self.skip()?;
        let mut pax = PaxRecords::default();
        let (mut long_name, mut long_link) = (None, None);
        let mut pending = false;
        loop {
            let header = match self.header()? {
                Block::Header(header) => header,
                Block::End if pending => {
                    return Err(self.invalid("it ends where an extended header's entry should be"));
                }
                Block::End => return Ok(false),
            };
            let size = number(&header.as_old().size)
                .ok_or_else(|| self.invalid("a size that is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => long_name = Some(self.long_text(size)?),
                EntryType::GNULongLink => long_link = Some(self.long_text(size)?),
                EntryType::XHeader => {
                    if size > MAX_PAX_BYTES {
                        return Err(self.limit(Bounded::PaxBytes.at(MAX_PAX_BYTES)));
                    }
                    let block = self.small_body(size)?;
                    pax.read(&block).map_err(|reason| self.invalid(reason))?;
                }
                EntryType::XGlobalHeader => {
                    self.expect_body(size);
                    self.skip()?;
                }
                kind => {
                    if let Some(kind) = self.take(kind, &header, size, &mut pax)? {
                        self.entry.kind = kind;
                        self.name(&header, pax, long_name, long_link)?;
                        return Ok(true);
                    }
                    // An entry that nobody unpacks takes its extended headers with it.
                    self.skip()?;
                    pax = PaxRecords::default();
                    (long_name, long_link) = (None, None);
                    pending = false;
                    continue;
                }
            }
            pending = true;
        }
    }

    /// Takes size and body of an entry; `None` for one of a kind that has no place in a file system.
    fn take(
        &mut self,
        kind: EntryType,
        header: &Header,
        size: u64,
        pax: &mut PaxRecords,
    ) -> Result<Option<ArchiveKind>, WalkError> {
        let size = pax.size.unwrap_or(size);
        self.sparse = Sparse::No;
        self.entry.size = 0;
        // The bytes of the archive that hold no body: folders of archives older than POSIX are files with a slash.
        let old_folder = header.as_bytes()[156] == 0
            && pax.path.as_deref().map_or_else(
                || header.path_bytes().ends_with(b"/"),
                |path| path.ends_with(b"/"),
            );
        let kind = match kind {
            EntryType::Directory => ArchiveKind::Directory,
            EntryType::Regular if old_folder => ArchiveKind::Directory,
            EntryType::Symlink => ArchiveKind::Symlink,
            EntryType::Link => ArchiveKind::HardLink,
            EntryType::Char | EntryType::Block | EntryType::Fifo => ArchiveKind::Other,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => ArchiveKind::File,
            _ => {
                self.expect_body(size);
                return Ok(None);
            }
        };
        if kind == ArchiveKind::File {
            self.expect_body(size);
            self.entry.size = size;
            if header.entry_type() == EntryType::GNUSparse {
                self.sparse = self.old_sparse(header)?;
            } else if pax.sparse.is_sparse() {
                self.entry.size = pax
                    .sparse
                    .real_size
                    .ok_or_else(|| self.invalid("a sparse file without a size"))?;
                self.sparse = if pax.sparse.map_in_body() {
                    Sparse::InBody
                } else if pax.sparse.too_many {
                    Sparse::TooMany
                } else {
                    Sparse::Pieces(std::mem::take(&mut pax.sparse.pieces))
                };
            }
        }
        self.entry.is_sparse = !matches!(self.sparse, Sparse::No);
        let stored = header.as_old();
        let or_stored = |pax: Option<u64>, field: &[u8]| pax.or_else(|| number(field)).unwrap_or(0);
        // Some programs write the kind of file into the mode as well; its last twelve bits are the permissions.
        let mode = number(&stored.mode).unwrap_or(0) & 0o7777;
        self.entry.attributes = Attributes {
            mode: u32::try_from(mode).unwrap_or(0),
            uid: or_stored(pax.uid, &stored.uid),
            gid: or_stored(pax.gid, &stored.gid),
        };
        Ok(Some(kind))
    }

    /// Takes path and link of an entry.
    fn name(
        &mut self,
        header: &Header,
        pax: PaxRecords,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<(), WalkError> {
        let sparse_name = pax.sparse.name.filter(|_| self.entry.is_sparse);
        let name = sparse_name.or(long_name).or(pax.path);
        let stored = header.path_bytes();
        let name = name.as_deref().unwrap_or(&stored);
        path::normalize(name, &mut self.entry.path);
        self.started = true;
        if let Err(limit) = path::check(&self.entry.path) {
            self.entry.path.truncate(SHOWN);
            return Err(self.limit(limit));
        }
        self.entry.link.clear();
        if matches!(
            self.entry.kind,
            ArchiveKind::Symlink | ArchiveKind::HardLink
        ) {
            let stored = header.link_name_bytes().unwrap_or_default();
            let link = long_link.or(pax.link_path);
            let link = link.as_deref().unwrap_or(&stored);
            if link.len() > MAX_PATH_BYTES {
                return Err(self.limit(Bounded::PathBytes.at(MAX_PATH_BYTES as u64)));
            }
            self.entry.link.extend_from_slice(link);
        }
        Ok(())
    }

    /// Whether [`Entries::read_body`] can give the whole contents of the file.
    pub fn is_readable(&self) -> bool {
        !matches!(self.sparse, Sparse::TooMany)
    }

    /// Hands the contents of the file to `sink`, piece by piece, holes as zeros. May be called once for an entry.
    ///
    /// # Errors
    /// As [`Entries::advance`], and [`WalkError::Keep`] with what `sink` fails with.
    pub fn read_body(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), WalkError> {
        let pieces = match std::mem::replace(&mut self.sparse, Sparse::No) {
            Sparse::No => return self.copy(self.remaining, &mut sink),
            Sparse::TooMany => return Err(self.invalid("a sparse file in too many pieces")),
            Sparse::Pieces(pieces) => pieces,
            Sparse::InBody => self.map_of_body()?,
        };
        let mut position = 0;
        for piece in pieces.chunks(2) {
            let &[offset, length] = piece else {
                return Err(self.invalid("a sparse map that ends in the middle"));
            };
            let end = offset
                .checked_add(length)
                .filter(|end| *end <= self.entry.size);
            let Some(end) = end.filter(|_| offset >= position && length <= self.remaining) else {
                return Err(self.invalid("a sparse map that leads outside of its file"));
            };
            zeros(offset - position, &mut sink)?;
            self.copy(length, &mut sink)?;
            position = end;
        }
        zeros(self.entry.size - position, &mut sink)
    }

    fn copy(
        &mut self,
        mut length: u64,
        sink: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), WalkError> {
        while length > 0 {
            let available = self.reader.fill_buf().map_err(WalkError::Read)?;
            if available.is_empty() {
                return Err(self.invalid(TRUNCATED));
            }
            let count = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(available.len());
            sink(&available[..count]).map_err(WalkError::Keep)?;
            self.reader.consume(count);
            length -= count as u64;
            self.remaining -= count as u64;
        }
        Ok(())
    }

    /// The map of format 1.0: decimal numbers, a line each, the first of which is the number of pieces; then padding.
    fn map_of_body(&mut self) -> Result<Vec<u64>, WalkError> {
        let mut read = 0_u64;
        let mut line = |entries: &mut Self| -> Result<u64, WalkError> {
            let mut digits = Vec::with_capacity(20);
            loop {
                let mut byte = 0;
                if entries.remaining == 0 {
                    return Err(entries.invalid("a sparse map that ends in the middle"));
                }
                entries.copy(1, &mut |bytes: &[u8]| {
                    byte = bytes[0];
                    Ok(())
                })?;
                read += 1;
                if byte == b'\n' {
                    return pax::decimal(&digits).map_err(|reason| entries.invalid(reason));
                }
                if digits.len() == 20 {
                    return Err(entries.invalid("a sparse map with a number that is none"));
                }
                digits.push(byte);
            }
        };
        let count = line(self)?;
        if count > MAX_SPARSE_PIECES as u64 {
            return Err(self.invalid("a sparse file in too many pieces"));
        }
        let mut pieces = Vec::new();
        for _ in 0..2 * count {
            pieces.push(line(self)?);
        }
        let padding = read.next_multiple_of(BLOCK as u64) - read;
        self.copy(padding.min(self.remaining), &mut |_: &[u8]| Ok(()))?;
        Ok(pieces)
    }

    /// The map of GNU tar's old format: in the header and in blocks behind it.
    fn old_sparse(&mut self, header: &Header) -> Result<Sparse, WalkError> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| self.invalid("a sparse file whose header is not GNU's"))?;
        self.entry.size = number(&gnu.realsize)
            .ok_or_else(|| self.invalid("a sparse file whose size is no number"))?;
        let mut pieces = Vec::new();
        let mut too_many = !self.add_pieces(&gnu.sparse, &mut pieces)?;
        let mut extended = gnu.is_extended();
        let mut block = GnuExtSparseHeader::new();
        while extended {
            if !self.block(block.as_mut_bytes())? {
                return Err(self.invalid(TRUNCATED));
            }
            too_many |= !self.add_pieces(block.sparse(), &mut pieces)?;
            extended = block.is_extended();
        }
        Ok(if too_many {
            Sparse::TooMany
        } else {
            Sparse::Pieces(pieces)
        })
    }

    /// Whether there was room for all of them.
    fn add_pieces(
        &self,
        headers: &[GnuSparseHeader],
        pieces: &mut Vec<u64>,
    ) -> Result<bool, WalkError> {
        for piece in headers.iter().take_while(|piece| !piece.is_empty()) {
            let (Some(offset), Some(length)) = (number(&piece.offset), number(&piece.numbytes))
            else {
                return Err(self.invalid("a sparse map with a number that is none"));
            };
            if pieces.len() >= 2 * MAX_SPARSE_PIECES {
                return Ok(false);
            }
            pieces.extend([offset, length]);
        }
        Ok(true)
    }

    /// The body of a GNU long name, up to its NUL.
    fn long_text(&mut self, size: u64) -> Result<Vec<u8>, WalkError> {
        let most = MAX_PATH_BYTES as u64;
        // One more for the NUL.
        if size > most + 1 {
            return Err(self.limit(Bounded::PathBytes.at(most)));
        }
        let mut text = self.small_body(size)?;
        if let Some(end) = text.iter().position(|byte| *byte == 0) {
            text.truncate(end);
        }
        Ok(text)
    }

    /// The whole body of an entry whose size has been checked.
    fn small_body(&mut self, size: u64) -> Result<Vec<u8>, WalkError> {
        self.expect_body(size);
        let mut body = Vec::new();
        self.copy(size, &mut |bytes: &[u8]| {
            body.extend_from_slice(bytes);
            Ok(())
        })?;
        self.skip()?;
        Ok(body)
    }

    fn expect_body(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size
            .checked_next_multiple_of(BLOCK as u64)
            .map_or(0, |end| end - size);
    }

    /// Goes to the end of the body and of its padding; the latter may be missing at the archive's end.
    fn skip(&mut self) -> Result<(), WalkError> {
        while self.remaining > 0 || self.padding > 0 {
            let available = self.reader.fill_buf().map_err(WalkError::Read)?.len();
            if available == 0 {
                if self.remaining > 0 {
                    return Err(self.invalid(TRUNCATED));
                }
                self.padding = 0;
            }
            let part = if self.remaining > 0 {
                &mut self.remaining
            } else {
                &mut self.padding
            };
            let count = usize::try_from(*part).unwrap_or(usize::MAX).min(available);
            *part -= count as u64;
            self.reader.consume(count);
        }
        Ok(())
    }

    /// Reads the next header and verifies its checksum.
    fn header(&mut self) -> Result<Block, WalkError> {
        if self.ended {
            return Ok(Block::End);
        }
        let mut header = Box::new(Header::new_old());
        if !self.block(header.as_mut_bytes())? {
            self.ended = true;
            return Ok(Block::End);
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            if self.block(header.as_mut_bytes())? && header.as_bytes().iter().any(|byte| *byte != 0)
            {
                return Err(self.invalid("a single block of zeros between two entries"));
            }
            self.drain()?;
            self.ended = true;
            return Ok(Block::End);
        }
        if !has_checksum(&header) {
            return Err(self.invalid(if self.started {
                "a header whose checksum is wrong"
            } else {
                "it is not a tar archive"
            }));
        }
        Ok(Block::Header(header))
    }

    /// Reads what stands behind the end marker, which is part of the digest.
    fn drain(&mut self) -> Result<(), WalkError> {
        loop {
            let available = self.reader.fill_buf().map_err(WalkError::Read)?.len();
            if available == 0 {
                return Ok(());
            }
            self.reader.consume(available);
        }
    }

    /// Reads one block; `false` where the archive ends.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, WalkError> {
        let mut filled = 0;
        while filled < BLOCK {
            let available = self.reader.fill_buf().map_err(WalkError::Read)?;
            let count = available.len().min(BLOCK - filled);
            if count == 0 {
                if filled == 0 {
                    return Ok(false);
                }
                return Err(self.invalid(TRUNCATED));
            }
            block[filled..filled + count].copy_from_slice(&available[..count]);
            self.reader.consume(count);
            filled += count;
        }
        Ok(true)
    }

    /// The error of an archive that is broken here.
    pub fn invalid(&self, reason: &'static str) -> WalkError {
        WalkError::Invalid {
            place: self.place(),
            reason,
        }
    }

    /// The error of an archive that exceeds `limit` here.
    pub fn limit(&self, limit: LimitExceeded) -> WalkError {
        WalkError::Limit {
            place: self.place(),
            limit,
        }
    }

    fn place(&self) -> Place {
        if self.started {
            Place::Entry(String::from_utf8_lossy(&self.entry.path).into_owned())
        } else {
            Place::Start
        }
    }
}

/// What is said of an archive that ends too early.
const TRUNCATED: &str = "it ends in the middle";

/// Bytes of a path that is too long that an error shows.
const SHOWN: usize = 200;

fn zeros(mut length: u64, sink: &mut impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), WalkError> {
    while length > 0 {
        let count = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(ZEROS.len());
        sink(&ZEROS[..count]).map_err(WalkError::Keep)?;
        length -= count as u64;
    }
    Ok(())
}

/// The sum of a header's bytes, its own field taken as spaces; some old programs add signed bytes.
fn has_checksum(header: &Header) -> bool {
    let Some(stored) = number(&header.as_old().cksum) else {
        return false;
    };
    let (mut unsigned, mut signed) = (0_u64, 0_i64);
    for (position, byte) in header.as_bytes().iter().enumerate() {
        let byte = if (148..156).contains(&position) {
            b' '
        } else {
            *byte
        };
        unsigned += u64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    stored == unsigned || i64::try_from(stored) == Ok(signed)
}

/// A number of a header: octal digits between spaces and NULs, none for zero, or GNU's base-256, of which nothing may be
/// lost: what does not fit is not a number.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        return rest
            .iter()
            .try_fold(u64::from(first & 0x7f), |number, byte| {
                number.checked_mul(256)?.checked_add(u64::from(*byte))
            });
    }
    let is_blank = |byte: &u8| matches!(*byte, b' ' | 0);
    let start = field
        .iter()
        .position(|byte| !is_blank(byte))
        .unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(8)?;
        number.checked_mul(8)?.checked_add(u64::from(digit))
    })
}
