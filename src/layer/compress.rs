//! Compression in blocks of a fixed size, so that blocks can be compressed side by side and the bytes depend on nothing
//! but the contents and the level: not on the number of threads, and not on who was faster.
//!
//! A gzip layer is a single member. Every block of it is compressed with the 32 KiB before it as its dictionary and ends
//! at a byte (a sync flush), so that the blocks, one after the other, are one deflate stream. A zstd layer is a frame for
//! each block, one after the other: a decoder reads them as one, and frames are what engines that read lazily expect.
//!
//! Specification: RFC 1951 (deflate), RFC 1952 (gzip), RFC 8878 (zstd), section 3, "a sequence of frames".

use std::fmt;
use std::io;

use crc32fast::Hasher as Crc32;
use flate2::{Compress, FlushCompress, Status};

/// How far back deflate can look, in bytes.
const WINDOW: usize = 32 << 10;

/// Bytes of a gzip block: large enough that neither its dictionary nor its flush costs anything that can be measured.
const GZIP_BLOCK: usize = 256 << 10;

/// Bytes of a zstd block. Nothing is found again across blocks: at this size that costs 2 % of a layer, at half of it 3 %.
const ZSTD_BLOCK: usize = 1 << 20;

/// Header of a gzip member: deflate, no name, no time, no hint about the level, made on an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty last block of deflate, at the beginning of a byte.
const DEFLATE_END: [u8; 2] = [3, 0];

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Read by every engine.
    Gzip {
        /// 0 (stored) to 9.
        level: u32,
    },
    /// Smaller and several times as fast; no media type of Docker says it.
    Zstd {
        /// 1 to 22.
        level: i32,
    },
}

/// A level that the format does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{format} has levels from {least} to {most}, not {level}")]
pub struct UnknownLevel {
    format: &'static str,
    least: i64,
    most: i64,
    level: i64,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gzip { level } => write!(f, "gzip:{level}"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

/// A compression that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCompression {
    /// Nothing of that name.
    #[error("layers are compressed with gzip or zstd, not with `{0}`")]
    Name(String),
    /// Not at this level.
    #[error(transparent)]
    Level(#[from] UnknownLevel),
}

impl Compression {
    /// gzip as everybody has it: the level of `gzip` itself.
    pub const GZIP: Self = Self::Gzip { level: 6 };

    /// zstd at the level that podman and BuildKit take. Of what Python installs, level 5 makes 6 % less and takes more than
    /// twice the time.
    pub const ZSTD: Self = Self::Zstd { level: 3 };

    /// The compression that people call `gzip` or `zstd`, at `level` or at the usual one.
    ///
    /// # Errors
    /// When there is no such compression, or no such level.
    pub fn named(name: &str, level: Option<i64>) -> Result<Self, UnknownCompression> {
        let level = |usual: i64| level.unwrap_or(usual);
        let compression = match name {
            "gzip" => Self::Gzip {
                level: u32::try_from(level(6)).unwrap_or(u32::MAX),
            },
            "zstd" => Self::Zstd {
                level: i32::try_from(level(3)).unwrap_or(i32::MAX),
            },
            _ => return Err(UnknownCompression::Name(name.to_owned())),
        };
        compression.check()?;
        Ok(compression)
    }

    /// Whether the format has the level.
    ///
    /// # Errors
    /// When it has not.
    pub fn check(self) -> Result<(), UnknownLevel> {
        let (format, least, most, level) = match self {
            Self::Gzip { level } => ("gzip", 0, 9, i64::from(level)),
            Self::Zstd { level } => ("zstd", 1, 22, i64::from(level)),
        };
        if (least..=most).contains(&level) {
            Ok(())
        } else {
            Err(UnknownLevel {
                format,
                least,
                most,
                level,
            })
        }
    }

    /// Threads of which none waits for contents: more would only take memory.
    pub(super) fn most_threads(self) -> usize {
        match self {
            Self::Gzip { .. } => 8,
            Self::Zstd { .. } => 4,
        }
    }

    /// What stands before the first block.
    pub(super) fn header(self) -> &'static [u8] {
        match self {
            Self::Gzip { .. } => &GZIP_HEADER,
            Self::Zstd { .. } => &[],
        }
    }

    /// What stands behind the last block.
    pub(super) fn trailer(self, checksum: Crc32, uncompressed: u64) -> Vec<u8> {
        match self {
            Self::Gzip { .. } => {
                // Modulo 2^32, says the format.
                let length = uncompressed.to_le_bytes();
                let checksum = checksum.finalize().to_le_bytes();
                [&DEFLATE_END[..], &checksum, &length[..4]].concat()
            }
            Self::Zstd { .. } => Vec::new(),
        }
    }

    fn block_size(self) -> usize {
        match self {
            Self::Gzip { .. } => GZIP_BLOCK,
            Self::Zstd { .. } => ZSTD_BLOCK,
        }
    }

    fn window(self) -> usize {
        match self {
            Self::Gzip { .. } => WINDOW,
            Self::Zstd { .. } => 0,
        }
    }
}

/// A block on its way from contents to compressed bytes.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// The end of the block before, and the block.
    input: Vec<u8>,
    /// How many bytes of `input` are of the block before.
    dictionary: usize,
    /// The block, compressed.
    output: Vec<u8>,
    /// The checksum of the block, where the format has one.
    checksum: Crc32,
}

impl Block {
    /// Makes this the block behind `before`, without contents; what it was is forgotten, its memory is kept.
    pub(super) fn follow(&mut self, before: Option<&Self>, compression: Compression) {
        self.input.clear();
        self.output.clear();
        self.checksum = Crc32::new();
        if let Some(before) = before {
            let window = before.input.len().min(compression.window());
            self.input
                .extend_from_slice(&before.input[before.input.len() - window..]);
        }
        self.dictionary = self.input.len();
        self.input.reserve_exact(compression.block_size());
    }

    /// Takes in as much of `bytes` as fits, and returns how much that was: 0 once the block is full.
    pub(super) fn take(&mut self, bytes: &[u8], compression: Compression) -> usize {
        let space = compression.block_size() - self.contents().len();
        let taken = bytes.len().min(space);
        self.input.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// The block as it was handed in.
    pub(super) fn contents(&self) -> &[u8] {
        &self.input[self.dictionary..]
    }

    /// The block as [`Compressor::compress`] left it.
    pub(super) fn compressed(&self) -> &[u8] {
        &self.output
    }

    /// The checksum of the block, as [`Compressor::compress`] left it.
    pub(super) fn checksum(&self) -> &Crc32 {
        &self.checksum
    }
}

/// What compresses blocks, one at a time.
pub(super) enum Compressor {
    /// Each block with a new state: one that is used again could remember.
    Gzip(flate2::Compression),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    /// A compressor of a level that [`Compression::check`] has seen.
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip { level } => Self::Gzip(flate2::Compression::new(level)),
            Compression::Zstd { level } => Self::Zstd(zstd::bulk::Compressor::new(level)?),
        })
    }

    /// Compresses the block, whose [`Block::compressed`] then has it.
    pub(super) fn compress(&mut self, block: &mut Block) -> io::Result<()> {
        let (dictionary, contents) = block.input.split_at(block.dictionary);
        match self {
            Self::Gzip(level) => {
                block.checksum.update(contents);
                deflate(*level, dictionary, contents, &mut block.output)
            }
            Self::Zstd(compressor) => {
                block.output.clear();
                block
                    .output
                    .reserve_exact(zstd::zstd_safe::compress_bound(contents.len()));
                compressor.compress_to_buffer(contents, &mut block.output)?;
                Ok(())
            }
        }
    }
}

/// Appends `contents` to `output` as blocks of deflate that end at a byte, none of which is the last.
fn deflate(
    level: flate2::Compression,
    dictionary: &[u8],
    contents: &[u8],
    output: &mut Vec<u8>,
) -> io::Result<()> {
    let mut state = Compress::new(level, false);
    if !dictionary.is_empty() {
        state.set_dictionary(dictionary)?;
    }
    // Room for what does not get smaller, so that one call does it all.
    output.reserve_exact(contents.len() + contents.len() / 8 + 1024);
    loop {
        let read = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = contents.get(read..).unwrap_or_default();
        let status = state.compress_vec(rest, output, FlushCompress::Sync)?;
        let all_read = state.total_in() == contents.len() as u64;
        // What does not fill its space has nothing left to write.
        if all_read && output.len() < output.capacity() {
            return Ok(());
        }
        if status == Status::StreamEnd {
            return Err(io::Error::other("deflate ended before its contents"));
        }
        output.reserve(GZIP_BLOCK);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Blocks of `contents`, compressed as a layer is, without threads.
    fn compress(contents: &[u8], compression: Compression) -> Vec<u8> {
        let mut compressor = Compressor::new(compression).expect("a compressor");
        let mut written = compression.header().to_vec();
        let mut checksum = Crc32::new();
        let (mut before, mut rest) = (None::<Block>, contents);
        while !rest.is_empty() {
            let mut block = Block::default();
            block.follow(before.as_ref(), compression);
            let taken = block.take(rest, compression);
            assert_eq!(block.take(&rest[taken..], compression), 0);
            compressor.compress(&mut block).expect("a block");
            written.extend_from_slice(block.compressed());
            checksum.combine(block.checksum());
            rest = &rest[taken..];
            before = Some(block);
        }
        written.extend(compression.trailer(checksum, contents.len() as u64));
        written
    }

    /// Bytes in which little repeats, the same in every run.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let text: Vec<u8> = (0..400_000_u32)
            .flat_map(|number| format!("{number} bottles\n").into_bytes())
            .collect();
        for length in [
            0,
            1,
            GZIP_BLOCK - 1,
            GZIP_BLOCK,
            GZIP_BLOCK + 1,
            3 * GZIP_BLOCK,
            ZSTD_BLOCK,
            2 * ZSTD_BLOCK + 17,
        ] {
            for contents in [&text[..length], &noise(length)] {
                for level in [0, 1, 6, 9] {
                    let compressed = compress(contents, Compression::Gzip { level });
                    let mut read = Vec::new();
                    // Not a reader of several members: there is one.
                    let mut decoder = flate2::bufread::GzDecoder::new(&compressed[..]);
                    decoder.read_to_end(&mut read).expect("gzip");
                    assert!(decoder.into_inner().is_empty());
                    assert!(read == contents);
                }
                // Without a byte there is no frame; an archive has at least its end.
                for level in [1, 3, 19].into_iter().filter(|_| length > 0) {
                    let compressed = compress(contents, Compression::Zstd { level });
                    assert!(zstd::decode_all(&compressed[..]).expect("zstd") == contents);
                }
            }
        }
    }

    #[test]
    fn what_does_not_get_smaller_hardly_gets_larger() {
        let contents = noise(2 * GZIP_BLOCK);
        for compression in [
            Compression::GZIP,
            Compression::Gzip { level: 0 },
            Compression::ZSTD,
        ] {
            let compressed = compress(&contents, compression).len();
            assert!(
                compressed < contents.len() + contents.len() / 1000,
                "{compression:?}: {compressed}"
            );
        }
    }

    #[test]
    fn the_dictionary_is_what_stands_before() {
        // Noise that comes again within the window, though never within a block's own bytes.
        let piece = noise(16 << 10);
        let mut contents = noise(GZIP_BLOCK - piece.len());
        contents.extend_from_slice(&piece);
        let before = compress(&contents, Compression::GZIP).len();
        contents.extend_from_slice(&piece);
        let after = compress(&contents, Compression::GZIP).len();
        assert!(after - before < 1000, "{}", after - before);
    }

    #[test]
    fn levels_that_do_not_exist_are_refused() {
        for level in [0, 6, 9] {
            assert_eq!(Compression::Gzip { level }.check(), Ok(()));
        }
        for level in [1, 22] {
            assert_eq!(Compression::Zstd { level }.check(), Ok(()));
        }
        let error = Compression::Gzip { level: 10 }.check().expect_err("none");
        assert_eq!(error.to_string(), "gzip has levels from 0 to 9, not 10");
        let error = Compression::Zstd { level: 0 }.check().expect_err("none");
        assert_eq!(error.to_string(), "zstd has levels from 1 to 22, not 0");
    }
}
