//! How much of a layer and of an image is taken, so that no image can take this machine's memory or time.
//!
//! Each number is far above what images hold that people run, and is named in the error of whoever exceeds it. There is
//! no bound on the ratio of compression: a layer with a sparse file of zeros is legal and reaches the most that gzip can
//! do (1032 to 1), and zstd does far better; so the size of what comes out is bounded instead.

use std::fmt;

/// Layers of one image. The kernel's overlayfs takes 500 lower folders (`OVL_MAX_STACK`): no engine can run more.
pub const MAX_LAYERS: usize = 500;

/// Bytes of one path, and of one link's target: what the kernel takes (`PATH_MAX`), so nobody can unpack more.
pub const MAX_PATH_BYTES: usize = 4096;

/// Folders that lie in one another. Half of [`MAX_PATH_BYTES`] is possible; what people install stays below 50, and
/// whoever walks a tree does it with a stack of so many frames.
pub const MAX_DEPTH: usize = 256;

/// Bytes of one block of pax records. They hold extended attributes, of which Linux stores at most 64 KiB each, and some
/// writers put several into one header; a path needs 4 KiB.
pub const MAX_PAX_BYTES: u64 = 1 << 20;

/// Files, folders, links and whiteouts of one layer, folders that are only implied included. Each takes about 100 bytes
/// of memory while the layer is read; the largest images that we know of have 600,000.
pub const MAX_LAYER_ENTRIES: u64 = 2_000_000;

/// The same for all layers of an image together.
pub const MAX_IMAGE_ENTRIES: u64 = 4_000_000;

/// Bytes of names, link targets and kept contents of one layer: the metadata of 250 distributions has about 20 MB.
pub const MAX_LAYER_RETAINED: u64 = 256 << 20;

/// The same for all layers of an image together.
pub const MAX_IMAGE_RETAINED: u64 = 512 << 20;

/// Bytes of one layer once it is uncompressed. Published images with models inside reach 30 GB in one layer.
pub const MAX_LAYER_UNCOMPRESSED: u64 = 64 << 30;

/// The same for all layers of an image together: four layers at their most. It bounds time, as nothing of it stays in
/// memory: a gibibyte of zeros, the cheapest to send, is unpacked and hashed in about a second of one processor's time,
/// so an image ends in some minutes, where [`MAX_LAYERS`] layers that are each within their bound would take nine hours.
pub const MAX_IMAGE_UNCOMPRESSED: u64 = 256 << 30;

/// Bytes of one file that is kept because somebody asked for it by its path.
pub const MAX_WANTED_FILE: u64 = 64 << 20;

/// Pieces of one sparse file of which the places are remembered; the contents of a file in more pieces are not kept,
/// as nothing that an environment is read from is sparse at all.
pub const MAX_SPARSE_PIECES: usize = 4096;

/// Symbolic links of the same layer that one path may lead through: what Linux allows (`MAXSYMLINKS`).
pub const MAX_SYMLINKS: usize = 40;

/// Path components that are walked because of symbolic links, for all entries of a layer together. A layer with a linked
/// `lib64` needs one or two for an entry; without a bound, links to long paths through links cost hours.
pub const MAX_LINK_STEPS: u64 = 64_000_000;

/// Lookups of a name in a layer, and bytes of paths to remember, that hard links to other layers may cost in one image;
/// a link beyond that leads nowhere. Engines write a file again rather than link to a lower layer, so images have a few
/// such links; 100,000 of them, six folders deep over 20 layers, cost a third of it. Without a bound, a million links
/// over [`MAX_LAYERS`] layers cost hours.
pub const MAX_HARD_LINK_STEPS: u64 = 64_000_000;

/// The base-2 logarithm of the largest window of a zstd frame: 128 MiB, the most that the `zstd` program itself unpacks
/// without being asked, so the most that anybody packs with. Levels up to 19 need 8 MiB.
pub const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// The bounds that a caller may choose; the others are constants of the formats or of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Layers of an image.
    pub layers: usize,
    /// Entries of a layer.
    pub layer_entries: u64,
    /// Entries of an image.
    pub image_entries: u64,
    /// Bytes of names and kept contents of a layer.
    pub layer_retained: u64,
    /// Bytes of names and kept contents of an image.
    pub image_retained: u64,
    /// Bytes of an uncompressed layer.
    pub layer_uncompressed: u64,
    /// Bytes of all layers of an image, uncompressed.
    pub image_uncompressed: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layers: MAX_LAYERS,
            layer_entries: MAX_LAYER_ENTRIES,
            image_entries: MAX_IMAGE_ENTRIES,
            layer_retained: MAX_LAYER_RETAINED,
            image_retained: MAX_IMAGE_RETAINED,
            layer_uncompressed: MAX_LAYER_UNCOMPRESSED,
            image_uncompressed: MAX_IMAGE_UNCOMPRESSED,
        }
    }
}

/// A bound that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {most} {what}")]
pub struct LimitExceeded {
    /// What is bounded.
    pub what: Bounded,
    /// The most that would have been taken.
    pub most: u64,
}

/// What is bounded. In words without the layer or the image that has it: an error names that before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounded {
    /// [`Limits::layers`].
    Layers,
    /// [`MAX_PATH_BYTES`].
    PathBytes,
    /// [`MAX_DEPTH`].
    Depth,
    /// [`MAX_PAX_BYTES`].
    PaxBytes,
    /// [`Limits::layer_entries`].
    LayerEntries,
    /// [`Limits::image_entries`].
    ImageEntries,
    /// [`Limits::layer_retained`].
    LayerRetained,
    /// [`Limits::image_retained`].
    ImageRetained,
    /// [`Limits::layer_uncompressed`].
    LayerUncompressed,
    /// [`Limits::image_uncompressed`].
    ImageUncompressed,
    /// [`MAX_SYMLINKS`].
    Symlinks,
    /// [`MAX_LINK_STEPS`].
    LinkSteps,
}

impl Bounded {
    /// The error of who exceeds it.
    #[must_use]
    pub fn at(self, most: u64) -> LimitExceeded {
        LimitExceeded { what: self, most }
    }

    /// Whether the image as a whole is bounded, and not the one layer that happened to come to the bound.
    #[must_use]
    pub fn is_of_image(self) -> bool {
        matches!(
            self,
            Self::Layers | Self::ImageEntries | Self::ImageRetained | Self::ImageUncompressed
        )
    }
}

impl fmt::Display for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Layers => "layers",
            Self::PathBytes => "bytes of a path",
            Self::Depth => "folders inside one another",
            Self::PaxBytes => "bytes of pax records",
            Self::LayerEntries | Self::ImageEntries => "entries",
            Self::LayerRetained | Self::ImageRetained => "bytes of names and kept files",
            Self::LayerUncompressed => "bytes once it is uncompressed",
            Self::ImageUncompressed => "bytes once its layers are uncompressed",
            Self::Symlinks => "symbolic links that a path leads through",
            Self::LinkSteps => "folders that paths of a layer are led through by symbolic links",
        })
    }
}
