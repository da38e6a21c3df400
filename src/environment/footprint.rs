//! How large an installed distribution is, and which layers brought it.
//!
//! Its files are those that its record names: `RECORD` (paths relative to the folder that holds the metadata, or
//! absolute), else the `installed-files.txt` of an egg-info (relative to that folder itself), else the record of the
//! conda package that it came in.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::{InstalledDistribution, RecordKind, conda};
use crate::image_path::ImagePath;
use crate::packaging::record::record_entries;
use crate::rootfs::{Entry, RootFs, resolve};

/// Largest list of files that is read, in bytes: that of TensorFlow has 2 MB, that of ansible 3 MB.
const MAX_RECORD: u64 = 64 << 20;

/// Files of one distribution that are looked up: the largest known have some 40,000.
pub(super) const MAX_FILES: usize = 200_000;

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
    let Some((base, list)) = recorded_files(root, distribution, &location, &info.path) else {
        return footprint;
    };
    if list.paths().nth(MAX_FILES).is_some() {
        return footprint;
    }
    let mut folders = Folders {
        root,
        base: &base,
        known: HashMap::new(),
    };
    let mut counted = HashSet::new();
    let mut bytes = 0_u64;
    for path in list.paths() {
        let Some(real) = folders.place(&path) else {
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

/// A list of files as it was read: its paths are taken out one at a time, as a list of tiny ones would have many times
/// its size.
enum FileList {
    /// A `RECORD` that is known to be readable.
    Record(Vec<u8>),
    /// A path a line.
    Lines(Vec<u8>),
    Paths(Vec<String>),
}

impl FileList {
    fn record(bytes: Vec<u8>) -> Option<Self> {
        let mut rows = 0;
        for row in record_entries(&bytes).ok()?.take(MAX_FILES + 1) {
            row.ok()?;
            rows += 1;
        }
        (rows > 0).then_some(Self::Record(bytes))
    }

    fn paths(&self) -> Box<dyn Iterator<Item = Cow<'_, str>> + '_> {
        match self {
            Self::Record(bytes) => Box::new(
                record_entries(bytes)
                    .into_iter()
                    .flatten()
                    .map_while(Result::ok)
                    .map(|row| Cow::Owned(row.path)),
            ),
            Self::Lines(bytes) => Box::new(
                bytes
                    .split(|byte| *byte == b'\n')
                    .map(<[u8]>::trim_ascii_end)
                    .filter(|line| !line.is_empty())
                    .map(String::from_utf8_lossy),
            ),
            Self::Paths(paths) => Box::new(paths.iter().map(|path| Cow::Borrowed(path.as_str()))),
        }
    }
}

/// The recorded paths, and the real folder that they are relative to. The metadata lies at `location`, whose real path is
/// `info`: the paths are relative to where Python finds it, also where that is a link.
fn recorded_files(
    root: &dyn RootFs,
    distribution: &InstalledDistribution,
    location: &ImagePath,
    info: &ImagePath,
) -> Option<(ImagePath, FileList)> {
    let read = |name| {
        resolve::read_file_in(root, info, name, MAX_RECORD)
            .ok()
            .flatten()
    };
    if let Some(list) = read("RECORD").and_then(FileList::record) {
        return Some((location.parent()?, list));
    }
    if let Some(bytes) = read("installed-files.txt") {
        return Some((info.clone(), FileList::Lines(bytes)));
    }
    let by_conda = !matches!(
        distribution.record,
        RecordKind::EggLink | RecordKind::Snapshot
    );
    by_conda
        .then(|| conda::files_of(root, &distribution.name, info))
        .flatten()
        .map(|(prefix, paths)| (prefix, FileList::Paths(paths)))
}

/// Finds the places of recorded files. Links are followed up to the folder that holds a file, once for each folder.
struct Folders<'a> {
    root: &'a dyn RootFs,
    base: &'a ImagePath,
    /// The real folder of each folder as it is written.
    known: HashMap<String, Option<ImagePath>>,
}

impl Folders<'_> {
    /// The real place of `path`; `None` where its folder does not exist.
    fn place(&mut self, path: &str) -> Option<ImagePath> {
        let (folder, name) = match path.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((folder, name)) => (folder, name),
            None => ("", path),
        };
        if matches!(name, "" | "." | "..") {
            return None;
        }
        if let Some(known) = self.known.get(folder) {
            return Some(known.as_ref()?.join(name));
        }
        let found = resolve::resolve_from(self.root, self.base, folder)
            .ok()
            .flatten()
            .filter(resolve::Resolved::is_directory)
            .map(|found| found.path);
        self.known.insert(folder.to_owned(), found.clone());
        Some(found?.join(name))
    }
}
