//! One layer on its way from blob to inventory, on three threads: the first reads the blob and hashes it, the second
//! unpacks it, the third hashes what was unpacked and walks its entries.
//!
//! Chunks go from thread to thread and come back empty, so nothing waits but for the slowest. That is the second, which
//! for that reason does nothing else.

use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::budget::LayerBudget;
use super::inventory::InventoryBuilder;
use super::inventory::Unsealed;
use super::layer_entries::WalkError;
use super::layer_entries::decompress::{Unpacked, decompress};
use crate::digest::{Digest, Hasher, Mismatch};
use crate::inflate;

/// Bytes of a chunk: large enough that handing it over costs nothing beside filling it, small enough for a processor's
/// cache. A gzip reader takes chunks of just this length for its own buffers.
const CHUNK: usize = inflate::BUFFER;

/// Chunks that are on their way between two threads: as many as one thread works off while another has its turn on a
/// processor, which is some milliseconds. With fewer, the thread that unpacks would wait for one that waits for its turn.
const CHUNKS: usize = 16;

/// A blob whose archive is broken is still read to its end where no more than so many bytes are missing: that its digest
/// is wrong says more than where unpacking failed.
const READ_FOR_DIAGNOSIS: u64 = 32 << 20;

/// What is promised of a blob, and who waits for it.
pub(super) struct BlobPromise<'a> {
    /// Its hash, without bytes.
    pub(super) hasher: Hasher,
    /// Its size in bytes, where it is known.
    pub(super) size: Option<u64>,
    /// Whether it is read to its end, come what may.
    pub(super) to_end: bool,
    /// Told of bytes that were read.
    pub(super) advanced: &'a dyn Fn(u64),
    /// Set when nobody waits any more.
    pub(super) stop: &'a AtomicBool,
}

/// Why a blob was not read to its end.
#[derive(Debug)]
pub(super) enum BlobFailure {
    /// Nobody waits for it.
    Stopped,
    /// It could not be read.
    Io(io::Error),
    /// It goes on behind its end.
    TooLong(Mismatch),
}

/// What came of a layer.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Digest and size of the blob.
    pub(super) blob: Result<(Digest, u64), BlobFailure>,
    /// Its inventory, and the hash of the uncompressed archive.
    pub(super) inventory: Result<(Unsealed, Hasher), WalkError>,
}

/// What one thread sends to the next.
enum Message {
    /// A chunk, and what of it is filled.
    Chunk(Vec<u8>, Range<usize>),
    /// All has been sent. A channel that closes without it belongs to a thread that failed, and tells of it itself.
    End,
    /// There is no more, and why.
    Failed(io::Error),
}

/// Reads the layer in `blob` into `builder`; `archive` is the hash of the uncompressed archive, without bytes, which
/// `budget` has to pay for.
pub(super) fn read_layer(
    blob: &mut dyn Read,
    promise: BlobPromise<'_>,
    archive: Hasher,
    budget: &LayerBudget<'_>,
    builder: InventoryBuilder<'_>,
) -> Outcome {
    thread::scope(|scope| {
        let (blob_chunks, empty, mut packed) = channel_of_chunks(None);
        let (archive_chunks, archive_empty, mut unpacked) = channel_of_chunks(Some(archive));
        scope.spawn(move || unpack(&mut packed, &archive_chunks, &archive_empty, budget));
        let walking = scope.spawn(move || {
            let unsealed = builder.read(&mut unpacked)?;
            let archive = unpacked.hasher.take();
            // It was put there above, and is taken here alone.
            Ok((unsealed, archive.unwrap_or_else(Hasher::sha256)))
        });
        let blob = read_blob(blob, promise, blob_chunks, &empty);
        let inventory = walking
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Outcome { blob, inventory }
    })
}

/// The two ends of a channel with its chunks; the reader hashes what it reads, where it has a hasher.
fn channel_of_chunks(
    hasher: Option<Hasher>,
) -> (SyncSender<Message>, Receiver<Vec<u8>>, ChunkReader) {
    let (sender, full) = sync_channel(CHUNKS);
    let (back, empty) = channel();
    for _ in 0..CHUNKS {
        // Both ends are here: neither can have gone.
        let _ = back.send(vec![0; CHUNK]);
    }
    let reader = ChunkReader {
        full,
        back,
        chunk: Vec::new(),
        unread: 0..0,
        ended: false,
        hasher,
    };
    (sender, empty, reader)
}

/// The second thread.
fn unpack(
    blob: &mut ChunkReader,
    full: &SyncSender<Message>,
    empty: &Receiver<Vec<u8>>,
    budget: &LayerBudget<'_>,
) {
    let end = match send_unpacked(blob, full, empty, budget) {
        Ok(()) => Message::End,
        Err(error) => Message::Failed(error),
    };
    // A walk that has ended early has an error of its own.
    let _ = full.send(end);
}

fn send_unpacked(
    blob: &mut ChunkReader,
    full: &SyncSender<Message>,
    empty: &Receiver<Vec<u8>>,
    budget: &LayerBudget<'_>,
) -> io::Result<()> {
    const NOBODY_READS: &str = "nobody reads the archive any more";
    let never = AtomicBool::new(false);
    let mut decoder = decompress(&mut *blob)?;
    loop {
        let mut chunk = empty.recv().map_err(|_| io::Error::other(NOBODY_READS))?;
        let filled;
        (chunk, filled) = match &mut decoder {
            // What was decoded is not copied: the chunk is what is decoded into next.
            Unpacked::Gzip(reader) => reader.exchange(chunk)?,
            Unpacked::Other(reader) => {
                let filled = fill(reader, &mut chunk, &never)?;
                (chunk, 0..filled)
            }
        };
        if filled.is_empty() {
            break;
        }
        budget
            .uncompressed(filled.len() as u64)
            .map_err(io::Error::other)?;
        full.send(Message::Chunk(chunk, filled))
            .map_err(|_| io::Error::other(NOBODY_READS))?;
    }
    drop(decoder);
    // What a decoder left unread belongs to the blob all the same.
    while !blob.fill_buf()?.is_empty() {
        blob.consume(usize::MAX);
    }
    Ok(())
}

/// The first thread.
fn read_blob(
    blob: &mut dyn Read,
    mut promise: BlobPromise<'_>,
    full: SyncSender<Message>,
    empty: &Receiver<Vec<u8>>,
) -> Result<(Digest, u64), BlobFailure> {
    let mut full = Some(full);
    let mut spare = Vec::new();
    let mut read = 0_u64;
    loop {
        if promise.stop.load(Ordering::Relaxed) {
            return Err(BlobFailure::Stopped);
        }
        let mut chunk = match &full {
            Some(_) => empty.recv().unwrap_or_else(|_| vec![0; CHUNK]),
            None => std::mem::take(&mut spare),
        };
        let filled = fill(blob, &mut chunk, promise.stop).map_err(BlobFailure::Io)?;
        read += filled as u64;
        if let Some(expected) = promise.size.filter(|expected| read > *expected) {
            let found = read;
            return Err(BlobFailure::TooLong(Mismatch::Size { expected, found }));
        }
        promise.hasher.update(&chunk[..filled]);
        (promise.advanced)(filled as u64);
        // A chunk that is not full is the last.
        let ended = filled < chunk.len();
        match full.take() {
            Some(sender) => {
                if let Err(unsent) = sender.send(Message::Chunk(chunk, 0..filled)) {
                    // The walk has ended early, with an error of its own.
                    let missing = promise.size.map_or(u64::MAX, |size| size - read);
                    if !promise.to_end && missing > READ_FOR_DIAGNOSIS {
                        return Err(BlobFailure::Stopped);
                    }
                    if let Message::Chunk(chunk, _) = unsent.0 {
                        spare = chunk;
                    }
                } else {
                    full = Some(sender);
                }
            }
            None => spare = chunk,
        }
        if ended {
            if promise.stop.load(Ordering::Relaxed) {
                return Err(BlobFailure::Stopped);
            }
            let size = promise.size.unwrap_or(read);
            // Of a blob that is too short the walk shall not see an end.
            if let Some(sender) = full.filter(|_| size == read) {
                let _ = sender.send(Message::End);
            }
            return Ok((promise.hasher.finish(), read));
        }
    }
}

/// Reads until `chunk` is full or there is nothing more, and returns how much there was.
fn fill(reader: &mut dyn Read, chunk: &mut [u8], stop: &AtomicBool) -> io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() && !stop.load(Ordering::Relaxed) {
        match reader.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What another thread sends, as its receiver reads it.
struct ChunkReader {
    full: Receiver<Message>,
    back: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    /// What of the chunk is not read yet.
    unread: Range<usize>,
    ended: bool,
    /// The hash of all that was received.
    hasher: Option<Hasher>,
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while !self.ended && self.unread.is_empty() {
            self.unread = 0..0;
            let chunk = std::mem::take(&mut self.chunk);
            if !chunk.is_empty() {
                // The sender may have come to its end.
                let _ = self.back.send(chunk);
            }
            match self.full.recv() {
                Ok(Message::Chunk(chunk, filled)) => {
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&chunk[filled.clone()]);
                    }
                    (self.chunk, self.unread) = (chunk, filled);
                }
                Ok(Message::End) => self.ended = true,
                Ok(Message::Failed(error)) => return Err(error),
                // The sender knows why.
                Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(&self.chunk[self.unread.clone()])
    }

    fn consume(&mut self, count: usize) {
        self.unread.start += count.min(self.unread.len());
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
