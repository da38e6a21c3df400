//! An image on its way out: blobs, the manifests that name them, and what is attached, for whichever transport takes them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use oci_distribution::Reference;
use oci_spec::image::Descriptor;

use super::TransportError;
use super::image::{Layer, LayerSource};
use super::manifest::{Document, parse_document};
use crate::digest::Digest;

/// Everything that a target must have before a name may lead to it.
#[derive(Debug)]
pub struct Outgoing {
    /// The blobs that the manifests name, each once.
    pub blobs: Vec<OutgoingBlob>,
    /// Manifests and indexes, what is named before what names it. The last one is the root: what the tag leads to.
    pub manifests: Vec<OutgoingManifest>,
    /// Manifests with a `subject` among `manifests`: SBOM, provenance, lock. Their blobs are among `blobs`.
    pub referrers: Vec<OutgoingManifest>,
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub struct OutgoingManifest {
    /// Media type, digest and size of `bytes`; of a referrer its artifact type and annotations, too.
    pub descriptor: Descriptor,
    /// The document.
    pub bytes: Vec<u8>,
}

/// A configuration, a layer, or something attached.
#[derive(Debug, Clone)]
pub struct OutgoingBlob {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// Where the bytes are.
    pub content: BlobContent,
}

/// Where the bytes of a blob are. Whoever copies them verifies them against the descriptor.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each layer, and most are of the base"
)]
pub enum BlobContent {
    /// Here.
    Bytes(Arc<[u8]>),
    /// In a file of this machine.
    File(PathBuf),
    /// With the base image: opened only where the target does not have the blob and cannot be made to take it from there.
    Base {
        /// The base's layers.
        source: Arc<dyn LayerSource>,
        /// Which of them.
        layer: Layer,
        /// The repository that has the blob, where the base came from a registry: a push to the same registry asks it to
        /// mount the blob from there.
        repository: Option<Reference>,
    },
}

/// Who watches blobs and documents go to a target. Called from several threads at once.
pub trait CopyProgress: Sync {
    /// Work on a blob begins; it has `total` bytes.
    fn started(&self, descriptor: &Descriptor, total: u64);

    /// So many bytes more have been copied.
    fn advanced(&self, descriptor: &Descriptor, bytes: u64);

    /// The target has the blob. Not called for one that failed.
    fn finished(&self, descriptor: &Descriptor, outcome: CopyOutcome);
}

/// How a target came to have a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyOutcome {
    /// Its bytes were copied.
    Copied,
    /// It was there already.
    Existing,
    /// The target took it from another of its repositories.
    Mounted,
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl CopyProgress for Silent {
    fn started(&self, _: &Descriptor, _: u64) {}

    fn advanced(&self, _: &Descriptor, _: u64) {}

    fn finished(&self, _: &Descriptor, _: CopyOutcome) {}
}

/// What a target on this machine was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Digest of the root: the manifest or index that the name leads to.
    pub digest: Digest,
    /// Bytes of blobs and documents that were copied.
    pub written_bytes: u64,
    /// Blobs and documents that were copied.
    pub written_blobs: usize,
    /// Those that were there already.
    pub existing_blobs: usize,
}

impl Outgoing {
    /// The manifest or index that a name leads to.
    ///
    /// # Errors
    /// [`TransportError::Invalid`] when there is none.
    pub fn root(&self) -> Result<&OutgoingManifest, TransportError> {
        self.manifests
            .last()
            .ok_or_else(|| TransportError::Invalid {
                what: "the image".to_owned(),
                reason: "it has no manifest".to_owned(),
            })
    }

    /// The image alone, without what is attached to it: for targets that have no place for that (engines, and archives
    /// that `podman load` reads, which takes one of a single entry only).
    ///
    /// # Errors
    /// When a manifest cannot be understood.
    pub fn without_referrers(&self) -> Result<Self, TransportError> {
        let mut named = BTreeSet::new();
        for manifest in &self.manifests {
            let what = format!("the manifest {}", manifest.descriptor.digest());
            let media_type = manifest.descriptor.media_type().to_string();
            match parse_document(&manifest.bytes, Some(&media_type), &what)? {
                Document::Manifest(manifest) => {
                    named.insert(manifest.config().digest().to_string());
                    let layers = manifest.layers().iter();
                    named.extend(layers.map(|layer| layer.digest().to_string()));
                }
                Document::Index(_) => {}
            }
        }
        let is_named = |blob: &&OutgoingBlob| named.contains(&blob.descriptor.digest().to_string());
        Ok(Self {
            blobs: self.blobs.iter().filter(is_named).cloned().collect(),
            manifests: self.manifests.clone(),
            referrers: Vec::new(),
        })
    }
}
