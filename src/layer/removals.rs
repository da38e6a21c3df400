//! Which files of the base leave when distributions leave, because they are replaced or removed.
//!
//! Only their own records tell, as for pip: what `RECORD` names (or `installed-files.txt`, and then the whole `.egg-info`),
//! the byte code that Python made of it, and the scripts of their `entry_points.txt`. A file that another distribution's record names as well stays. A folder in
//! which nothing else is left goes as a whole. Where a record does not tell, or leads out of the environment, nothing is
//! removed at all: [`RemovalError`].
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/recording-installed-packages/>; PEP 3147 and
//! PEP 488 for the names of byte code.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::base_files::{Listings, owners, some_of};
use crate::environment::{
    Environment, FilesUnknown, InstallationScheme, InstalledDistribution, Obstacle, RecordKind,
    for_each_installed_file, is_virtual, obstacles,
};
use crate::image_path::ImagePath;
use crate::packaging::PackageName;
use crate::packaging::entry_points::script_names;
use crate::rootfs::{EntryKind, RootFs, RootFsError, resolve};

/// Largest `entry_points.txt` that is read, in bytes: the largest known have some 50 kB.
const MAX_ENTRY_POINTS: u64 = 1 << 20;

/// Why a distribution cannot be removed safely.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// Nothing of that name is installed.
    #[error("{name} is not installed in the base, so it cannot be removed from it")]
    NotInstalled {
        /// The distribution.
        name: PackageName,
    },
    /// Its metadata or a package manager speaks against it.
    #[error("{name} {version} of the base cannot be removed: {obstacle}")]
    Obstacle {
        /// The distribution.
        name: PackageName,
        /// Its version as it is written.
        version: String,
        /// What is in the way.
        obstacle: Obstacle,
    },
    /// An egg is listed in `easy-install.pth`, which others share.
    #[error(
        "{name} {version} of the base cannot be removed: it is an egg (`{location}`), which `easy-install.pth` puts on \
         sys.path for others as well"
    )]
    Egg {
        /// The distribution.
        name: PackageName,
        /// Its version as it is written.
        version: String,
        /// Where it lies.
        location: String,
    },
    /// Nobody knows which files are its own.
    #[error("{name} {version} of the base cannot be removed: {reason}")]
    FilesUnknown {
        /// The distribution.
        name: PackageName,
        /// Its version as it is written.
        version: String,
        /// Why not.
        reason: FilesUnknown,
    },
    /// Its record names a file that is not the environment's.
    #[error(
        "{name} {version} of the base cannot be removed: its record names `{path}`, which is outside of its environment"
    )]
    Outside {
        /// The distribution.
        name: PackageName,
        /// Its version as it is written.
        version: String,
        /// The file.
        path: ImagePath,
    },
    /// It belongs to the interpreter that a virtual environment was made from.
    #[error(
        "{name} {version} cannot be removed from the virtual environment `{prefix}`: it is installed outside of it, in \
         `{location}`"
    )]
    OutsideOfVirtualEnvironment {
        /// The distribution.
        name: PackageName,
        /// Its version as it is written.
        version: String,
        /// Where it lies.
        location: String,
        /// The virtual environment.
        prefix: String,
    },
    /// Another copy would take the place of what is installed.
    #[error(
        "{name} cannot be replaced: another copy of it, `{location}`, would come before the new one on sys.path"
    )]
    HidingCopy {
        /// The distribution.
        name: PackageName,
        /// Where the other copy lies.
        location: String,
    },
    /// The root file system did not answer.
    #[error(transparent)]
    RootFs(#[from] RootFsError),
}

/// What leaves the base.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Real paths of files and links.
    pub(super) files: BTreeSet<ImagePath>,
    /// Locations of the distributions that leave.
    pub(super) locations: BTreeSet<String>,
    /// One sentence each.
    pub(super) notes: Vec<String>,
}

/// What is known of the files of one distribution that leaves.
#[derive(Default)]
struct Leaving {
    /// Files that its record names.
    recorded: BTreeSet<ImagePath>,
    /// Byte code, and what it was made of.
    derived: BTreeMap<ImagePath, ImagePath>,
}

/// Finds what leaves with `leaving`, of which those among `replaced` are installed anew into `scheme`.
///
/// # Errors
/// When one of them cannot be removed safely.
pub(super) fn plan(
    listings: &mut Listings<'_>,
    environment: &Environment,
    scheme: &InstallationScheme,
    leaving: &BTreeSet<&PackageName>,
    replaced: &BTreeSet<&PackageName>,
) -> Result<Removals, RemovalError> {
    let root = listings.root();
    let mut removals = Removals::default();
    if leaving.is_empty() {
        return Ok(removals);
    }
    let obstacles = obstacles(Some(root), environment);
    let is_virtual = is_virtual(root, environment);
    let prefix = ImagePath::new(&environment.interpreter.prefix);
    let mut found = Leaving::default();
    for name in leaving {
        let distribution =
            environment
                .distributions
                .get(*name)
                .ok_or_else(|| RemovalError::NotInstalled {
                    name: (*name).clone(),
                })?;
        let location = ImagePath::new(&distribution.location);
        // pip leaves what is not the virtual environment's own alone, and what it installs comes first.
        if is_virtual && !location.starts_with(&prefix) {
            if !replaced.contains(name) {
                return Err(RemovalError::OutsideOfVirtualEnvironment {
                    name: (*name).clone(),
                    version: distribution.version_text.clone(),
                    location: distribution.location.clone(),
                    prefix: environment.interpreter.prefix.clone(),
                });
            }
            removals.notes.push(format!(
                "{name} {} stays in `{}`, outside of the virtual environment, and is hidden by the new one",
                distribution.version_text, distribution.location
            ));
            continue;
        }
        if let Some(obstacle) = obstacles.get(*name) {
            return Err(RemovalError::Obstacle {
                name: (*name).clone(),
                version: distribution.version_text.clone(),
                obstacle: obstacle.clone(),
            });
        }
        collect(listings, environment, distribution, &mut found)?;
        collect_scripts(listings, environment, scheme, distribution, &mut found)?;
        removals.locations.insert(distribution.location.clone());
        for copy in copies(environment, scheme, name, replaced.contains(name))? {
            collect(listings, environment, copy, &mut found)?;
            removals.locations.insert(copy.location.clone());
            removals.notes.push(format!(
                "a second copy of {name}, {} in `{}`, leaves with it",
                copy.version_text, copy.location
            ));
        }
    }
    take_what_is_nobody_elses(root, environment, found, &mut removals);
    note_remnants(listings, &mut removals)?;
    Ok(removals)
}

/// Copies of `name` that the first one hides and that would count once it is gone: those in the folders that the new one
/// is installed to leave with it.
fn copies<'a>(
    environment: &'a Environment,
    scheme: &InstallationScheme,
    name: &PackageName,
    is_replaced: bool,
) -> Result<Vec<&'a InstalledDistribution>, RemovalError> {
    let sites = &environment.interpreter.site_directories;
    let place = |folder: &str| sites.iter().position(|site| site == folder);
    let own = [&scheme.purelib, &scheme.platlib].map(ImagePath::as_str);
    let first = own.iter().filter_map(|folder| place(folder)).min();
    let mut copies = Vec::new();
    for copy in &environment.shadowed {
        if copy.name != *name {
            continue;
        }
        let folder = ImagePath::new(&copy.location).parent();
        let folder = folder.as_ref().map_or("", ImagePath::as_str);
        if own.contains(&folder) {
            copies.push(copy);
        } else if is_replaced
            && place(folder).is_some_and(|at| first.is_none_or(|first| at < first))
        {
            return Err(RemovalError::HidingCopy {
                name: name.clone(),
                location: copy.location.clone(),
            });
        }
    }
    Ok(copies)
}

/// Adds the files of `distribution` that are there.
fn collect(
    listings: &mut Listings<'_>,
    environment: &Environment,
    distribution: &InstalledDistribution,
    found: &mut Leaving,
) -> Result<(), RemovalError> {
    if distribution.record == RecordKind::Egg {
        return Err(RemovalError::Egg {
            name: distribution.name.clone(),
            version: distribution.version_text.clone(),
            location: distribution.location.clone(),
        });
    }
    let root = listings.root();
    let inside = folders_of(environment, distribution);
    let mut files = Vec::new();
    for_each_installed_file(root, distribution, &inside, &mut |file| files.push(file)).map_err(
        |reason| RemovalError::FilesUnknown {
            name: distribution.name.clone(),
            version: distribution.version_text.clone(),
            reason,
        },
    )?;
    let tag = cache_tag(environment);
    for file in files {
        // What is not there need not be removed, and a folder is no file.
        if matches!(
            listings.kind(&file.path)?,
            None | Some(EntryKind::Directory)
        ) {
            continue;
        }
        if file.is_outside {
            return Err(RemovalError::Outside {
                name: distribution.name.clone(),
                version: distribution.version_text.clone(),
                path: file.path,
            });
        }
        for compiled in byte_code(&file.path, &tag) {
            if matches!(listings.kind(&compiled)?, Some(EntryKind::File)) {
                found.derived.insert(compiled, file.path.clone());
            }
        }
        found.recorded.insert(file.path);
    }
    if distribution.record == RecordKind::EggInfo {
        add_all_below(listings, &ImagePath::new(&distribution.location), found)?;
    }
    Ok(())
}

/// Adds scripts that installers made of the distribution's entry points and did not record. Those of a distribution outside
/// of the prefix are elsewhere, and only a record tells where.
fn collect_scripts(
    listings: &mut Listings<'_>,
    environment: &Environment,
    scheme: &InstallationScheme,
    distribution: &InstalledDistribution,
    found: &mut Leaving,
) -> Result<(), RootFsError> {
    let location = ImagePath::new(&distribution.location);
    if !location.starts_with(&ImagePath::new(&environment.interpreter.prefix)) {
        return Ok(());
    }
    let path = location.join("entry_points.txt");
    let text = resolve::read_file(listings.root(), &path, MAX_ENTRY_POINTS);
    let Ok(Some(text)) = text else {
        return Ok(());
    };
    for name in script_names(&String::from_utf8_lossy(&text)) {
        let script = scheme.scripts.join(&name);
        if script != scheme.executable && listings.kind(&script)? == Some(EntryKind::File) {
            found.recorded.insert(script);
        }
    }
    Ok(())
}

/// The folders that a distribution may have files in: the interpreter's prefix, and where it lies elsewhere (the user
/// site, a folder of `PYTHONPATH`), the prefix of that folder.
fn folders_of(environment: &Environment, distribution: &InstalledDistribution) -> Vec<ImagePath> {
    let prefix = ImagePath::new(&environment.interpreter.prefix);
    let location = ImagePath::new(&distribution.location);
    let mut folders = vec![prefix];
    if !location.starts_with(&folders[0])
        && let Some(site) = location.parent()
    {
        let parts: Vec<&str> = site.as_str().rsplitn(4, '/').collect();
        folders.push(match parts[..] {
            ["site-packages", python, "lib" | "lib64", above]
                if python.starts_with("python") && !above.is_empty() =>
            {
                ImagePath::new(above)
            }
            _ => site,
        });
    }
    folders
}

/// `sys.implementation.cache_tag`.
fn cache_tag(environment: &Environment) -> String {
    let (major, minor) = environment.platform.python;
    let threads = if environment.platform.abi_flags.contains('t') {
        "t"
    } else {
        ""
    };
    format!("cpython-{major}{minor}{threads}")
}

/// Where Python, and its predecessors, put the byte code of the module at `path`.
fn byte_code(path: &ImagePath, tag: &str) -> Vec<ImagePath> {
    let (Some(stem), Some(folder)) = (path.file_name().strip_suffix(".py"), path.parent()) else {
        return Vec::new();
    };
    let cached = ["", ".opt-1", ".opt-2"].map(|level| {
        folder
            .join("__pycache__")
            .join(&format!("{stem}.{tag}{level}.pyc"))
    });
    let beside = ["pyc", "pyo"].map(|extension| folder.join(&format!("{stem}.{extension}")));
    cached.into_iter().chain(beside).collect()
}

fn add_all_below(
    listings: &mut Listings<'_>,
    folder: &ImagePath,
    found: &mut Leaving,
) -> Result<(), RootFsError> {
    let mut waiting = vec![folder.clone()];
    while let Some(folder) = waiting.pop() {
        for (name, kind) in listings.of(&folder)? {
            let path = folder.join(name);
            if *kind == EntryKind::Directory {
                waiting.push(path);
            } else {
                found.recorded.insert(path);
            }
        }
    }
    Ok(())
}

/// Moves to `removals` what of `found` no distribution that stays names.
fn take_what_is_nobody_elses(
    root: &dyn RootFs,
    environment: &Environment,
    found: Leaving,
    removals: &mut Removals,
) {
    let paths: BTreeSet<&ImagePath> = found.recorded.iter().chain(found.derived.keys()).collect();
    let stays =
        |distribution: &InstalledDistribution| !removals.locations.contains(&distribution.location);
    let owners = owners(root, environment, &stays, &paths);
    let mut kept: BTreeMap<&PackageName, Vec<&ImagePath>> = BTreeMap::new();
    for (path, owners) in &owners {
        for owner in owners {
            kept.entry(&owner.name).or_default().push(path);
        }
    }
    for (name, paths) in kept {
        removals.notes.push(format!(
            "{} stay{}, as {name} has {} as well",
            some_of(&paths),
            if paths.len() == 1 { "s" } else { "" },
            if paths.len() == 1 { "it" } else { "them" },
        ));
    }
    for (path, source) in found.derived {
        if !owners.contains_key(&path) && !owners.contains_key(&source) {
            removals.files.insert(path);
        }
    }
    removals.files.extend(
        found
            .recorded
            .into_iter()
            .filter(|path| !owners.contains_key(path)),
    );
}

/// Says what is left of the metadata that leaves: like pip, nothing is removed that no record names.
fn note_remnants(listings: &mut Listings<'_>, removals: &mut Removals) -> Result<(), RootFsError> {
    for location in &removals.locations {
        let location = ImagePath::new(location);
        let mut left = Vec::new();
        for (name, kind) in listings.of(&location)? {
            let path = location.join(name);
            if *kind != EntryKind::Directory && !removals.files.contains(&path) {
                left.push(path);
            }
        }
        if !left.is_empty() {
            removals.notes.push(format!(
                "{} is left of metadata that leaves, as no record names it",
                some_of(&left)
            ));
        }
    }
    Ok(())
}

/// Which folders are left empty.
pub(super) struct EmptiedFolders<'a> {
    removed: &'a BTreeSet<ImagePath>,
    /// Real paths of what is written.
    written: &'a BTreeSet<ImagePath>,
    /// Folders that stay even where nothing is in them.
    kept: &'a BTreeSet<ImagePath>,
    known: HashMap<ImagePath, bool>,
}

impl<'a> EmptiedFolders<'a> {
    pub(super) fn new(
        removed: &'a BTreeSet<ImagePath>,
        written: &'a BTreeSet<ImagePath>,
        kept: &'a BTreeSet<ImagePath>,
    ) -> Self {
        Self {
            removed,
            written,
            kept,
            known: HashMap::new(),
        }
    }

    /// Whether nothing stays in the folder `folder`, and nothing is written into it.
    pub(super) fn is_emptied(
        &mut self,
        listings: &mut Listings<'_>,
        folder: &ImagePath,
    ) -> Result<bool, RootFsError> {
        if let Some(known) = self.known.get(folder) {
            return Ok(*known);
        }
        let is_emptied = !folder.is_root()
            && !self.kept.contains(folder)
            && !has_below(self.written, folder)
            && self.holds_nothing_else(listings, folder)?;
        self.known.insert(folder.clone(), is_emptied);
        Ok(is_emptied)
    }

    fn holds_nothing_else(
        &mut self,
        listings: &mut Listings<'_>,
        folder: &ImagePath,
    ) -> Result<bool, RootFsError> {
        let mut folders = Vec::new();
        for (name, kind) in listings.of(folder)? {
            let path = folder.join(name);
            match kind {
                EntryKind::Directory => folders.push(path),
                _ if self.removed.contains(&path) => {}
                _ => return Ok(false),
            }
        }
        for folder in folders {
            if !self.is_emptied(listings, &folder)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The paths that whiteouts must name so that all that is removed is gone: a folder where nothing of it stays.
    pub(super) fn whiteouts(
        &mut self,
        listings: &mut Listings<'_>,
    ) -> Result<BTreeSet<ImagePath>, RootFsError> {
        let mut whiteouts = BTreeSet::new();
        for path in self.removed {
            let mut highest = path.clone();
            while let Some(folder) = highest.parent() {
                if !self.is_emptied(listings, &folder)? {
                    break;
                }
                highest = folder;
            }
            // What is written there takes its place, be it a file or a folder.
            if !self.written.contains(&highest) && !has_below(self.written, &highest) {
                whiteouts.insert(highest);
            }
        }
        Ok(whiteouts)
    }
}

/// Whether one of `paths` lies below `folder`.
pub(super) fn has_below(paths: &BTreeSet<ImagePath>, folder: &ImagePath) -> bool {
    if folder.is_root() {
        return !paths.is_empty();
    }
    // `0` follows `/`: between the two lies what begins with the folder and a slash.
    let (first, end) = (folder.join("\u{1}"), format!("{folder}0"));
    paths
        .range(first..)
        .next()
        .is_some_and(|path| path.as_str() < end.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_folder_is_told_from_its_neighbours() {
        let paths = ["/a-b/x", "/a/c/d", "/a0", "/b"].map(ImagePath::new);
        let paths = BTreeSet::from(paths);
        for (folder, expected) in [
            ("/", true),
            ("/a", true),
            ("/a/c", true),
            ("/a/c/d", false),
            ("/a-b", true),
            ("/a0", false),
            ("/a-", false),
            ("/b", false),
        ] {
            assert_eq!(
                has_below(&paths, &ImagePath::new(folder)),
                expected,
                "{folder}"
            );
        }
    }

    #[test]
    fn byte_code_lies_in_its_folder_and_beside_its_source() {
        let paths: Vec<String> = byte_code(&ImagePath::new("/s/a.py"), "cpython-313t")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            paths,
            [
                "/s/__pycache__/a.cpython-313t.pyc",
                "/s/__pycache__/a.cpython-313t.opt-1.pyc",
                "/s/__pycache__/a.cpython-313t.opt-2.pyc",
                "/s/a.pyc",
                "/s/a.pyo",
            ]
        );
        assert!(byte_code(&ImagePath::new("/s/a.so"), "cpython-311").is_empty());
    }
}
