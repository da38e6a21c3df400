//! Manifests, indexes and configurations: from bytes that nobody vouches for to the image that they describe.
//!
//! Specification: OCI image-spec, `manifest.md`, `image-index.md`, `config.md`; Docker's "Image Manifest Version 2,
//! Schema 2". What real tools write beside the specification (`null` for an empty list, configurations without
//! `created`, no media types) is read; what contradicts itself is refused.

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};

use super::platform::{self, OciPlatform};
use super::{Layer, TransportError};
use crate::digest::{self, Digest};

mod tolerant;

/// The most bytes of one document. Registries take no larger manifest; configurations are far smaller.
pub const LARGEST_DOCUMENT: u64 = 4 << 20;

/// The most layers of an image. Docker stops at 127 and overlay mounts at 500, so nothing that runs has more.
pub const MOST_LAYERS: usize = 1000;

/// The most bytes of one layer, a TiB: a size beyond it is no size but an attack on arithmetic.
pub const LARGEST_LAYER: u64 = 1 << 40;

/// The most indexes on the way to an image: one for platforms, one around it, one to spare.
const DEEPEST_INDEX: usize = 3;

/// Media types that are asked for, those of images and of indexes, OCI's and Docker's.
pub const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// What the bytes behind a tag or a digest are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
pub enum Document {
    /// One image.
    Manifest(ImageManifest),
    /// Several, one for each platform.
    Index(ImageIndex),
}

/// Where the documents of one image come from.
pub trait Documents {
    /// How a person would name the image: every error has it.
    fn name(&self) -> String;

    /// The bytes of a manifest or index, of at most [`LARGEST_DOCUMENT`]; verified by the caller.
    ///
    /// # Errors
    /// When they cannot be had.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError>;

    /// The bytes of a configuration, of at most [`LARGEST_DOCUMENT`]; verified by the caller.
    ///
    /// # Errors
    /// When they cannot be had.
    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError>;
}

/// The document that everything else hangs from, verified already.
#[derive(Debug, Clone)]
pub struct RootDocument {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What its medium says of it: `Content-Type`, or the media type of its descriptor.
    pub media_type: Option<String>,
    /// Its digest.
    pub digest: Digest,
}

/// What the documents of an image say.
#[derive(Debug, Clone)]
pub struct ImageDocuments {
    /// Digest of the image's manifest.
    pub digest: Digest,
    /// The manifest as it lies there.
    pub manifest_bytes: Vec<u8>,
    /// The configuration as it lies there.
    pub config_bytes: Vec<u8>,
    /// The manifest, parsed.
    pub manifest: ImageManifest,
    /// The configuration, parsed.
    pub config: ImageConfiguration,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
}

/// Reads the documents of the image that `root` is, or of the one in it that fits `wanted`
/// ([`platform::choose`]). Everything below `root` is verified by digest and size.
///
/// # Errors
/// When a document cannot be had, is another than promised or invalid, or when there is no image for the platform.
pub fn read_image(
    documents: &dyn Documents,
    root: RootDocument,
    wanted: Option<&OciPlatform>,
) -> Result<ImageDocuments, TransportError> {
    let name = documents.name();
    let mut current = root;
    for _ in 0..=DEEPEST_INDEX {
        let what = format!("the manifest {} of {name}", current.digest);
        match parse_document(&current.bytes, current.media_type.as_deref(), &what)? {
            Document::Manifest(manifest) => {
                return read_manifest(documents, current, manifest, wanted);
            }
            Document::Index(index) => {
                let entry = platform::choose(index.manifests(), wanted, &name)?;
                if *entry.digest() == current.digest {
                    return Err(invalid(&what, "it is an index that points to itself"));
                }
                let what = format!("the manifest {} of {name}", entry.digest());
                check_document_size(entry, &what)?;
                let bytes = documents.manifest(entry)?;
                verify(&bytes, entry, &what)?;
                current = RootDocument {
                    bytes,
                    media_type: Some(entry.media_type().to_string()),
                    digest: entry.digest().clone(),
                };
            }
        }
    }
    Err(invalid(
        &format!("the index of {name}"),
        format!("indexes lie in one another more than {DEEPEST_INDEX} deep"),
    ))
}

fn read_manifest(
    documents: &dyn Documents,
    root: RootDocument,
    manifest: ImageManifest,
    wanted: Option<&OciPlatform>,
) -> Result<ImageDocuments, TransportError> {
    let name = documents.name();
    let what = format!("the configuration of {name}");
    check_document_size(manifest.config(), &what)?;
    let config_bytes = documents.config(manifest.config())?;
    verify(&config_bytes, manifest.config(), &what)?;
    let config = parse_config(&config_bytes, &what)?;
    if let (Some(wanted), Some(has)) = (wanted, OciPlatform::of_config(&config))
        && !wanted.matches(&has)
    {
        return Err(TransportError::NotFound(format!(
            "{name} has no image for {wanted}; it is one for {has}"
        )));
    }
    let what = format!("the manifest {} of {name}", root.digest);
    let layers = layers(&manifest, &config, &what)?;
    Ok(ImageDocuments {
        digest: root.digest,
        manifest_bytes: root.bytes,
        config_bytes,
        manifest,
        config,
        layers,
    })
}

fn invalid(what: &str, reason: impl Into<String>) -> TransportError {
    TransportError::Invalid {
        what: what.to_owned(),
        reason: reason.into(),
    }
}

/// Compares bytes with their descriptor. `what` names them in the error.
///
/// # Errors
/// [`TransportError::Mismatch`].
pub fn verify(bytes: &[u8], descriptor: &Descriptor, what: &str) -> Result<(), TransportError> {
    digest::verify(bytes, descriptor.digest(), Some(descriptor.size())).map_err(|mismatch| {
        TransportError::Mismatch {
            what: what.to_owned(),
            mismatch,
        }
    })
}

fn check_document_size(descriptor: &Descriptor, what: &str) -> Result<(), TransportError> {
    if descriptor.size() > LARGEST_DOCUMENT {
        return Err(invalid(
            what,
            format!(
                "its size is {} bytes, and documents have at most {LARGEST_DOCUMENT}",
                descriptor.size()
            ),
        ));
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Manifest,
    Index,
}

/// What a media type, in a document or beside it, claims that the document is.
fn claimed_kind(media_type: &str) -> Option<Kind> {
    let essence = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/vnd.oci.image.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v2+json" => Some(Kind::Manifest),
        "application/vnd.oci.image.index.v1+json"
        | "application/vnd.docker.distribution.manifest.list.v2+json" => Some(Kind::Index),
        _ => None,
    }
}

/// Parses what lies behind a tag or digest. `media_type` is what its medium says of it, `what` names it in errors. What it
/// is, is told by its own media type, then by that of the medium, then by its shape.
///
/// # Errors
/// [`TransportError::Invalid`]: no JSON, too large, contradicts itself, or is something else than an image.
pub fn parse_document(
    bytes: &[u8],
    media_type: Option<&str>,
    what: &str,
) -> Result<Document, TransportError> {
    let document: tolerant::Document = parse_json(bytes, what)?;
    let own = document.media_type.as_deref().unwrap_or_default();
    if document.schema_version == Some(1)
        || document.fs_layers.is_some()
        || own.starts_with("application/vnd.docker.distribution.manifest.v1+")
    {
        return Err(invalid(
            what,
            "it is of Docker's schema 1, which names no configuration; push the image again with a present tool",
        ));
    }
    if let Some(version) = document.schema_version.filter(|version| *version != 2) {
        return Err(invalid(
            what,
            format!("its schema version is {version}, and only 2 is known"),
        ));
    }
    let shape = match (
        document.manifests.is_some(),
        document.config.is_some() || document.layers.is_some(),
    ) {
        (true, false) => Some(Kind::Index),
        (false, true) => Some(Kind::Manifest),
        // Two readers would see two images in one document (CVE-2021-41190).
        (true, true) => {
            return Err(invalid(what, "it is an index and a manifest at once"));
        }
        (false, false) => None,
    };
    let claims = [claimed_kind(own), media_type.and_then(claimed_kind)];
    let kind = match (claims.into_iter().flatten().next(), shape) {
        (Some(claim), Some(shape)) if claim != shape => {
            return Err(invalid(
                what,
                "it is said to be an index where it is a manifest, or the other way round",
            ));
        }
        (Some(kind), _) | (None, Some(kind)) => kind,
        (None, None) if own.is_empty() => {
            return Err(invalid(what, "it is neither a manifest nor an index"));
        }
        (None, None) => {
            return Err(invalid(
                what,
                format!("it is a `{}`, not an image", shown(own)),
            ));
        }
    };
    if let (Some(own), Some(beside)) = (claims[0], claims[1])
        && own != beside
    {
        return Err(invalid(
            what,
            "it is said to be an index where it is a manifest, or the other way round",
        ));
    }
    match kind {
        Kind::Manifest => document.into_manifest(what).map(Document::Manifest),
        Kind::Index => document.into_index(what).map(Document::Index),
    }
}

/// Parses an image configuration. `what` names it in errors.
///
/// # Errors
/// [`TransportError::Invalid`]: no JSON, too large, or no configuration of an image.
pub fn parse_config(bytes: &[u8], what: &str) -> Result<ImageConfiguration, TransportError> {
    let config: tolerant::Config = parse_json(bytes, what)?;
    config.into_configuration(what)
}

/// The digests of the uncompressed layers, lowest first.
///
/// # Errors
/// [`TransportError::Invalid`]: one of them is no digest.
pub fn diff_ids(config: &ImageConfiguration, what: &str) -> Result<Vec<Digest>, TransportError> {
    config
        .rootfs()
        .diff_ids()
        .iter()
        .map(|text| {
            text.parse().map_err(|_| {
                invalid(
                    what,
                    format!("`{}` in its `diff_ids` is no digest", shown(text)),
                )
            })
        })
        .collect()
}

/// The layers of an image. `what` names the manifest in errors.
///
/// # Errors
/// [`TransportError::Invalid`]: manifest and configuration contradict one another, or a layer is none.
pub fn layers(
    manifest: &ImageManifest,
    config: &ImageConfiguration,
    what: &str,
) -> Result<Vec<Layer>, TransportError> {
    let diff_ids = diff_ids(config, what)?;
    if diff_ids.len() != manifest.layers().len() {
        return Err(invalid(
            what,
            format!(
                "it has {} layers, and its configuration has {} `diff_ids`",
                manifest.layers().len(),
                diff_ids.len()
            ),
        ));
    }
    let pairs = manifest.layers().iter().zip(diff_ids).enumerate();
    pairs
        .map(|(index, (descriptor, diff_id))| {
            check_layer(descriptor, index, what)?;
            Ok(Layer {
                index,
                digest: Some(descriptor.digest().clone()),
                size: Some(descriptor.size()),
                media_type: descriptor.media_type().to_string(),
                diff_id,
                member: None,
            })
        })
        .collect()
}

/// Refuses what is no layer of files.
fn check_layer(descriptor: &Descriptor, index: usize, what: &str) -> Result<(), TransportError> {
    let media_type = descriptor.media_type().to_string();
    let refused = |reason: String| Err(invalid(what, format!("layer {index} {reason}")));
    if media_type.contains("in-toto") {
        return Err(invalid(what, "it is an attestation, not an image"));
    }
    if media_type.contains("encrypted") {
        return refused("is encrypted".to_owned());
    }
    // Tools invent types of their own; what is a tar archive says so in one way or another.
    if !media_type.is_empty()
        && !media_type.contains("tar")
        && media_type != "application/octet-stream"
    {
        return refused(format!(
            "is of type `{}`, which is no archive of files",
            shown(&media_type)
        ));
    }
    if descriptor.size() > LARGEST_LAYER {
        return refused(format!("claims to have {} bytes", descriptor.size()));
    }
    Ok(())
}

/// Whether a configuration of this type is one of an image.
fn is_image_config(media_type: &MediaType) -> bool {
    matches!(
        media_type.as_ref(),
        // Some tools leave it out.
        "" | "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
            | "application/json"
            | "application/octet-stream"
    )
}

fn parse_json<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    what: &str,
) -> Result<T, TransportError> {
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(invalid(
            what,
            format!(
                "it has {} bytes, and documents have at most {LARGEST_DOCUMENT}",
                bytes.len()
            ),
        ));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| invalid(what, shown(&error.to_string()).into_owned()))
}

/// A text from outside as it may stand in an error: no control characters, of bounded length.
fn shown(text: &str) -> std::borrow::Cow<'_, str> {
    const MOST: usize = 200;
    if text.chars().count() <= MOST && !text.chars().any(char::is_control) {
        return text.into();
    }
    let mut shown: String = text
        .chars()
        .take(MOST)
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect();
    if text.chars().count() > MOST {
        shown.push_str("...");
    }
    shown.into()
}

#[cfg(test)]
mod tests;
