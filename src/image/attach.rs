//! What is attached to an image: documents in manifests of their own that name the image as their `subject`.
//!
//! Each is an OCI manifest with an `artifactType`, an empty configuration and one layer, the document. Whoever has the
//! image finds them through the registry's referrers API or its fallback tag.
//!
//! Specification: OCI image-spec 1.1, `manifest.md`, "Guidelines for Artifact Usage"; OCI distribution-spec 1.1, "Pushing
//! Manifests with Subject". Media types: CycloneDX's as registered with IANA, in-toto's of its envelope "Statement v1".

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use oci_spec::image::{Descriptor, MediaType};
use serde::Serialize;

use super::append::descriptor;
use super::config::CREATED;
use super::format::{Described, Family};
use crate::digest::Digest;
use crate::transport::outgoing::{BlobContent, OutgoingBlob, OutgoingManifest};

/// The configuration of what has none.
const EMPTY: &[u8] = b"{}";
/// Its media type.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// Annotation: the name that a file with the document would have.
const TITLE: &str = "org.opencontainers.image.title";
/// Annotation of in-toto statements, as BuildKit writes it: what the statement is about.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// How the predicate types of SLSA's provenance begin, whatever its version.
const PROVENANCE: &str = "https://slsa.dev/provenance/";

/// A kind of document that imgtool attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttachmentKind {
    /// A bill of materials, CycloneDX in JSON.
    Sbom,
    /// How the image was made: an in-toto statement with SLSA provenance.
    Provenance,
    /// The lock that the image was made from.
    Lock,
}

impl AttachmentKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sbom, Self::Provenance, Self::Lock];

    /// The artifact type of its manifest, which is also the media type of the document.
    #[must_use]
    pub fn artifact_type(self) -> &'static str {
        match self {
            Self::Sbom => "application/vnd.cyclonedx+json",
            Self::Provenance => "application/vnd.in-toto+json",
            Self::Lock => "application/vnd.imgtool.lock.v1+toml",
        }
    }

    /// What a user calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sbom => "sbom",
            Self::Provenance => "provenance",
            Self::Lock => "lock",
        }
    }

    /// The kind of what a list describes so; `None` for what others attach. Of in-toto statements those with another
    /// predicate than provenance are none, where the list says it.
    #[must_use]
    pub fn of(referrer: &Descriptor) -> Option<Self> {
        let artifact_type = referrer.artifact_type().as_ref()?.as_ref();
        let kind = Self::ALL
            .into_iter()
            .find(|kind| kind.artifact_type() == artifact_type)?;
        let predicate = referrer
            .annotations()
            .as_ref()
            .and_then(|annotations| annotations.get(PREDICATE_TYPE));
        let is_other = kind == Self::Provenance
            && predicate.is_some_and(|predicate| !predicate.starts_with(PROVENANCE));
        (!is_other).then_some(kind)
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Sbom => "sbom.cdx.json",
            Self::Provenance => "provenance.intoto.json",
            Self::Lock => "imgtool.lock",
        }
    }
}

/// A document to be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What it is.
    pub kind: AttachmentKind,
    /// Its bytes.
    pub document: Vec<u8>,
}

/// An attached document: its manifest, and the blobs that this one names.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The manifest with the subject.
    pub manifest: OutgoingManifest,
    /// The empty configuration and the document.
    pub blobs: [OutgoingBlob; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactManifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Described<'a>,
    layers: [DocumentLayer<'a>; 1],
    subject: Described<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentLayer<'a> {
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    annotations: BTreeMap<&'a str, &'a str>,
}

/// Attaches a document to the manifest or index that `subject` describes. `created` (RFC 3339) is the time that the
/// attachment bears.
///
/// # Panics
/// Never: what is written here is JSON.
#[must_use]
pub fn attach(subject: &Descriptor, attachment: &Attachment, created: Option<&str>) -> Attached {
    let kind = attachment.kind;
    let artifact_type = kind.artifact_type();
    let empty = descriptor(EMPTY_TYPE, EMPTY);
    let document = descriptor(artifact_type, &attachment.document);
    let mut of_layer = BTreeMap::from([(TITLE, kind.file_name())]);
    if kind == AttachmentKind::Provenance {
        of_layer.insert(PREDICATE_TYPE, super::provenance::PREDICATE_TYPE);
    }
    let mut annotations = BTreeMap::new();
    if let Some(created) = created {
        annotations.insert(CREATED, created);
    }
    if kind == AttachmentKind::Provenance {
        // Listings have the annotations of the manifest alone.
        annotations.insert(PREDICATE_TYPE, super::provenance::PREDICATE_TYPE);
    }
    let manifest = ArtifactManifest {
        schema_version: 2,
        media_type: Family::Oci.manifest(),
        artifact_type,
        config: described(&empty),
        layers: [DocumentLayer {
            media_type: artifact_type,
            digest: document.digest(),
            size: document.size(),
            annotations: of_layer,
        }],
        subject: described(subject),
        annotations: &annotations,
    };
    let bytes = serde_json::to_vec(&manifest).expect("texts, numbers, and lists and maps of them");
    let mut of_manifest = descriptor(Family::Oci.manifest(), &bytes);
    of_manifest.set_artifact_type(Some(MediaType::from(artifact_type)));
    if !annotations.is_empty() {
        let owned: HashMap<String, String> = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        of_manifest.set_annotations(Some(owned));
    }
    let blob = |descriptor: Descriptor, bytes: &[u8]| OutgoingBlob {
        descriptor,
        content: BlobContent::Bytes(Arc::from(bytes)),
    };
    Attached {
        blobs: [blob(empty, EMPTY), blob(document, &attachment.document)],
        manifest: OutgoingManifest {
            descriptor: of_manifest,
            bytes,
        },
    }
}

fn described(descriptor: &Descriptor) -> Described<'_> {
    Described {
        media_type: descriptor.media_type().as_ref(),
        digest: descriptor.digest(),
        size: descriptor.size(),
    }
}
