//! Where the kept contents of a layer go while it is read: into memory, or into the file that the cache will keep.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use tempfile::NamedTempFile;

use super::{Extent, HEADER};

/// How much is written to the file at a time, in bytes.
const BUFFER: usize = 64 << 10;

/// What has been kept so far, behind room for a header.
#[derive(Debug)]
pub struct Contents {
    target: Target,
    /// Bytes in there, the header's included.
    length: u64,
    /// Where the piece that is being written began.
    start: u64,
    crc: flate2::Crc,
}

#[derive(Debug)]
pub(super) enum Target {
    Memory(Vec<u8>),
    File(Box<BufWriter<NamedTempFile>>),
}

impl Contents {
    /// Kept in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Target::Memory(vec![0; HEADER]))
    }

    /// Kept in the empty temporary file `file`, of which nothing stays unless the whole inventory does. A file that
    /// cannot be written any more is given up for memory.
    ///
    /// # Errors
    /// When the file cannot be written at all.
    pub fn in_file(mut file: NamedTempFile) -> io::Result<Self> {
        file.write_all(&[0; HEADER])?;
        Ok(Self::new(Target::File(Box::new(BufWriter::with_capacity(
            BUFFER, file,
        )))))
    }

    fn new(target: Target) -> Self {
        Self {
            target,
            length: HEADER as u64,
            start: HEADER as u64,
            crc: flate2::Crc::new(),
        }
    }

    pub(super) fn begin(&mut self) {
        self.start = self.length;
        self.crc.reset();
    }

    /// Takes in more of the piece that [`Contents::begin`] began.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.append(bytes)
    }

    /// Ends the piece.
    pub(super) fn end(&self) -> Option<Extent> {
        Some(Extent {
            offset: self.start,
            length: u32::try_from(self.length - self.start).ok()?,
            sum: self.crc.sum(),
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends bytes that belong to no piece.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Target::File(file) = &mut self.target {
            if file.write_all(bytes).is_ok() {
                self.length += bytes.len() as u64;
                return Ok(());
            }
            self.go_on_in_memory()?;
        }
        if let Target::Memory(memory) = &mut self.target {
            memory.extend_from_slice(bytes);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes what is buffered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Target::File(file) = &mut self.target
            && file.flush().is_err()
        {
            return self.go_on_in_memory();
        }
        Ok(())
    }

    /// A full disk ends the caching of this layer, not its reading: what is in the file already is taken back.
    fn go_on_in_memory(&mut self) -> io::Result<()> {
        let Target::File(file) = std::mem::replace(&mut self.target, Target::Memory(Vec::new()))
        else {
            return Ok(());
        };
        let (file, buffered) = file.into_parts();
        let buffered = buffered.unwrap_or_default();
        let mut memory = Vec::new();
        let mut written: File = file.as_file().try_clone()?;
        written.seek(SeekFrom::Start(0))?;
        written.take(self.length).read_to_end(&mut memory)?;
        // The buffer's beginning may have been written before the failure; the length tells how much of it is missing.
        let missing = usize::try_from(self.length)
            .ok()
            .and_then(|length| length.checked_sub(memory.len()))
            .and_then(|missing| buffered.len().checked_sub(missing))
            .and_then(|start| buffered.get(start..))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        memory.extend_from_slice(missing);
        self.target = Target::Memory(memory);
        Ok(())
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn into_target(self) -> Target {
        self.target
    }
}
