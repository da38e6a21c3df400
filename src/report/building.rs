//! What `imgtool build` plans and has made, as every form of its answer reads it.

use std::collections::BTreeMap;

use crate::environment::{Environment, Footprint};
use crate::packaging::PackageName;
use crate::plan::Plan;

use super::BaseLabel;

/// A build: what it is of, and what has come of it.
#[derive(Debug)]
pub struct Building {
    /// One for each platform, in the order in which they were asked for.
    pub platforms: Vec<PlatformBuilding>,
    /// What the targets' names lead to: the digest of the manifest, or of the index over several. `None` where nothing
    /// was built (`--dry-run`).
    pub digest: Option<String>,
    /// Where the image is now, in the order in which it came there; empty where nothing was built.
    pub reached: Vec<Reached>,
    /// Where it would go, of a plan that is not carried out.
    pub targets: Vec<String>,
    /// What a person should know before using the image.
    pub warnings: Vec<String>,
}

/// A build for one platform.
#[derive(Debug)]
pub struct PlatformBuilding {
    /// What the base is called.
    pub label: BaseLabel,
    /// What is installed in it.
    pub environment: Environment,
    /// `OS/ARCH[/VARIANT]` of the image.
    pub platform: String,
    /// The base by its digest, where it has one.
    pub base_digest: Option<String>,
    /// What is added, replaced and removed.
    pub plan: Plan,
    /// The files that leave, by distribution of the base.
    pub leaving: BTreeMap<PackageName, Footprint>,
    /// The image; `None` where it was not built.
    pub image: Option<BuiltImage>,
}

/// An image that was built.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// Digest of its manifest.
    pub manifest: String,
    /// Digest of its configuration: what engines call the image's ID.
    pub config: String,
    /// The new layers, lowest first.
    pub layers: Vec<BuiltLayer>,
    /// Its name or names for people: what it has beside the base's.
    pub attached: Vec<BuiltAttachment>,
    /// How many modules came with byte code that was compiled for them.
    pub compiled: usize,
}

/// A layer that was written.
#[derive(Debug, Clone)]
pub struct BuiltLayer {
    /// Digest of the blob.
    pub digest: String,
    /// Digest of the uncompressed archive.
    pub diff_id: String,
    /// Size of the blob, bytes.
    pub size: u64,
    /// Size of the uncompressed archive, bytes.
    pub uncompressed: u64,
    /// How many files it adds or replaces.
    pub files: usize,
    /// How many paths of the base it takes away.
    pub whiteouts: usize,
}

/// A document that was attached to an image.
#[derive(Debug, Clone)]
pub struct BuiltAttachment {
    /// `sbom`, `provenance` or `lock`.
    pub kind: &'static str,
    /// Digest of the manifest that holds it.
    pub digest: String,
}

/// A target that has the image.
#[derive(Debug, Clone)]
pub struct Reached {
    /// What was done: `pushed`, `written`, `loaded`.
    pub verb: &'static str,
    /// The target as a person would name the image there.
    pub target: String,
    /// Bytes of blobs that were sent or written.
    pub sent: u64,
    /// Blobs that the target had.
    pub existing: usize,
    /// Blobs that the registry took from another of its repositories.
    pub mounted: usize,
}
