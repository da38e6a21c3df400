//! The central directory of a wheel, read as strictly as an installer may.
//!
//! Readers of ZIP archives disagree where an archive contradicts itself: one believes the directory, another the headers
//! of the members, one takes the first of two members with one name, another the last. Whoever has a wheel checked by one
//! reader and unpacked by another can put anything into an image. So this one takes only archives that say one thing, and
//! names what they say twice. It is read here and not by a library because libraries settle such questions silently, drop
//! duplicates, and make up permissions; and because members must be readable at once, without a lock.
//!
//! Specification: APPNOTE 6.3.10 of PKWARE; <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::zip_fields::{Fields, Sizes, unicode_name, zip64};

/// Members of one wheel. The largest that are published have 30,000; each costs about 200 bytes of memory.
pub(super) const MOST_MEMBERS: u64 = 250_000;

/// Bytes of the central directory: [`MOST_MEMBERS`] with names of a hundred bytes.
const LARGEST_DIRECTORY: u64 = 32 << 20;

/// Bytes that the members of one wheel have together, once they are unpacked. The largest wheels reach 5 GB.
pub(super) const MOST_UNPACKED: u64 = 32 << 30;

/// What deflate can make of one byte, at the most (RFC 1951: a match of 258 bytes for two bits).
const DEFLATE_RATIO: u64 = 1032;

/// Bytes of a name, and so of a path: what the kernel takes.
const LONGEST_NAME: usize = crate::rootfs::limits::MAX_PATH_BYTES;

const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const END64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const DIRECTORY: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";

/// Lengths of the fixed parts, in bytes.
const END_LENGTH: u64 = 22;
const END64_LENGTH: u64 = 56;
const END64_LOCATOR_LENGTH: u64 = 20;
const DIRECTORY_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;

/// Flags: encryption in its three forms, sizes behind the data, patches, names in UTF-8.
const ENCRYPTED: u16 = 0x2041;
const DESCRIPTOR: u16 = 0x8;
const PATCH: u16 = 0x20;
const UTF8: u16 = 0x800;

/// Where an archive's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Contents {
    /// In a file.
    File(Arc<File>),
    /// In memory.
    Bytes(Arc<[u8]>),
}

impl Contents {
    /// The archive's size in bytes.
    fn size(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Reads some bytes at `offset`; none at the end.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(buffer, offset),
            Self::Bytes(bytes) => {
                let here = usize::try_from(offset)
                    .ok()
                    .and_then(|offset| bytes.get(offset..))
                    .unwrap_or_default();
                let length = here.len().min(buffer.len());
                buffer[..length].copy_from_slice(&here[..length]);
                Ok(length)
            }
        }
    }

    /// `length` bytes at `offset`, fewer where the archive ends.
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

/// How the bytes of a member are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Not at all.
    Stored,
    /// Deflate.
    Deflated,
}

/// One member of the archive.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its name, as it is written.
    pub(super) name: String,
    /// How it is packed.
    pub(super) method: Method,
    /// CRC-32 of its contents.
    pub(super) crc32: u32,
    /// Bytes that it takes in the archive.
    pub(super) packed: u64,
    /// Bytes of its contents.
    pub(super) size: u64,
    /// Mode of a file system of Unix, with the kind of file; 0 where none is told.
    pub(super) unix_mode: u32,
    /// Where its packed bytes begin.
    pub(super) start: u64,
}

/// An archive that says one thing.
#[derive(Debug)]
pub(super) struct Archive {
    /// Its bytes.
    pub(super) contents: Contents,
    /// Its members in the order of the directory, folders among them.
    pub(super) members: Vec<Member>,
}

/// Why an archive is not read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The machine refused.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// There is no directory of members at the end.
    #[error(
        "it is not a ZIP archive, or it is cut short: no end of a central directory lies at its end"
    )]
    NoDirectory,
    /// Two places could be the end of the directory.
    #[error(
        "its end can be read in two ways: one end of a central directory lies in the comment of another"
    )]
    TwoEnds,
    /// An archive in several files.
    #[error("it is one part of several")]
    Parts,
    /// A directory that contradicts itself.
    #[error("its central directory is broken: {0}")]
    Directory(&'static str),
    /// More members than any wheel has.
    #[error("it has {found} members, more than the {MOST_MEMBERS} that are read of a wheel")]
    TooManyMembers {
        /// Members that it states.
        found: u64,
    },
    /// Contents beyond what any wheel has.
    #[error("its members have more than {MOST_UNPACKED} bytes together")]
    TooLarge,
    /// One member is at fault.
    #[error("its member `{member}` {fault}")]
    Member {
        /// Its name; bytes that are not UTF-8 are shown as U+FFFD.
        member: String,
        /// What is wrong with it.
        fault: MemberFault,
    },
}

/// What is wrong with a member of an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberFault {
    /// Bytes that are not UTF-8.
    #[error("has a name that is not UTF-8")]
    NotUtf8,
    /// A name beyond ASCII of which nobody says how it is encoded.
    #[error(
        "has a name beyond ASCII that is not marked as UTF-8: some installers would read other characters"
    )]
    Unmarked,
    /// Another name in an extra field.
    #[error("has a second name in its extra field")]
    SecondName,
    /// A path that some installers take for another.
    #[error("has a name with a backslash: wheels have slashes")]
    Backslash,
    /// A path of the machine.
    #[error("has an absolute path as its name")]
    Absolute,
    /// A path out of its folder.
    #[error("has `..` in its name, which leads out of the wheel")]
    Parent,
    /// A path that ends early for some.
    #[error("has a NUL in its name")]
    Nul,
    /// A path that no kernel takes.
    #[error("has a name that is too long")]
    TooLong,
    /// A name for nothing.
    #[error("has an empty name")]
    Empty,
    /// The same name again.
    #[error("is there twice")]
    Twice,
    /// A password would be needed.
    #[error("is encrypted")]
    Encrypted,
    /// Packed as no index takes it.
    #[error("is packed with method {0}: wheels are stored or deflated")]
    Method(u16),
    /// A header that says otherwise.
    #[error("has another {0} in its own header than in the central directory")]
    Contradiction(&'static str),
    /// A header that is none, or lies outside.
    #[error("has no header where the central directory says")]
    NoHeader,
    /// Bytes of two members.
    #[error("shares bytes with another member")]
    Overlap,
    /// Sizes that cannot be.
    #[error("states a size that it cannot have")]
    Size,
    /// Fields that are cut off.
    #[error("has a broken extra field")]
    Extra,
}

impl Archive {
    /// Reads the directory and compares it with the header of each member.
    pub(super) fn read(contents: Contents) -> Result<Self, ArchiveError> {
        let size = contents.size()?;
        let end = End::find(&contents, size)?;
        if end.members > MOST_MEMBERS {
            return Err(ArchiveError::TooManyMembers { found: end.members });
        }
        if end.length > LARGEST_DIRECTORY {
            return Err(ArchiveError::Directory("it is too large"));
        }
        let length = usize::try_from(end.length).unwrap_or(usize::MAX);
        let directory = contents.read(end.start, length)?;
        if directory.len() != length {
            return Err(ArchiveError::Directory("it is cut short"));
        }
        let mut rest = Fields::new(&directory);
        let mut members = Vec::new();
        let mut headers = Vec::new();
        for _ in 0..end.members {
            let header = Header::take(&mut rest)?;
            members.push(header.member()?);
            headers.push(header);
        }
        if !rest.is_empty() {
            return Err(ArchiveError::Directory("it goes on behind its last member"));
        }
        let mut unpacked = 0_u64;
        for member in &members {
            unpacked = unpacked.saturating_add(member.size);
        }
        if unpacked > MOST_UNPACKED {
            return Err(ArchiveError::TooLarge);
        }
        for (member, header) in members.iter_mut().zip(&headers) {
            header.compare(&contents, end.start, member)?;
        }
        let archive = Self { contents, members };
        archive.check_places(&headers)?;
        Ok(archive)
    }

    /// No byte belongs to two members: what is packed once cannot come out a thousand times.
    fn check_places(&self, headers: &[Header<'_>]) -> Result<(), ArchiveError> {
        let mut places: Vec<(u64, u64, &Member)> = headers
            .iter()
            .zip(&self.members)
            .map(|(header, member)| (header.sizes.offset, member.start + member.packed, member))
            .collect();
        places.sort_unstable_by_key(|(start, end, _)| (*start, *end));
        for pair in places.windows(2) {
            if pair[1].0 < pair[0].1 {
                return Err(fault(pair[1].2.name.as_bytes(), MemberFault::Overlap));
            }
        }
        Ok(())
    }
}

fn fault(name: &[u8], fault: MemberFault) -> ArchiveError {
    ArchiveError::Member {
        member: String::from_utf8_lossy(name).into_owned(),
        fault,
    }
}

/// Where the central directory lies.
struct End {
    start: u64,
    length: u64,
    members: u64,
}

impl End {
    fn find(contents: &Contents, size: u64) -> Result<Self, ArchiveError> {
        let longest = END_LENGTH + u64::from(u16::MAX);
        let tail_start = size.saturating_sub(longest);
        let length = usize::try_from(size - tail_start).unwrap_or(usize::MAX);
        let tail = contents.read(tail_start, length)?;
        // The comment reaches to the last byte: what merely looks like an end does not.
        let mut ends = memchr::memmem::find_iter(&tail, &END).filter(|at| {
            tail.get(at + 20..at + 22).is_some_and(|length| {
                at + 22 + usize::from(u16::from_le_bytes([length[0], length[1]])) == tail.len()
            })
        });
        let at = ends.next().ok_or(ArchiveError::NoDirectory)?;
        if ends.next().is_some() {
            return Err(ArchiveError::TwoEnds);
        }
        let mut fields = Fields::new(&tail[at + 4..]);
        let broken = || ArchiveError::Directory("its end is cut short");
        let disk = fields.u16().ok_or_else(broken)?;
        let directory_disk = fields.u16().ok_or_else(broken)?;
        let members_here = fields.u16().ok_or_else(broken)?;
        let members = fields.u16().ok_or_else(broken)?;
        let directory_length = fields.u32().ok_or_else(broken)?;
        let directory_start = fields.u32().ok_or_else(broken)?;
        let position = tail_start + at as u64;
        let short = Self {
            start: directory_start.into(),
            length: directory_length.into(),
            members: members.into(),
        };
        let (end, position) = match Self::find64(contents, position)? {
            None => {
                if disk != 0 || directory_disk != 0 || members_here != members {
                    return Err(ArchiveError::Parts);
                }
                (short, position)
            }
            Some((end, position)) => {
                // Each field is the same twice, or says that it is too small.
                let agrees = |short: u64, most: u64, long: u64| short == most || short == long;
                if !(agrees(short.start, u32::MAX.into(), end.start)
                    && agrees(short.length, u32::MAX.into(), end.length)
                    && agrees(short.members, u16::MAX.into(), end.members))
                {
                    return Err(ArchiveError::Directory(
                        "its two ends contradict each other",
                    ));
                }
                (end, position)
            }
        };
        // Other readers move everything by what is missing here; they do not agree on when.
        if end.start.checked_add(end.length) != Some(position) {
            return Err(ArchiveError::Directory(
                "it does not lie where its end says: something was put before it, or behind",
            ));
        }
        Ok(end)
    }

    /// The end of an archive with more members, or more bytes, than 16 and 32 bits count, and where it lies.
    fn find64(contents: &Contents, end: u64) -> Result<Option<(Self, u64)>, ArchiveError> {
        let Some(locator_start) = end.checked_sub(END64_LOCATOR_LENGTH) else {
            return Ok(None);
        };
        let locator = contents.read(locator_start, 20)?;
        let mut fields = Fields::new(&locator);
        if fields.take(4) != Some(&END64_LOCATOR) {
            return Ok(None);
        }
        let broken = || ArchiveError::Directory("its end for large archives is broken");
        let disk = fields.u32().ok_or_else(broken)?;
        let start = fields.u64().ok_or_else(broken)?;
        let disks = fields.u32().ok_or_else(broken)?;
        let record = contents.read(start, 56)?;
        let mut fields = Fields::new(&record);
        if fields.take(4) != Some(&END64) {
            return Err(broken());
        }
        let length = fields.u64().ok_or_else(broken)?;
        fields.take(4).ok_or_else(broken)?;
        let own_disk = fields.u32().ok_or_else(broken)?;
        let directory_disk = fields.u32().ok_or_else(broken)?;
        let members_here = fields.u64().ok_or_else(broken)?;
        let members = fields.u64().ok_or_else(broken)?;
        let directory_length = fields.u64().ok_or_else(broken)?;
        let directory_start = fields.u64().ok_or_else(broken)?;
        if disk != 0 || disks > 1 || own_disk != 0 || directory_disk != 0 || members_here != members
        {
            return Err(ArchiveError::Parts);
        }
        if length < END64_LENGTH - 12
            || start.checked_add(12).and_then(|at| at.checked_add(length)) != Some(locator_start)
        {
            return Err(broken());
        }
        let end = Self {
            start: directory_start,
            length: directory_length,
            members,
        };
        Ok(Some((end, start)))
    }
}

/// One entry of the directory.
struct Header<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    crc32: u32,
    sizes: Sizes,
    unix_mode: u32,
    second_name: bool,
}

impl<'a> Header<'a> {
    fn take(fields: &mut Fields<'a>) -> Result<Self, ArchiveError> {
        let broken = || ArchiveError::Directory("it ends before its last member");
        let mut fixed = Fields::new(fields.take(DIRECTORY_LENGTH).ok_or_else(broken)?);
        if fixed.take(4) != Some(&DIRECTORY) {
            return Err(ArchiveError::Directory("an entry does not begin as one"));
        }
        fixed.take(4).ok_or_else(broken)?;
        let flags = fixed.u16().ok_or_else(broken)?;
        let method = fixed.u16().ok_or_else(broken)?;
        fixed.take(4).ok_or_else(broken)?;
        let crc32 = fixed.u32().ok_or_else(broken)?;
        let packed = fixed.u32().ok_or_else(broken)?;
        let size = fixed.u32().ok_or_else(broken)?;
        let name_length = fixed.u16().ok_or_else(broken)?;
        let extra_length = fixed.u16().ok_or_else(broken)?;
        let comment_length = fixed.u16().ok_or_else(broken)?;
        let disk = fixed.u16().ok_or_else(broken)?;
        fixed.take(2).ok_or_else(broken)?;
        let attributes = fixed.u32().ok_or_else(broken)?;
        let offset = fixed.u32().ok_or_else(broken)?;
        let name = fields.take(name_length.into()).ok_or_else(broken)?;
        let extra = fields.take(extra_length.into()).ok_or_else(broken)?;
        fields.take(comment_length.into()).ok_or_else(broken)?;
        if disk != 0 && disk != u16::MAX {
            return Err(ArchiveError::Parts);
        }
        let broken = |_| fault(name, MemberFault::Extra);
        let sizes = zip64(extra, size, packed, Some(offset)).map_err(broken)?;
        let second = unicode_name(extra).map_err(broken)?;
        Ok(Self {
            name,
            flags,
            method,
            crc32,
            sizes,
            unix_mode: attributes >> 16,
            second_name: second.is_some_and(|second| second != name),
        })
    }

    /// The member that this entry describes, its place still unknown.
    fn member(&self) -> Result<Member, ArchiveError> {
        let fault = |kind| fault(self.name, kind);
        let name = std::str::from_utf8(self.name).map_err(|_| fault(MemberFault::NotUtf8))?;
        check_name(name).map_err(fault)?;
        if self.flags & UTF8 == 0 && !name.is_ascii() {
            return Err(fault(MemberFault::Unmarked));
        }
        if self.second_name {
            return Err(fault(MemberFault::SecondName));
        }
        if self.flags & ENCRYPTED != 0 {
            return Err(fault(MemberFault::Encrypted));
        }
        let method = match self.method {
            0 if self.flags & PATCH == 0 => Method::Stored,
            8 if self.flags & PATCH == 0 => Method::Deflated,
            other => return Err(fault(MemberFault::Method(other))),
        };
        let Sizes { size, packed, .. } = self.sizes;
        let possible = match method {
            Method::Stored => size == packed,
            Method::Deflated => size <= packed.saturating_mul(DEFLATE_RATIO),
        };
        if !possible {
            return Err(fault(MemberFault::Size));
        }
        Ok(Member {
            name: name.to_owned(),
            method,
            crc32: self.crc32,
            packed,
            size,
            unix_mode: self.unix_mode,
            start: 0,
        })
    }

    /// Reads the member's own header, which must say the same, and learns from it where the member begins.
    fn compare(
        &self,
        contents: &Contents,
        directory: u64,
        member: &mut Member,
    ) -> Result<(), ArchiveError> {
        let fault = |kind| fault(self.name, kind);
        let none = || fault(MemberFault::NoHeader);
        let differs = |what| fault(MemberFault::Contradiction(what));
        let start = self.sizes.offset;
        if start >= directory {
            return Err(none());
        }
        // The usual extra field comes along: one reading for most members.
        let guess = LOCAL_LENGTH + self.name.len() + 32;
        let mut bytes = contents.read(start, guess)?;
        let mut fixed = Fields::new(bytes.get(..LOCAL_LENGTH).ok_or_else(none)?);
        if fixed.take(4) != Some(&LOCAL) {
            return Err(none());
        }
        fixed.take(2).ok_or_else(none)?;
        let flags = fixed.u16().ok_or_else(none)?;
        let method = fixed.u16().ok_or_else(none)?;
        fixed.take(4).ok_or_else(none)?;
        let crc32 = fixed.u32().ok_or_else(none)?;
        let packed = fixed.u32().ok_or_else(none)?;
        let size = fixed.u32().ok_or_else(none)?;
        let name_length = usize::from(fixed.u16().ok_or_else(none)?);
        let extra_length = usize::from(fixed.u16().ok_or_else(none)?);
        let length = LOCAL_LENGTH + name_length + extra_length;
        if bytes.len() < length {
            bytes = contents.read(start, length)?;
        }
        let name = bytes
            .get(LOCAL_LENGTH..LOCAL_LENGTH + name_length)
            .ok_or_else(none)?;
        let extra = bytes
            .get(LOCAL_LENGTH + name_length..length)
            .ok_or_else(none)?;
        let broken = |_| fault(MemberFault::Extra);
        let second = unicode_name(extra).map_err(broken)?;
        if name != self.name || second.is_some_and(|second| second != name) {
            return Err(differs("name"));
        }
        if method != self.method {
            return Err(differs("method"));
        }
        if (flags ^ self.flags) & (ENCRYPTED | PATCH | UTF8) != 0 {
            return Err(differs("set of flags"));
        }
        let sizes = zip64(extra, size, packed, None).map_err(broken)?;
        // With a descriptor behind the data, the header may have been written before anything was known.
        let later = flags & DESCRIPTOR != 0;
        let agrees = |own: u64, stated: u64| own == stated || (later && own == 0);
        if !agrees(crc32.into(), self.crc32.into()) {
            return Err(differs("checksum"));
        }
        if !agrees(sizes.size, self.sizes.size) || !agrees(sizes.packed, self.sizes.packed) {
            return Err(differs("size"));
        }
        member.start = start + length as u64;
        if member
            .start
            .checked_add(member.packed)
            .is_none_or(|end| end > directory)
        {
            return Err(fault(MemberFault::Size));
        }
        Ok(())
    }
}

/// Whether a name is a path below the folder that an archive is unpacked into, for every reader.
fn check_name(name: &str) -> Result<(), MemberFault> {
    if name.is_empty() {
        return Err(MemberFault::Empty);
    }
    if name.len() > LONGEST_NAME || name.split('/').any(|component| component.len() > 255) {
        return Err(MemberFault::TooLong);
    }
    if name.contains('\\') {
        return Err(MemberFault::Backslash);
    }
    if name.contains('\0') {
        return Err(MemberFault::Nul);
    }
    if name.starts_with('/') {
        return Err(MemberFault::Absolute);
    }
    if name.split('/').any(|component| component == "..") {
        return Err(MemberFault::Parent);
    }
    Ok(())
}
