//! What a layer consists of, before it is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::image_path::ImagePath;
use crate::rootfs::Attributes;

/// The entries of a layer by their real path in the merged root: no folder on the way is a symbolic link of the base.
#[derive(Debug, Clone, Default)]
pub struct LayerContents {
    /// What is at each path. Folders are only those of [`LayerContents::directories`].
    pub entries: BTreeMap<ImagePath, LayerEntry>,
    /// Every folder that leads to an entry, the root left out: those of the base with what the base says of them, new ones
    /// with what they shall have.
    pub directories: BTreeMap<ImagePath, Attributes>,
}

/// What a layer says of one path.
#[derive(Debug, Clone)]
pub enum LayerEntry {
    /// A regular file is here.
    File(LayerFile),
    /// Nothing is here any more, whatever lower layers have.
    Whiteout,
}

/// A regular file of a layer.
#[derive(Debug, Clone)]
pub struct LayerFile {
    /// Permissions and owner.
    pub attributes: Attributes,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of its contents.
    pub sha256: [u8; 32],
    /// Where the contents are.
    pub source: FileSource,
}

/// Where the contents of a file are.
#[derive(Debug, Clone)]
pub enum FileSource {
    /// Here.
    Bytes(Arc<[u8]>),
    /// In a wheel on this machine.
    Wheel {
        /// Place of the wheel in the list that the layer is made from.
        wheel: usize,
        /// Place of the member in the wheel's central directory.
        member: usize,
    },
    /// In the file that byte code was kept in.
    Compiled {
        /// Where it begins there.
        offset: u64,
        /// Its size in bytes.
        length: u64,
    },
}
