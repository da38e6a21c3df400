//! The distributions that lie in the folders of `sys.path`.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/recording-installed-packages/>. What counts as
//! installed, and which of two counts, is what `importlib.metadata` and pip say of the same folders.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::str::FromStr;

use super::notes::Notes;
use super::site::SiteDirectory;
use super::{InstalledDistribution, MAX_NAMED, RecordKind};
use crate::image_path::ImagePath;
use crate::packaging::direct_url::DirectUrl;
use crate::packaging::egg_info;
use crate::packaging::metadata::RawMetadata;
use crate::packaging::{PackageName, Version};
use crate::rootfs::{EntryKind, ListedEntry, Resolved, RootFs, resolve};

/// Largest metadata file that is read, in bytes: the longest descriptions on the index stay below 1 MB.
const MAX_METADATA: u64 = 16 << 20;
/// Largest `requires.txt` and `.egg-link` that is read, in bytes.
const MAX_REQUIRES: u64 = 1 << 20;
/// Largest `direct_url.json` that is read, in bytes: it holds an address and a hash.
const MAX_DIRECT_URL: u64 = 64 << 10;
/// Largest `INSTALLER` that is read, in bytes: it holds one word.
const MAX_INSTALLER: u64 = 4096;

/// Requirements, and extras, that are kept of one distribution: the largest known has some hundreds.
const MAX_REQUIREMENTS: usize = 10_000;
/// Size of the requirements that are kept of one distribution, in bytes: those of the largest have some 30 kB.
const MAX_REQUIREMENTS_SIZE: usize = 1 << 20;
/// Longest heading of a section of `requires.txt`, in bytes: it becomes a part of each requirement below it.
const MAX_SECTION: usize = 1_000;

/// How much of a metadata file is read at first, in bytes: most headers are shorter.
const USUAL_HEADER: usize = 16 << 10;

/// A site folder with fewer entries than this is read on one thread: starting another takes as long.
const FEW_ENTRIES: usize = 64;

/// What is installed.
#[derive(Debug)]
pub(super) struct Installed {
    /// The distributions that count, by name.
    pub distributions: BTreeMap<PackageName, InstalledDistribution>,
    /// Those of a name that is taken, in the order of `sys.path`.
    pub shadowed: Vec<InstalledDistribution>,
}

/// Reads the distributions of `sites`, which are in the order of `sys.path`.
///
/// Of two with one name the first counts, as it does for Python: the one in the earlier folder, and in one folder
/// the one whose entry sorts first. `importlib.metadata` takes the order in which the file system lists them, which
/// an image does not fix.
pub(super) fn read_distributions(
    root: &dyn RootFs,
    sites: &[SiteDirectory],
    notes: &mut Notes,
) -> Installed {
    let mut reader = Reader {
        root,
        notes,
        distributions: BTreeMap::new(),
        shadowed: Vec::new(),
    };
    for site in sites {
        reader.read_site(site);
    }
    let on_path = |egg: &ImagePath| sites.iter().any(|site| site.path == *egg);
    for site in sites {
        for entry in &site.entries {
            let egg = site.path.join(&entry.name);
            if is_egg(&entry.name) && !on_path(&egg) {
                reader.read_unlisted_egg(&egg, entry);
            }
        }
    }
    reader.note_shadowed();
    Installed {
        distributions: reader.distributions,
        shadowed: reader.shadowed,
    }
}

/// The file formats that describe an installed distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    DistInfo,
    EggInfo,
}

impl Format {
    /// The format of a folder of metadata, by its name.
    fn of(name: &str) -> Self {
        if name.ends_with(".dist-info") {
            Self::DistInfo
        } else {
            Self::EggInfo
        }
    }

    fn record(self) -> RecordKind {
        match self {
            Self::DistInfo => RecordKind::DistInfo,
            Self::EggInfo => RecordKind::EggInfo,
        }
    }
}

/// What a folder of metadata says.
#[derive(Debug)]
struct Loaded {
    /// The metadata; `None` for a folder that is passed over.
    raw: Option<RawMetadata>,
    /// The source folder of an editable install.
    editable: Option<String>,
    notes: Vec<String>,
}

/// Reads the folders of metadata in `site`, each at the position of its entry.
///
/// A large base has hundreds, and reading one is a handful of system calls that wait for nothing: two threads take
/// half the time of one.
fn load_folders(root: &dyn RootFs, site: &SiteDirectory) -> Vec<Option<Loaded>> {
    let load = |entry: &ListedEntry| {
        let name = entry.name.as_str();
        let is_folder = entry.kind == EntryKind::Directory && !name.starts_with(['~', '-']);
        let is_info = name.ends_with(".dist-info") || name.ends_with(".egg-info");
        (is_folder && is_info).then(|| {
            let path = site.path.join(name);
            load_folder(root, &path, &path, Format::of(name))
        })
    };
    let (first, second) = site.entries.split_at(site.entries.len() / 2);
    let on_this_thread = || first.iter().map(load).collect::<Vec<_>>();
    let on_another = || second.iter().map(load).collect::<Vec<_>>();
    if site.entries.len() < FEW_ENTRIES {
        return [on_this_thread(), on_another()]
            .into_iter()
            .flatten()
            .collect();
    }
    std::thread::scope(|scope| {
        let another = std::thread::Builder::new().spawn_scoped(scope, on_another);
        let mut loaded = on_this_thread();
        // A thread that did not come about, or did not come to its end, leaves the work to this one.
        loaded.extend(match another.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(rest)) => rest,
            _ => second.iter().map(load).collect(),
        });
        loaded
    })
}

/// Reads the folder of metadata at `location`, whose real path is `info`.
fn load_folder(
    root: &dyn RootFs,
    location: &ImagePath,
    info: &ImagePath,
    format: Format,
) -> Loaded {
    let names = match format {
        Format::DistInfo => ["METADATA", "PKG-INFO"],
        Format::EggInfo => ["PKG-INFO", "METADATA"],
    };
    let mut notes = Vec::new();
    let bytes = names
        .iter()
        .find_map(|name| read_header(root, info, name, &mut notes));
    let mut raw = RawMetadata::default();
    match bytes {
        Some(bytes) => raw = RawMetadata::parse(&bytes),
        None if !notes.is_empty() => {}
        None if root.list(info).is_ok_and(|entries| entries.is_empty()) => {
            notes.push(format!("`{location}` is empty and is passed over"));
            return Loaded {
                raw: None,
                editable: None,
                notes,
            };
        }
        None => notes.push(format!("`{location}` has no {}", names[0])),
    }
    let mut is_cut = cut_requirements(&mut raw);
    if format == Format::EggInfo
        && raw.requires_dist.is_empty()
        && let Some(bytes) = read(root, info, "requires.txt", MAX_REQUIRES, &mut notes)
    {
        let text = String::from_utf8_lossy(&bytes);
        let is_long = |line: &str| line.len() > MAX_SECTION && line.trim_start().starts_with('[');
        if text.lines().count() > MAX_REQUIREMENTS || text.lines().any(is_long) {
            notes.push(format!(
                "`{}` is larger than that of any distribution and is passed over",
                info.join("requires.txt")
            ));
        } else {
            let requires = egg_info::parse_requires(&text);
            raw.requires_dist = requires.requires_dist;
            for extra in requires.provides_extra {
                if !raw.provides_extra.contains(&extra) {
                    raw.provides_extra.push(extra);
                }
            }
        }
    }
    is_cut |= cut_requirements(&mut raw);
    if is_cut {
        notes.push(note_cut(location));
    }
    let editable = match format {
        Format::DistInfo => editable_source(root, info, &mut notes),
        Format::EggInfo => None,
    };
    Loaded {
        raw: Some(raw),
        editable,
        notes,
    }
}

fn note_cut(location: &ImagePath) -> String {
    format!(
        "`{location}` has more requirements than are kept, which are {MAX_REQUIREMENTS} and {} MiB: the rest is passed over",
        MAX_REQUIREMENTS_SIZE >> 20
    )
}

/// Cuts requirements and extras to what is kept of one distribution; says whether there were more.
fn cut_requirements(raw: &mut RawMetadata) -> bool {
    let mut is_cut = false;
    for list in [&mut raw.requires_dist, &mut raw.provides_extra] {
        let mut size = 0_usize;
        let fitting = list
            .iter()
            .take(MAX_REQUIREMENTS)
            .take_while(|text| {
                size = size.saturating_add(text.len());
                size <= MAX_REQUIREMENTS_SIZE
            })
            .count();
        if fitting < list.len() {
            list.truncate(fitting);
            list.shrink_to_fit();
            is_cut = true;
        }
    }
    is_cut
}

/// The source folder that `direct_url.json` in the folder `info` names, where it is one of an editable install.
fn editable_source(root: &dyn RootFs, info: &ImagePath, notes: &mut Vec<String>) -> Option<String> {
    let bytes = read(root, info, "direct_url.json", MAX_DIRECT_URL, notes)?;
    let Some(url) = DirectUrl::parse(&bytes) else {
        notes.push(format!("`{}` is broken", info.join("direct_url.json")));
        return None;
    };
    url.editable.then(|| url.path()).flatten()
}

/// Reads the file `name` of the folder `info` as far as its header goes: a long description follows in many, and nobody
/// wants to know it.
fn read_header(
    root: &dyn RootFs,
    info: &ImagePath,
    name: &str,
    notes: &mut Vec<String>,
) -> Option<Vec<u8>> {
    if let Ok(bytes) = root.read_range(&info.join(name), 0, USUAL_HEADER) {
        let is_whole = bytes.len() < USUAL_HEADER;
        let ends = || {
            let blank_lines = [&b"\n\n"[..], b"\n\r\n"];
            blank_lines
                .iter()
                .any(|blank| memchr::memmem::find(&bytes, blank).is_some())
        };
        if is_whole || ends() {
            return Some(bytes);
        }
    }
    // A link, a longer header, or nothing: the general way knows.
    read(root, info, name, MAX_METADATA, notes)
}

/// Contents of the `INSTALLER` of a distribution, such as `pip`, `uv` or `conda`; `None` where there is none.
///
/// Not read with the rest: it is one more file for each distribution, and few want to know.
#[must_use]
pub fn installer(root: &dyn RootFs, distribution: &InstalledDistribution) -> Option<String> {
    let location = ImagePath::new(&distribution.location);
    installer_in(root, &resolve::resolve(root, &location).ok()??.path)
}

/// The same of the distribution whose metadata is in the real folder `info`.
pub(super) fn installer_in(root: &dyn RootFs, info: &ImagePath) -> Option<String> {
    let bytes = resolve::read_file_in(root, info, "INSTALLER", MAX_INSTALLER).ok()??;
    let installer = String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
    (!installer.is_empty()).then_some(installer)
}

/// Reads a file of the folder `info`; a failure becomes a note.
fn read(
    root: &dyn RootFs,
    info: &ImagePath,
    name: &str,
    limit: u64,
    notes: &mut Vec<String>,
) -> Option<Vec<u8>> {
    match resolve::read_file_in(root, info, name, limit) {
        Ok(bytes) => bytes,
        Err(error) => {
            notes.push(error.with_cause());
            None
        }
    }
}

struct Reader<'a> {
    root: &'a dyn RootFs,
    notes: &'a mut Notes,
    distributions: BTreeMap<PackageName, InstalledDistribution>,
    shadowed: Vec<InstalledDistribution>,
}

/// How a distribution is recorded, beside its metadata.
struct Recorded {
    kind: RecordKind,
    editable: Option<String>,
}

impl Reader<'_> {
    fn read_site(&mut self, site: &SiteDirectory) {
        if is_egg(site.path.file_name()) {
            self.read_egg(&site.path, site.path.file_name());
        }
        let mut loaded = load_folders(self.root, site);
        for (position, entry) in site.entries.iter().enumerate() {
            let name = entry.name.as_str();
            let path = || site.path.join(name);
            let is_info = name.ends_with(".dist-info") || name.ends_with(".egg-info");
            if name.starts_with('~') || (is_info && name.starts_with('-')) {
                // pip renames what it is about to remove, so that the first letter is gone.
                self.notes.push(format!(
                    "`{}` is what an interrupted pip left behind and is passed over",
                    path()
                ));
            } else if let Some(loaded) = loaded[position].take() {
                let kind = Format::of(name).record();
                self.take(&path(), name, loaded, kind);
            } else if is_info {
                let format = Format::of(name);
                match self.follow(&path(), entry) {
                    Some(real) if real.is_directory() => {
                        self.read_folder(&path(), &real.path, name, format.record());
                    }
                    Some(real) if real.is_file() && format == Format::EggInfo => {
                        self.read_single_file(&path(), name);
                    }
                    _ => self.notes.push(format!(
                        "`{}` is not a folder with metadata and is passed over",
                        path()
                    )),
                }
            } else if let Some(stem) = name.strip_suffix(".egg-link") {
                self.read_egg_link(&site.path, name, stem);
            }
        }
    }

    /// What an entry is once its links are followed.
    fn follow(&self, path: &ImagePath, entry: &ListedEntry) -> Option<Resolved> {
        match entry.kind {
            EntryKind::Symlink => resolve::resolve(self.root, path).ok()?,
            kind => Some(Resolved {
                path: path.clone(),
                kind,
            }),
        }
    }

    /// Reads a file of the folder `info`; a failure becomes a note.
    fn read(&mut self, info: &ImagePath, name: &str, limit: u64) -> Option<Vec<u8>> {
        let mut notes = Vec::new();
        let bytes = read(self.root, info, name, limit, &mut notes);
        self.notes.extend(notes);
        bytes
    }

    /// Reads the `EGG-INFO` of an egg; says whether it has one.
    fn read_egg(&mut self, egg: &ImagePath, name: &str) -> bool {
        let location = egg.join("EGG-INFO");
        if let Ok(Some(real)) = resolve::resolve(self.root, &location)
            && real.is_directory()
        {
            self.read_folder(&location, &real.path, name, RecordKind::Egg);
            return true;
        }
        false
    }

    /// Takes in a folder of metadata at `location`, whose real path is `info`; `name` is that of the folder, or of the
    /// egg that it describes.
    fn read_folder(
        &mut self,
        location: &ImagePath,
        info: &ImagePath,
        name: &str,
        kind: RecordKind,
    ) {
        let format = match kind {
            RecordKind::DistInfo => Format::DistInfo,
            _ => Format::EggInfo,
        };
        let loaded = load_folder(self.root, location, info, format);
        self.take(location, name, loaded, kind);
    }

    fn take(&mut self, location: &ImagePath, name: &str, loaded: Loaded, kind: RecordKind) {
        self.notes.extend(loaded.notes);
        if let Some(raw) = loaded.raw {
            let editable = loaded.editable;
            self.add(location, name, raw, Recorded { kind, editable });
        }
    }

    /// An `.egg-info` that is a file is the `PKG-INFO` itself, as distutils wrote it.
    fn read_single_file(&mut self, location: &ImagePath, name: &str) {
        let folder = location.parent().unwrap_or_else(ImagePath::root);
        let mut raw = self
            .read(&folder, name, MAX_METADATA)
            .map(|bytes| RawMetadata::parse(&bytes))
            .unwrap_or_default();
        if cut_requirements(&mut raw) {
            self.notes.push(note_cut(location));
        }
        let recorded = Recorded {
            kind: RecordKind::EggInfoFile,
            editable: None,
        };
        self.add(location, name, raw, recorded);
    }

    /// An `.egg-link` names the source folder of a distribution in development; its `.egg-info` lies in there.
    fn read_egg_link(&mut self, site: &ImagePath, name: &str, stem: &str) {
        let link = site.join(name);
        let Some(bytes) = self.read(site, name, MAX_REQUIRES) else {
            return;
        };
        let text = String::from_utf8_lossy(&bytes);
        let target = text.lines().next().unwrap_or_default().trim();
        let source = resolve::resolve_from(self.root, site, target);
        let entries = match &source {
            Ok(Some(source)) if source.is_directory() => self.root.list(&source.path).ok(),
            _ => None,
        };
        let (Ok(Some(source)), Some(entries)) = (source, entries) else {
            self.notes.push(format!(
                "`{link}` leads to `{target}`, which does not exist; its distribution is passed over"
            ));
            return;
        };
        let wanted = PackageName::from_str(stem).ok();
        let found = entries.iter().find(|entry| {
            entry.kind == EntryKind::Directory
                && entry.name.strip_suffix(".egg-info").is_some_and(|folder| {
                    let (project, _) = split_folder_name(folder);
                    PackageName::from_str(project).ok() == wanted
                })
        });
        match found {
            Some(entry) => {
                let info = source.path.join(&entry.name);
                let mut loaded = load_folder(self.root, &info, &info, Format::EggInfo);
                loaded.editable = Some(target.to_owned());
                self.take(&info, &entry.name, loaded, RecordKind::EggLink);
            }
            None => self.notes.push(format!(
                "`{link}` leads to `{}`, which holds no metadata of {stem}",
                source.path
            )),
        }
    }

    /// An egg that is on no path is installed for pip, but Python does not import from it unasked.
    fn read_unlisted_egg(&mut self, egg: &ImagePath, entry: &ListedEntry) {
        match self.follow(egg, entry).map(|real| real.kind) {
            Some(EntryKind::Directory) if self.read_egg(egg, &entry.name) => {
                self.notes.push(format!(
                    "`{egg}` is installed, but no .pth file adds it to sys.path"
                ));
            }
            Some(EntryKind::File) => self
                .notes
                .push(format!("`{egg}` is a zipped egg and is not read")),
            _ => {}
        }
    }

    /// Takes a distribution in, unless one of its name is there; what is missing comes from the name of its folder.
    fn add(
        &mut self,
        location: &ImagePath,
        folder_name: &str,
        raw: RawMetadata,
        recorded: Recorded,
    ) {
        let stem = [".dist-info", ".egg-info", ".egg"]
            .iter()
            .find_map(|suffix| folder_name.strip_suffix(suffix))
            .unwrap_or(folder_name);
        let (folder_project, folder_version) = split_folder_name(stem);
        let named = raw
            .name
            .as_deref()
            .and_then(|name| PackageName::from_str(name).ok());
        let versioned = raw.version.filter(|text| longest_version(text).is_some());
        if named.is_none() || versioned.is_none() {
            let missing = match (&named, &versioned) {
                (None, None) => "name and version",
                (None, _) => "name",
                _ => "version",
            };
            self.notes.push(format!(
                "`{location}` does not say its {missing}, which the name of the folder tells"
            ));
        }
        let name = named.or_else(|| PackageName::from_str(folder_project).ok());
        let version_text = versioned.or_else(|| folder_version.map(ToOwned::to_owned));
        let version = version_text.as_deref().and_then(longest_version);
        let (Some(name), Some(version_text), Some((version, whole))) =
            (name, version_text, version)
        else {
            self.notes.push(format!(
                "`{location}` is passed over: neither its metadata nor its name tell what it is"
            ));
            return;
        };
        if !whole {
            self.notes.push(format!(
                "{name} has the version `{version_text}`, which PEP 440 does not know: it counts as {version}"
            ));
        }
        let distribution = InstalledDistribution {
            name: name.clone(),
            version,
            version_text,
            requires_dist: raw.requires_dist,
            requires_python: raw.requires_python,
            provides_extra: raw.provides_extra,
            import_names: Vec::new(),
            location: location.to_string(),
            installer: None,
            record: recorded.kind,
            editable: recorded.editable,
        };
        match self.distributions.entry(name) {
            MapEntry::Vacant(vacant) => {
                vacant.insert(distribution);
            }
            MapEntry::Occupied(mut first) => {
                let first = first.get_mut();
                if first.location != distribution.location {
                    self.shadowed.push(distribution);
                } else if distribution.record == RecordKind::EggLink {
                    // The .pth file beside an egg-link leads to the source folder as well.
                    first.record = distribution.record;
                    first.editable = distribution.editable;
                }
            }
        }
    }

    /// Says what is hidden: a few one by one, many in one sentence.
    fn note_shadowed(&mut self) {
        let folder = |location: &str| ImagePath::new(location).parent();
        let (twice, behind): (Vec<_>, Vec<_>) = self
            .shadowed
            .iter()
            .filter_map(|hidden| Some((self.distributions.get(&hidden.name)?, hidden)))
            .partition(|(first, hidden)| folder(&first.location) == folder(&hidden.location));
        // That a virtual environment has a pip of its own, as its base does, is nothing to tell.
        let behind: Vec<_> = behind
            .into_iter()
            .filter(|(first, hidden)| first.version_text != hidden.version_text)
            .collect();
        let names = |pairs: &[(&InstalledDistribution, &InstalledDistribution)]| {
            let names: Vec<String> = pairs
                .iter()
                .map(|(first, _)| first.name.to_string())
                .collect();
            names.join(", ")
        };
        if twice.len() > MAX_NAMED {
            self.notes.push(format!(
                "{} distributions are installed twice in one folder, and of each the one counts that is listed first: {}",
                twice.len(),
                names(&twice)
            ));
        } else {
            self.notes.extend(twice.iter().map(|(first, hidden)| {
                format!(
                    "{} is installed twice in one folder: `{}` counts, as it is listed first, and `{}` does not",
                    first.name, first.location, hidden.location
                )
            }));
        }
        if behind.len() > MAX_NAMED {
            self.notes.push(format!(
                "{} distributions are shadowed by one of the same name in an earlier folder: {}",
                behind.len(),
                names(&behind)
            ));
        } else {
            self.notes.extend(behind.iter().map(|(first, hidden)| {
                format!(
                    "{} {} in `{}` is shadowed by {} in `{}`",
                    hidden.name,
                    hidden.version_text,
                    hidden.location,
                    first.version_text,
                    first.location
                )
            }));
        }
    }
}

fn is_egg(name: &str) -> bool {
    name.strip_suffix(".egg").is_some()
}

/// Divides `name-version(-pyX.Y)?`, of which the version may be missing; hyphens of the name are underscores in it.
fn split_folder_name(stem: &str) -> (&str, Option<&str>) {
    match stem.split_once('-') {
        None => (stem, None),
        Some((name, rest)) => {
            let version = rest.find("-py").map_or(rest, |end| &rest[..end]);
            (name, Some(version))
        }
    }
}

/// The longest beginning of `text` that is a version, and whether that is all of it.
fn longest_version(text: &str) -> Option<(Version, bool)> {
    let text = text.trim();
    if let Ok(version) = Version::from_str(text) {
        return Some((version, true));
    }
    // A text without end is not a version: cut where no beginning of one is longer.
    let ends = text
        .char_indices()
        .map(|(at, _)| at)
        .take(128)
        .collect::<Vec<_>>();
    ends.into_iter()
        .rev()
        .find_map(|end| Version::from_str(&text[..end]).ok())
        .map(|version| (version, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_versions_count_as_their_beginning() {
        for (text, version, whole) in [
            ("2.3.0a0+ebedce2", "2.3.0a0+ebedce2", true),
            ("2.0a1.zest", "2.0a1", false),
            ("1.0-SNAPSHOT", "1.0", false),
            ("2004d", "2004", false),
            (" 1.0 ", "1.0", true),
        ] {
            let (found, is_whole) = longest_version(text).expect("a version");
            assert_eq!((found.to_string().as_str(), is_whole), (version, whole));
        }
        assert!(longest_version("unknown").is_none());
        assert!(longest_version("").is_none());
    }

    #[test]
    fn folder_names_are_divided() {
        for (stem, parts) in [
            ("opt_einsum-3.3.0", ("opt_einsum", Some("3.3.0"))),
            ("dbus_python-1.2.18-py3.10", ("dbus_python", Some("1.2.18"))),
            ("foo", ("foo", None)),
            ("foo-1.0-1", ("foo", Some("1.0-1"))),
        ] {
            assert_eq!(split_folder_name(stem), parts);
        }
    }
}
