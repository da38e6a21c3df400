//! What whoever waits is told while layers are read.

use crate::digest::Digest;

/// Told how far the layers of an image have come. Called from several threads at once.
pub trait LayerProgress: Sync {
    /// The layer `index` of `total` is about to be read; `size` is that of its blob in bytes, where it is known.
    fn started(&self, index: usize, total: usize, digest: &Digest, size: Option<u64>);
    /// So many more bytes of the blob have been read.
    fn advanced(&self, index: usize, bytes: u64);
    /// The layer is done; `cached` where it did not have to be read.
    fn finished(&self, index: usize, cached: bool);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl LayerProgress for Silent {
    fn started(&self, _: usize, _: usize, _: &Digest, _: Option<u64>) {}
    fn advanced(&self, _: usize, _: u64) {}
    fn finished(&self, _: usize, _: bool) {}
}
