//! How large an installed distribution is, and which layers brought it.
//!
//! Its files are those that its record names, see [`super::installed_files()`], else those of the conda package that it
//! came in.

use std::collections::{BTreeSet, HashSet};

use super::InstalledDistribution;
use super::installed_files::{FileList, Folders, MAX_FILES};
use crate::image_path::ImagePath;
use crate::rootfs::{Entry, RootFs, resolve};

/// Files of an installed distribution, as its record names them and the root has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The layer that brought its metadata, from 0, lowest first; `None` in a folder.
    pub layer: Option<usize>,
    /// All layers that brought one of its files.
    pub layers: BTreeSet<usize>,
    /// Number of files that are there, each counted once; a link is one, of no size.
    pub files: usize,
    /// Number of files that are recorded and are not there.
    pub missing: usize,
    /// Size of the files that are there, in bytes; `None` where nothing records them, and where so many are recorded that
    /// they are not looked up.
    pub bytes: Option<u64>,
}

/// Looks up the files of `distribution`.
#[must_use]
pub fn footprint(root: &dyn RootFs, distribution: &InstalledDistribution) -> Footprint {
    let mut footprint = Footprint::default();
    if distribution.location.is_empty() {
        return footprint;
    }
    let location = ImagePath::new(&distribution.location);
    let Ok(Some(info)) = resolve::resolve(root, &location) else {
        return footprint;
    };
    footprint.layer = layer_of_metadata(root, &info.path);
    footprint.layers.extend(footprint.layer);
    let list = FileList::of(root, &location, &info.path)
        .or_else(|| FileList::of_conda(root, distribution, &info.path));
    let Some(list) = list else {
        return footprint;
    };
    if list.rows().nth(MAX_FILES).is_some() {
        return footprint;
    }
    let mut folders = Folders::new(root, list.base());
    let mut counted = HashSet::new();
    let mut bytes = 0_u64;
    for row in list.rows() {
        let Some(real) = folders.place(&row.path) else {
            footprint.missing += 1;
            continue;
        };
        if counted.contains(&real) {
            continue;
        }
        let facts = root.file_facts(&real).ok().flatten();
        let is_link = || matches!(root.entry(&real), Ok(Some(Entry::Symlink(_))));
        match facts {
            Some(facts) => {
                bytes = bytes.saturating_add(facts.size);
                footprint.layers.extend(facts.layer);
                footprint.files += 1;
            }
            None if is_link() => footprint.files += 1,
            None => footprint.missing += 1,
        }
        counted.insert(real);
    }
    footprint.bytes = Some(bytes);
    footprint
}

/// The layer that brought the metadata of `distribution`, from 0, lowest first; `None` in a folder and for a snapshot.
#[must_use]
pub fn layer_of(root: &dyn RootFs, distribution: &InstalledDistribution) -> Option<usize> {
    if distribution.location.is_empty() {
        return None;
    }
    let location = ImagePath::new(&distribution.location);
    let info = resolve::resolve(root, &location).ok()??;
    layer_of_metadata(root, &info.path)
}

fn layer_of_metadata(root: &dyn RootFs, info: &ImagePath) -> Option<usize> {
    let files = ["METADATA", "PKG-INFO"].map(|name| info.join(name));
    // The metadata may be one file, without a folder.
    files
        .iter()
        .chain([info])
        .find_map(|path| root.file_facts(path).ok()?)?
        .layer
}
