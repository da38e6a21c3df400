//! An archive of an image that is read once, from its beginning to its end: compressed as a whole, or from a pipe.
//!
//! What names the layers usually comes behind them. So every member that may be a layer is handed on while it goes by,
//! small JSON documents are kept, links are remembered, and everything is put together at the end.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use super::super::layout::{
    ImageFiles, blob_digest, blob_path, check_document_size, describe, invalid, missing_blob,
    read_layout, shown,
};
use super::super::manifest::LARGEST_DOCUMENT;
use super::super::platform::OciPlatform;
use super::super::{Image, ImageStream, Layer, LayerSource, StreamedLayer, TransportError};
use super::members::Members;
use super::tar_reader::{ArchiveError, BLOCK, MemberKind, Streamed, TarReader, is_header};
use super::{ArchiveFormat, Compression, MAGIC_BYTES, archive_error, cut_off, docker};
use crate::digest::{Digest, Mismatch};
use crate::inflate::GzipReader;

/// Bytes of JSON documents that are kept of one archive: those of a hundred images fit.
const MOST_DOCUMENT_BYTES: u64 = 16 << 20;
/// Bytes of members that are neither documents nor layers, which are read past: no archive of an image has more than a
/// few, and a stream that goes on for ever ends here.
const MOST_OTHER_BYTES: u64 = 4 << 30;

/// An archive that can be read once.
pub struct ArchiveStream {
    reader: Box<dyn Read + Send>,
    format: ArchiveFormat,
    platform: Option<OciPlatform>,
    name: String,
}

impl fmt::Debug for ArchiveStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveStream")
            .field("format", &self.format)
            .field("platform", &self.platform)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What is kept of a member.
#[derive(Debug)]
enum Kept {
    /// A JSON document.
    Document(Vec<u8>),
    /// A layer, which has gone by.
    Layer(StreamedLayer),
    /// Anything else, of so many bytes.
    Other(u64),
}

/// What is known of an archive once it has gone by.
struct ReadArchive<'a> {
    name: &'a str,
    members: Members<Kept>,
}

impl ArchiveStream {
    /// The archive that `reader` gives, plain or compressed; nothing is read yet. `name` is what errors call it.
    #[must_use]
    pub fn new(
        reader: Box<dyn Read + Send>,
        format: ArchiveFormat,
        platform: Option<OciPlatform>,
        name: &str,
    ) -> Self {
        Self {
            reader,
            format,
            platform,
            name: name.to_owned(),
        }
    }
}

impl ImageStream for ArchiveStream {
    fn announced(&self) -> Option<&Image> {
        None
    }

    fn read(
        self: Box<Self>,
        layer: &mut dyn FnMut(&str, &mut dyn Read) -> Result<StreamedLayer, TransportError>,
    ) -> Result<(Image, Vec<StreamedLayer>), TransportError> {
        let Self {
            reader,
            format,
            platform,
            name,
        } = *self;
        let archive = ReadArchive {
            name: &name,
            members: read_members(decompressed(reader, &name)?, &name, layer)?,
        };
        let mut image = match &format {
            ArchiveFormat::Oci(selector) => {
                docker::refuse_other_format(&archive, super::layout::LAYOUT_FILE)?;
                let documents = read_layout(&archive, selector.as_ref(), platform.as_ref())?;
                Image {
                    reference: name.clone(),
                    digest: Some(documents.digest),
                    manifest_bytes: Some(documents.manifest_bytes),
                    config_bytes: documents.config_bytes,
                    config: documents.config,
                    layers: documents.layers,
                    source: Arc::new(GoneBy(name.clone())),
                }
            }
            ArchiveFormat::Docker(selector) => {
                let documents = docker::read(&archive, selector.as_ref(), platform.as_ref())?;
                Image {
                    reference: name.clone(),
                    digest: None,
                    manifest_bytes: None,
                    config_bytes: documents.config_bytes,
                    config: documents.config,
                    layers: documents.layers,
                    source: Arc::new(GoneBy(name.clone())),
                }
            }
        };
        let streamed = image
            .layers
            .iter_mut()
            .map(|layer| archive.take_layer(layer))
            .collect::<Result<_, _>>()?;
        Ok((image, streamed))
    }
}

/// The tar archive in `reader`.
fn decompressed(
    reader: Box<dyn Read + Send>,
    name: &str,
) -> Result<Box<dyn Read + Send>, TransportError> {
    let failed = |source| TransportError::Io {
        what: name.to_owned(),
        source,
    };
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let mut start = Vec::new();
    (&mut reader)
        .take(MAGIC_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(failed)?;
    let compression = Compression::of(&start);
    let whole = io::Cursor::new(start).chain(reader);
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(GzipReader::new(whole)),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(BufReader::new(whole));
            Box::new(decoder.map_err(failed)?)
        }
        Compression::Other(compression) => {
            let reason = format!(
                "it is compressed with {compression}; gzip and zstd are read, so decompress it first"
            );
            return Err(invalid(name, reason));
        }
    })
}

/// Reads an archive to its end, and hands on what may be a layer.
fn read_members(
    reader: Box<dyn Read + Send>,
    name: &str,
    layer: &mut dyn FnMut(&str, &mut dyn Read) -> Result<StreamedLayer, TransportError>,
) -> Result<Members<Kept>, TransportError> {
    let wrong = |error| archive_error(name, stream_error(error));
    let mut reader = TarReader::new(Streamed(reader));
    let mut members = Members::default();
    let mut document_bytes = 0;
    let mut other_bytes = 0;
    while let Some(member) = reader.next_member().map_err(wrong)? {
        let size = match member.kind {
            MemberKind::File { size, .. } => size,
            MemberKind::Link(target) => {
                members.insert_link(member.name, target).map_err(wrong)?;
                continue;
            }
            MemberKind::Other => {
                members.insert_other(member.name).map_err(wrong)?;
                continue;
            }
        };
        members.check_new(&member.name).map_err(wrong)?;
        let mut start = Vec::with_capacity(BLOCK);
        (&mut reader)
            .take(BLOCK as u64)
            .read_to_end(&mut start)
            .map_err(|error| wrong(error.into()))?;
        let kept = if may_be_layer(&start) {
            let mut contents = MemberContents {
                start: &start,
                rest: &mut reader,
                name,
            };
            Kept::Layer(layer(&member.name, &mut contents)?)
        } else if is_json(&start) && size <= LARGEST_DOCUMENT {
            document_bytes += size;
            if document_bytes > MOST_DOCUMENT_BYTES {
                let reason =
                    format!("its JSON documents have more than {MOST_DOCUMENT_BYTES} bytes");
                return Err(invalid(name, reason));
            }
            reader
                .read_to_end(&mut start)
                .map_err(|error| wrong(error.into()))?;
            Kept::Document(start)
        } else {
            other_bytes += size.min(MOST_OTHER_BYTES);
            if other_bytes >= MOST_OTHER_BYTES {
                let reason = format!(
                    "it has more than {MOST_OTHER_BYTES} bytes that are neither documents nor layers"
                );
                return Err(invalid(name, reason));
            }
            Kept::Other(size)
        };
        members.insert_file(member.name, kept).map_err(wrong)?;
    }
    Ok(members)
}

/// The same error, where the stream broke off as that of the archive.
fn stream_error(error: ArchiveError) -> ArchiveError {
    match error {
        ArchiveError::Io(source)
            if source.kind() == io::ErrorKind::UnexpectedEof && source.get_ref().is_none() =>
        {
            ArchiveError::invalid("it breaks off before its end")
        }
        other => other,
    }
}

/// Whether what begins with `start` may be a layer: a tar archive, an empty one too, or something compressed as layers
/// are.
fn may_be_layer(start: &[u8]) -> bool {
    let is_empty_tar = start.len() == BLOCK && start.iter().all(|byte| *byte == 0);
    matches!(
        Compression::of(start),
        Compression::Gzip | Compression::Zstd
    ) || is_empty_tar
        || is_header(start)
}

fn is_json(start: &[u8]) -> bool {
    start
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| matches!(byte, b'{' | b'['))
}

/// The contents of a member, of which the beginning has been looked at.
struct MemberContents<'a> {
    start: &'a [u8],
    rest: &'a mut TarReader<Streamed<Box<dyn Read + Send>>>,
    name: &'a str,
}

impl Read for MemberContents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.start.is_empty() {
            return self.start.read(buffer);
        }
        self.rest.read(buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof && error.get_ref().is_none() {
                cut_off(self.name)
            } else {
                error
            }
        })
    }
}

impl ReadArchive<'_> {
    /// What was kept of `layer`, compared with everything that is said of it.
    fn take_layer(&self, layer: &mut Layer) -> Result<StreamedLayer, TransportError> {
        let member = match (&layer.member, &layer.digest) {
            (Some(member), _) => member.clone(),
            (None, Some(digest)) => blob_path(digest),
            (None, None) => return Err(missing_blob(self.name, &layer.diff_id)),
        };
        let found = self
            .members
            .get(&member)
            .map_err(|error| archive_error(self.name, error))?;
        let (member, streamed) = match found {
            Some((member, Kept::Layer(streamed))) => (member, streamed),
            Some(_) => {
                let reason = "it is no tar archive, plain or compressed";
                return Err(invalid(describe(self.name, layer), reason));
            }
            None => {
                return Err(match (&layer.member, &layer.digest) {
                    (None, Some(digest)) => missing_blob(self.name, digest),
                    _ => docker::missing_member(self.name, &member),
                });
            }
        };
        if layer.digest.is_none() {
            layer.digest = blob_digest(member);
        }
        let expected = *layer.size.get_or_insert(streamed.size);
        let mismatch = |mismatch| TransportError::Mismatch {
            what: describe(self.name, layer),
            mismatch,
        };
        if expected != streamed.size {
            return Err(mismatch(Mismatch::Size {
                expected,
                found: streamed.size,
            }));
        }
        if let Some(digest) = &layer.digest {
            self.check(digest, &streamed.digest, layer)?;
        }
        self.check(&layer.diff_id, &streamed.diff_id, layer)?;
        Ok(streamed.clone())
    }

    fn check(
        &self,
        expected: &Digest,
        found: &Digest,
        layer: &Layer,
    ) -> Result<(), TransportError> {
        if expected == found {
            return Ok(());
        }
        let what = describe(self.name, layer);
        if expected.algorithm() != found.algorithm() {
            let reason = format!(
                "a digest of {} cannot be verified while it goes by: save the image to a file first",
                expected.algorithm()
            );
            return Err(invalid(what, reason));
        }
        Err(TransportError::Mismatch {
            what,
            mismatch: Mismatch::Digest {
                expected: expected.clone(),
                found: found.clone(),
            },
        })
    }
}

impl ImageFiles for ReadArchive<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TransportError> {
        let found = self
            .members
            .get(path)
            .map_err(|error| archive_error(self.name, error))?;
        let what = |member: &str| format!("`{}` of {}", shown(member), self.name);
        match found {
            None => Ok(None),
            Some((_, Kept::Document(bytes))) => Ok(Some(bytes.clone())),
            Some((member, Kept::Layer(streamed))) => {
                check_document_size(streamed.size, &what(member))?;
                Err(invalid(what(member), "it is no JSON document"))
            }
            Some((member, Kept::Other(size))) => {
                check_document_size(*size, &what(member))?;
                Err(invalid(what(member), "it is no JSON document"))
            }
        }
    }
}

/// The source of layers that cannot be opened, because they come in a stream.
#[derive(Debug)]
pub(in super::super) struct GoneBy(pub(in super::super) String);

impl LayerSource for GoneBy {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        Err(TransportError::NotFound(format!(
            "{} can be read only while the image is streamed",
            describe(&self.0, layer)
        )))
    }
}
