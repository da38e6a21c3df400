//! Blobs from where they are to where they go: verified on the way, in bounded memory.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use oci_spec::image::Descriptor;
use tempfile::TempPath;

use super::archive::{Compression, MAGIC_BYTES};
use super::layout::{describe, invalid, shown_path};
use super::outgoing::{BlobContent, CopyProgress, OutgoingBlob};
use super::{Layer, LayerSource, TransportError, new_file};
use crate::cache_folder::NEW;
use crate::digest::{Digest, Hasher, Mismatch, VerifyingReader};
use crate::inflate::GzipReader;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// The largest window of a zstd frame, as a power of two: what `zstd --ultra --long` makes is refused by engines, too.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// What an error calls a blob.
fn blob_name(descriptor: &Descriptor) -> String {
    format!("the blob {}", descriptor.digest())
}

/// The error of a reader, as whatever put it there meant it.
pub(super) fn read_error(error: io::Error, what: &str) -> TransportError {
    let error = match error.downcast::<TransportError>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    match error.downcast::<Mismatch>() {
        Ok(mismatch) => TransportError::Mismatch {
            what: what.to_owned(),
            mismatch,
        },
        Err(source) => TransportError::Io {
            what: what.to_owned(),
            source,
        },
    }
}

/// The bytes of `blob`, which fail at their end where they are not what the descriptor promises: an [`io::Error`] that
/// carries a [`TransportError`], a [`Mismatch`], or what the machine says.
///
/// # Errors
/// When it is not there, or its digest is of an unknown algorithm.
pub fn open_blob(blob: &OutgoingBlob) -> Result<Box<dyn Read + Send + '_>, TransportError> {
    let reader: Box<dyn Read + Send + '_> = match &blob.content {
        BlobContent::Bytes(bytes) => Box::new(bytes.as_ref()),
        BlobContent::File(path) => {
            let file = std::fs::File::open(path).map_err(|source| TransportError::Io {
                what: format!("`{}`", shown_path(path)),
                source,
            })?;
            Box::new(file)
        }
        BlobContent::Base { source, layer, .. } => source.open(layer)?,
    };
    Ok(Box::new(verifying(reader, &blob.descriptor)?))
}

/// `reader`, compared at its end with `descriptor`.
pub(super) fn verifying<R: Read>(
    reader: R,
    descriptor: &Descriptor,
) -> Result<VerifyingReader<R>, TransportError> {
    VerifyingReader::new(reader, descriptor.digest(), Some(descriptor.size())).map_err(
        |algorithm| TransportError::Mismatch {
            what: blob_name(descriptor),
            mismatch: algorithm.into(),
        },
    )
}

/// Copies `blob` to `out`, to its end, and verifies it. `target` is what errors call `out`; `go_on` is asked before each
/// piece.
///
/// # Errors
/// When it is not what its descriptor promises, cannot be read, or cannot be written.
pub(super) fn copy_blob(
    blob: &OutgoingBlob,
    out: &mut dyn Write,
    target: &str,
    progress: &dyn CopyProgress,
    go_on: &dyn Fn() -> bool,
) -> Result<(), TransportError> {
    let what = blob_name(&blob.descriptor);
    let mut reader = open_blob(blob)?;
    let mut piece = vec![0; PIECE];
    loop {
        if !go_on() {
            return Err(TransportError::Io {
                what,
                source: io::ErrorKind::Interrupted.into(),
            });
        }
        let read = match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(error, &what)),
        };
        out.write_all(&piece[..read])
            .map_err(|source| TransportError::Write {
                what: target.to_owned(),
                source,
            })?;
        progress.advanced(&blob.descriptor, read as u64);
    }
}

/// Whether `reader` has the bytes that `descriptor` promises.
pub(super) fn unchanged(reader: impl Read, descriptor: &Descriptor) -> bool {
    let Ok(mut reader) = verifying(reader, descriptor) else {
        return false;
    };
    read_out(&mut reader).is_ok()
}

/// Reads to the end, where the reader compares.
fn read_out(reader: &mut dyn Read) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How a layer lies in its blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerCompression {
    /// A plain tar archive.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// A layer in a file of its own, with what a descriptor says of it.
#[derive(Debug)]
pub struct StagedLayer {
    /// The file; it goes away with this value.
    pub file: TempPath,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Digest of the uncompressed tar archive.
    pub diff_id: Digest,
    /// How it is compressed, as its bytes tell.
    pub compression: LayerCompression,
}

/// Puts a layer that can be read once into a file in `folder` (one of the cache), as it lies there, and computes what a descriptor needs.
/// `what` is what errors call it.
///
/// # Errors
/// When it cannot be read or written, or is compressed as no layer is.
pub fn stage(
    reader: &mut dyn Read,
    what: &str,
    folder: &Path,
) -> Result<StagedLayer, TransportError> {
    let target = format!("a file in `{}`", shown_path(folder));
    let unwritten = |source| TransportError::Write {
        what: target.clone(),
        source,
    };
    let mut file = new_file::create(folder, NEW).map_err(unwritten)?;
    let mut copied = Tee {
        inner: reader,
        out: file.as_file_mut(),
        hasher: Hasher::sha256(),
        size: 0,
        unwritten: None,
    };
    let unpacked = unpack(&mut copied, what);
    if let Some(error) = copied.unwritten {
        return Err(unwritten(error));
    }
    let (diff_id, compression) = unpacked?;
    let (digest, size) = (copied.hasher.finish(), copied.size);
    file.flush().map_err(unwritten)?;
    Ok(StagedLayer {
        file: file.into_temp_path(),
        digest,
        size,
        diff_id,
        compression,
    })
}

/// [`stage`] for a layer of an image, such as one of an archive of `docker save`, whose digest nobody knows; everything
/// that is known of it is compared.
///
/// # Errors
/// Those of [`stage`], and when it is another layer than it should be.
pub fn stage_layer(
    source: &dyn LayerSource,
    layer: &Layer,
    name: &str,
    folder: &Path,
) -> Result<StagedLayer, TransportError> {
    let what = describe(name, layer);
    let staged = stage(&mut source.open(layer)?, &what, folder)?;
    let mismatch = |mismatch| TransportError::Mismatch {
        what: what.clone(),
        mismatch,
    };
    if let Some(expected) = layer.size.filter(|expected| *expected != staged.size) {
        return Err(mismatch(Mismatch::Size {
            expected,
            found: staged.size,
        }));
    }
    let known = [
        (layer.digest.as_ref(), &staged.digest),
        (Some(&layer.diff_id), &staged.diff_id),
    ];
    for (expected, found) in known {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(mismatch(Mismatch::Digest {
                expected: expected.clone(),
                found: found.clone(),
            }));
        }
    }
    Ok(staged)
}

/// Reads a layer to its end; the digest of the tar archive in it, and how it is compressed.
pub(super) fn unpack(
    reader: &mut dyn Read,
    what: &str,
) -> Result<(Digest, LayerCompression), TransportError> {
    let failed = |error| read_error(error, what);
    let mut buffered = BufReader::with_capacity(PIECE, reader);
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    (&mut buffered)
        .take(MAGIC_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(failed)?;
    let compression = match Compression::of(&start) {
        Compression::None => LayerCompression::None,
        Compression::Gzip => LayerCompression::Gzip,
        Compression::Zstd => LayerCompression::Zstd,
        Compression::Other(other) => {
            let reason = format!("it is compressed with {other}, which layers are not");
            return Err(invalid(what, reason));
        }
    };
    let mut whole = io::Cursor::new(start).chain(buffered);
    let diff_id = match compression {
        LayerCompression::None => hashed(&mut whole),
        LayerCompression::Gzip => hashed(&mut GzipReader::new(&mut whole)),
        LayerCompression::Zstd => {
            zstd::stream::read::Decoder::with_buffer(&mut whole).and_then(|mut decoder| {
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                hashed(&mut decoder)
            })
        }
    }
    .map_err(failed)?;
    // A decoder need not look for the end of its source, and the source compares its digest there.
    loop {
        let rest = whole.fill_buf().map_err(failed)?.len();
        if rest == 0 {
            return Ok((diff_id, compression));
        }
        whole.consume(rest);
    }
}

fn hashed(reader: &mut dyn Read) -> io::Result<Digest> {
    let mut hasher = Hasher::sha256();
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A reader whose bytes are kept while they go by.
struct Tee<'a> {
    inner: &'a mut dyn Read,
    out: &'a mut dyn Write,
    hasher: Hasher,
    size: u64,
    /// Why the bytes could not be kept: the reader's own failures are others.
    unwritten: Option<io::Error>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.size += read as u64;
        if let Err(error) = self.out.write_all(&buffer[..read]) {
            let kind = error.kind();
            self.unwritten = Some(error);
            return Err(kind.into());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn a_staged_layer_is_what_went_by() {
        let folder = tempfile::tempdir().expect("a folder");
        let tar: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let zstd = zstd::encode_all(tar.as_slice(), 1).expect("memory");
        for (blob, compression) in [
            (tar.clone(), LayerCompression::None),
            (gzip(&tar), LayerCompression::Gzip),
            (zstd, LayerCompression::Zstd),
        ] {
            let staged = stage(&mut blob.as_slice(), "a layer", folder.path()).expect("staged");
            assert_eq!(std::fs::read(&staged.file).expect("read"), blob);
            assert_eq!(staged.digest, sha256(&blob));
            assert_eq!(staged.size, blob.len() as u64);
            assert_eq!(staged.diff_id, sha256(&tar));
            assert_eq!(staged.compression, compression);
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            0,
            "a staged layer goes away with its value"
        );
    }

    #[test]
    fn what_cannot_be_staged_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let cut = &gzip(b"some bytes")[..12];
        let error = stage(&mut &*cut, "a layer", folder.path()).expect_err("cut off");
        assert!(
            matches!(error, TransportError::Io { .. }),
            "{}",
            error.with_cause()
        );
        let error = stage(&mut &b"BZh91AY"[..], "a layer", folder.path()).expect_err("bzip2");
        assert_eq!(
            error.to_string(),
            "a layer is invalid: it is compressed with bzip2, which layers are not"
        );
        let absent = folder.path().join("absent");
        let error = stage(&mut &b""[..], "a layer", &absent).expect_err("no folder");
        assert!(
            matches!(error, TransportError::Write { .. }),
            "{}",
            error.with_cause()
        );
    }
}
