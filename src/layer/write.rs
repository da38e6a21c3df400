//! From contents to the blob of a layer, in one pass on several threads and in bounded memory.
//!
//! The calling thread writes the archive and cuts it into blocks. Others compress: the first takes the first block, the
//! second the second, and so on in turn. One more takes the blocks in the same order, hashes them as they were and as they
//! are, and writes them. Blocks go round; there are only so many, so who is fast waits for who is slow.
//!
//! Specification: OCI image-spec, `layer.md`; `config.md`, "Layer `DiffID`".

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crc32fast::Hasher as Crc32;

use super::compress::{Block, Compression, Compressor, UnknownLevel};
use super::contents::{FileSource, LayerContents};
use super::tar_writer::{plan, write_archive};
use crate::digest::{Digest, Hasher, Mismatch};
use crate::image_path::ImagePath;

/// Where the contents of files come from that are not at hand.
pub trait Sources {
    /// A reader of the contents of a file. Not asked for [`FileSource::Bytes`].
    ///
    /// # Errors
    /// When they cannot be opened. A reader may fail with a [`Mismatch`] inside of its error, which then is reported as
    /// one.
    fn open(&self, source: &FileSource) -> io::Result<Box<dyn Read + '_>>;
}

/// How a layer is written.
#[derive(Debug, Clone, Copy)]
pub struct LayerWriteSettings {
    /// How it is compressed.
    pub compression: Compression,
    /// Modification time of every entry, in seconds since 1970.
    pub mtime: u64,
    /// Threads that compress, at least one. The bytes do not depend on it.
    pub threads: usize,
}

/// What a layer came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenLayer {
    /// Digest of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Size of the uncompressed archive in bytes.
    pub uncompressed: u64,
}

/// Why there is no layer. Whatever was written of it is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum LayerWriteError {
    /// Contents that no layer can have; nothing was written.
    #[error("`{path}` cannot be in a layer: {reason}")]
    Refused {
        /// The entry.
        path: ImagePath,
        /// Why not.
        reason: Refusal,
    },
    /// A level that does not exist; nothing was written.
    #[error(transparent)]
    Level(#[from] UnknownLevel),
    /// The contents of a file cannot be opened.
    #[error("cannot open the contents of `{path}`")]
    Open {
        /// The file in the layer.
        path: ImagePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The contents of a file cannot be read.
    #[error("cannot read the contents of `{path}`")]
    Read {
        /// The file in the layer.
        path: ImagePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The contents of a file are others than those that were promised.
    #[error("the contents of `{path}` are not what they should be")]
    Changed {
        /// The file in the layer.
        path: ImagePath,
        /// What differs.
        #[source]
        source: Mismatch,
    },
    /// The compressor failed.
    #[error("cannot compress the layer")]
    Compress(#[source] io::Error),
    /// The blob cannot be written.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
}

/// Why contents cannot be in a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Engines would take it for the removal of another file.
    #[error("names that begin with `.wh.` say that something is removed")]
    WhiteoutName,
    /// Names end there.
    #[error("its name has a zero byte")]
    Zero,
    /// A folder, and something else.
    #[error("it is a folder and something else at once")]
    TwoKinds,
    /// Its folder is missing in [`LayerContents::directories`].
    #[error("nothing is known of the folder `{0}`")]
    NoFolder(ImagePath),
    /// The root is in no folder.
    #[error("it is the root")]
    Root,
}

/// Writes the layer of `contents` to `out`. Every file is compared with the size and the hash that `contents` has of it;
/// none is held in memory. The bytes depend on `contents`, the compression and the time in `settings` alone.
///
/// # Errors
/// See [`LayerWriteError`]; of several things that went wrong, one.
pub fn write_layer(
    contents: &LayerContents,
    sources: &dyn Sources,
    settings: &LayerWriteSettings,
    out: impl Write + Send,
) -> Result<WrittenLayer, LayerWriteError> {
    let compression = settings.compression;
    compression.check()?;
    let entries = plan(contents)?;
    let threads = settings.threads.clamp(1, compression.most_threads());
    thread::scope(|scope| {
        let (mut queues, mut done) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (to_compressor, blocks) = channel();
            let (from_compressor, blob_blocks) = channel();
            scope.spawn(move || compress(compression, &blocks, &from_compressor));
            queues.push(to_compressor);
            done.push(blob_blocks);
        }
        let (back, empty) = channel();
        // For each compressor one that it works on and one that waits, and one to write on.
        for _ in 0..=2 * threads {
            // Both ends are here: neither can have gone.
            let _ = back.send(Block::default());
        }
        let blob = Blob::new(out, compression);
        let writing = scope.spawn(move || blob.write(&done, &back));
        let mut blocks = BlockWriter {
            compression,
            block: None,
            empty,
            queues,
            next: 0,
        };
        let archived = write_archive(&entries, sources, settings.mtime, &mut blocks)
            .and_then(|()| blocks.hand_over().map_err(LayerWriteError::Write));
        // Closes the channels: what was sent is the last.
        drop(blocks);
        let blob = writing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // When the blob failed, the archive did because of it.
        let blob = blob?;
        archived?;
        blob.finish()
    })
}

/// A block, or why there is none.
type Compressed = io::Result<Block>;

/// A thread that compresses: until there is nothing more, or it fails, or nobody wants it.
fn compress(compression: Compression, blocks: &Receiver<Block>, done: &Sender<Compressed>) {
    let mut compressor = match Compressor::new(compression) {
        Ok(compressor) => compressor,
        Err(error) => {
            let _ = done.send(Err(error));
            return;
        }
    };
    for mut block in blocks {
        let compressed = compressor.compress(&mut block).map(|()| block);
        let failed = compressed.is_err();
        if done.send(compressed).is_err() || failed {
            return;
        }
    }
}

/// Where the archive is cut into blocks.
struct BlockWriter {
    compression: Compression,
    /// The block that is being filled.
    block: Option<Block>,
    empty: Receiver<Block>,
    /// The compressors.
    queues: Vec<Sender<Block>>,
    /// Whose turn it is.
    next: usize,
}

impl BlockWriter {
    /// An empty block that follows the one that is full.
    fn following(&mut self) -> io::Result<Block> {
        let mut block = self.empty.recv().map_err(|_| nobody_writes())?;
        block.follow(self.block.as_ref(), self.compression);
        Ok(block)
    }

    /// Gives away what has been filled so far.
    fn hand_over(&mut self) -> io::Result<()> {
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let sent = self.queues[self.next].send(block);
        self.next = (self.next + 1) % self.queues.len();
        sent.map_err(|_| nobody_writes())
    }
}

impl Write for BlockWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if let Some(block) = &mut self.block {
            let taken = block.take(bytes, self.compression);
            if taken > 0 {
                return Ok(taken);
            }
        }
        let mut block = self.following()?;
        let taken = block.take(bytes, self.compression);
        self.hand_over()?;
        self.block = Some(block);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Seen by the archive alone: who failed says why.
fn nobody_writes() -> io::Error {
    io::Error::other("nobody writes the layer any more")
}

/// The blob on its way out.
struct Blob<W> {
    out: W,
    compression: Compression,
    digest: Hasher,
    size: u64,
    diff_id: Hasher,
    uncompressed: u64,
    checksum: Crc32,
}

impl<W: Write> Blob<W> {
    fn new(out: W, compression: Compression) -> Self {
        Self {
            out,
            compression,
            digest: Hasher::sha256(),
            size: 0,
            diff_id: Hasher::sha256(),
            uncompressed: 0,
            checksum: Crc32::new(),
        }
    }

    /// The thread that writes: all blocks in their order, without what stands behind the last, as only who wrote the
    /// archive knows whether it is whole.
    fn write(
        mut self,
        done: &[Receiver<Compressed>],
        back: &Sender<Block>,
    ) -> Result<Self, LayerWriteError> {
        self.put(self.compression.header())?;
        for turn in done.iter().cycle() {
            let Ok(block) = turn.recv() else {
                break;
            };
            let block = block.map_err(LayerWriteError::Compress)?;
            self.diff_id.update(block.contents());
            self.uncompressed += block.contents().len() as u64;
            self.checksum.combine(block.checksum());
            self.put(block.compressed())?;
            // The archive may have come to its end.
            let _ = back.send(block);
        }
        Ok(self)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LayerWriteError> {
        self.out.write_all(bytes).map_err(LayerWriteError::Write)?;
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<WrittenLayer, LayerWriteError> {
        let checksum = std::mem::take(&mut self.checksum);
        let trailer = self.compression.trailer(checksum, self.uncompressed);
        self.put(&trailer)?;
        self.out.flush().map_err(LayerWriteError::Write)?;
        Ok(WrittenLayer {
            digest: self.digest.finish(),
            size: self.size,
            diff_id: self.diff_id.finish(),
            uncompressed: self.uncompressed,
        })
    }
}
