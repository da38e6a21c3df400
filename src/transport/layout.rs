//! OCI image layouts: a folder (`oci:`), or the same files inside of an archive, which [`super::archive`] reads with
//! what is here.
//!
//! Specification: OCI image-spec, `image-layout.md` and `annotations.md`.

pub(super) mod write;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::{Descriptor, ImageIndex};

use super::manifest::{
    self, Document, Documents, ImageDocuments, LARGEST_DOCUMENT, RootDocument, read_image,
};
use super::platform::{OciPlatform, is_attestation};
use super::reference::OciSelector;
use super::referrers::{self, ReferrerSource};
use super::{Image, Layer, LayerSource, TransportError};
use crate::digest::{Digest, Mismatch};

pub use write::write;

/// The file that says that a folder is a layout.
pub(super) const LAYOUT_FILE: &str = "oci-layout";
/// The file that names the images of a layout.
pub(super) const INDEX_FILE: &str = "index.json";
/// The annotation that names an image of a layout.
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";
/// What containerd and docker write beside it: the name with its repository.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Names that an error lists.
const MOST_LISTED: usize = 20;

/// The small files of an image, wherever it lies.
pub(super) trait ImageFiles {
    /// The image as a person would name it.
    fn name(&self) -> &str;

    /// The file at `path`, of at most [`LARGEST_DOCUMENT`] bytes; `None` where there is none.
    ///
    /// # Errors
    /// When it is larger, no regular file, or cannot be read.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TransportError>;
}

/// The place of a blob in a layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.digest())
}

/// The digest that `path` says its file has; `None` for a file that is no blob of a layout.
pub(super) fn blob_digest(path: &str) -> Option<Digest> {
    let (algorithm, hash) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hash}").parse().ok()
}

/// Error for something that is wrong with a document.
pub(super) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> TransportError {
    TransportError::Invalid {
        what: what.into(),
        reason: reason.into(),
    }
}

/// The blobs of a layout as the documents of an image.
pub(super) struct LayoutDocuments<'a>(pub(super) &'a dyn ImageFiles);

impl LayoutDocuments<'_> {
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        self.0
            .read(&blob_path(descriptor.digest()))?
            .ok_or_else(|| missing_blob(self.0.name(), descriptor.digest()))
    }
}

impl Documents for LayoutDocuments<'_> {
    fn name(&self) -> String {
        self.0.name().to_owned()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        self.blob(descriptor)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        self.blob(descriptor)
    }
}

pub(super) fn missing_blob(name: &str, digest: &Digest) -> TransportError {
    TransportError::NotFound(format!("{name} lacks the blob {digest}"))
}

/// The documents of the image that is meant.
///
/// # Errors
/// When the files are no layout, there is no such image, or its documents are missing or invalid.
pub(super) fn read_layout(
    files: &dyn ImageFiles,
    selector: Option<&OciSelector>,
    platform: Option<&OciPlatform>,
) -> Result<ImageDocuments, TransportError> {
    check_layout_file(files)?;
    let name = files.name();
    let index = read_index(files)?;
    let chosen = select(&index, selector, name)?;
    let documents = LayoutDocuments(files);
    let what = format!("the manifest {} of {name}", chosen.digest());
    let bytes = documents.blob(chosen)?;
    manifest::verify(&bytes, chosen, &what)?;
    let root = RootDocument {
        bytes,
        media_type: Some(chosen.media_type().to_string()),
        digest: chosen.digest().clone(),
    };
    read_image(&documents, root, platform)
}

/// The index that names the images of a layout.
///
/// # Errors
/// When it is missing, cannot be read, or is none.
pub(super) fn read_index(files: &dyn ImageFiles) -> Result<ImageIndex, TransportError> {
    let name = files.name();
    let what = format!("`{INDEX_FILE}` of {name}");
    let Some(bytes) = files.read(INDEX_FILE)? else {
        return Err(invalid(name, format!("it has no `{INDEX_FILE}`")));
    };
    match manifest::parse_document(&bytes, None, &what)? {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => Err(invalid(what, "it is a manifest where an index belongs")),
    }
}

/// Checks the version of the layout.
fn check_layout_file(files: &dyn ImageFiles) -> Result<(), TransportError> {
    #[derive(serde::Deserialize)]
    struct LayoutFile {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let name = files.name();
    let Some(bytes) = files.read(LAYOUT_FILE)? else {
        return Err(invalid(
            name,
            format!("it has no file `{LAYOUT_FILE}`, so it is no OCI image layout"),
        ));
    };
    let what = format!("`{LAYOUT_FILE}` of {name}");
    let LayoutFile { version } = serde_json::from_slice(&bytes)
        .map_err(|error| invalid(what.as_str(), error.to_string()))?;
    if version == "1.0" || version.starts_with("1.0.") {
        Ok(())
    } else {
        let reason = format!(
            "its layout has the version `{}`, and only 1.0 is known",
            shown(&version)
        );
        Err(invalid(what, reason))
    }
}

/// The names of an image, the one of the layout first.
pub(super) fn names(entry: &Descriptor) -> impl Iterator<Item = &str> {
    let annotation = |key: &str| {
        entry
            .annotations()
            .as_ref()
            .and_then(|annotations| annotations.get(key))
            .map(String::as_str)
    };
    [annotation(REFERENCE_NAME), annotation(CONTAINERD_NAME)]
        .into_iter()
        .flatten()
}

/// The entry of the layout's index that is meant.
fn select<'a>(
    index: &'a ImageIndex,
    selector: Option<&OciSelector>,
    name: &str,
) -> Result<&'a Descriptor, TransportError> {
    let entries = index.manifests();
    let none = |which: String| {
        Err(TransportError::NotFound(format!(
            "{name} has no {which}; it has {}",
            listed(entries)
        )))
    };
    match selector {
        Some(OciSelector::Tag(tag)) => {
            // The layout's own name goes before containerd's, which may be the same for several.
            let found = [REFERENCE_NAME, CONTAINERD_NAME]
                .into_iter()
                .find_map(|key| {
                    let found: Vec<&Descriptor> = entries
                        .iter()
                        .filter(|entry| {
                            entry
                                .annotations()
                                .as_ref()
                                .and_then(|annotations| annotations.get(key))
                                == Some(tag)
                        })
                        .collect();
                    (!found.is_empty()).then_some(found)
                });
            match found.as_deref() {
                None => none(format!("image `{}`", shown(tag))),
                Some([first, rest @ ..]) if rest.iter().all(|it| it.digest() == first.digest()) => {
                    Ok(first)
                }
                Some(several) => Err(TransportError::NotFound(format!(
                    "{name} has {} images with the name `{}`: name one by its digest or its place, such as `:@0`",
                    several.len(),
                    shown(tag)
                ))),
            }
        }
        Some(OciSelector::Position(at)) => match entries.get(*at) {
            Some(entry) => Ok(entry),
            None => none(format!("image at the place {at}, counted from 0")),
        },
        Some(OciSelector::Digest(digest)) => {
            match entries.iter().find(|entry| entry.digest() == digest) {
                Some(entry) => Ok(entry),
                None => none(format!("image {digest}")),
            }
        }
        None => {
            let images: Vec<&Descriptor> = entries.iter().filter(|entry| is_image(entry)).collect();
            match images.as_slice() {
                [] => Err(TransportError::NotFound(format!("{name} has no image"))),
                // One image under several names is one image.
                [first, rest @ ..] if rest.iter().all(|it| it.digest() == first.digest()) => {
                    Ok(first)
                }
                several => Err(TransportError::NotFound(format!(
                    "{name} has {} images, and the reference chooses none of them: it has {}",
                    several.len(),
                    listed(entries)
                ))),
            }
        }
    }
}

/// Whether an entry may be an image, rather than something that is attached to one.
fn is_image(entry: &Descriptor) -> bool {
    let is_artifact = entry.artifact_type().is_some();
    let lists_referrers = names(entry).any(referrers::is_fallback_tag);
    !(is_attestation(entry) || is_artifact || lists_referrers)
}

/// What there is, in the order in which it stands there.
fn listed(entries: &[Descriptor]) -> String {
    let mut words: Vec<String> = entries
        .iter()
        .filter(|entry| is_image(entry))
        .take(MOST_LISTED + 1)
        .map(|entry| match names(entry).next() {
            Some(name) => format!("`{}`", shown(name)),
            None => entry.digest().to_string(),
        })
        .collect();
    if words.is_empty() {
        return "none".to_owned();
    }
    if words.len() > MOST_LISTED {
        words.truncate(MOST_LISTED);
        words.push("more".to_owned());
    }
    words.join(", ")
}

/// A text from outside as it may stand in an error.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 200;
    text.chars()
        .take(MOST)
        .map(|it| if it.is_control() { '\u{fffd}' } else { it })
        .collect()
}

/// The image in the layout at `folder`; `name` is what errors call it.
///
/// # Errors
/// When the folder is no layout, there is no such image, or its documents are missing or invalid.
pub fn open(
    folder: &Path,
    selector: Option<&OciSelector>,
    platform: Option<&OciPlatform>,
    name: &str,
) -> Result<Image, TransportError> {
    let files = FolderFiles {
        folder: folder.to_owned(),
        name: name.to_owned(),
    };
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            let reason = "it is no folder; a file is read with `oci-archive:` or `docker-archive:`"
                .to_owned();
            return Err(invalid(format!("`{}`", shown_path(folder)), reason));
        }
        Err(error) => return Err(not_there(folder, "folder", error)),
    }
    if files.read(LAYOUT_FILE)?.is_none()
        && let Some(hint) = packed_image(folder)
    {
        return Err(invalid(name, format!("it is no OCI image layout: {hint}")));
    }
    let documents = read_layout(&files, selector, platform)?;
    Ok(Image {
        reference: name.to_owned(),
        digest: Some(documents.digest),
        manifest_bytes: Some(documents.manifest_bytes),
        config_bytes: documents.config_bytes,
        config: documents.config,
        layers: documents.layers,
        source: Arc::new(files),
    })
}

/// Error for a path that a reference names and that cannot be looked at.
pub(super) fn not_there(path: &Path, noun: &str, error: io::Error) -> TransportError {
    let shown = shown_path(path);
    if error.kind() == io::ErrorKind::NotFound {
        return TransportError::NotFound(format!("the {noun} `{shown}` does not exist"));
    }
    TransportError::Io {
        what: format!("`{shown}`"),
        source: error,
    }
}

pub(super) fn shown_path(path: &Path) -> String {
    shown(&path.display().to_string())
}

/// What the folder at `path` holds instead of the files of an image, with the reference or the command that reads it;
/// `None` for any other folder.
#[must_use]
pub fn packed_image(path: &Path) -> Option<String> {
    let is_file =
        |name: &str| fs::symlink_metadata(path.join(name)).is_ok_and(|metadata| metadata.is_file());
    let shown = shown_path(path);
    if is_file(LAYOUT_FILE) && is_file(INDEX_FILE) {
        return Some(format!("it is an OCI layout: write `oci:{shown}`"));
    }
    // The transport `dir:` of containers/image, which has nothing in common with a folder here but its name.
    (is_file("manifest.json") && is_file("version")).then(|| {
        format!(
            "`skopeo copy dir:{shown} oci:LAYOUT` makes an OCI layout of it, which is read as `oci:LAYOUT`"
        )
    })
}

/// The files of a layout on this machine.
#[derive(Debug)]
struct FolderFiles {
    folder: PathBuf,
    name: String,
}

impl FolderFiles {
    /// Opens a regular file of the layout; with its size in bytes. A link is not followed: a layout that comes from
    /// elsewhere has no business with the other files of this machine, and a pipe would never end.
    fn open_file(&self, path: &str) -> Result<Option<(File, u64)>, TransportError> {
        let what = || format!("`{path}` of {}", self.name);
        let failed = |source| TransportError::Io {
            what: what(),
            source,
        };
        let place = self.folder.join(path);
        let metadata = match fs::symlink_metadata(&place) {
            Ok(metadata) => metadata,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        if !metadata.is_file() {
            let kind = if metadata.is_symlink() {
                "it is a symbolic link"
            } else {
                "it is no regular file"
            };
            return Err(invalid(what(), kind));
        }
        let file = File::open(&place).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Ok(Some((file, size)))
    }
}

impl ImageFiles for FolderFiles {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TransportError> {
        let Some((file, size)) = self.open_file(path)? else {
            return Ok(None);
        };
        let what = format!("`{path}` of {}", self.name);
        check_document_size(size, &what)?;
        let mut bytes = Vec::new();
        file.take(LARGEST_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(|source| TransportError::Io { what, source })?;
        Ok(Some(bytes))
    }
}

/// Refuses a document that is larger than any is.
pub(super) fn check_document_size(size: u64, what: &str) -> Result<(), TransportError> {
    if size > LARGEST_DOCUMENT {
        let reason = format!("it has {size} bytes, and documents have at most {LARGEST_DOCUMENT}");
        return Err(invalid(what, reason));
    }
    Ok(())
}

/// Refuses the blob of `layer` when it has another size than its descriptor says.
pub(super) fn check_blob_size(name: &str, layer: &Layer, found: u64) -> Result<(), TransportError> {
    match layer.size {
        Some(expected) if expected != found => Err(TransportError::Mismatch {
            what: describe(name, layer),
            mismatch: Mismatch::Size { expected, found },
        }),
        _ => Ok(()),
    }
}

/// What an error calls `layer`.
pub(super) fn describe(name: &str, layer: &Layer) -> String {
    let blob = layer.digest.as_ref().unwrap_or(&layer.diff_id);
    format!("layer {} ({blob}) of {name}", layer.index)
}

impl ReferrerSource for FolderFiles {
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

impl LayerSource for FolderFiles {
    fn referrer_source(&self) -> Option<&dyn ReferrerSource> {
        Some(self)
    }

    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        let Some(digest) = &layer.digest else {
            return Err(missing_blob(&self.name, &layer.diff_id));
        };
        let Some((file, size)) = self.open_file(&blob_path(digest))? else {
            return Err(missing_blob(&self.name, digest));
        };
        check_blob_size(&self.name, layer, size)?;
        Ok(Box::new(file))
    }
}
