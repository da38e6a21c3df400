//! How large an installed distribution is, and which layers brought it.

use std::collections::BTreeSet;

use super::InstalledDistribution;
use crate::rootfs::RootFs;

/// Files of an installed distribution, as its record names them and the root has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The layer that brought its metadata, from 0, lowest first; `None` in a folder.
    pub layer: Option<usize>,
    /// All layers that brought one of its files.
    pub layers: BTreeSet<usize>,
    /// Number of files that are there.
    pub files: usize,
    /// Number of files that are recorded and are not there.
    pub missing: usize,
    /// Size of the files that are there, in bytes; `None` where nothing records them.
    pub bytes: Option<u64>,
}

/// Looks up the files of `distribution`.
#[must_use]
pub fn footprint(_root: &dyn RootFs, _distribution: &InstalledDistribution) -> Footprint {
    Footprint::default()
}
