//! The headers of a tar archive that holds an image, one after the other; what lies between them is read or skipped.
//!
//! The archive is somebody else's. A name is a key here and never a path of this machine, yet one that can be read in
//! two ways is refused rather than guessed at, and every number is bounded before memory or time is spent on it.
//!
//! Formats: ustar, GNU (long names) and pax (`path`, `linkpath`, `size`), as POSIX `pax` and GNU tar's manual have them.
//! A member that is no regular file has no contents, whatever its size says: so it is in Go's `archive/tar`, with which
//! nearly all archives of images are written and read.

use std::fs::File;
use std::io::{self, BufReader, Read};

use tar::{EntryType, Header, PaxExtensions};

/// Bytes of a block; everything in a tar archive is a multiple of it.
pub(super) const BLOCK: usize = 512;
/// Headers of one archive. A layer brings at most four members, and no engine takes more than 127 layers: this is room
/// for hundreds of images.
const MOST_HEADERS: usize = 65_536;
/// Bytes of one name: `PATH_MAX` of Linux.
const LONGEST_NAME: usize = 4096;
/// Bytes of all names together, so that many long ones do not fill the memory.
const MOST_NAME_BYTES: usize = 8 << 20;
/// Bytes of one extended header: two names and numbers are all that is wanted of it.
const LONGEST_EXTENSION: u64 = 64 << 10;
/// Bytes behind the mark of the end, which are read and thrown away; a tape record, to which archives are filled up, has
/// 10 KiB.
const LONGEST_TRAILER: u64 = 1 << 20;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It breaks the format or a limit.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ArchiveError {
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }

    fn cut_off() -> Self {
        Self::invalid("it breaks off before its end")
    }
}

/// One member, as its header has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, normalized: no `.`, no doubled slash, none at either end.
    pub name: String,
    /// What it is.
    pub kind: MemberKind,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File {
        /// Where its contents begin, in bytes from the beginning of the archive.
        offset: u64,
        /// Size of its contents in bytes.
        size: u64,
    },
    /// A symbolic or a hard link, with the normalized name that it leads to.
    Link(String),
    /// A device or a pipe, or a link out of the archive.
    Other,
}

/// Bytes of which some need not be seen.
pub trait Skip: Read {
    /// Goes `bytes` further.
    ///
    /// # Errors
    /// When the source fails or has fewer bytes, the latter as `UnexpectedEof`.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// A file, in which skipping costs nothing.
#[derive(Debug)]
pub struct SeekableFile {
    reader: BufReader<File>,
    left: u64,
}

impl SeekableFile {
    /// Reads `file` from its beginning.
    ///
    /// # Errors
    /// When its size cannot be asked for.
    pub fn new(file: File) -> io::Result<Self> {
        let left = file.metadata()?.len();
        // What is read are headers with members of megabytes in between.
        let reader = BufReader::with_capacity(2 * BLOCK, file);
        Ok(Self { reader, left })
    }
}

impl Read for SeekableFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Skip for SeekableFile {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        self.reader.seek_relative(bytes)
    }
}

/// A stream, in which skipping is reading.
#[derive(Debug)]
pub struct Streamed<R>(pub R);

impl<R: Read> Read for Streamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Skip for Streamed<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.0.by_ref().take(bytes), &mut io::sink())?;
        if skipped == bytes {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Reads an archive header by header. As a [`Read`] it gives the contents of the member that
/// [`TarReader::next_member`] returned last; those that break off are an error of kind `UnexpectedEof`.
#[derive(Debug)]
pub struct TarReader<S> {
    source: S,
    /// Where the source is, in bytes from its beginning.
    position: u64,
    /// Bytes of the current member that have not been read.
    contents: u64,
    /// Bytes behind them, up to the next block.
    padding: u64,
    headers: usize,
    name_bytes: usize,
}

/// What extended headers say of the member that follows them.
#[derive(Debug, Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<S: Skip> TarReader<S> {
    /// Reads the archive that begins where `source` is.
    pub fn new(source: S) -> Self {
        Self {
            source,
            position: 0,
            contents: 0,
            padding: 0,
            headers: 0,
            name_bytes: 0,
        }
    }

    /// The next member that is no folder; `None` at the end, after which the source has been read to its own end.
    ///
    /// # Errors
    /// When the archive is broken, ambiguous or beyond a limit, or cannot be read.
    pub fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut extended = Extended::default();
        loop {
            self.leave_member()?;
            let Some(header) = self.next_header()? else {
                self.read_trailer()?;
                return Ok(None);
            };
            let size = header
                .entry_size()
                .map_err(|_| ArchiveError::invalid("the size of a member is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => extended.name = Some(self.read_long_name(size)?),
                EntryType::GNULongLink => extended.link = Some(self.read_long_name(size)?),
                EntryType::XHeader => self.read_pax(size, &mut extended)?,
                EntryType::XGlobalHeader => self.enter(size)?,
                _ => {
                    if let Some(member) =
                        self.member(&header, size, std::mem::take(&mut extended))?
                    {
                        return Ok(Some(member));
                    }
                }
            }
        }
    }

    /// The member of an ordinary header; `None` for a folder.
    fn member(
        &mut self,
        header: &Header,
        size: u64,
        extended: Extended,
    ) -> Result<Option<Member>, ArchiveError> {
        let written = extended
            .name
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let is_folder = written.ends_with(b"/");
        let name = self.take_name(&written)?;
        let kind = match header.entry_type() {
            // The format before ustar marks a folder by its name alone.
            EntryType::Directory => return Ok(None),
            EntryType::Regular if is_folder => return Ok(None),
            EntryType::Regular | EntryType::Continuous => {
                let size = extended.size.unwrap_or(size);
                self.enter(size)?;
                MemberKind::File {
                    offset: self.position,
                    size,
                }
            }
            EntryType::GNUSparse => return Err(sparse(&name)),
            kind @ (EntryType::Symlink | EntryType::Link) => {
                let target = extended
                    .link
                    .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                    .unwrap_or_default();
                let folder = match kind {
                    // The target of a hard link is the name of a member.
                    EntryType::Link => "",
                    _ => name.rsplit_once('/').map_or("", |(folder, _)| folder),
                };
                self.count_name(&target)?;
                link_target(folder, &target).map_or(MemberKind::Other, MemberKind::Link)
            }
            _ => MemberKind::Other,
        };
        Ok(Some(Member { name, kind }))
    }

    /// The next header; `None` at the end of the archive.
    fn next_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.position += filled as u64;
        let is_first = self.headers == 0;
        match filled {
            0 if is_first => return Err(ArchiveError::invalid("it is empty")),
            // The mark of the end is missing; some writers leave it away.
            0 => return Ok(None),
            BLOCK => {}
            _ if is_first => return Err(ArchiveError::invalid("it is no tar archive")),
            _ => return Err(ArchiveError::cut_off()),
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !is_header(block) {
            return Err(ArchiveError::invalid(if is_first {
                "it is no tar archive"
            } else {
                "the header of a member is broken"
            }));
        }
        self.headers += 1;
        if self.headers > MOST_HEADERS {
            let reason = format!("it has more than {MOST_HEADERS} members");
            return Err(ArchiveError::invalid(reason));
        }
        Ok(Some(header))
    }

    /// Whatever follows is `size` bytes of contents.
    fn enter(&mut self, size: u64) -> Result<(), ArchiveError> {
        let block = BLOCK as u64;
        self.contents = size;
        self.padding = (block - size % block) % block;
        // So that no sum of positions can overflow.
        if size
            .checked_add(self.position)
            .is_none_or(|end| end > u64::MAX / 2)
        {
            return Err(ArchiveError::invalid("the size of a member is absurd"));
        }
        Ok(())
    }

    /// Skips what has not been read of the current member.
    fn leave_member(&mut self) -> Result<(), ArchiveError> {
        let left = self.contents + self.padding;
        if left > 0 {
            self.source.skip(left).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => ArchiveError::cut_off(),
                _ => ArchiveError::Io(error),
            })?;
        }
        self.position += left;
        self.contents = 0;
        self.padding = 0;
        Ok(())
    }

    /// Reads an extended header whole.
    fn read_extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > LONGEST_EXTENSION {
            let reason = format!(
                "an extended header has {size} bytes, more than the {LONGEST_EXTENSION} that are read of one"
            );
            return Err(ArchiveError::invalid(reason));
        }
        self.enter(size)?;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => ArchiveError::cut_off(),
                _ => ArchiveError::Io(error),
            })?;
        Ok(bytes)
    }

    fn read_long_name(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut name = self.read_extension(size)?;
        name.truncate(
            name.iter()
                .position(|byte| *byte == 0)
                .unwrap_or(name.len()),
        );
        Ok(name)
    }

    fn read_pax(&mut self, size: u64, extended: &mut Extended) -> Result<(), ArchiveError> {
        let bytes = self.read_extension(size)?;
        for record in PaxExtensions::new(&bytes) {
            let record = record.map_err(|_| ArchiveError::invalid("a pax header is broken"))?;
            match record.key_bytes() {
                b"path" => extended.name = Some(record.value_bytes().to_vec()),
                b"linkpath" => extended.link = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let size = record.value().ok().and_then(|value| value.parse().ok());
                    let size = size
                        .ok_or_else(|| ArchiveError::invalid("the size of a member is no number"));
                    extended.size = Some(size?);
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(sparse("a member")),
                _ => {}
            }
        }
        Ok(())
    }

    fn count_name(&mut self, name: &[u8]) -> Result<(), ArchiveError> {
        if name.len() > LONGEST_NAME {
            let reason = format!("the name of a member is longer than {LONGEST_NAME} bytes");
            return Err(ArchiveError::invalid(reason));
        }
        self.name_bytes += name.len();
        if self.name_bytes > MOST_NAME_BYTES {
            let reason =
                format!("the names of its members have more than {MOST_NAME_BYTES} bytes together");
            return Err(ArchiveError::invalid(reason));
        }
        Ok(())
    }

    /// `written` as a key.
    fn take_name(&mut self, written: &[u8]) -> Result<String, ArchiveError> {
        self.count_name(written)?;
        let name = String::from_utf8_lossy(written);
        let mut parts = Vec::new();
        for part in name.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    let reason = format!(
                        "the name of the member `{}` has a `..`",
                        name.escape_debug()
                    );
                    return Err(ArchiveError::invalid(reason));
                }
                part => parts.push(part),
            }
        }
        Ok(parts.join("/"))
    }

    /// Reads what stands behind the mark of the end, so that whoever writes the stream can finish.
    fn read_trailer(&mut self) -> Result<(), ArchiveError> {
        let trailer = io::copy(
            &mut self.source.by_ref().take(LONGEST_TRAILER + 1),
            &mut io::sink(),
        )?;
        if trailer > LONGEST_TRAILER {
            let reason = format!("more than {LONGEST_TRAILER} bytes follow its end");
            return Err(ArchiveError::invalid(reason));
        }
        Ok(())
    }
}

impl<S: Read> Read for TarReader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.contents)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.contents -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}

fn sparse(name: &str) -> ArchiveError {
    ArchiveError::invalid(format!(
        "{} is sparse, which no member of such an archive is",
        if name == "a member" {
            name.to_owned()
        } else {
            format!("the member `{}`", name.escape_debug())
        }
    ))
}

/// The name of the member that a link in `folder` leads to; `None` where it leads out of the archive.
fn link_target(folder: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    let mut parts: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').filter(|part| !part.is_empty()).collect()
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether `block` begins with the header of a member: its sum is right.
pub(super) fn is_header(block: &[u8]) -> bool {
    const SUM: std::ops::Range<usize> = 148..156;
    if block.len() < BLOCK {
        return false;
    }
    let written = std::str::from_utf8(&block[SUM])
        .ok()
        .map(|text| text.trim_matches([' ', '\0']))
        .and_then(|text| u32::from_str_radix(text, 8).ok());
    let sum: u32 = block[..BLOCK]
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if SUM.contains(&at) { b' ' } else { *byte }))
        .sum();
    written == Some(sum)
}
