//! What is attached to an image: manifests that name it as their `subject`, and the documents in them.
//!
//! A registry lists them by its referrers API, or an index under a tag that is made from the image's digest; a layout has
//! them among the entries of its index. What a list says is not believed: a referrer that is read must name the image.
//!
//! Specification: OCI image-spec 1.1, `manifest.md`, "subject"; OCI distribution-spec 1.1, "Listing Referrers" and
//! "Referrers Tag Schema".

use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;

use oci_spec::image::{Descriptor, MediaType};

use super::layout::{ImageFiles, LayoutDocuments, read_index};
use super::manifest::{self, Document, LARGEST_DOCUMENT};
use super::{Image, Layer, TransportError};
use crate::digest::{Digest, VerifyingReader};

/// The most referrers of one image that are listed.
pub const MOST_REFERRERS: usize = 1000;

/// The most bytes of an attached document: a bill of materials of some hundred distributions has some 300 kB.
pub const LARGEST_ATTACHMENT: u64 = 64 << 20;

/// The most bytes of manifests that are read of one layout to find out what they refer to.
const MOST_SCANNED: u64 = 64 << 20;

/// Where it is known what is attached to an image.
pub trait ReferrerSource {
    /// The manifests that are said to have `subject` as their subject; where `artifact_type` is given, those of this type
    /// alone. In the order of the medium, each once.
    ///
    /// # Errors
    /// When the medium cannot be asked, or its list is invalid.
    fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, TransportError>;

    /// The manifest of a referrer, of at most [`LARGEST_DOCUMENT`] bytes; verified by the caller.
    ///
    /// # Errors
    /// When it cannot be had.
    fn manifest(&self, referrer: &Descriptor) -> Result<Vec<u8>, TransportError>;
}

/// A document that is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedDocument {
    /// Its media type.
    pub media_type: String,
    /// Its bytes, verified.
    pub bytes: Vec<u8>,
}

/// The manifest of a referrer, as far as it is read.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferrerManifest {
    artifact_type: Option<String>,
    subject: Option<Named>,
    config: Option<Config>,
    layers: Option<Vec<DocumentLayer>>,
    annotations: Option<HashMap<String, Option<String>>>,
}

#[derive(serde::Deserialize)]
struct Named {
    digest: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    media_type: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentLayer {
    media_type: Option<String>,
    digest: String,
    size: u64,
}

impl ReferrerManifest {
    fn parse(bytes: &[u8], what: &str) -> Result<Self, TransportError> {
        serde_json::from_slice(bytes).map_err(|error| invalid(what, error.to_string()))
    }

    fn refers_to(&self, subject: &Digest) -> bool {
        self.subject
            .as_ref()
            .is_some_and(|named| named.digest == subject.to_string())
    }
}

fn invalid(what: &str, reason: impl Into<String>) -> TransportError {
    TransportError::Invalid {
        what: what.to_owned(),
        reason: reason.into(),
    }
}

/// What is attached to `image`; `None` where nobody can know: its medium keeps no such thing, or it has no manifest.
///
/// # Errors
/// When the medium cannot be asked, or its list is invalid.
pub fn list(
    image: &Image,
    artifact_type: Option<&str>,
) -> Result<Option<Vec<Descriptor>>, TransportError> {
    match (image.source.referrer_source(), &image.digest) {
        (Some(source), Some(subject)) => source.referrers(subject, artifact_type).map(Some),
        _ => Ok(None),
    }
}

/// Reads the document that `referrer`, one of [`list`], attaches to `image`: its first layer.
///
/// # Errors
/// When it cannot be had, is another than promised, does not belong to the image, or is larger than
/// [`LARGEST_ATTACHMENT`].
pub fn read(image: &Image, referrer: &Descriptor) -> Result<AttachedDocument, TransportError> {
    let what = format!("the manifest {} of {}", referrer.digest(), image.reference);
    let (Some(source), Some(subject)) = (image.source.referrer_source(), &image.digest) else {
        return Err(TransportError::NotFound(format!(
            "nothing can be attached to {}",
            image.reference
        )));
    };
    if referrer.size() > LARGEST_DOCUMENT {
        let reason = format!("documents have at most {LARGEST_DOCUMENT} bytes");
        return Err(invalid(&what, reason));
    }
    let bytes = source.manifest(referrer)?;
    manifest::verify(&bytes, referrer, &what)?;
    let manifest = ReferrerManifest::parse(&bytes, &what)?;
    if !manifest.refers_to(subject) {
        return Err(invalid(&what, format!("it does not belong to {subject}")));
    }
    let layers = manifest.layers.unwrap_or_default();
    let [document] = layers.as_slice() else {
        let reason = format!("it has {} documents, and one is read", layers.len());
        return Err(invalid(&what, reason));
    };
    let digest: Digest = document
        .digest
        .parse()
        .map_err(|_| invalid(&what, "its document has no digest"))?;
    if document.size > LARGEST_ATTACHMENT {
        let reason = format!(
            "its document has {} bytes, and such have at most {LARGEST_ATTACHMENT}",
            document.size
        );
        return Err(invalid(&what, reason));
    }
    let media_type = document.media_type.clone().unwrap_or_default();
    let blob = Layer {
        index: 0,
        digest: Some(digest.clone()),
        size: Some(document.size),
        media_type: media_type.clone(),
        diff_id: digest.clone(),
        member: None,
    };
    let what = format!("the document {digest} of {}", image.reference);
    let reader = image.source.open(&blob)?;
    let reader = VerifyingReader::new(reader, &digest, Some(document.size))
        .map_err(|error| invalid(&what, error.to_string()))?;
    let mut bytes = Vec::new();
    // One byte more than there may be, so that the end is read and verified.
    reader
        .take(LARGEST_ATTACHMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| TransportError::Io { what, source })?;
    Ok(AttachedDocument { media_type, bytes })
}

/// The tag under which a registry without the referrers API has the list of what refers to `subject`.
///
/// Specification: OCI distribution-spec, "Referrers Tag Schema".
#[must_use]
pub fn fallback_tag(subject: &Digest) -> String {
    fallback_tag_of(subject.as_ref())
}

/// The same of a digest as it is written, whatever its algorithm.
pub(super) fn fallback_tag_of(subject: &str) -> String {
    let (algorithm, hash) = subject.split_once(':').unwrap_or((subject, ""));
    let clean = |text: &str, most: usize| -> String {
        text.chars()
            .take(most)
            .map(|character| match character {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => character,
                _ => '-',
            })
            .collect()
    };
    format!("{}-{}", clean(algorithm, 32), clean(hash, 64))
}

/// Whether a name is one of [`fallback_tag`].
pub(super) fn is_fallback_tag(name: &str) -> bool {
    let hash = name
        .strip_prefix("sha256-")
        .or_else(|| name.strip_prefix("sha512-"));
    hash.is_some_and(|hash| {
        hash.len() == 64
            && hash
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The entries of a list of referrers. `what` names it in errors.
pub(super) fn parse_list(bytes: &[u8], what: &str) -> Result<Vec<Descriptor>, TransportError> {
    match manifest::parse_document(bytes, None, what)? {
        Document::Index(index) => Ok(index.manifests().clone()),
        Document::Manifest(_) => Err(invalid(what, "it is a manifest where an index belongs")),
    }
}

/// Referrers, each once, and those of one type alone where one is wanted: what a registry says it has filtered, too.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    artifact_type: Option<&'a str>,
    seen: BTreeSet<String>,
    pub(super) found: Vec<Descriptor>,
}

impl<'a> Listing<'a> {
    pub(super) fn new(artifact_type: Option<&'a str>) -> Self {
        Self {
            artifact_type,
            seen: BTreeSet::new(),
            found: Vec::new(),
        }
    }

    /// Takes in what a list has. `what` names the list in errors.
    pub(super) fn extend(
        &mut self,
        entries: impl IntoIterator<Item = Descriptor>,
        what: &str,
    ) -> Result<(), TransportError> {
        for entry in entries {
            let own = entry.artifact_type().as_ref().map(AsRef::as_ref);
            let is_wanted = self.artifact_type.is_none_or(|wanted| own == Some(wanted));
            if !is_wanted || !self.seen.insert(entry.digest().to_string()) {
                continue;
            }
            if self.found.len() == MOST_REFERRERS {
                return Err(invalid(
                    what,
                    format!("it has more than {MOST_REFERRERS} entries"),
                ));
            }
            self.found.push(entry);
        }
        Ok(())
    }
}

/// What the index of a layout has that refers to `subject`: entries whose manifests say so, and the entries of an index
/// under the fallback tag.
pub(super) fn of_layout(
    files: &dyn ImageFiles,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, TransportError> {
    let index = read_index(files)?;
    let documents = LayoutDocuments(files);
    let name = files.name();
    let what = format!("the list of what is attached to {name}");
    let tag = fallback_tag(subject);
    let mut listing = Listing::new(artifact_type);
    let mut scanned = 0;
    for entry in index.manifests() {
        if entry.digest() == subject || entry.platform().is_some() {
            continue;
        }
        let is_list = super::layout::names(entry).any(|name| name == tag);
        let is_manifest = *entry.media_type() == MediaType::ImageManifest;
        if !is_list && !is_manifest {
            continue;
        }
        scanned += entry.size();
        if scanned > MOST_SCANNED {
            let reason = format!("its manifests have more than {MOST_SCANNED} bytes");
            return Err(invalid(name, reason));
        }
        let of_entry = format!("the manifest {} of {name}", entry.digest());
        let bytes = documents.blob(entry)?;
        manifest::verify(&bytes, entry, &of_entry)?;
        if is_list {
            listing.extend(parse_list(&bytes, &of_entry)?, &what)?;
            continue;
        }
        let manifest = ReferrerManifest::parse(&bytes, &of_entry)?;
        if manifest.refers_to(subject) {
            listing.extend([described(entry, manifest)], &what)?;
        }
    }
    Ok(listing.found)
}

/// The descriptor of a referrer as a registry's list has it: with the artifact type and the annotations of the manifest.
fn described(entry: &Descriptor, manifest: ReferrerManifest) -> Descriptor {
    let mut descriptor = Descriptor::new(
        entry.media_type().clone(),
        entry.size(),
        entry.digest().clone(),
    );
    let artifact_type = manifest
        .artifact_type
        .filter(|text| !text.is_empty())
        .or_else(|| manifest.config?.media_type);
    descriptor.set_artifact_type(artifact_type.as_deref().map(MediaType::from));
    let annotations: Option<HashMap<String, String>> = manifest.annotations.map(|annotations| {
        annotations
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    });
    descriptor.set_annotations(annotations.filter(|annotations| !annotations.is_empty()));
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    #[test]
    fn the_fallback_tag_follows_from_the_digest() {
        let tag = fallback_tag(&sha256(b"abc"));
        assert_eq!(
            tag,
            "sha256-ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(is_fallback_tag(&tag));
        let long: Digest = format!("sha512:{}", "ab".repeat(64))
            .parse()
            .expect("a digest");
        assert_eq!(fallback_tag(&long), format!("sha512-{}", "ab".repeat(32)));
        assert!(is_fallback_tag(&fallback_tag(&long)));
        assert_eq!(fallback_tag_of("a+b:c=d"), "a-b-c-d");
        for other in ["sha256-abc", "1.0", "sha256-", "latest"] {
            assert!(!is_fallback_tag(other), "{other}");
        }
    }

    #[test]
    fn a_list_is_filtered_and_bounded() {
        let entry = |at: usize, kind: &str| {
            let mut entry = Descriptor::new(MediaType::ImageManifest, 2, sha256(&at.to_le_bytes()));
            entry.set_artifact_type(Some(MediaType::from(kind)));
            entry
        };
        let mut listing = Listing::new(Some("a/b"));
        let both = [entry(0, "a/b"), entry(1, "a/c"), entry(0, "a/b")];
        listing.extend(both, "the list").expect("a list");
        assert_eq!(listing.found.len(), 1);
        let many = (2..MOST_REFERRERS + 3).map(|at| entry(at, "a/b"));
        let error = listing.extend(many, "the list").expect_err("too many");
        assert!(error.to_string().contains("more than 1000"), "{error}");
    }
}
