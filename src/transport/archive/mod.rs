//! Archives of images: `oci-archive:`, a tar archive of an OCI layout, and `docker-archive:`, what `docker save` writes.
//!
//! A file that is plain tar is indexed once by its headers, and its layers are then read where they lie, several at
//! once. What is compressed as a whole, or comes through a pipe, can be read once only and becomes an [`super::ImageStream`].

mod docker;
mod members;
mod stream;
mod tar_reader;
mod write;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use oci_spec::image::Descriptor;

use super::layout::{
    self, ImageFiles, LayoutDocuments, blob_path, check_blob_size, check_document_size, invalid,
    not_there, read_layout, shown_path,
};
use super::manifest::LARGEST_DOCUMENT;
use super::platform::OciPlatform;
use super::reference::{DockerSelector, OciSelector};
use super::referrers::{self, ReferrerSource};
use super::{Image, Layer, LayerSource, OpenedImage, TransportError};
use crate::digest::Digest;

pub(super) use docker::check_platform;
use members::Members;
pub use stream::ArchiveStream;
pub(super) use stream::GoneBy;
use tar_reader::{ArchiveError, Member, MemberKind, SeekableFile, TarReader};
pub use write::{write_docker, write_docker_to, write_oci, write_oci_to};

/// Which kind of archive it is, and which of its images is meant.
#[derive(Debug, Clone)]
pub enum ArchiveFormat {
    /// An OCI layout.
    Oci(Option<OciSelector>),
    /// What `docker save` writes, in its old or its new form.
    Docker(Option<DockerSelector>),
}

/// How an archive is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
    /// One that is not read, by name.
    Other(&'static str),
}

/// Bytes that tell how something is compressed.
pub(super) const MAGIC_BYTES: usize = 6;

impl Compression {
    /// What `start`, the first bytes of something, says.
    pub(super) fn of(start: &[u8]) -> Self {
        const KNOWN: [(&[u8], Compression); 5] = [
            (b"\x1f\x8b", Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\xfd7zXZ\0", Compression::Other("xz")),
            (b"BZh", Compression::Other("bzip2")),
            (b"PK\x03\x04", Compression::Other("zip")),
        ];
        KNOWN
            .iter()
            .find(|(magic, _)| start.starts_with(magic))
            .map_or(Self::None, |(_, compression)| *compression)
    }
}

/// The image in the archive at `path`; `name` is what errors call it.
///
/// # Errors
/// When the file is no such archive, there is no such image, or its documents are missing or invalid.
pub fn open(
    path: &Path,
    format: ArchiveFormat,
    platform: Option<&OciPlatform>,
    name: &str,
) -> Result<OpenedImage, TransportError> {
    let failed = |source| TransportError::Io {
        what: format!("`{}`", shown_path(path)),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(|error| not_there(path, "file", error))?;
    if metadata.is_dir() {
        let reason = layout::packed_image(path)
            .unwrap_or_else(|| "it is a folder, not an archive".to_owned());
        return Err(invalid(format!("`{}`", shown_path(path)), reason));
    }
    let mut file = File::open(path).map_err(|error| not_there(path, "file", error))?;
    if !metadata.is_file() {
        let stream = ArchiveStream::new(Box::new(file), format, platform.cloned(), name);
        return Ok(OpenedImage::Stream(Box::new(stream)));
    }
    let mut start = Vec::new();
    (&mut file)
        .take(MAGIC_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(failed)?;
    io::Seek::rewind(&mut file).map_err(failed)?;
    if Compression::of(&start) != Compression::None {
        let stream = ArchiveStream::new(Box::new(file), format, platform.cloned(), name);
        return Ok(OpenedImage::Stream(Box::new(stream)));
    }
    let archive = IndexedArchive::read(file, name)?;
    match format {
        ArchiveFormat::Oci(selector) => {
            open_oci(archive, selector.as_ref(), platform).map(OpenedImage::Image)
        }
        ArchiveFormat::Docker(selector) => {
            open_docker(archive, selector.as_ref(), platform).map(OpenedImage::Image)
        }
    }
}

fn open_oci(
    archive: IndexedArchive,
    selector: Option<&OciSelector>,
    platform: Option<&OciPlatform>,
) -> Result<Image, TransportError> {
    docker::refuse_other_format(&archive, layout::LAYOUT_FILE)?;
    let documents = read_layout(&archive, selector, platform)?;
    Ok(Image {
        reference: archive.name.clone(),
        digest: Some(documents.digest),
        manifest_bytes: Some(documents.manifest_bytes),
        config_bytes: documents.config_bytes,
        config: documents.config,
        layers: documents.layers,
        source: Arc::new(archive),
    })
}

fn open_docker(
    archive: IndexedArchive,
    selector: Option<&DockerSelector>,
    platform: Option<&OciPlatform>,
) -> Result<Image, TransportError> {
    let mut documents = docker::read(&archive, selector, platform)?;
    for layer in &mut documents.layers {
        let (member, extent) = archive.layer_extent(layer)?;
        layer.digest = layout::blob_digest(member);
        layer.size = Some(extent.size);
    }
    Ok(Image {
        reference: archive.name.clone(),
        digest: None,
        manifest_bytes: None,
        config_bytes: documents.config_bytes,
        config: documents.config,
        layers: documents.layers,
        source: Arc::new(archive),
    })
}

/// Where the contents of a member lie, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    offset: u64,
    size: u64,
}

/// A plain archive whose members are known.
struct IndexedArchive {
    file: Arc<File>,
    name: String,
    members: Members<Extent>,
}

impl fmt::Debug for IndexedArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexedArchive")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The error for an archive that is wrong as a whole.
fn archive_error(name: &str, error: ArchiveError) -> TransportError {
    match error {
        ArchiveError::Invalid(reason) => invalid(name, reason),
        ArchiveError::Io(source) => TransportError::Io {
            what: name.to_owned(),
            source,
        },
    }
}

impl IndexedArchive {
    fn read(file: File, name: &str) -> Result<Self, TransportError> {
        let wrong = |error: ArchiveError| archive_error(name, error);
        let file = Arc::new(file);
        let own = file.try_clone().map_err(|error| wrong(error.into()))?;
        let source = SeekableFile::new(own).map_err(|error| wrong(error.into()))?;
        let mut reader = TarReader::new(source);
        let mut members = Members::default();
        while let Some(Member { name, kind }) = reader.next_member().map_err(wrong)? {
            match kind {
                MemberKind::File { offset, size } => {
                    members.insert_file(name, Extent { offset, size })
                }
                MemberKind::Link(target) => members.insert_link(name, target),
                MemberKind::Other => members.insert_other(name),
            }
            .map_err(wrong)?;
        }
        Ok(Self {
            file,
            name: name.to_owned(),
            members,
        })
    }

    fn contents(&self, extent: Extent) -> ExtentReader {
        ExtentReader {
            file: Arc::clone(&self.file),
            name: self.name.clone(),
            offset: extent.offset,
            left: extent.size,
        }
    }

    /// The member that is the blob of `layer`, links followed, and where it lies.
    fn layer_extent(&self, layer: &Layer) -> Result<(&str, Extent), TransportError> {
        let member = match (&layer.member, &layer.digest) {
            (Some(member), _) => member.clone(),
            (None, Some(digest)) => blob_path(digest),
            (None, None) => return Err(layout::missing_blob(&self.name, &layer.diff_id)),
        };
        match self.members.get(&member) {
            Ok(Some((member, extent))) => Ok((member, *extent)),
            Ok(None) => Err(match (&layer.member, &layer.digest) {
                (None, Some(digest)) => layout::missing_blob(&self.name, digest),
                _ => docker::missing_member(&self.name, &member),
            }),
            Err(error) => Err(archive_error(&self.name, error)),
        }
    }
}

impl ImageFiles for IndexedArchive {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TransportError> {
        let found = self
            .members
            .get(path)
            .map_err(|error| archive_error(&self.name, error))?;
        let Some((member, extent)) = found else {
            return Ok(None);
        };
        let what = format!("`{}` of {}", layout::shown(member), self.name);
        check_document_size(extent.size, &what)?;
        let mut bytes = Vec::new();
        self.contents(*extent)
            .take(LARGEST_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(|source| TransportError::Io { what, source })?;
        Ok(Some(bytes))
    }
}

impl ReferrerSource for IndexedArchive {
    fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, TransportError> {
        referrers::of_layout(self, subject, artifact_type)
    }

    fn manifest(&self, referrer: &Descriptor) -> Result<Vec<u8>, TransportError> {
        LayoutDocuments(self).blob(referrer)
    }
}

impl LayerSource for IndexedArchive {
    fn referrer_source(&self) -> Option<&dyn ReferrerSource> {
        // What `docker save` writes has no place for them.
        matches!(self.members.get(layout::INDEX_FILE), Ok(Some(_))).then_some(self)
    }

    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        let (_, extent) = self.layer_extent(layer)?;
        check_blob_size(&self.name, layer, extent.size)?;
        Ok(Box::new(self.contents(extent)))
    }
}

/// The contents of one member. Readers of one archive share its file and have their own place in it.
#[derive(Debug)]
struct ExtentReader {
    file: Arc<File>,
    name: String,
    offset: u64,
    left: u64,
}

impl Read for ExtentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = read_at(&self.file, &mut buffer[..most], self.offset)?;
        if read == 0 {
            return Err(cut_off(&self.name));
        }
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// The error of a reader whose archive ends too early.
fn cut_off(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        invalid(name, "it breaks off before its end"),
    )
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}
