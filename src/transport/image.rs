//! An image as every transport hands it over: manifest and configuration read and verified, layers still where they lie.
//!
//! Specification: OCI image-spec, `manifest.md` and `config.md`; Docker's "Image Manifest Version 2, Schema 2", whose
//! documents have the same shape.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use oci_spec::image::ImageConfiguration;

use super::TransportError;
use super::referrers::ReferrerSource;
use crate::digest::Digest;

/// An image whose manifest and configuration are known.
#[derive(Debug)]
pub struct Image {
    /// The image as a person would name it again: transport included, patterns resolved, without credentials.
    pub reference: String,
    /// Digest of the manifest of the chosen platform; `None` where the medium has none (archives of `docker save`).
    pub digest: Option<Digest>,
    /// The manifest as it lies there, where the medium has one: new images are made from it.
    pub manifest_bytes: Option<Vec<u8>>,
    /// The configuration as it lies there.
    pub config_bytes: Vec<u8>,
    /// Configuration: architecture, environment variables, `diff_ids`, history.
    pub config: ImageConfiguration,
    /// Layers, lowest first; as many as the configuration has `diff_ids`.
    pub layers: Vec<Layer>,
    /// Where the layers lie.
    pub source: Arc<dyn LayerSource>,
}

/// One layer of an image, not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Place in the image, from 0, lowest first.
    pub index: usize,
    /// Digest of the blob, compressed as it lies there; `None` where the medium does not say it (archives of
    /// `docker save`, whose layers are verified by `diff_id` alone).
    pub digest: Option<Digest>,
    /// Size of the blob in bytes, where it is known.
    pub size: Option<u64>,
    /// Media type as the manifest says it; compression is told from the bytes, not from it.
    pub media_type: String,
    /// Digest of the uncompressed tar archive, from the configuration.
    pub diff_id: Digest,
    /// What the source calls it, where that is not its digest (a member of an archive).
    pub member: Option<String>,
}

/// Where the blobs of layers come from.
pub trait LayerSource: fmt::Debug + Send + Sync {
    /// The blob of `layer`, from its beginning, as it lies there. Not verified: who reads it does that
    /// ([`crate::digest::VerifyingReader`]). May be called from several threads at once.
    ///
    /// # Errors
    /// When the blob is not there or may not be read. Failures that come later are [`std::io::Error`]s of the reader
    /// that carry a [`TransportError`].
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError>;

    /// Where it is known what is attached to the image; `None` for a medium that keeps no such thing.
    fn referrer_source(&self) -> Option<&dyn ReferrerSource> {
        None
    }
}

/// An image that comes once, from its beginning to its end, as from an engine's `save`: what its layers are is known
/// after they have gone by.
pub trait ImageStream: fmt::Debug + Send {
    /// The image, where the stream's origin tells of it beforehand (an engine's `inspect`): its layers have their
    /// `diff_id`, and cannot be opened. Whoever has all of them in a cache need not read the stream.
    fn announced(&self) -> Option<&Image>;

    /// Reads the stream to its end. `layer` is called for each member that may be a layer, with a reader of its bytes
    /// (compressed as they are); what it returns is kept under the member's name. Afterwards manifest and configuration
    /// are known, and the kept values are handed back in the order of the image's layers.
    ///
    /// # Errors
    /// When the stream is no image, or breaks off; what `layer` returns.
    fn read(
        self: Box<Self>,
        layer: &mut dyn FnMut(&str, &mut dyn Read) -> Result<StreamedLayer, TransportError>,
    ) -> Result<(Image, Vec<StreamedLayer>), TransportError>;
}

/// What is known of a layer of a stream once it has gone by.
#[derive(Debug, Clone)]
pub struct StreamedLayer {
    /// Digest of the blob as it lay there.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Digest of the uncompressed tar archive.
    pub diff_id: Digest,
}

/// What a reference led to.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of them in a run, and an image is what it nearly always is"
)]
pub enum OpenedImage {
    /// Layers can be read one by one, in any order, several at once.
    Image(Image),
    /// Everything comes once.
    Stream(Box<dyn ImageStream>),
}
